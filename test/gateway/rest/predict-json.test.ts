import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ServeError } from '#mesh/errors.ts';
import type { Signature } from '#mesh/signature.ts';
import { type DType, elementCount, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { encodePredict } from '../../../services/gateway/rest/predict-answer.ts';
import { decodePredict } from '../../../services/gateway/rest/predict-json.ts';
import { scanPredict } from '../../../services/gateway/rest/predict-scan.ts';
import { readPredict } from '../../../services/gateway/rest/predict-tape.ts';
import { signatureOf } from './computing-core.ts';

const FLOAT = signatureOf({ x: 'float' }, { y: 'float' });
const DOUBLE = signatureOf({ x: 'double' }, { y: 'double' });

function decode(body: string | Uint8Array, signature: Signature) {
  return decodePredict(Buffer.from(body), () => signature);
}

function valuesOf(tensor: Tensor | undefined): unknown[] {
  if (tensor === undefined) throw new Error('no such tensor');
  const { buffer } = new Uint8Array(tensor.bytes);
  switch (tensor.dtype) {
    case 'float':
      return [...new Float32Array(buffer)];
    case 'double':
      return [...new Float64Array(buffer)];
    case 'int8':
      return [...new Int8Array(buffer)];
    case 'int16':
      return [...new Int16Array(buffer)];
    case 'int32':
      return [...new Int32Array(buffer)];
    case 'uint8':
      return [...new Uint8Array(buffer)];
    case 'uint32':
      return [...new Uint32Array(buffer)];
    case 'int64':
      return [...new BigInt64Array(buffer)];
    case 'uint64':
      return [...new BigUint64Array(buffer)];
    case 'bool':
      return [...new Uint8Array(buffer)].map((value) => value === 1);
    default:
      return unpackStrings(tensor.bytes, elementCount(tensor.shape)).map((element) => Buffer.from(element).toString());
  }
}

/** What `action` throws, as code and text. */
function failure(action: () => unknown): string {
  try {
    action();
  } catch (caught) {
    if (caught instanceof ServeError) return `${caught.code}: ${caught.message}`;
    throw caught;
  }
  return 'no error';
}

/** Numbers as clients write them: shortest, fixed, exponential, and digits at random. */
const numberText = fc.oneof(
  fc
    .double({ noNaN: true, noDefaultInfinity: true })
    .map(String)
    .map((text) => text.replace(/^-0$/, '-0.0')),
  fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => (Object.is(value, -0) ? '-0.0' : String(value))),
  fc
    .tuple(fc.double({ min: -1e6, max: 1e6, noNaN: true }), fc.nat(20))
    .map(([value, digits]) => value.toFixed(digits))
    .filter((text) => text !== '-0'),
  fc.tuple(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.nat(20)).map(([value, digits]) => value.toExponential(digits)),
  fc
    .tuple(fc.bigInt({ min: -(10n ** 25n), max: 10n ** 25n }), fc.bigInt({ min: 0n, max: 10n ** 24n }))
    .map(([whole, part]) => `${whole}.${part}`),
  fc.bigInt({ min: -(10n ** 22n), max: 10n ** 22n }).map(String),
);

