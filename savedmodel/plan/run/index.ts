/** Running plans: see `plan.ts` for what they are. */

export type { HostAttrs, HostKernel, HostTensor } from '../../host-value.ts';
export { runsOnHost } from './kernels.ts';
export { createPlanRunner, type PlanRunner, type PlanRunnerOptions } from './plan-runner.ts';
export { readPlan } from './read-plan.ts';
export type { SegmentRunner } from './segment-runner.ts';
export type { SharedState } from './shared-state.ts';
export { decodeAttr, encodeAttr, storeAttrs } from './stored-attr.ts';
