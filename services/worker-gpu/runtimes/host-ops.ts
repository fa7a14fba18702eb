/** Ops that run in TypeScript because ONNX cannot carry their values: byte strings, bfloat16, complex numbers. */
import { ServeError } from '#mesh/errors.ts';
import { elementCount, type Tensor, unpackStrings } from '#mesh/tensor.ts';

/** The names of the ops, as `signatures.json` gives them. */
export type HostOp = 'Identity' | 'StringLength';

/** What each op does to its one input. */
export const HOST_OPS: Readonly<Record<HostOp, (input: Tensor) => Tensor>> = {
  /** The input itself, any dtype. */
  Identity: (input) => input,
  /** The bytes of each string, int32, of the input's shape. */
  StringLength(input) {
    if (input.dtype !== 'string') throw new ServeError('INVALID_ARGUMENT', `StringLength takes string, ${input.dtype} came`);
    const lengths = Int32Array.from(unpackStrings(input.bytes, elementCount(input.shape)), (element) => element.byteLength);
    return { dtype: 'int32', shape: input.shape, bytes: new Uint8Array(lengths.buffer) };
  },
};

/** True for a name of a host op. */
export function isHostOp(name: string): name is HostOp {
  return Object.hasOwn(HOST_OPS, name);
}