describe('decodePredict', () => {
  test('reads every number exactly as JSON.parse does, rounded once for floats', () => {
    fc.assert(
      fc.property(fc.array(numberText, { minLength: 1, maxLength: 20 }), (texts) => {
        const parsed = texts.map((text) => Number(text));
        const body = `{"instances": [${texts.join(',')}]}`;
        expect(valuesOf(decode(body, DOUBLE).inputs.get('x'))).toEqual(parsed);
        expect(valuesOf(decode(body, FLOAT).inputs.get('x'))).toEqual(parsed.map(Math.fround));
      }),
      { numRuns: 500 },
    );
  });

  test('reads floats next to the middle between two singles exactly', () => {
    fc.assert(
      fc.property(
        fc.float({ min: Math.fround(1e-10), max: Math.fround(1e10), noNaN: true }),
        fc.integer({ min: -3, max: 3 }),
        fc.integer({ min: 14, max: 20 }),
        (single, ulps, digits) => {
          const bits = new Uint32Array(Float32Array.of(single).buffer);
          bits[0] = (bits[0] ?? 0) + 1;
          const above = new Float32Array(bits.buffer)[0] ?? 0;
          const middle = new BigInt64Array(Float64Array.of((single + above) / 2).buffer);
          middle[0] = (middle[0] ?? 0n) + BigInt(ulps);
          const text = (new Float64Array(middle.buffer)[0] ?? 0).toPrecision(digits);
          expect(valuesOf(decode(`{"instances":[${text}]}`, FLOAT).inputs.get('x'))).toEqual([Math.fround(Number(text))]);
        },
      ),
      { numRuns: 500 },
    );
  });

  const roundTrips: readonly [DType, fc.Arbitrary<unknown>][] = [
    ['float', fc.float({ noNaN: true })],
    ['double', fc.double({ noNaN: true })],
    ['int8', fc.integer({ min: -128, max: 127 })],
    ['uint8', fc.integer({ min: 0, max: 255 })],
    ['int16', fc.integer({ min: -32768, max: 32767 })],
    ['int32', fc.integer()],
    ['uint32', fc.integer({ min: 0, max: 2 ** 32 - 1 })],
    ['int64', fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
    ['uint64', fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })],
    ['bool', fc.boolean()],
    ['string', fc.string({ unit: 'binary' })],
  ];

  test.each(roundTrips)('gives back what encodePredict wrote: %s, row and columnar', (dtype, element) => {
    const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 });
    const signature = signatureOf({ y: dtype }, {});
    fc.assert(
      fc.property(
        shapes.chain((shape) =>
          fc.tuple(fc.constant(shape), fc.array(element, { minLength: elementCount(shape), maxLength: elementCount(shape) })),
        ),
        ([shape, elements]) => {
          const body = JSON.stringify({ inputs: nest(shape, elements.map(plain)) })
            .replaceAll('"#', '')
            .replaceAll('#"', '');
          const { inputs, format } = decode(body, signature);
          expect(format).toBe('columnar');
          const columnar = encodePredict(inputs, 'columnar').toString();
          const again = decode(columnar.replace('"outputs"', '"inputs"'), signature);
          expect(again.inputs).toEqual(inputs);
          if (shape[0] === 0) return;
          const row = encodePredict(inputs, 'row').toString();
          expect(decode(row.replace('"predictions"', '"instances"'), signature).inputs).toEqual(inputs);
          expect(valuesOf(inputs.get('y'))).toEqual(elements);
        },
      ),
      { numRuns: 100 },
    );
  });

  /** A value as JSON text allows it; `#` marks where quotes are to be taken away. */
  function plain(value: unknown): unknown {
    if (typeof value === 'bigint') return `#${value}#`;
    if (Object.is(value, -0)) return '#-0.0#';
    if (typeof value === 'number' && !Number.isFinite(value)) return `#${value}#`;
    return typeof value === 'string' ? value.replaceAll('#', '') && value : value;
  }

  function nest(shape: readonly number[], elements: readonly unknown[]): unknown {
    const [size, ...inner] = shape;
    if (size === undefined) return elements[0];
    const width = elementCount(inner);
    return Array.from({ length: size }, (_, index) => nest(inner, elements.slice(index * width, (index + 1) * width)));
  }

  const bodies: readonly [string, string, Signature][] = [
    ['a row of scalars', '{"instances":[1,2.5,-3e2]}', FLOAT],
    ['spaces everywhere', ' {\n"instances" : [ [ 1 , 2 ] ,\t[ 3.25 , 4 ] ] } ', FLOAT],
    ['named rows', '{"instances":[{"a":[1,2],"b":"p"},{"b":"q","a":[3,4]}]}', signatureOf({ a: 'float', b: 'string' }, {})],
    ['named rows of one input', '{"instances":[{"x":[1,2]},{"x":[3,4]}]}', FLOAT],
    ['named columns', '{"inputs":{"b":[true,false],"a":7}}', signatureOf({ a: 'int64', b: 'bool' }, {})],
    ['a bare column', '{"inputs":[[1],[2]]}', FLOAT],
    ['a bare scalar', '{"inputs":1.5}', FLOAT],
    ['empty lists', '{"inputs":[[],[]]}', FLOAT],
    ['base64 rows', '{"instances":[{"b64":"aGVsbG8="},{"b64":""},"plain"]}', signatureOf({ x: 'string' }, {})],
    ['a signature named last', '{"instances":[1.5],"signature_name":"other"}', FLOAT],
    ['what follows the document', '{"instances":[1.5]}garbage', FLOAT],
  ];

  test.each(bodies)('reads %s on the fast path, to the same tensors as the complete path', (_title, body, signature) => {
    const fast = scanPredict(Buffer.from(body), () => signature);
    expect(fast).toBeDefined();
    expect(fast).toEqual(readPredict(Buffer.from(body), () => signature));
  });

  test('never disagrees between its two paths, and never throws anything but ServeError', () => {
    const signature = signatureOf({ a: 'float', b: 'string' }, {});
    const single = signatureOf({ x: 'int32' }, {});
    const pieces = fc.array(
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        ' ',
        '"instances"',
        '"inputs"',
        '"signature_name"',
        '"a"',
        '"b"',
        '"x"',
        '"b64"',
        '1',
        '-2.5',
        '1e3',
        'true',
        'null',
        'NaN',
        '"s"',
        '"\\u00e9"',
        '"aGk="',
        '0',
        '\u0000',
      ),
      { maxLength: 30 },
    );
    const wrapped = fc
      .tuple(fc.constantFrom('{"instances":[', '{"inputs":', '{"inputs":{"x":', ''), pieces, fc.constantFrom(']}', '}', '}}', ''))
      .map(([open, inner, close]) => open + inner.join('') + close);
    fc.assert(
      fc.property(wrapped, fc.constantFrom(signature, single, FLOAT), (body, one) => {
        const bytes = Buffer.from(body);
        const fast = scanPredict(bytes, () => one);
        if (fast === undefined) failure(() => readPredict(bytes, () => one));
        else expect(readPredict(bytes, () => one)).toEqual(fast);
      }),
      { numRuns: 5000 },
    );
  });

  test('answers random bytes and truncations with ServeError or tensors', () => {
    const whole = Buffer.from('{"signature_name":"serving_default","instances":[[1.5,2e1],[3,-4.25]]}');
    for (let length = 0; length < whole.byteLength; length++)
      expect(failure(() => decode(whole.subarray(0, length), FLOAT))).toMatch(/^INVALID_ARGUMENT: JSON Parse error/);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void failure(() => decode(bytes, FLOAT))),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.nat(whole.byteLength - 1), fc.nat(255), (at, byte) => {
        const bent = Buffer.from(whole);
        bent[at] = byte;
        failure(() => decode(bent, FLOAT));
      }),
      { numRuns: 1000 },
    );
  });

  test('takes 500,000 levels without a crash', () => {
    const deep = `{"instances":${'['.repeat(500_000)}${']'.repeat(500_000)}}`;
    expect(failure(() => decode(deep, FLOAT))).toBe('INVALID_ARGUMENT: tensor parsing error: x');
    expect(failure(() => decode(`{"instances":${'['.repeat(500_000)}`, FLOAT))).toBe(
      'INVALID_ARGUMENT: JSON Parse error: Invalid value. at offset: 500013',
    );
    expect(failure(() => decode(`${'{"a":'.repeat(500_000)}1${'}'.repeat(500_000)}`, FLOAT))).toBe(
      "INVALID_ARGUMENT: Missing 'inputs' or 'instances' key",
    );
  });

  test('takes NaN and infinities in both spellings', () => {
    const { inputs } = decode('{"instances":[NaN,Inf,Infinity,-Infinity,-Inf]}', FLOAT);
    expect(valuesOf(inputs.get('x'))).toEqual([Number.NaN, Infinity, Infinity, -Infinity, -Infinity]);
  });

  test('takes -0 as an integer and -0.0 as a float', () => {
    expect(valuesOf(decode('{"instances":[-0, -0.0]}', FLOAT).inputs.get('x'))).toEqual([0, -0]);
  });

  test('resolves escapes and base64 to the same bytes', () => {
    const { inputs } = decode(
      '{"instances":["\\ud83d\\ude00\\n", {"b64": "8J-YgAo="}, {"b64":" 8J+Y gAo"}]}'.replace('8J-', '8J+'),
      signatureOf({ x: 'string' }, {}),
    );
    expect(valuesOf(inputs.get('x'))).toEqual(['😀\n', '😀\n', '😀\n']);
  });

  const errors: readonly [string, Signature, string][] = [
    ['', FLOAT, 'JSON Parse error: The document is empty'],
    ['  ', FLOAT, 'JSON Parse error: The document is empty. at offset: 2'],
    ['{"a"', FLOAT, 'JSON Parse error: Missing a colon after a name of object member. at offset: 4'],
    ['{"a":1 "b"', FLOAT, "JSON Parse error: Missing a comma or '}' after an object member. at offset: 7"],
    ['{"a":[1 2]}', FLOAT, "JSON Parse error: Missing a comma or ']' after an array element. at offset: 8"],
    ['{"a":nul}', FLOAT, 'JSON Parse error: Invalid value. at offset: 8'],
    ['{"a":1.}', FLOAT, 'JSON Parse error: Miss fraction part in number. at offset: 7'],
    ['{"a":1e}', FLOAT, 'JSON Parse error: Miss exponent in number. at offset: 7'],
    ['{"a":1e309}', FLOAT, 'JSON Parse error: Number too big to be stored in double. at offset: 5'],
    ['{"a":"b', FLOAT, 'JSON Parse error: Missing a closing quotation mark in string. at offset: 7'],
    ['{"a":"\\x"}', FLOAT, 'JSON Parse error: Invalid escape character in string. at offset: 6'],
    ['{"a":"\\u00g0"}', FLOAT, 'JSON Parse error: Incorrect hex digit after \\u escape in string. at offset: 6'],
    ['{"a":"\\ud800x"}', FLOAT, 'JSON Parse error: The surrogate pair in string is invalid. at offset: 6'],
    ['{}', FLOAT, "Missing 'inputs' or 'instances' key"],
    [
      '{"instances":[[1],[2,3]]}',
      FLOAT,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2",
    ],
    [
      '{"instances":[[[1,2]],[[3],[4]]]}',
      FLOAT,
      "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1,2] but got: [2,1]",
    ],
    ['{"inputs":[[1,2],[3]]}', FLOAT, 'Encountered list at unexpected size: 1 at level: 1 expected size: 2'],
    ['{"inputs":[1,[2]]}', FLOAT, 'Encountered list at unexpected level: 1 expected < 1'],
    ['{"inputs":[[1],2]}', FLOAT, 'JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2'],
    ['{"instances":[{"x":1},[2]]}', FLOAT, 'Expecting object but got list at item 1 of input list'],
    ['{"instances":[1,{"x":2}]}', FLOAT, 'Expecting value/list but got object at item 1 of input list'],
    ['{"inputs":{"z":1}}', FLOAT, "Missing named input: x in 'inputs' object."],
    ['{"inputs":{"x":{"a":1}}}', signatureOf({ x: 'string' }, {}), 'JSON Value: {\n    "a": 1\n} not formatted correctly for base64 data'],
    [
      '{"inputs":[1]}',
      signatureOf({ x: 'float', y: 'float' }, {}),
      'inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map',
    ],
    ['{"inputs":[1]}', signatureOf({}, {}), 'Failed to get input map for signature: DEFAULT'],
    ['{"signature_name":"s","inputs":[1]}', signatureOf({}, {}), 'Failed to get input map for signature: s'],
  ];

  test.each(errors)('refuses %j', (body, signature, message) => {
    expect(failure(() => decode(body, signature))).toBe(`INVALID_ARGUMENT: ${message}`);
  });

  test('reports broken JSON before an unknown model, and an unknown model before wrong tensors', () => {
    const unknown = () => {
      throw new ServeError('NOT_FOUND', 'Servable not found for request: Latest(m)');
    };
    expect(failure(() => decodePredict(Buffer.from('{"instances":[1'), unknown))).toMatch(/JSON Parse error/);
    expect(failure(() => decodePredict(Buffer.from('{"instances":[1],"signature_name":5}'), unknown))).toMatch(
      /'signature_name' key must be/,
    );
    expect(failure(() => decodePredict(Buffer.from('{"instances":["a"]}'), unknown))).toMatch(/^NOT_FOUND/);
  });

  test('cuts the value in an error text after about 256 bytes', () => {
    const text = failure(() => decode(`{"instances":{"a":[${'1,'.repeat(10_000)}1]}}`, FLOAT));
    expect(text.length).toBeLessThan(400);
    expect(text).toMatch(
      /^INVALID_ARGUMENT: JSON Value: \{\n {4}"instances": \{\n {8}"a": \[1, 1, .* Expecting 'instances' to be an list\/array$/s,
    );
  });
});
