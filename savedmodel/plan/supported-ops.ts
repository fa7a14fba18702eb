/** Which ops the planner may place where. */
import { TRANSLATORS } from '../translate/translators.ts';
import { runsOnHost } from './run/kernels.ts';

const LISTS_IN_ONNX = /^(EmptyTensorList|TensorList\w+)$/;

/** Ops that can become ONNX, as far as their names tell. */
export const ONNX_OPS = { has: (op: string): boolean => TRANSLATORS.has(op) || LISTS_IN_ONNX.test(op) };

/** Ops that a host step can be. */
export const HOST_STEP_OPS = { has: (op: string): boolean => runsOnHost(op) };
