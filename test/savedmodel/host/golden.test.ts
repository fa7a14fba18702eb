import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ServeError } from '#mesh/errors.ts';
import type { DType } from '#mesh/tensor.ts';
import { bfloat16ToFloat, halfToFloat } from '../../../savedmodel/host/half.ts';
import { allocate } from '../../../savedmodel/host/host-tensor.ts';
import { HOST_OPS } from '../../../savedmodel/host/index.ts';
import type { HostAttrs, HostData, HostTensor } from '../../../savedmodel/host-value.ts';

/** A tensor of the goldens: numbers as base64 bytes in `b`, strings one by one in `v`. */
interface GoldenTensor {
  readonly d: DType;
  readonly s: readonly number[];
  readonly b?: string;
  readonly v?: readonly string[];
}

type GoldenAttr = {
  readonly i?: number;
  readonly f?: number;
  readonly b?: boolean;
  readonly s?: string;
  readonly t?: DType;
  readonly shape?: readonly number[] | null;
  readonly l?: readonly GoldenAttr[];
};

interface Golden {
  readonly op: string;
  readonly in: readonly GoldenTensor[];
  readonly attrs: Readonly<Record<string, GoldenAttr>>;
  readonly out?: readonly GoldenTensor[];
  readonly error?: string;
  readonly code?: string;
}

const GOLDENS = readdirSync(import.meta.dirname)
  .filter((file) => file.startsWith('goldens') && file.endsWith('.json'))
  .flatMap((file) => JSON.parse(readFileSync(join(import.meta.dirname, file), 'utf8')) as readonly Golden[]);

describe('host ops answer as TensorFlow does', () => {
  const byOp = Map.groupBy(GOLDENS, (golden) => golden.op);
  for (const [op, goldens] of byOp) {
    test(`${op} in ${goldens.length} cases`, () => {
      const kernel = HOST_OPS.get(op);
      if (kernel === undefined) throw new Error(`no kernel of ${op}`);
      const differences = goldens.flatMap((golden) => {
        const difference = compare(golden, () => kernel(golden.in.map(hostTensor), attrsOf(golden.attrs)));
        return difference === undefined ? [] : [`${difference}\n   ${describeCase(golden)}`];
      });
      expect(differences.join('\n')).toBe('');
    });
  }

  test('every op has a golden case', () => {
    expect([...HOST_OPS.keys()].filter((op) => !byOp.has(op) && !WITHOUT_GOLDEN.has(op))).toEqual([]);
  });

  test('there are 80 host ops and more', () => {
    expect(HOST_OPS.size).toBeGreaterThanOrEqual(80);
  });
});

/** Drawn anew each time: see random.test.ts. */
const DRAWN = ['RandomUniform', 'RandomStandardNormal', 'TruncatedNormal', 'RandomUniformInt', 'Multinomial', 'RandomShuffle'];

/**
 * A resource cannot be an input of a golden case; TensorFlow 2.21 has no kernel of BoostedTreesBucketize any more: see tables.test.ts.
 * The bytes of EncodePng are those of another deflate: see inverses.property.test.ts.
 */
const WITHOUT_GOLDEN: ReadonlySet<string> = new Set(['ResourceGather', 'BoostedTreesBucketize', 'EncodePng', ...DRAWN]);

/** Relative, with a tenth of it absolute, where TensorFlow computes in floats and this in doubles; 1e-6 for all others. */
const TOLERANCES: Readonly<Record<string, number>> = {
  FFT: 1e-5,
  IFFT: 1e-5,
  FFT2D: 1e-5,
  IFFT2D: 1e-5,
  FFT3D: 1e-5,
  IFFT3D: 1e-5,
  RFFT: 1e-5,
  IRFFT: 1e-5,
  Betainc: 1e-5,
  MatrixInverse: 1e-5,
  MatrixSolve: 1e-5,
  MatrixTriangularSolve: 1e-5,
};

function compare(golden: Golden, run: () => readonly HostTensor[]): string | undefined {
  let outputs: readonly HostTensor[];
  try {
    outputs = run();
  } catch (error) {
    if (!(error instanceof ServeError)) return `threw ${error instanceof Error ? error.stack : error}`;
    if (golden.error === undefined) return `threw ${error.message}`;
    return error.message.trimEnd() === golden.error
      ? undefined
      : `said    ${JSON.stringify(error.message)}\n   not ${JSON.stringify(golden.error)}`;
  }
  if (golden.error !== undefined) return `did not throw ${golden.error}`;
  const wanted = golden.out ?? [];
  if (outputs.length !== wanted.length) return `gave ${outputs.length} outputs, not ${wanted.length}`;
  for (const [index, expected] of wanted.entries()) {
    const found = outputs[index];
    if (found === undefined) return 'output missing';
    const target = hostTensor(expected);
    if (found.dtype !== expected.d) return `output ${index} is ${found.dtype}, not ${expected.d}`;
    if (String(found.shape) !== String(expected.s)) return `output ${index} has shape [${found.shape}], not [${expected.s}]`;
    if (!sameData(found, target, TOLERANCES[golden.op] ?? 1e-6)) return `output ${index} is ${show(found)}\n   not ${show(target)}`;
  }
  return undefined;
}

