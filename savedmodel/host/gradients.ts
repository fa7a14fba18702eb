/** Ops that only the gradients of training signatures use. */

import type { HostKernel, HostTensor } from '../host-value.ts';
import { fromNumbers, type HostKernels, input, invalid, numbers, shapeText } from './host-tensor.ts';

/** Along which axes the gradients of two broadcast shapes are summed: those that broadcasting stretched. Equal shapes have none. */
const broadcastGradientArgs: HostKernel = (inputs) => {
  const shapes = [input(inputs, 0), input(inputs, 1)].map((one) => Array.from(numbers(one)));
  const rank = Math.max(...shapes.map((shape) => shape.length));
  const [left = [], right = []] = shapes.map((shape) => [...new Array<number>(rank - shape.length).fill(1), ...shape]);
  const isSame = String(shapes[0]) === String(shapes[1]);
  const reduced: [number[], number[]] = [[], []];
  for (let axis = 0; axis < rank && !isSame; axis++) {
    const [one = 1, other = 1] = [left[axis], right[axis]];
    if (one !== other && one !== 1 && other !== 1) throw invalid(`Incompatible shapes: ${shapes.map(shapeText).join(' vs. ')}`);
    if (one === 1) reduced[0].push(axis);
    if (other === 1) reduced[1].push(axis);
  }
  const { dtype } = input(inputs, 0);
  return reduced.map((axes): HostTensor => fromNumbers(dtype, [axes.length], axes));
};

/** Kernels by op. */
export const GRADIENT_OPS: HostKernels = { BroadcastGradientArgs: broadcastGradientArgs };
