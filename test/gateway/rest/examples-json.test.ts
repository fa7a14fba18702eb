import { describe, expect, test } from '@jest/globals';
import { decodeExamples } from '../../../services/gateway/rest/examples-json.ts';
import { encodeClassifications, encodeRegressions } from '../../../services/gateway/rest/results-json.ts';
import { floatFeature } from './computing-core.ts';

const decode = (body: string) => decodeExamples(Buffer.from(body));

describe('decodeExamples', () => {
  test('serializes the kinds that TensorFlow Serving derives from JSON types', () => {
    const { signatureName, examples } = decode(
      '{"signature_name":"s","examples":[{"x":20.0,"n":["foo",{"b64":"aGk="}],"age":-1,"ok":true}]}',
    );
    expect(signatureName).toBe('s');
    const feature = (name: string, kind: string, list: string) => {
      const value = `${kind}${(list.length / 2).toString(16).padStart(2, '0')}${list}`;
      const entry = `0a${name.length.toString(16).padStart(2, '0')}${Buffer.from(name).toString('hex')}12${(value.length / 2).toString(16).padStart(2, '0')}${value}`;
      return `0a${(entry.length / 2).toString(16).padStart(2, '0')}${entry}`;
    };
    const wanted = [
      feature('x', '12', '0a040000a041'),
      feature('n', '0a', '0a03666f6f0a026869'),
      feature('age', '1a', '0a0affffffffffffffffff01'),
      feature('ok', '1a', '0a0101'),
    ].join('');
    expect(Buffer.from(examples[0] ?? []).toString('hex')).toBe(`0a${(wanted.length / 2).toString(16)}${wanted}`);
  });

  test('puts the context before each example, so that the example wins', () => {
    const { examples } = decode('{"context":{"x":1.5,"c":7.5},"examples":[{},{"x":2.5}]}');
    expect(examples.map((example) => floatFeature(example, 'x'))).toEqual([1.5, 2.5]);
    expect(examples.map((example) => floatFeature(example, 'c'))).toEqual([7.5, 7.5]);
  });

  test.each([
    ['{"examples":[[]]}', 'Example must be JSON object but got JSON Array'],
    ['{"examples":[{"f":[1,null]}]}', 'Feature: f has element with unexpected JSON type: Null'],
    ['{"examples":[{"f":[[1]]}]}', 'Feature: f has element with unexpected JSON type: Array'],
    ['{"examples":[{"f":{"a":1}}]}', 'Feature: f has element with unexpected JSON type: Object'],
    ['{"examples":[{"f":[10,10.0]}]}', 'Unexpected element type in feature: f expecting type: int64'],
    ['{"examples":[{"f":["a",1]}]}', 'Unexpected element type in feature: f expecting type: bytes'],
    ['{"examples":[{"f":18446744073709551603}]}', 'Feature: f has uint64_t element. Only int64_t is supported.'],
    ['{"examples":[{"f":{"b64":"!"}}]}', 'Unable to base64 decode'],
    ['{"examples":5}', 'JSON Value: {\n    "examples": 5\n} Expecting \'examples\' value to be an list/array'],
  ])('refuses %s', (body, message) => {
    expect(() => decode(body)).toThrow(message);
  });
});

describe('results', () => {
  test('are laid out as TensorFlow Serving does', () => {
    const label = Buffer.from('a"b');
    expect(encodeClassifications([[{ label, score: 12 }], []]).toString()).toBe('{\n    "results": [[["a\\"b", 12.0]], []\n    ]\n}');
    expect(encodeRegressions([42, 0.1]).toString()).toBe('{\n    "results": [42.0, 0.1]\n}');
  });

  test('are refused when there are none', () => {
    expect(() => encodeClassifications([])).toThrow('Cannot convert empty ClassificationResults to JSON');
    expect(() => encodeRegressions([])).toThrow('Cannot convert empty RegressionResults to JSON');
  });
});
