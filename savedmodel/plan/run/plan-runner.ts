/** Runs the signatures of a plan. */
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import type { HostKernel } from '../../host-value.ts';
import { CONSTANTS_FILE, type OnnxStep, type Operand, type Plan, type Program, type Step } from '../plan.ts';
import { type CompileDeps, checkSegmentResults, compileProgram, type Frame } from './compile.ts';
import { Constants } from './constants.ts';
import { runsOnHost } from './kernels.ts';
import { isKept, neededSlots } from './needed-slots.ts';
import type { SegmentRunner } from './segment-runner.ts';
import { loadState, type SharedState } from './shared-state.ts';
import { tensorOfValue } from './step-kernel.ts';
import { HeldTensor } from './value.ts';

/** What a runner is made of. */
export interface PlanRunnerOptions {
  readonly plan: Plan;
  /** Where `constants.bin` lies. */
  readonly planFolder: string;
  /** The SavedModel's folder: tables read files below its `assets/`. */
  readonly modelFolder: string;
  readonly segments: SegmentRunner;
  /** Kernels of custom ops; they come before the host's own of the same name. */
  readonly kernels?: ReadonlyMap<string, HostKernel>;
  /** Tables and variables of another runner of the same plan, to share them. Whoever gives a state frees it. */
  readonly state?: SharedState;
}

/** Runs a plan's signatures. Variables and written tables are one state for all of them; an update is seen at once and never undone. */
export interface PlanRunner {
  /**
   * Computes the outputs named, in their order, of a signature. `inputs` has all inputs of the signature and must stay unchanged until the
   * promise settles; what is given may share its memory, and memory of constants: it must not be written. Runs may overlap; they see each
   * other's updates of variables.
   *
   * Rejects with ServeError: NOT_FOUND for an unknown signature, UNIMPLEMENTED for one that the plan refuses, INVALID_ARGUMENT for an unknown output or an input that is missing or has
   * another dtype, the codes and words of kernels followed by TensorFlow's location, and CANCELLED (or the signal's reason, if that is a
   * ServeError) when `signal` aborts while a loop runs.
   */
  run(signature: string, outputs: readonly string[], inputs: NamedTensors, signal?: AbortSignal): Promise<readonly Tensor[]>;
  /** The tables and variables, for further runners of this plan. */
  readonly state: SharedState;
  /** Frees constants, and the state unless it was given. Further runs are refused; those that loop end with UNAVAILABLE, others finish. */
  close(): void;
}

/** Runs one signature for one set of outputs. */
type Runner = (inputs: NamedTensors, signal: AbortSignal | undefined) => Promise<readonly Tensor[]>;

interface RunnerDeps extends CompileDeps {
  readonly closing: AbortSignal;
}

/** How many sets of outputs stay compiled: clients that ask for many different ones compile again. */
const MAX_COMPILED = 64;

/**
 * Opens a plan: fills its tables and sets its variables. Programs are compiled when they are first asked for. Throws UNIMPLEMENTED for an op
 * that no kernel computes, DATA_LOSS for a damaged `constants.bin` or a missing asset.
 */
export async function createPlanRunner(options: PlanRunnerOptions): Promise<PlanRunner> {
  const { plan, planFolder, modelFolder, segments, kernels = new Map() } = options;
  for (const { program } of Object.values(plan.signatures)) checkOps(program.steps, kernels);
  const constants = await Constants.open(join(planFolder, CONSTANTS_FILE), plan.constants);
  let state: SharedState;
  try {
    state = options.state ?? (await loadState(plan, constants, modelFolder));
  } catch (caught) {
    constants.close();
    throw caught;
  }
  const closing = new AbortController();
  const deps: RunnerDeps = { plan, constants, state, segments, kernels, closing: closing.signal };
  const compiled = new Map<string, Promise<Runner>>();

  function runnerFor(signature: string, outputs: readonly string[]): Promise<Runner> {
    const key = `${signature}\0${outputs.join('\0')}`;
    const known = compiled.get(key);
    if (known !== undefined) return known;
    const made = makeRunner(signature, outputs, deps);
    // What failed is not kept: a file may be readable the next time, and names of outputs come from clients.
    made.catch(() => compiled.delete(key));
    const [oldest] = compiled.keys();
    if (oldest !== undefined && compiled.size >= MAX_COMPILED) compiled.delete(oldest);
    compiled.set(key, made);
    return made;
  }

  return {
    state,
    async run(signature, outputs, inputs, signal) {
      if (closing.signal.aborted) throw new ServeError('UNAVAILABLE', 'the plan was closed: its model is unloaded');
      const run = await runnerFor(signature, outputs);
      return run(inputs, signal);
    },
    close() {
      closing.abort();
      compiled.clear();
      constants.close();
      if (options.state !== undefined) return;
      for (const one of [...state.tables, ...state.variables]) one.clear();
    },
  };
}

