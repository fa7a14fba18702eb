/** Tensors for property tests. */
import fc from 'fast-check';
import { DTYPES, type DType, elementCount, packStrings, type Tensor } from '#mesh/tensor.ts';

/** Tensors of every dtype and of ranks 0 to 3, empty ones among them; strings are any bytes. */
export const anyTensor: fc.Arbitrary<Tensor> = fc
  .tuple(fc.constantFrom(...(Object.keys(DTYPES) as DType[])), fc.array(fc.nat({ max: 5 }), { maxLength: 3 }))
  .chain(([dtype, shape]) => tensorOf(dtype, shape));

/** Tensors of a dtype and shape. */
export function tensorOf(dtype: DType, shape: readonly number[]): fc.Arbitrary<Tensor> {
  const count = elementCount(shape);
  if (dtype === 'string') {
    const elements = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: count, maxLength: count });
    return elements.map((strings) => ({ dtype, shape, bytes: packStrings(strings) }));
  }
  const byteLength = count * DTYPES[dtype].byteSize;
  return fc.uint8Array({ minLength: byteLength, maxLength: byteLength }).map((bytes) => ({ dtype, shape, bytes }));
}
