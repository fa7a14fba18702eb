/** How far a float may be from TensorFlow's: 1e-4 of it, or 1e-5 where that is more. NaN is as far from NaN as 1 from 1. */
export function isClose(one: number, other: number): boolean {
  if (Object.is(one, other)) return true;
  return Math.abs(one - other) <= Math.max(1e-5, 1e-4 * Math.abs(one));
}
