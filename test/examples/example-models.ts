/** The SavedModels of `examples/`: what TensorFlow answered, in the forms in which clients ask. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DTYPES, elementCount, type NamedTensors, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { decodeExample } from '#proto/example.ts';
import type { Example } from '../../examples/clients/node/prediction-service.ts';
import type { TensorProto } from '../../examples/clients/node/tensors.ts';
import { type RunningMesh, startRunningMesh } from '../embedded/running-mesh.ts';
import { loadPatternGolden } from '../savedmodel/goldens/goldens.ts';

/** The folder of the examples. */
export const EXAMPLES: string = join(import.meta.dirname, '../../examples');

/** The models of `examples/savedmodels.config`. */
export const MODELS = ['half_plus_two', 'mnist', 'segmentation', 'digit_detector'] as const;

/** One call of a signature, and TensorFlow's answer. */
export interface GoldenCall {
  readonly model: string;
  readonly signature: string;
  readonly methodName: string;
  readonly inputs: NamedTensors;
  readonly outputs: NamedTensors;
}

/** All calls of a model's golden.json. */
export function goldenCalls(model: string): GoldenCall[] {
  return loadPatternGolden(join(EXAMPLES, 'savedmodels', model)).calls.map(({ signature, methodName, inputs, answer }) => {
    if (answer.type !== 'outputs') throw new Error(`the golden answer of ${model} ${signature} is an error`);
    return { model, signature, methodName, inputs, outputs: answer.outputs };
  });
}

/** A mesh that serves `examples/savedmodels.config` as it stands, with the models where they lie, and further flags. */
export function startExampleMesh(flags: readonly string[] = []): Promise<RunningMesh> {
  const config = readFileSync(join(EXAMPLES, 'savedmodels.config'), 'utf8');
  return startRunningMesh({
    prepare: () => undefined,
    config: () => config.replaceAll('"/models/', `"${join(EXAMPLES, 'savedmodels')}/`),
    flags: (folder) => [`--import_cache_dir=${join(folder, 'imports')}`, ...flags],
  });
}

/** The elements of a tensor, row-major: numbers, or the text of strings. */
export function elementsOf({ dtype, shape, bytes }: Tensor): readonly (number | string)[] {
  const buffer = Uint8Array.from(bytes).buffer;
  if (dtype === 'float') return Array.from(new Float32Array(buffer));
  if (dtype === 'int64') return Array.from(new BigInt64Array(buffer), Number);
  if (dtype === 'uint8') return Array.from(bytes);
  if (dtype === 'string') return unpackStrings(bytes, elementCount(shape)).map((one) => Buffer.from(one).toString());
  throw new TypeError(`no example has a tensor of ${dtype}`);
}

/** The tensor as a request's JSON, bytes in base64. */
export function jsonOf(tensor: Tensor): unknown {
  const elements =
    tensor.dtype === 'string'
      ? unpackStrings(tensor.bytes, elementCount(tensor.shape)).map((one) => ({ b64: Buffer.from(one).toString('base64') }))
      : elementsOf(tensor);
  return tensor.shape.reduceRight<readonly unknown[]>((flat, size) => rowsOf(flat, size), elements)[0];
}

/** The tensor as a gRPC message. */
export function protoOf({ dtype, shape, bytes }: Tensor): TensorProto {
  const head = { dtype: DTYPES[dtype].protoName, tensor_shape: { dim: shape.map((size) => ({ size })) } };
  return dtype === 'string' ? { ...head, string_val: unpackStrings(bytes, elementCount(shape)) } : { ...head, tensor_content: bytes };
}

/** The tf.Examples of a call whose only input is `inputs`, a vector of serialized ones; null for other calls. */
export function examplesOf(call: GoldenCall): readonly Example[] | null {
  const tensor = call.inputs.get('inputs');
  if (tensor?.dtype !== 'string') return null;
  return unpackStrings(tensor.bytes, elementCount(tensor.shape)).map((bytes) =>
    Object.fromEntries(
      [...decodeExample(bytes)].map(([name, feature]) => {
        if (feature.kind === 'bytes') return [name, { bytes_list: { value: feature.values } }];
        if (feature.kind === 'float') return [name, { float_list: { value: Array.from(feature.values) } }];
        throw new TypeError(`no example has a feature of ${feature.kind}`);
      }),
    ),
  );
}

/** Where the elements found differ from a tensor's: floats by more than 1e-5 and 1e-4 of their size, strings and integers at all. */
export function differences(found: readonly unknown[], tensor: Tensor): readonly string[] {
  const wanted = elementsOf(tensor);
  if (found.length !== wanted.length) return [`${found.length} elements, not ${wanted.length}`];
  return wanted.flatMap((one, index) => {
    const other = found[index];
    const near =
      tensor.dtype === 'float' && typeof one === 'number' && typeof other === 'number'
        ? Math.abs(one - other) <= 1e-5 + 1e-4 * Math.abs(one)
        : other === one;
    return near ? [] : [`element ${index} is ${String(other)}, not ${one}`];
  });
}

function rowsOf(flat: readonly unknown[], size: number): readonly unknown[] {
  const count = size === 0 ? 0 : flat.length / size;
  return Array.from({ length: count }, (_, row) => flat.slice(row * size, (row + 1) * size));
}
