/** Which ops a host step may have. */
import { HOST_OPS } from '../../host/index.ts';
import type { HostKernel } from '../../host-value.ts';
import { FLOW_OPS } from './flow-ops.ts';
import { LIST_OPS } from './list-ops.ts';
import { SCATTER_OPS } from './scatter-ops.ts';
import { type StepKernel, stepKernelOf } from './step-kernel.ts';
import { TABLE_OPS } from './table-ops.ts';
import { TRAINING_OPS } from './training-ops.ts';
import { VARIABLE_OPS } from './variable-ops.ts';

const OWN: ReadonlyMap<string, StepKernel> = new Map(
  [TABLE_OPS, VARIABLE_OPS, SCATTER_OPS, TRAINING_OPS, LIST_OPS, FLOW_OPS].flatMap((family) => Object.entries(family)),
);

/** The kernel of an op: a custom one, else one over variables, tables and lists, else a plain one. Undefined for an op that nobody computes. */
export function stepKernelFor(op: string, custom: ReadonlyMap<string, HostKernel> = new Map()): StepKernel | undefined {
  const given = custom.get(op);
  if (given !== undefined) return stepKernelOf(given);
  const own = OWN.get(op);
  if (own !== undefined) return own;
  const plain = HOST_OPS.get(op);
  return plain === undefined ? undefined : stepKernelOf(plain);
}

/** Whether a host step may have this op: what a planner asks before it places a node there. */
export function runsOnHost(op: string, custom: ReadonlyMap<string, HostKernel> = new Map()): boolean {
  return custom.has(op) || OWN.has(op) || HOST_OPS.has(op);
}
