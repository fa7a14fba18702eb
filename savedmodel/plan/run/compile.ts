/** Programs as closures over slots, made once for each set of outputs. */
import { ServeError, toServeError } from '#mesh/errors.ts';
import { DTYPES, elementCount, type Tensor } from '#mesh/tensor.ts';
import type { HostKernel } from '../../host-value.ts';
import type { BranchStep, HostStep, OnnxStep, Operand, Plan, Program, Step, WhileStep } from '../plan.ts';
import type { Constants } from './constants.ts';
import { stepKernelFor } from './kernels.ts';
import { located, nodePlace } from './located.ts';
import { isKept, keptValues, type NeededSlots, neededSlots } from './needed-slots.ts';
import type { SegmentRunner } from './segment-runner.ts';
import type { SharedState } from './shared-state.ts';
import { type StepContext, tensorOfValue } from './step-kernel.ts';
import { decodeAttrs, hostAttrs } from './stored-attr.ts';
import { HeldTensor, isTrue, isWhole, type Value } from './value.ts';

/** One run: its slots, and behind them the constants and handles that steps read. */
export interface Frame {
  readonly slots: (Value | undefined)[];
  /** The caller's: it ends loops. */
  readonly signal: AbortSignal | undefined;
  /** Aborted when the runner is closed: no loop outlives it. */
  readonly closing: AbortSignal;
}

/** What runs at once, and what waits for ONNX or others. */
export type Runnable =
  | { readonly type: 'now'; readonly run: (frame: Frame) => void }
  | { readonly type: 'later'; readonly run: (frame: Frame) => Promise<void> };

/** A program for one set of outputs. */
export interface CompiledProgram {
  /** What `slots` of a new frame are: constants and handles in their places. */
  readonly slots: readonly (Value | undefined)[];
  readonly main: Runnable;
  /** Where each output lies. */
  readonly outputs: readonly number[];
}

/** What a program runs on. */
export interface CompileDeps {
  readonly plan: Plan;
  readonly constants: Constants;
  readonly state: SharedState;
  readonly segments: SegmentRunner;
  readonly kernels: ReadonlyMap<string, HostKernel>;
}

/** So many rounds of a loop pass before others get a turn: an abort comes as an event. */
const ROUNDS_PER_TURN = 1024;

/** Compiles what the outputs need. Reads the constants that these steps use. Throws UNIMPLEMENTED for an op without a kernel. */
export async function compileProgram(program: Program, outputs: readonly Operand[], deps: CompileDeps): Promise<CompiledProgram> {
  const needed = neededSlots(program, outputs);
  const operands = new Operands(program.slotCount, deps);
  const main = compileSteps(program.steps, needed, operands, deps, false);
  const places = outputs.map((output) => operands.place(output));
  return { slots: await operands.template(), main, outputs: places };
}

/** Gives every operand a place in the frame, so that steps index and ask no further. */
class Operands {
  readonly #slotCount: number;
  readonly #deps: CompileDeps;
  readonly #extra = new Map<string, number>();
  readonly #values: (Value | Promise<Value>)[] = [];

  constructor(slotCount: number, deps: CompileDeps) {
    this.#slotCount = slotCount;
    this.#deps = deps;
  }

  place(operand: Operand): number {
    if ('slot' in operand) return operand.slot;
    const key = JSON.stringify(operand);
    let place = this.#extra.get(key);
    if (place === undefined) {
      place = this.#slotCount + this.#values.length;
      this.#extra.set(key, place);
      this.#values.push(this.#value(operand));
    }
    return place;
  }

