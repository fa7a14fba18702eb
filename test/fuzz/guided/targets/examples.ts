/** Serialized tf.Examples. */
import { elementCount, packStrings } from '#mesh/tensor.ts';
import { decodeExample, type Example, encodeExample } from '#proto/example.ts';
import { stringTensor } from '../../../../savedmodel/host/host-tensor.ts';
import { HOST_OPS } from '../../../../savedmodel/host/index.ts';
import type { HostAttrs } from '../../../../savedmodel/host-value.ts';
import { parseExamples } from '../../../../services/worker-gpu/runtimes/parse-example.ts';
import { loadRoot } from '../../../proto/protobuf-root.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

const SEEDS: readonly Example[] = [
  new Map([
    ['f', { kind: 'float', values: Float32Array.of(1, 2) }],
    ['i', { kind: 'int64', values: BigInt64Array.of(-1n) }],
    ['b', { kind: 'bytes', values: [Uint8Array.of(7), new Uint8Array(0)] }],
  ]),
  new Map([['f', { kind: 'none' }]]),
  new Map(),
];
const Second = loadRoot().lookupType('tensorflow.Example');

/** Written and read again it is the same; protobufjs reads the same; and wanting some features gives those of all. */
function tfExample(bytes: Uint8Array): void {
  const example = orRefused(() => decodeExample(bytes));
  if (example !== undefined) {
    agree('what is written and read again', decodeExample(encodeExample(example)), example);
    const wanted = new Set([...example.keys()].slice(0, 1));
    agree('what is wanted', decodeExample(bytes, wanted), new Map([...example].filter(([name]) => wanted.has(name))));
  }
  let again: Uint8Array;
  try {
    again = new Uint8Array(Second.encode(Second.decode(bytes)).finish());
  } catch {
    return;
  }
  const { features } = Second.toObject(Second.decode(again), { longs: String, bytes: String, defaults: false }) as {
    readonly features?: { readonly feature?: Readonly<Record<string, object>> };
  };
  const own = orRefused(() => decodeExample(again));
  if (own === undefined) throw new Error('what protobufjs wrote is refused');
  const names = Object.keys(features?.feature ?? {});
  if (!names.some((name) => /\ufffd|[\ud800-\udfff]/.test(name))) agree('the names', [...own.keys()].sort(), names.sort());
}

const FEATURES = {
  f: { dtype: 'float', shape: [2], onnx: 'f' },
  i: { dtype: 'int64', shape: [], onnx: 'i', defaults: [7] },
  b: { dtype: 'string', shape: [1], onnx: 'b', defaults: ['d'] },
} as const;
const ATTRS: Readonly<Record<string, unknown>> = {
  sparse_types: ['string', 'int64'],
  Tdense: ['float'],
  dense_shapes: [[2]],
  ragged_value_types: ['float'],
  ragged_split_types: ['int64'],
  num_sparse: 2,
};
const attr = (name: string) => ATTRS[name];
const HOST_ATTRS = { has: (name: string) => name in ATTRS, int: attr, dtypes: attr, shapes: attr, texts: attr } as unknown as HostAttrs;
const keys = (...names: readonly string[]) =>
  stringTensor(
    [names.length],
    names.map((name) => Buffer.from(name)),
  );

/** The worker's own parser and the importer's kernel. */
function parseExample(bytes: Uint8Array): void {
  const elements = [bytes, bytes];
  const parsed = orRefused(() => parseExamples({ dtype: 'string', shape: [2], bytes: packStrings(elements) }, FEATURES));
  for (const { shape } of parsed?.values() ?? []) if (shape[0] !== 2) throw new Error(`${shape} for two examples`);
  const kernel = HOST_OPS.get('ParseExampleV2');
  if (kernel === undefined) throw new Error('there is no kernel');
  const none = stringTensor([0], []);
  const dense = { dtype: 'float' as const, shape: [2], data: Float32Array.of(0, 0) };
  const outputs = orRefused(() => kernel([stringTensor([2], elements), none, keys('b', 'i'), keys('f'), keys('f'), dense], HOST_ATTRS));
  for (const { data, shape } of outputs ?? []) agree('elements and shape', data.length, elementCount(shape));
}

const seeds = () => SEEDS.map((example) => encodeExample(example));

/** Targets of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'tf-example',
    format: 'protobuf',
    covers: ['proto/example.ts', 'proto/wire.ts'],
    words: ['f', 'i', 'b', '__proto__'],
    seeds,
    check: tfExample,
  },
  {
    name: 'parse-example',
    format: 'protobuf',
    covers: ['proto/example.ts', 'savedmodel/host/', 'services/worker-gpu/runtimes/parse-example.ts'],
    words: ['f', 'i', 'b'],
    seeds,
    check: parseExample,
  },
];