async function makeRunner(signature: string, outputs: readonly string[], deps: RunnerDeps): Promise<Runner> {
  const signatures = deps.plan.signatures;
  const planned = Object.hasOwn(signatures, signature) ? signatures[signature] : undefined;
  if (planned === undefined) {
    throw new ServeError('NOT_FOUND', `the plan has no signature ${signature}, only ${Object.keys(signatures).join(', ')}`);
  }
  const { program, refusal } = planned;
  if (refusal !== null) throw new ServeError('UNIMPLEMENTED', refusal);
  const wanted = outputs.map((alias) => {
    const output = program.outputs.find((one) => one.alias === alias);
    if (output !== undefined) return output;
    const known = program.outputs.map((one) => one.alias).join(', ');
    throw new ServeError('INVALID_ARGUMENT', `signature ${signature} has no output ${alias}, only ${known}`);
  });
  const direct = directRunner(program, wanted, deps);
  if (direct !== undefined) return direct;
  const compiled = await compileProgram(
    program,
    wanted.map(({ value }) => value),
    deps,
  );
  return async (inputs, signal) => {
    const frame: Frame = { slots: compiled.slots.slice(), signal, closing: deps.closing };
    for (const { alias, dtype, slot } of inputsInOrder(program, inputs))
      frame.slots[slot] = HeldTensor.ofTensor(inputOf(inputs, alias, dtype));
    if (compiled.main.type === 'now') compiled.main.run(frame);
    else await compiled.main.run(frame);
    return compiled.outputs.map((place, index) => {
      const value = frame.slots[place];
      const { alias, dtype } = wanted[index] ?? { alias: '', dtype: undefined };
      if (value === undefined) throw new ServeError('INTERNAL', `no step made output ${alias} (this is a bug of the plan)`);
      const held = tensorOfValue(value, `output ${alias}`);
      if (held.dtype !== dtype)
        throw new ServeError('INTERNAL', `output ${alias} is ${held.dtype}, not ${dtype} (this is a bug of the plan)`);
      return held.tensor();
    });
  };
}

/** The whole program is one call of ONNX that takes inputs as they are and makes outputs as they are: no slots then. */
function directRunner(program: Program, wanted: Program['outputs'], { segments, plan }: CompileDeps): Runner | undefined {
  const needed = neededSlots(
    program,
    wanted.map(({ value }) => value),
  );
  const steps = program.steps.filter((step) => isKept(step, needed));
  const [step] = steps;
  if (steps.length !== 1 || step?.type !== 'onnx') return undefined;
  const feeds = step.inputs.map(({ name, value }) => ({ name, alias: aliasOf(program, value) }));
  const fetches = wanted.map(({ value }) => fetchOf(step, value));
  if (feeds.some(({ alias }) => alias === undefined) || fetches.includes(undefined)) return undefined;
  const names = fetches.filter((name) => name !== undefined);
  if (new Set(names).size !== names.length) return undefined;
  const file = plan.segments[step.segment]?.file ?? '';
  // Then the inputs are the feeds, but for inputs that the program does not use.
  const sameNames = feeds.length === program.inputs.length && feeds.every(({ name, alias }) => name === alias);
  return async (inputs) => {
    for (const { alias, dtype } of program.inputs) inputOf(inputs, alias, dtype);
    let fed = inputs;
    if (!sameNames || inputs.size !== feeds.length) {
      const renamed = new Map<string, Tensor>();
      for (const { name, alias } of feeds) {
        const tensor = inputs.get(alias ?? '');
        if (tensor !== undefined) renamed.set(name, tensor);
      }
      fed = renamed;
    }
    const results = await segments.run(step.segment, fed, names);
    checkSegmentResults(results, names, file);
    return results;
  };
}

/** Where two names stand for one tensor, the one that the caller gave last counts. */
function inputsInOrder({ inputs: declared }: Program, given: NamedTensors): Program['inputs'] {
  if (new Set(declared.map(({ slot }) => slot)).size === declared.length) return declared;
  const places = new Map([...given.keys()].map((alias, place) => [alias, place]));
  return [...declared].sort((one, other) => (places.get(one.alias) ?? -1) - (places.get(other.alias) ?? -1));
}

function aliasOf(program: Program, value: Operand): string | undefined {
  return 'slot' in value ? program.inputs.find(({ slot }) => slot === value.slot)?.alias : undefined;
}

function fetchOf(step: OnnxStep, value: Operand): string | undefined {
  return 'slot' in value ? step.outputs.find(({ slot }) => slot === value.slot)?.name : undefined;
}

function inputOf(inputs: NamedTensors, alias: string, dtype: Tensor['dtype']): Tensor {
  const tensor = inputs.get(alias);
  if (tensor === undefined) throw new ServeError('INVALID_ARGUMENT', `input ${alias} is missing`);
  if (tensor.dtype !== dtype) throw new ServeError('INVALID_ARGUMENT', `input ${alias} is ${tensor.dtype}, ${dtype} was expected`);
  return tensor;
}

function checkOps(steps: readonly Step[], kernels: ReadonlyMap<string, HostKernel>): void {
  for (const step of steps) {
    switch (step.type) {
      case 'onnx':
        break;
      case 'host':
        if (!runsOnHost(step.op, kernels)) {
          throw new ServeError('UNIMPLEMENTED', `the host has no kernel of ${step.op} (node ${step.node})`);
        }
        break;
      case 'while':
        checkOps([...step.condition.steps, ...step.body], kernels);
        break;
      case 'branch':
        for (const branch of step.branches) checkOps(branch.steps, kernels);
        break;
    }
  }
}
