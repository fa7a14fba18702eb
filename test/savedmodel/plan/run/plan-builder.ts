/** Makes plans by hand, and runs them from a folder as a worker would. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from '@jest/globals';
import { utf8 } from '#mesh/bytes.ts';
import type { DType, Tensor } from '#mesh/tensor.ts';
import { hostTensorOf, tensorOfHost } from '../../../../savedmodel/flatten/constant-value.ts';
import type { AttrValue } from '../../../../savedmodel/graph.ts';
import { fromNumbers, stringTensor } from '../../../../savedmodel/host/host-tensor.ts';
import { HOST_OPS } from '../../../../savedmodel/host/index.ts';
import type { HostKernel, HostTensor } from '../../../../savedmodel/host-value.ts';
import {
  CONSTANTS_FILE,
  type ConstantPlan,
  type Operand,
  PLAN_FILE,
  PLAN_VERSION,
  type Plan,
  type Program,
  type SegmentPlan,
  type SignaturePlan,
  type Step,
  type TablePlan,
  type VariablePlan,
} from '../../../../savedmodel/plan/plan.ts';
import {
  createPlanRunner,
  type PlanRunner,
  readPlan,
  type SegmentRunner,
  type SharedState,
  storeAttrs,
} from '../../../../savedmodel/plan/run/index.ts';
import { hostAttrs } from '../../../../savedmodel/plan/run/stored-attr.ts';

/** What to do when the test in progress has ended. */
const endings: (() => unknown)[] = [];
const onTestEnd = (ending: () => unknown) => endings.push(ending);

afterEach(async () => {
  for (const ending of endings.splice(0)) await ending();
});

/** A float tensor. */
export const floats = (shape: readonly number[], ...values: number[]): HostTensor => fromNumbers('float', shape, values);
/** An int32 tensor. */
export const ints = (shape: readonly number[], ...values: number[]): HostTensor => fromNumbers('int32', shape, values);
/** An int64 tensor. */
export const longs = (shape: readonly number[], ...values: number[]): HostTensor => fromNumbers('int64', shape, values);
/** A vector of strings. */
export const words = (...texts: string[]): HostTensor => stringTensor([texts.length], texts.map(utf8));
/** A scalar string. */
export const word = (text: string): HostTensor => stringTensor([], [utf8(text)]);

/** Attributes in short. */
export const attr = {
  int: (value: number): AttrValue => ({ type: 'int', value }),
  bool: (value: boolean): AttrValue => ({ type: 'bool', value }),
  text: (value: string): AttrValue => ({ type: 'string', value: utf8(value) }),
  dtype: (value: number): AttrValue => ({ type: 'dtype', value }),
  shape: (value: readonly number[] | null): AttrValue => ({ type: 'shape', value }),
};

/** Numbers of dtypes. */
export const FLOAT = 1;
export const INT32 = 3;
export const STRING = 7;
export const VARIANT = 21;

interface HostOptions {
  readonly attrs?: Readonly<Record<string, AttrValue>>;
  readonly outputs?: number;
  readonly effect?: boolean;
  readonly node?: string;
  readonly place?: string;
}

/** Collects the steps of one signature. */
export class ProgramBuilder {
  readonly plan: PlanBuilder;
  readonly inputs: Program['inputs'][number][] = [];
  readonly outputs: Program['outputs'][number][] = [];
  steps: Step[] = [];
  slotCount = 0;

  constructor(plan: PlanBuilder) {
    this.plan = plan;
  }

  slot(): { readonly slot: number } {
    return { slot: this.slotCount++ };
  }

  input(alias: string, dtype: DType): Operand {
    const place = this.slot();
    this.inputs.push({ alias, dtype, slot: place.slot });
    return place;
  }

  output(alias: string, dtype: DType, value: Operand): void {
    this.outputs.push({ alias, dtype, value });
  }

  /** A host step with one output, or as many as the options say. */
  host(op: string, inputs: readonly Operand[], options: HostOptions = {}): Operand {
    return this.hosts(op, inputs, options)[0] ?? { slot: -1 };
  }

