/** Broadcasting as NumPy and TensorFlow do it. */
import { elementCount } from '#mesh/tensor.ts';
import { indicesOf } from './arrays.ts';
import { dim, invalid, shapeText, strides } from './host-tensor.ts';

/** The shape two shapes broadcast to. Throws INVALID_ARGUMENT with TensorFlow's text when they do not. */
export function broadcastShape(left: readonly number[], right: readonly number[]): number[] {
  const rank = Math.max(left.length, right.length);
  return Array.from({ length: rank }, (_, axis) => {
    const a = left[axis - rank + left.length] ?? 1;
    const b = right[axis - rank + right.length] ?? 1;
    if (a !== b && a !== 1 && b !== 1) throw invalid(`Incompatible shapes: ${shapeText(left)} vs. ${shapeText(right)}`);
    return a === 1 ? b : a;
  });
}

/** For each element of `shape`, which element of a tensor of shape `from` it reads. */
export function broadcastIndices(from: readonly number[], shape: readonly number[]): Int32Array {
  if (elementCount(from) === 1) return new Int32Array(elementCount(shape));
  const steps = strides(from);
  const skipped = shape.length - from.length;
  return indicesOf(shape, (axis) => (axis < skipped || dim(from, axis - skipped) === 1 ? 0 : (steps[axis - skipped] ?? 0)), 0);
}
