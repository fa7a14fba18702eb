/** What people want to see of a plan: how each signature is cut into segments and host steps, and what the worker keeps. */
import type { DType } from '#mesh/tensor.ts';
import type { OnnxGraph } from '#proto/onnx-writer.ts';
import type { Plan, SegmentValue, SignaturePlan, Step, TablePlan } from '../plan/plan.ts';

/** A whole plan. */
export interface PlanOutline {
  readonly signatures: Readonly<Record<string, SignatureOutline>>;
  readonly tables: readonly TableOutline[];
  readonly variables: readonly VariableOutline[];
  readonly remarks: readonly string[];
}

/** How one signature is run. Counts are over all steps, those of loops and branches included. */
export interface SignatureOutline {
  /** Requests may share a batch: rows are independent, and no state is written. */
  readonly batchable: boolean;
  readonly stateful: boolean;
  /** Only metadata shows it: nothing is run. */
  readonly listedOnly: boolean;
  /** Why it cannot be served, while other signatures can; null when it can. */
  readonly refusal: string | null;
  readonly segmentCount: number;
  readonly hostStepCount: number;
  /** In the order in which they run. */
  readonly steps: readonly StepOutline[];
}

/** One step. */
export type StepOutline =
  | {
      readonly type: 'onnx';
      readonly file: string;
      readonly nodeCount: number;
      /** How many nodes of each op, those in the bodies of loops and branches included. */
      readonly ops: Readonly<Record<string, number>>;
      readonly inputs: readonly SegmentValue[];
      readonly outputs: readonly SegmentValue[];
    }
  | { readonly type: 'host'; readonly op: string; readonly node: string }
  | {
      readonly type: 'while';
      readonly node: string;
      readonly carriedCount: number;
      readonly condition: readonly StepOutline[];
      readonly body: readonly StepOutline[];
    }
  /** Branches of an If: then, else. */
  | { readonly type: 'if' | 'case'; readonly node: string; readonly branches: readonly (readonly StepOutline[])[] };

/** A lookup table. */
export interface TableOutline {
  readonly name: string;
  readonly op: string;
  readonly keyDtype: DType;
  readonly valueDtype: DType;
  /** Signatures insert into it: it is state of the worker. */
  readonly written: boolean;
  /** Files below `assets/`, or how many keys a constant holds. */
  readonly sources: readonly ({ readonly file: string } | { readonly keyCount: number })[];
}

/** A variable that some signature writes. Its shape is that of what it starts as; null when nothing initialises it. */
export interface VariableOutline {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[] | null;
}

/** A plan, and the ONNX models that go with it, by file. */
export interface PlannedModel {
  readonly plan: Plan;
  readonly models: ReadonlyMap<string, OnnxGraph>;
}

/** Outlines how the signatures of these names run. One that the plan does not have is listed only. */
export function outlinePlan(planned: PlannedModel, names: readonly string[]): PlanOutline {
  const { plan } = planned;
  const outlineOf = (name: string) => {
    const found = Object.hasOwn(plan.signatures, name) ? plan.signatures[name] : undefined;
    return found === undefined ? LISTED_ONLY : outlineSignature(found, planned);
  };
  return {
    signatures: Object.fromEntries(names.map((name) => [name, outlineOf(name)])),
    tables: plan.tables.map((table) => outlineTable(table, plan)),
    variables: plan.variables.map(({ name, dtype, initial }) => ({
      name,
      dtype,
      shape: (initial === null ? undefined : plan.constants[initial]?.shape) ?? null,
    })),
    remarks: plan.remarks,
  };
}

const LISTED_ONLY: SignatureOutline = {
  batchable: false,
  stateful: false,
  listedOnly: true,
  refusal: null,
  segmentCount: 0,
  hostStepCount: 0,
  steps: [],
};

function outlineSignature({ signature, stateful, program, refusal }: SignaturePlan, planned: PlannedModel): SignatureOutline {
  const steps = program.steps.map((step) => outlineStep(step, planned));
  const all = steps.flatMap(withInnerSteps);
  return {
    batchable: signature.batchable && !stateful,
    stateful,
    listedOnly: signature.listedOnly !== undefined,
    refusal,
    segmentCount: all.filter(({ type }) => type === 'onnx').length,
    hostStepCount: all.filter(({ type }) => type === 'host').length,
    steps,
  };
}

function outlineStep(step: Step, planned: PlannedModel): StepOutline {
  const outlineAll = (steps: readonly Step[]) => steps.map((one) => outlineStep(one, planned));
  switch (step.type) {
    case 'onnx': {
      const segment = planned.plan.segments[step.segment];
      if (segment === undefined) throw new Error(`the plan has no segment ${step.segment} (this is a bug)`);
      const { file, nodeCount, inputs, outputs } = segment;
      return { type: 'onnx', file, nodeCount, ops: countOps(planned.models.get(file)), inputs, outputs };
    }
    case 'host':
      return { type: 'host', op: step.op, node: step.node };
    case 'while':
      return {
        type: 'while',
        node: step.node,
        carriedCount: step.carried.length,
        condition: outlineAll(step.condition.steps),
        body: outlineAll(step.body),
      };
    case 'branch':
      return { type: step.kind, node: step.node, branches: step.branches.map(({ steps }) => outlineAll(steps)) };
  }
}

function countOps(graph: OnnxGraph | undefined): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  const count = ({ nodes }: OnnxGraph) => {
    for (const { op, attributes = {} } of nodes) {
      counts.set(op, (counts.get(op) ?? 0) + 1);
      for (const value of Object.values(attributes)) if (typeof value === 'object' && 'graph' in value) count(value.graph);
    }
  };
  if (graph !== undefined) count(graph);
  return Object.fromEntries([...counts].sort(([one], [other]) => (one < other ? -1 : 1)));
}

function withInnerSteps(step: StepOutline): readonly StepOutline[] {
  if (step.type === 'while') return [step, ...[...step.condition, ...step.body].flatMap(withInnerSteps)];
  if (step.type === 'if' || step.type === 'case') return [step, ...step.branches.flat().flatMap(withInnerSteps)];
  return [step];
}

function outlineTable({ name, op, keyDtype, valueDtype, written, sources }: TablePlan, { constants }: Plan): TableOutline {
  return {
    name,
    op,
    keyDtype,
    valueDtype,
    written,
    sources: sources.map((source) =>
      source.type === 'text-file' ? { file: source.fileName } : { keyCount: keysOf(constants[source.keys]) },
    ),
  };
}

function keysOf(keys: Plan['constants'][number] | undefined): number {
  return keys?.shape[0] ?? 0;
}