  hosts(op: string, inputs: readonly Operand[], options: HostOptions = {}): Operand[] {
    const { attrs = {}, outputs = 1, effect = false, node = op, place } = options;
    const slots = Array.from({ length: outputs }, () => this.slot());
    this.steps.push({
      type: 'host',
      op,
      node,
      attrs: storeAttrs(new Map(Object.entries(attrs))),
      inputs,
      outputs: slots.map(({ slot }) => slot),
      effect,
      ...(place === undefined ? {} : { place }),
    });
    return slots;
  }

  onnx(segment: number, inputs: Readonly<Record<string, Operand>>, outputs: readonly string[]): Operand[] {
    const slots = outputs.map((name) => ({ name, ...this.slot() }));
    const fed = Object.entries(inputs).map(([name, value]) => ({ name, value }));
    this.steps.push({ type: 'onnx', segment, inputs: fed, outputs: slots });
    return slots.map(({ slot }) => ({ slot }));
  }

  /** Steps made by `make`, apart from the others. */
  body<T>(make: () => T): { readonly steps: readonly Step[]; readonly made: T } {
    const outer = this.steps;
    this.steps = [];
    const made = make();
    const { steps } = this;
    this.steps = outer;
    return { steps, made };
  }

  /** A loop over carried values. */
  while(
    initial: readonly Operand[],
    condition: (carried: readonly Operand[]) => Operand,
    round: (carried: readonly Operand[]) => readonly Operand[],
    effect = false,
  ): Operand[] {
    const carried = initial.map((value) => ({ initial: value, ...this.slot(), result: this.slot() }));
    const places = carried.map(({ slot }) => ({ slot }));
    const test = this.body(() => condition(places));
    const body = this.body(() => round(places));
    this.steps.push({
      type: 'while',
      node: 'loop',
      carried: carried.map((one, index) => ({
        initial: one.initial,
        slot: one.slot,
        next: body.made[index] ?? { slot: -1 },
        result: one.result.slot,
      })),
      condition: { steps: test.steps, value: test.made },
      body: body.steps,
      effect,
    });
    return carried.map(({ result }) => result);
  }

  branch(kind: 'if' | 'case', selector: Operand, branches: readonly (() => readonly Operand[])[], effect = false): Operand[] {
    const made = branches.map((branch) => this.body(branch));
    const outputs = (made[0]?.made ?? []).map(() => this.slot());
    this.steps.push({
      type: 'branch',
      kind,
      node: 'choice',
      selector,
      branches: made.map(({ steps, made: results }) => ({ steps, results })),
      outputs: outputs.map(({ slot }) => slot),
      effect,
    });
    return outputs;
  }

  /** A constant of the plan. */
  constant(tensor: HostTensor): Operand {
    return this.plan.constant(tensor);
  }
}