function sameData(found: HostTensor, wanted: HostTensor, tolerance: number): boolean {
  if (found.data.length !== wanted.data.length) return false;
  for (let index = 0; index < wanted.data.length; index++) {
    const a = found.data[index];
    const b = wanted.data[index];
    if (a instanceof Uint8Array && b instanceof Uint8Array) {
      if (Buffer.compare(a, b) !== 0) return false;
    } else if (typeof a === 'number' && typeof b === 'number') {
      if (!near(decoded(a, found.dtype), decoded(b, wanted.dtype), found.dtype, tolerance)) return false;
    } else if (a !== b) return false;
  }
  return true;
}

function near(a: number, b: number, dtype: DType, tolerance: number): boolean {
  if (Object.is(a, b) || a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  if (!/^(float|double|half|complex64|complex128)$/.test(dtype)) return false;
  if (dtype === 'half') return Math.abs(a - b) <= 2 ** -10 * Math.abs(b);
  const wide = dtype === 'double' || dtype === 'complex128' ? 1e-6 : 1;
  return Math.abs(a - b) <= Math.max(tolerance * wide, dtype === 'double' ? 1e-11 : 0) * Math.abs(b) + 0.1 * tolerance;
}

function decoded(value: number, dtype: DType): number {
  return dtype === 'half' ? halfToFloat(value) : dtype === 'bfloat16' ? bfloat16ToFloat(value) : value;
}

function show(tensor: HostTensor): string {
  const values = tensor.data as ArrayLike<unknown>;
  return Array.from(values, (value) =>
    value instanceof Uint8Array ? JSON.stringify(Buffer.from(value).toString('latin1')) : String(value),
  ).join(' ');
}

function describeCase(golden: Golden): string {
  const attrs = Object.entries(golden.attrs).map(
    ([name, attr]) => `${name}=${attr.s === undefined ? JSON.stringify(attr) : JSON.stringify(fromBase64(attr.s).toString())}`,
  );
  return `with ${attrs.join(' ')} and ${golden.in.map((tensor) => `${tensor.d}[${tensor.s}] ${show(hostTensor(tensor)).slice(0, 300)}`).join('; ')}`;
}

function fromBase64(text: string): Buffer {
  return Buffer.from(text, 'base64');
}

function hostTensor(golden: GoldenTensor): HostTensor {
  const { d: dtype, s: shape } = golden;
  if (dtype === 'string') return { dtype, shape, data: (golden.v ?? []).map((text) => new Uint8Array(fromBase64(text))) };
  const bytes = fromBase64(golden.b ?? '');
  const count = shape.reduce((product, dim) => product * dim, 1);
  const data = allocate(dtype, count) as Exclude<HostData, readonly Uint8Array[]>;
  new Uint8Array(data.buffer).set(bytes);
  return { dtype, shape, data };
}

function attrsOf(attrs: Readonly<Record<string, GoldenAttr>>): HostAttrs {
  const read = <T>(name: string, pick: (attr: GoldenAttr) => T | undefined): T => {
    const attr = attrs[name];
    const value = attr === undefined ? undefined : pick(attr);
    if (value === undefined) throw new ServeError('INVALID_ARGUMENT', `attribute ${name} is missing or of another type`);
    return value;
  };
  const text = (attr: GoldenAttr) => (attr.s === undefined ? undefined : fromBase64(attr.s).toString());
  const list = <T>(name: string, pick: (attr: GoldenAttr) => T | undefined): readonly T[] =>
    read(name, (attr) => attr.l?.map((one) => pick(one)).filter((value) => value !== undefined)) as readonly T[];
  return {
    int: (name) => read(name, (attr) => attr.i),
    float: (name) => read(name, (attr) => attr.f),
    bool: (name) => read(name, (attr) => attr.b),
    text: (name) => read(name, text),
    dtype: (name) => read(name, (attr) => attr.t),
    bytes: (name) => read(name, (attr) => (attr.s === undefined ? undefined : new Uint8Array(fromBase64(attr.s)))),
    ints: (name) => list(name, (attr) => attr.i),
    bigints: (name) => list(name, (attr) => (attr.i === undefined ? undefined : BigInt(attr.i))),
    floats: (name) => list(name, (attr) => attr.f),
    dtypes: (name) => list(name, (attr) => attr.t),
    texts: (name) => list(name, text),
    shapes: (name) => list(name, (attr) => attr.shape),
    shape: (name) => read(name, (attr) => (attr.shape === undefined ? undefined : attr)).shape ?? null,
    has: (name) => attrs[name] !== undefined,
  };
}
