/** Inputs for a signature: made up, or taken from a model's golden answers. */
import type { Signature } from '#mesh/signature.ts';
import { DTYPES, dtypeFromProtoName, elementCount, type NamedTensors, type Tensor } from '#mesh/tensor.ts';
import { createRandom } from './graph.ts';

/** Floats from 0 to 1 or whole numbers from 0 to `bound`, the same every time; free dimension 0 is `rows`. Throws for other dtypes. */
export function sampleInputs(signature: Signature, rows: number, bound: number): NamedTensors {
  const random = createRandom(rows);
  const tensors = Object.entries(signature.inputs).map(([name, { dtype, shape }]): [string, Tensor] => {
    const sizes = (shape ?? []).map((size, axis) => (size === -1 && axis === 0 ? rows : size));
    if (sizes.some((size) => size < 0)) throw new TypeError(`input ${name} has free dimensions: [${shape}]`);
    const count = elementCount(sizes);
    if (dtype === 'float') return [name, tensorOf(dtype, sizes, Float32Array.from({ length: count }, random))];
    if (dtype === 'int32')
      return [
        name,
        tensorOf(
          dtype,
          sizes,
          Int32Array.from({ length: count }, () => Math.floor(random() * bound)),
        ),
      ];
    throw new TypeError(`input ${name} is ${dtype}; float or int32 was expected`);
  });
  return new Map(tensors);
}

/** A tensor of golden.json. */
interface GoldenTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly b64: string;
}

/** The inputs of the first call of a signature in a golden.json, their first row `rows` times; what has no rows stays as it is. */
export function goldenInputs(golden: string, signature: string, rows: number): NamedTensors {
  const { signatures } = JSON.parse(golden) as {
    readonly signatures: readonly { readonly signature: string; readonly inputs: Readonly<Record<string, GoldenTensor>> }[];
  };
  const call = signatures.find((one) => one.signature === signature);
  if (call === undefined) throw new TypeError(`golden.json has no call of ${signature}`);
  return new Map(Object.entries(call.inputs).map(([name, stored]) => [name, withRows(fromGolden(name, stored), rows)]));
}

function fromGolden(name: string, { dtype: protoName, shape, b64 }: GoldenTensor): Tensor {
  const dtype = dtypeFromProtoName(protoName);
  if (dtype === undefined || dtype === 'string') throw new TypeError(`input ${name} is ${protoName}; a number was expected`);
  return { dtype, shape, bytes: new Uint8Array(Buffer.from(b64, 'base64')) };
}

function withRows({ dtype, shape, bytes }: Tensor, rows: number): Tensor {
  const [, ...inner] = shape;
  if (shape.length === 0) return { dtype, shape, bytes };
  const row = bytes.subarray(0, elementCount(inner) * DTYPES[dtype].byteSize);
  return { dtype, shape: [rows, ...inner], bytes: new Uint8Array(Buffer.concat(Array.from({ length: rows }, () => row))) };
}

function tensorOf(dtype: Tensor['dtype'], shape: readonly number[], values: Float32Array | Int32Array): Tensor {
  return { dtype, shape, bytes: new Uint8Array(values.buffer) };
}
