/** Shapes of a TensorList's elements: partly known ones, as TensorFlow merges them. */
import type { PartialShape } from '../../graph.ts';
import { invalid, numbers, shapeText } from '../../host/host-tensor.ts';
import type { HostTensor } from '../../host-value.ts';

/** A shape as TensorFlow prints partly known ones: `[?,3]`, or `<unknown>`. */
export function partialText(shape: PartialShape): string {
  return shape === null ? '<unknown>' : shapeText(shape);
}

/** The element shape that an op's input says: a vector, or a scalar -1 for any. Throws INVALID_ARGUMENT for other scalars. */
export function shapeFromInput(tensor: HostTensor): PartialShape {
  const dims = Array.from(numbers(tensor));
  if (tensor.shape.length > 0) return dims;
  if (dims[0] !== -1) throw invalid('The only valid scalar shape tensor is the fully unknown shape specified as -1.');
  return null;
}

/** What both shapes say together. Throws INVALID_ARGUMENT with TensorFlow's words when they contradict each other. */
export function mergeShapes(left: PartialShape, right: PartialShape): PartialShape {
  if (left === null) return right;
  if (right === null) return left;
  if (!compatible(left, right)) {
    const what = left.length === right.length ? 'Incompatible shapes during merge' : 'Incompatible ranks during merge';
    throw invalid(`${what}: ${shapeText(left)} vs. ${shapeText(right)}`);
  }
  return left.map((size, axis) => (size < 0 ? (right[axis] ?? -1) : size));
}

/** Whether some shape fits both. */
export function compatible(left: PartialShape, right: PartialShape): boolean {
  if (left === null || right === null) return true;
  return left.length === right.length && left.every((size, axis) => size < 0 || (right[axis] ?? -1) < 0 || size === right[axis]);
}

/** Whether every size is known. */
export function isFull(shape: PartialShape): shape is readonly number[] {
  return shape?.every((size) => size >= 0) ?? false;
}
