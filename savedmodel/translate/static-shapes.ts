/** Shapes at translation time: -1 is an unknown size, null an unknown rank. */

/** A shape as far as it is known. */
export type StaticShape = readonly number[] | null;

/** The shape of an element-wise result with broadcasting. */
export function broadcastShapes(left: StaticShape, right: StaticShape): StaticShape {
  if (left === null || right === null) return null;
  const rank = Math.max(left.length, right.length);
  return Array.from({ length: rank }, (_, axis) => {
    const a = left[left.length - rank + axis] ?? 1;
    const b = right[right.length - rank + axis] ?? 1;
    if (a === 1) return b;
    if (b === 1) return a;
    return a === -1 ? b : a;
  });
}

/** What is known when both shapes describe the same value. */
export function mergeShapes(left: StaticShape, right: StaticShape): StaticShape {
  if (left === null || right === null) return left ?? right;
  if (left.length !== right.length) return left;
  return left.map((size, axis) => (size === -1 ? (right[axis] ?? -1) : size));
}

/** An axis counted from the start. A negative one counts from the end. */
export function fromStart(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** The shape after a reduction; negative axes are allowed. */
export function reducedShape(shape: StaticShape, axes: readonly number[] | null, keepDims: boolean): StaticShape {
  if (shape === null) return null;
  if (axes === null) return keepDims ? shape.map(() => -1) : null;
  const gone = new Set(axes.map((axis) => fromStart(axis, shape.length)));
  return keepDims ? shape.map((size, axis) => (gone.has(axis) ? 1 : size)) : shape.filter((_, axis) => !gone.has(axis));
}

/** True when every size is known. */
export function isFullyKnown(shape: StaticShape): boolean {
  return shape?.every((size) => size >= 0) ?? false;
}

/** A shape of which only the rank is known. */
export function unknownSizes(rank: number): readonly number[] {
  return Array.from({ length: rank }, () => -1);
}

/** What is known of a value that is one or the other. */
export function commonShape(left: StaticShape, right: StaticShape): StaticShape {
  if (left === null || right === null || left.length !== right.length) return null;
  return left.map((size, axis) => (size === right[axis] ? size : -1));
}
