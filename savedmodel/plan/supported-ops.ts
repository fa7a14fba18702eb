/** Which ops the planner may place where. */
import { TRANSLATED_OPS } from '../translate/translate-graph.ts';
import { runsOnHost } from './run/kernels.ts';

/** Ops that can become ONNX, as far as their names tell. */
export const ONNX_OPS = { has: (op: string): boolean => TRANSLATED_OPS.has(op) };

/** Ops that a host step can be. */
export const HOST_STEP_OPS = { has: (op: string): boolean => runsOnHost(op) };
