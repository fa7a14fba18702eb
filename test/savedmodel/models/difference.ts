import type { Tensor } from '#mesh/tensor.ts';
import { hostTensorOf } from '../../../savedmodel/flatten/index.ts';
import { bfloat16ToFloat, halfToFloat } from '../../../savedmodel/host/half.ts';

/** How close is close enough. */
export interface Closeness {
  /** Relative and absolute; by default 1e-4 and 1e-5, and for half and bfloat16 what their digits allow. */
  readonly tolerance?: number | undefined;
  /** Only dtype and shape count. */
  readonly onlyType?: boolean;
}

/** Where a tensor differs from TensorFlow's, in words; null when it is equal: integers, bools and strings exactly, floats closely. */
export function difference(given: Tensor | undefined, wanted: Tensor, { tolerance, onlyType = false }: Closeness = {}): string | null {
  if (given === undefined) return 'it is missing';
  if (given.dtype !== wanted.dtype) return `it is ${given.dtype}, not ${wanted.dtype}`;
  if (String(given.shape) !== String(wanted.shape)) return `its shape is [${given.shape}], not [${wanted.shape}]`;
  if (onlyType) return null;
  const [left, right] = [hostTensorOf(given).data, hostTensorOf(wanted).data];
  const [relative, absolute] = limitsOf(wanted.dtype, tolerance);
  for (let index = 0; index < right.length; index++) {
    const [one, other] = [left[index], right[index]];
    if (one instanceof Uint8Array && other instanceof Uint8Array) {
      if (Buffer.compare(one, other) !== 0) return `[${index}] is ${quoted(one)}, not ${quoted(other)}`;
    } else if (relative === 0) {
      if (one !== other) return `[${index}] is ${one}, not ${other}`;
    } else {
      const [number, goal] = [floatOf(one, wanted.dtype), floatOf(other, wanted.dtype)];
      const isClose = Object.is(number, goal) || number === goal || Math.abs(number - goal) <= absolute + relative * Math.abs(goal);
      if (!isClose) return `[${index}] is ${number}, not ${goal}`;
    }
  }
  return null;
}

function limitsOf(dtype: Tensor['dtype'], tolerance: number | undefined): readonly [number, number] {
  if (tolerance !== undefined) return [tolerance, tolerance];
  if (dtype === 'half') return [2e-3, 2e-3];
  if (dtype === 'bfloat16') return [2e-2, 2e-2];
  return /^(float|double|complex)/.test(dtype) ? [1e-4, 1e-5] : [0, 0];
}

function floatOf(element: unknown, dtype: Tensor['dtype']): number {
  if (dtype === 'half') return halfToFloat(Number(element));
  return dtype === 'bfloat16' ? bfloat16ToFloat(Number(element)) : Number(element);
}

function quoted(bytes: Uint8Array): string {
  return JSON.stringify(Buffer.from(bytes).toString('latin1').slice(0, 80));
}