/** Collects a plan. */
export class PlanBuilder {
  readonly constants: ConstantPlan[] = [];
  readonly #bytes: Uint8Array[] = [];
  #end = 0;
  readonly tables: TablePlan[] = [];
  readonly variables: VariablePlan[] = [];
  readonly segments: SegmentPlan[] = [];
  readonly signatures: Record<string, SignaturePlan> = {};
  readonly segmentKernels: ((feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]) => readonly Tensor[])[] = [];

  constant(tensor: HostTensor): { readonly constant: number } {
    const { dtype, shape, bytes } = tensorOfHost(tensor);
    const padded = new Uint8Array(Math.ceil(bytes.byteLength / 8) * 8);
    padded.set(bytes);
    this.#bytes.push(padded);
    const constant = this.constants.push({ dtype, shape, offset: this.#end, byteLength: bytes.byteLength }) - 1;
    this.#end += padded.byteLength;
    return { constant };
  }

  variable(name: string, dtype: DType, initial: HostTensor | null): { readonly variable: number } {
    return { variable: this.variables.push({ name, dtype, initial: initial === null ? null : this.constant(initial).constant }) - 1 };
  }

  table(table: Partial<TablePlan>): { readonly table: number } {
    const plan = { name: 'table', op: 'HashTableV2', keyDtype: 'string', valueDtype: 'int64', sources: [], written: false } as const;
    return { table: this.tables.push({ ...plan, ...table }) - 1 };
  }

  /** A segment that computes one output with a host kernel of its inputs in order. */
  segment(op: string, output = 'y', attrs: Readonly<Record<string, AttrValue>> = {}): number {
    const kernel: HostKernel | undefined = HOST_OPS.get(op);
    if (kernel === undefined) throw new RangeError(`no kernel of ${op}`);
    return this.segmentOf((feeds) => {
      const results = kernel([...feeds.values()].map(hostTensorOf), hostAttrs({ node: op, op }, new Map(Object.entries(attrs))));
      return results.map(tensorOfHost);
    }, output);
  }

  segmentOf(kernel: (feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]) => readonly Tensor[], output = 'y'): number {
    this.segmentKernels.push(kernel);
    const outputs = [{ name: output, dtype: 'float' as const, shape: null }];
    return this.segments.push({ file: `segment-${this.segments.length}.onnx`, inputs: [], outputs, nodeCount: 1 }) - 1;
  }

  signature(name: string, build: (program: ProgramBuilder) => void): this {
    const program = new ProgramBuilder(this);
    build(program);
    const { slotCount, inputs, outputs, steps } = program;
    this.signatures[name] = {
      signature: { method: 'tensorflow/serving/predict', inputs: {}, outputs: {}, batchable: false },
      stateful: this.variables.length > 0,
      program: { slotCount, inputs, outputs, steps },
      refusal: null,
    };
    return this;
  }

  build(): Plan {
    const { signatures, segments, constants, tables, variables } = this;
    return { version: PLAN_VERSION, signatures, segments, constants, tables, variables, remarks: [] };
  }

  /** Writes the plan into a new folder, with files below `assets/`. */
  async write(assets: Readonly<Record<string, string>> = {}): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'headrace-plan-'));
    onTestEnd(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, PLAN_FILE), JSON.stringify(this.build()));
    await writeFile(join(folder, CONSTANTS_FILE), Buffer.concat(this.#bytes));
    await mkdir(join(folder, 'assets'));
    for (const [name, text] of Object.entries(assets)) await writeFile(join(folder, 'assets', name), text);
    return folder;
  }

  /** The runner of the written plan; `calls` collects what segments were asked for. */
  async open(options: OpenOptions = {}): Promise<{ readonly runner: PlanRunner; readonly calls: SegmentCall[]; readonly folder: string }> {
    const folder = await this.write(options.assets);
    const calls: SegmentCall[] = [];
    const segments: SegmentRunner = {
      run: async (segment, feeds, fetches) => {
        calls.push({ segment, feeds: [...feeds.keys()], fetches });
        const kernel = this.segmentKernels[segment];
        if (kernel === undefined) throw new RangeError(`no segment ${segment}`);
        return kernel(feeds, fetches);
      },
    };
    const plan = await readPlan(folder);
    const kernels = options.kernels === undefined ? {} : { kernels: options.kernels };
    const state = options.state === undefined ? {} : { state: options.state };
    const runner = await createPlanRunner({ plan, planFolder: folder, modelFolder: folder, segments, ...kernels, ...state });
    onTestEnd(() => runner.close());
    return { runner, calls, folder };
  }
}

interface OpenOptions {
  readonly assets?: Readonly<Record<string, string>>;
  readonly kernels?: ReadonlyMap<string, HostKernel>;
  readonly state?: SharedState;
}

/** One call of a segment. */
export interface SegmentCall {
  readonly segment: number;
  readonly feeds: readonly string[];
  readonly fetches: readonly string[];
}

/** Runs one signature and gives the outputs as host tensors. */
export async function call(
  runner: PlanRunner,
  outputs: readonly string[],
  inputs: Readonly<Record<string, HostTensor>> = {},
  signature = 'serving_default',
): Promise<HostTensor[]> {
  const given = new Map(Object.entries(inputs).map(([name, tensor]) => [name, tensorOfHost(tensor)]));
  return (await runner.run(signature, outputs, given)).map(hostTensorOf);
}

/** A tensor as plain values: strings as text. */
export function values(tensor: HostTensor | undefined): unknown[] {
  if (tensor === undefined) return [];
  return Array.from(tensor.data as ArrayLike<number | bigint | Uint8Array>, (value) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : Number(value),
  );
}