  async template(): Promise<(Value | undefined)[]> {
    const values = await Promise.all(this.#values);
    return [...Array.from({ length: this.#slotCount }, () => undefined), ...values];
  }

  #value(operand: Exclude<Operand, { readonly slot: number }>): Value | Promise<Value> {
    const { constants, state } = this.#deps;
    if ('constant' in operand) return constants.get(operand.constant);
    const value = 'table' in operand ? state.tables[operand.table] : state.variables[operand.variable];
    if (value === undefined) throw new ServeError('DATA_LOSS', `the plan has no ${JSON.stringify(operand)}`);
    return value;
  }
}

function compileSteps(steps: readonly Step[], needed: NeededSlots, operands: Operands, deps: CompileDeps, inLoop: boolean): Runnable {
  const runnables = steps.filter((step) => isKept(step, needed)).map((step) => compileStep(step, needed, operands, deps, inLoop));
  const now = runnables.flatMap((runnable) => (runnable.type === 'now' ? [runnable.run] : []));
  if (now.length === runnables.length) {
    return {
      type: 'now',
      run: (frame) => {
        for (let index = 0; index < now.length; index++) now[index]?.(frame);
      },
    };
  }
  return {
    type: 'later',
    run: async (frame) => {
      for (const runnable of runnables) {
        if (runnable.type === 'now') runnable.run(frame);
        else await runnable.run(frame);
      }
    },
  };
}

function compileStep(step: Step, needed: NeededSlots, operands: Operands, deps: CompileDeps, inLoop: boolean): Runnable {
  switch (step.type) {
    case 'onnx':
      return compileOnnx(step, needed, operands, deps);
    case 'host':
      return compileHost(step, needed, operands, deps);
    case 'while':
      return compileWhile(step, needed, operands, deps, inLoop);
    case 'branch':
      return compileBranch(step, needed, operands, deps, inLoop);
  }
}

function compileOnnx(step: OnnxStep, needed: NeededSlots, operands: Operands, { segments, plan }: CompileDeps): Runnable {
  const inputs = step.inputs.map(({ name, value }) => ({ name, place: operands.place(value) }));
  const outputs = step.outputs.filter(({ slot }) => needed.has(slot));
  const fetches = outputs.map(({ name }) => name);
  const file = plan.segments[step.segment]?.file ?? `segment ${step.segment}`;
  return {
    type: 'later',
    run: async ({ slots }) => {
      const feeds = new Map<string, Tensor>();
      for (const { name, place } of inputs) feeds.set(name, tensorOfValue(read(slots, place, file), `input ${name} of ${file}`).tensor());
      const results = await segments.run(step.segment, feeds, fetches);
      checkSegmentResults(results, fetches, file);
      for (let index = 0; index < outputs.length; index++) {
        const [output, result] = [outputs[index], results[index]];
        if (output !== undefined && result !== undefined) slots[output.slot] = HeldTensor.ofTensor(result);
      }
    },
  };
}

/** Throws INTERNAL, naming the segment, when it gave another number of tensors than asked for, or bytes that do not fit a shape. */
export function checkSegmentResults(results: readonly Tensor[], fetches: readonly string[], file: string): void {
  if (results.length !== fetches.length) {
    throw new ServeError('INTERNAL', `${file} gave ${results.length} outputs, ${fetches.length} were expected`);
  }
  for (let index = 0; index < results.length; index++) {
    const { dtype, shape, bytes } = results[index] as Tensor;
    const { byteSize } = DTYPES[dtype];
    if (byteSize === 0 || bytes.byteLength === elementCount(shape) * byteSize) continue;
    throw new ServeError('INTERNAL', `${file} gave ${bytes.byteLength} bytes as ${fetches[index]}, ${dtype} of shape [${shape}]`);
  }
}

function compileHost(step: HostStep, needed: NeededSlots, operands: Operands, { kernels }: CompileDeps): Runnable {
  const kernel = stepKernelFor(step.op, kernels);
  if (kernel === undefined) throw new ServeError('UNIMPLEMENTED', `the host has no kernel of ${step.op} (node ${step.node})`);
  const inputs = step.inputs.map((operand) => operands.place(operand));
  const outputs = step.outputs.map((slot) => (slot !== null && needed.has(slot) ? slot : -1));
  const stored = decodeAttrs(step.attrs);
  const context: StepContext = { node: step.node, op: step.op, attrs: hostAttrs(step, stored), stored };
  return {
    type: 'now',
    run: ({ slots }) => {
      const given = new Array<Value>(inputs.length);
      for (let index = 0; index < inputs.length; index++) given[index] = read(slots, inputs[index] ?? -1, step.node);
      let results: readonly Value[];
      try {
        results = kernel(given, context);
      } catch (caught) {
        throw located(caught, step.place ?? nodePlace(step.node), step.op);
      }
      if (results.length !== outputs.length) {
        throw new ServeError('INTERNAL', `${step.op} (node ${step.node}) gave ${results.length} outputs, ${outputs.length} were expected`);
      }
      for (let index = 0; index < outputs.length; index++) {
        const slot = outputs[index] ?? -1;
        const value = results[index];
        if (slot < 0 || value === undefined) continue;
        if (value.kind === 'tensor') checkWhole(value, step, index);
        slots[slot] = value;
      }
    },
  };
}

function checkWhole(value: HeldTensor, step: HostStep, index: number): void {
  // What came from outside as bytes was checked where it came in, and is not decoded for this.
  if (!value.isHost || isWhole(value.host())) return;
  const { dtype, shape, data } = value.host();
  throw new ServeError(
    'INTERNAL',
    `${step.op} (node ${step.node}) gave ${data.length} elements as output ${index}, ${dtype} of shape [${shape}]`,
  );
}

function compileWhile(step: WhileStep, needed: NeededSlots, operands: Operands, deps: CompileDeps, inLoop: boolean): Runnable {
  const carried = keptValues(step, needed).map(({ initial, slot, next, result }) => ({
    initial: operands.place(initial),
    slot,
    next: operands.place(next),
    result: result !== null && needed.has(result) ? result : -1,
  }));
  const { node } = step;
  const condition = compileSteps(step.condition.steps, needed, operands, deps, true);
  const body = compileSteps(step.body, needed, operands, deps, true);
  const test = operands.place(step.condition.value);
  const goesOn = ({ slots, signal, closing }: Frame) => {
    if (closing.aborted) throw new ServeError('UNAVAILABLE', 'the plan was closed while a loop ran: its model is unloaded');
    if (signal?.aborted) throw aborted(signal);
    const value = read(slots, test, node);
    try {
      return isTrue(tensorOfValue(value, 'the condition'));
    } catch (caught) {
      throw located(caught, nodePlace(node), 'While');
    }
  };
  // A value that becomes another one of this loop must be read before that one is written.
  const slots = new Set(carried.map(({ slot }) => slot));
  const swaps = carried.some(({ next, slot }) => next !== slot && slots.has(next));
  const scratchLength = swaps ? carried.length : 0;
  const start = ({ slots: into }: Frame) => {
    for (const { initial, slot } of carried) into[slot] = read(into, initial, node);
  };
  const advance = ({ slots: into }: Frame, scratch: (Value | undefined)[]) => {
    if (!swaps) {
      for (let index = 0; index < carried.length; index++) {
        const one = carried[index];
        if (one !== undefined) into[one.slot] = read(into, one.next, node);
      }
      return;
    }
    for (let index = 0; index < carried.length; index++) scratch[index] = read(into, carried[index]?.next ?? -1, node);
    for (let index = 0; index < carried.length; index++) into[carried[index]?.slot ?? -1] = scratch[index];
  };
  const finish = ({ slots: into }: Frame) => {
    for (const { slot, result } of carried) if (result >= 0) into[result] = into[slot];
  };
  if (inLoop && condition.type === 'now' && body.type === 'now') {
    return {
      type: 'now',
      run: (frame) => {
        const scratch = new Array<Value | undefined>(scratchLength);
        start(frame);
        for (condition.run(frame); goesOn(frame); condition.run(frame)) {
          body.run(frame);
          advance(frame, scratch);
        }
        finish(frame);
      },
    };
  }
  return {
    type: 'later',
    run: async (frame) => {
      const scratch = new Array<Value | undefined>(scratchLength);
      start(frame);
      for (let round = 1; ; round++) {
        if (condition.type === 'now') condition.run(frame);
        else await condition.run(frame);
        if (!goesOn(frame)) break;
        if (body.type === 'now') body.run(frame);
        else await body.run(frame);
        advance(frame, scratch);
        if (round % ROUNDS_PER_TURN === 0) await new Promise<void>((resolve) => setImmediate(resolve));
      }
      finish(frame);
    },
  };
}

function compileBranch(step: BranchStep, needed: NeededSlots, operands: Operands, deps: CompileDeps, inLoop: boolean): Runnable {
  const { node, kind } = step;
  const selector = operands.place(step.selector);
  const branches = step.branches.map(({ steps, results }) => {
    const moves = step.outputs.flatMap((to, index) => {
      const result = results[index];
      return to === null || !needed.has(to) || result === undefined ? [] : [{ from: operands.place(result), to }];
    });
    return { body: compileSteps(steps, needed, operands, deps, inLoop), moves };
  });
  const choose = ({ slots }: Frame) => {
    const value = read(slots, selector, node);
    try {
      return chosen(tensorOfValue(value, 'the selector'), kind, branches.length);
    } catch (caught) {
      throw located(caught, nodePlace(node), kind === 'if' ? 'If' : 'Case');
    }
  };
  const finish = ({ slots }: Frame, index: number) => {
    for (const { from, to } of branches[index]?.moves ?? []) slots[to] = read(slots, from, node);
  };
  const bodies = branches.map(({ body }) => body);
  const now = bodies.flatMap((body) => (body.type === 'now' ? [body.run] : []));
  if (now.length === bodies.length) {
    return {
      type: 'now',
      run: (frame) => {
        const index = choose(frame);
        now[index]?.(frame);
        finish(frame, index);
      },
    };
  }
  return {
    type: 'later',
    run: async (frame) => {
      const index = choose(frame);
      await bodies[index]?.run(frame);
      finish(frame, index);
    },
  };
}

function chosen(selector: HeldTensor, kind: BranchStep['kind'], count: number): number {
  if (kind === 'if') return isTrue(selector) ? 0 : 1;
  const { shape, data } = selector.host();
  if (elementCount(shape) !== 1) throw new ServeError('INVALID_ARGUMENT', `branch_index must be scalar: [${shape}]`);
  const index = Number(data[0]);
  return index >= 0 && index < count ? index : count - 1;
}

function read(slots: readonly (Value | undefined)[], place: number, reader: string): Value {
  const value = slots[place];
  if (value !== undefined) return value;
  throw new ServeError('INTERNAL', `${reader} reads slot ${place} before it is written (this is a bug of the plan)`);
}

function aborted(signal: AbortSignal): ServeError {
  if (signal.reason instanceof ServeError) return signal.reason;
  return new ServeError('CANCELLED', `the run was given up in a loop: ${toServeError(signal.reason).message}`, { cause: signal.reason });
}
