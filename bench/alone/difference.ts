import type { NamedTensors, Tensor } from '#mesh/tensor.ts';

/**
 * The largest difference between answers and those of others, relative to the largest number of each answer; Infinity where names, shapes or
 * whole numbers differ. Outputs that another does not have count as different.
 */
export function largestDifference(answers: NamedTensors, others: readonly NamedTensors[]): number {
  let largest = 0;
  for (const other of others) {
    for (const [name, tensor] of answers) {
      const same = other.get(name);
      largest = Math.max(largest, same === undefined ? Number.POSITIVE_INFINITY : difference(tensor, same));
    }
  }
  return largest;
}

function difference(one: Tensor, other: Tensor): number {
  if (one.dtype !== other.dtype || one.shape.join() !== other.shape.join()) return Number.POSITIVE_INFINITY;
  if (one.dtype !== 'float') return Buffer.compare(one.bytes, other.bytes) === 0 ? 0 : Number.POSITIVE_INFINITY;
  const [left, right] = [floats(one), floats(other)];
  let apart = 0;
  let size = Number.MIN_VALUE;
  for (const [index, value] of left.entries()) {
    const against = right[index] ?? Number.NaN;
    if (Number.isNaN(value) || Number.isNaN(against)) return Number.POSITIVE_INFINITY;
    apart = Math.max(apart, Math.abs(value - against));
    size = Math.max(size, Math.abs(value));
  }
  return apart / size;
}

function floats({ bytes }: Tensor): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}
