import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeExamplesRequest, encodeClassificationResponse, encodeExamplesRequest } from '#proto/classification.ts';
import { decodeExample, type Example, encodeExample, type Feature } from '#proto/example.ts';
import { decodeMultiInferenceRequest, encodeMultiInferenceRequest, encodeMultiInferenceResponse } from '#proto/inference.ts';
import { ABSENT_SPEC, type ModelSpec } from '#proto/model-spec.ts';
import { encodeRegressionResponse } from '#proto/regression.ts';
import { WireWriter } from '#proto/wire.ts';
import { asObject, encoded, loadRoot } from './protobuf-root.ts';

const root = loadRoot();
const spec: ModelSpec = { ...ABSENT_SPEC, present: true, name: 'm', signatureName: 's' };
const answered = { name: 'm', version: 3, signatureName: 's' };

const feature: fc.Arbitrary<Feature> = fc.oneof(
  fc.array(fc.uint8Array({ maxLength: 20 })).map((values) => ({ kind: 'bytes' as const, values })),
  fc.array(fc.float()).map((values) => ({ kind: 'float' as const, values: Float32Array.from(values) })),
  fc
    .array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }))
    .map((values) => ({ kind: 'int64' as const, values: BigInt64Array.from(values) })),
  fc.constant({ kind: 'none' as const }),
);
const example: fc.Arbitrary<Example> = fc.array(fc.tuple(fc.string({ unit: 'grapheme' }), feature)).map((entries) => new Map(entries));

const plain = (one: Example) =>
  [...one].map(([name, values]) => [
    name,
    values.kind,
    values.kind === 'none' ? [] : Array.from(values.values as Iterable<unknown>, String),
  ]);
const features = (one: Example) => new Map([...one].map(([name, value]) => [name, value.kind === 'none' ? null : value.values]));

describe('tf.Example', () => {
  test('every example comes back, also when protobufjs reads and writes it in between', () => {
    fc.assert(
      fc.property(example, (one) => {
        expect(plain(decodeExample(encodeExample(one)))).toEqual(plain(one));
        const type = root.lookupType('tensorflow.Example');
        const again = type.encode(type.decode(encodeExample(one))).finish();
        expect(new Map(plain(decodeExample(again)).map(([name, ...rest]) => [name, rest]))).toEqual(
          new Map(plain(one).map(([name, ...rest]) => [name, rest])),
        );
      }),
    );
  });

  test('unpacked lists read like packed ones', () => {
    const writer = new WireWriter();
    const list = (field: number, body: () => void) => writer.delimited(2, () => void writer.delimited(field, body));
    const entry = (name: string, write: () => void) =>
      writer.delimited(1, () => {
        writer.delimited(1, () => {
          writer.stringField(1, name);
          write();
        });
      });
    entry('f', () => list(2, () => void writer.floatField(1, 1.5).floatField(1, 2)));
    entry('i', () => list(3, () => void writer.varintField(1, -4).varintField(1, 5)));
    expect(features(decodeExample(writer.finish()))).toEqual(
      new Map<string, unknown>([
        ['f', Float32Array.of(1.5, 2)],
        ['i', BigInt64Array.of(-4n, 5n)],
      ]),
    );
  });
});

describe('Input', () => {
  const x = (value: number) => encodeExample(new Map([['x', { kind: 'float', values: Float32Array.of(value) }]]));
  const context = encodeExample(
    new Map<string, Feature>([
      ['x', { kind: 'float', values: Float32Array.of(7) }],
      ['c', { kind: 'int64', values: BigInt64Array.of(1n) }],
    ]),
  );
  const valuesOf = (bytes: Uint8Array) => plain(decodeExample(bytes)).map(([name, , values]) => [name, values]);

  test('a list of examples is given as it came', () => {
    const { examples, spec: read } = decodeExamplesRequest(encodeExamplesRequest(spec, { examples: [x(1), x(2)] }));
    expect(read).toEqual(spec);
    expect(examples.map((one) => Array.from(one))).toEqual([Array.from(x(1)), Array.from(x(2))]);
  });

  test('every example gets the context, and its own features win', () => {
    const { examples } = decodeExamplesRequest(encodeExamplesRequest(spec, { examples: [x(1), new Uint8Array(0)], context }));
    expect(examples.map(valuesOf)).toEqual([
      [
        ['x', ['1']],
        ['c', ['1']],
      ],
      [
        ['x', ['7']],
        ['c', ['1']],
      ],
    ]);
  });

  test('the kind that comes last wins', () => {
    const writer = new WireWriter();
    writer.delimited(2, () => {
      writer.delimited(1, () => void writer.bytesField(1, x(1)));
      writer.delimited(2, () => void writer.bytesField(1, x(2)).bytesField(2, context));
    });
    expect(decodeExamplesRequest(writer.finish()).examples.map(valuesOf)).toEqual([
      [
        ['x', ['2']],
        ['c', ['1']],
      ],
    ]);
  });

  test('an absent input, an absent kind and an empty list have no examples', () => {
    for (const input of [undefined, {}, { example_list: {} }, { example_list_with_context: { context: {} } }]) {
      const bytes = encoded(root, 'tensorflow.serving.ClassificationRequest', { model_spec: { name: 'm' }, ...(input ? { input } : {}) });
      expect(decodeExamplesRequest(bytes).examples).toEqual([]);
    }
  });
});

describe('answers about examples', () => {
  test('labels and scores arrive as they are', () => {
    const rows = [
      [
        { label: 'a', score: 0.5 },
        { label: '', score: 0 },
      ],
      [{ label: 'ß', score: -1 }],
      [],
    ];
    expect(asObject(root, 'tensorflow.serving.ClassificationResponse', encodeClassificationResponse(answered, rows))).toEqual({
      result: { classifications: [{ classes: [{ label: 'a', score: 0.5 }, {}] }, { classes: [{ label: 'ß', score: -1 }] }, {}] },
      model_spec: { name: 'm', version: { value: '3' }, signature_name: 's' },
    });
  });

  test('regressions arrive as they are, zero too', () => {
    expect(asObject(root, 'tensorflow.serving.RegressionResponse', encodeRegressionResponse(answered, [1.5, 0, -2]))).toMatchObject({
      result: { regressions: [{ value: 1.5 }, {}, { value: -2 }] },
    });
  });

  test('tasks and their results keep their order', () => {
    const tasks = [
      { spec, methodName: 'tensorflow/serving/regress' },
      { spec: ABSENT_SPEC, methodName: '' },
      { spec: { ...spec, version: 2 }, methodName: 'tensorflow/serving/classify' },
    ];
    expect(decodeMultiInferenceRequest(encodeMultiInferenceRequest(tasks, { examples: [] })).tasks).toEqual(tasks);
    const response = encodeMultiInferenceResponse([
      { type: 'regression', spec: answered, values: [4] },
      { type: 'classification', spec: { ...answered, version: 0 }, rows: [[{ label: 'x', score: 1 }]] },
    ]);
    expect(asObject(root, 'tensorflow.serving.MultiInferenceResponse', response)).toEqual({
      results: [
        { model_spec: { name: 'm', version: { value: '3' }, signature_name: 's' }, regression_result: { regressions: [{ value: 4 }] } },
        {
          model_spec: { name: 'm', version: {}, signature_name: 's' },
          classification_result: { classifications: [{ classes: [{ label: 'x', score: 1 }] }] },
        },
      ],
    });
  });
});
