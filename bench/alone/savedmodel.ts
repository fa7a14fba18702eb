/**
 * One imported SavedModel in process, beside its ONNX counterpart and TensorFlow where they are given: no server, no socket, one thread in
 * operators. Compares the answers first. Prints a SavedModelTimes.
 *
 *     node savedmodel.ts '{"folder": …}'          (a SavedModelSubject)
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { InferenceSession, type Tensor as OrtTensor } from 'onnxruntime-node';
import type { Signature } from '#mesh/signature.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import { importSavedModel } from '../../savedmodel/import-saved-model.ts';
import type { LoadedModel, Runtime } from '../../services/worker-gpu/runtime.ts';
import { createRuntime as createOnnxRuntime } from '../../services/worker-gpu/runtimes/onnx.ts';
import { toOrtTensor } from '../../services/worker-gpu/runtimes/onnx-tensors.ts';
import { createRuntime as createTensorFlowRuntime } from '../../services/worker-gpu/runtimes/tensorflow.ts';
import { MNIST, SAVED_NETS } from '../models/saved-nets.ts';
import { goldenInputs, sampleInputs } from '../models/signature-inputs.ts';
import { readWeights } from '../models/weights.ts';
import { startTensorFlow } from '../references/tensorflow.ts';
import { median } from '../rounds.ts';
import { largestDifference } from './difference.ts';
import { countOptimisedNodes, type NodeCount } from './optimised-nodes.ts';

/** What is measured. */
export interface SavedModelSubject {
  /** The version's folder. */
  readonly folder: string;
  /** The name of a net of the bench with a counterpart; empty for none. */
  readonly net: string;
  readonly rows: readonly number[];
  /** Each way is measured so often, interleaved, so long. */
  readonly slices: number;
  readonly sliceMs: number;
  /** A Python that has TensorFlow; empty for none. */
  readonly python: string;
}

/** The ways to run it: through the runtimes of a worker, or `session.run` alone. */
export type SavedModelWay = 'imported' | 'direct' | 'importedSession' | 'directSession' | 'tensorflow';

/** What was found. */
export interface SavedModelTimes {
  readonly imported: readonly NodeCount[];
  readonly direct: NodeCount | null;
  /** Empty without. */
  readonly tensorflow: string;
  /** For each count of rows, and each slice, the median of its calls in milliseconds. */
  readonly byRows: readonly {
    readonly rows: number;
    readonly times: Readonly<Partial<Record<SavedModelWay, readonly number[]>>>;
    /** The largest difference of an answer to that of the others, relative to the size of the answer. */
    readonly difference: number;
  }[];
}

const KEY = 'serving_default';
const TOLERANCE = 1e-4;

const subject = JSON.parse(process.argv[2] ?? '') as SavedModelSubject;
const temporary = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
try {
  process.stdout.write(`${JSON.stringify(await measure(subject))}\n`);
} finally {
  rmSync(temporary, { recursive: true });
}

async function measure({ folder, net: netName, rows, slices, sliceMs, python }: SavedModelSubject): Promise<SavedModelTimes> {
  const planFolder = join(temporary, 'plan');
  mkdirSync(planFolder);
  const plan = await importSavedModel({ folder, tags: ['serve'], into: planFolder });
  const imported = await load(createTensorFlowRuntime(), folder, planFolder);
  const signature = imported.description.signatures[KEY];
  if (signature === undefined) throw new Error(`${folder} has no signature ${KEY}`);
  const segments = plan.segments.map(({ file }) => join(planFolder, file));

  const net = [...SAVED_NETS, MNIST].find(({ name }) => name === netName);
  const directFolder = join(temporary, 'direct');
  const directFile = join(directFolder, 'model.onnx');
  if (net !== undefined) {
    mkdirSync(directFolder);
    writeFileSync(directFile, net.buildDirect(await readWeights(folder)));
  }
  const direct = net === undefined ? undefined : await load(createOnnxRuntime(), directFolder);
  await using tensorflow = python === '' ? undefined : await startTensorFlow(python, folder, KEY);
  const golden = net === undefined ? readFileSync(join(dirname(folder), 'golden.json'), 'utf8') : undefined;

  const byRows: SavedModelTimes['byRows'][number][] = [];
  for (const count of rows) {
    const inputs = golden === undefined ? sampleInputs(signature, count, net?.bound ?? 1) : goldenInputs(golden, KEY, count);
    const ways: Partial<Record<SavedModelWay, (limitMs: number) => Promise<readonly number[]>>> = {
      imported: timed(() => imported.run(KEY, Object.keys(signature.outputs), inputs)),
    };
    const others: NamedTensors[] = [];
    if (direct !== undefined) {
      ways.direct = timed(() => direct.run(KEY, Object.keys(signature.outputs), inputs));
      others.push(await answers(direct, signature, inputs));
      const [segment, ...more] = plan.segments;
      const step = plan.signatures[KEY]?.program.steps[0];
      const feeds = plan.signatures[KEY]?.program.inputs ?? [];
      if (segment !== undefined && more.length === 0 && step?.type === 'onnx') {
        const nameOf = (alias: string) => {
          const slot = feeds.find((feed) => feed.alias === alias)?.slot;
          return step.inputs.find(({ value }) => 'slot' in value && value.slot === slot)?.name ?? alias;
        };
        ways.importedSession = await sessionRun(join(planFolder, segment.file), new Map([...inputs].map(([k, v]) => [nameOf(k), v])));
        ways.directSession = await sessionRun(directFile, inputs);
      }
    }
    if (tensorflow !== undefined) {
      others.push(await tensorflow.run(inputs));
      ways.tensorflow = (limitMs) => tensorflow.time(limitMs);
    }
    const difference = largestDifference(await answers(imported, signature, inputs), others);
    if (!(difference <= TOLERANCE)) throw new Error(`${folder}: the imported net's answers differ by ${difference} from the others'`);
    byRows.push({ rows: count, times: await interleaved(ways, slices, sliceMs), difference });
  }
  await imported.close();
  await direct?.close();
  return {
    imported: await inTurn(segments, countOptimisedNodes),
    direct: direct === undefined ? null : await countOptimisedNodes(directFile),
    tensorflow: tensorflow?.version ?? '',
    byRows,
  };
}

function load(runtime: Runtime, path: string, preparedFolder?: string): Promise<LoadedModel> {
  const prepared = preparedFolder === undefined ? {} : { preparedFolder };
  return runtime.load({ path, intraOpThreads: 1, interOpThreads: 1, executionProviders: ['cpu'], ...prepared });
}

async function answers(model: LoadedModel, signature: Signature, inputs: NamedTensors): Promise<NamedTensors> {
  const names = Object.keys(signature.outputs);
  const tensors = await model.run(KEY, names, inputs);
  return new Map(names.map((name, index) => [name, copied(tensors[index])]));
}

function copied(tensor: Tensor | undefined): Tensor {
  if (tensor === undefined) throw new Error('the model did not give all its outputs');
  return { ...tensor, bytes: tensor.bytes.slice() };
}

async function sessionRun(file: string, inputs: NamedTensors): Promise<(limitMs: number) => Promise<readonly number[]>> {
  const session = await InferenceSession.create(file, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  const feeds: Record<string, OrtTensor> = {};
  for (const [name, tensor] of inputs) feeds[name] = toOrtTensor(name, tensor);
  return timed(() => session.run(feeds));
}

/** Milliseconds of each call, for so long; at least one. */
function timed(call: () => Promise<unknown>): (limitMs: number) => Promise<readonly number[]> {
  return async (limitMs) => {
    const times: number[] = [];
    const startedAt = performance.now();
    for (let from = startedAt; times.length === 0 || from - startedAt < limitMs; ) {
      await call();
      const now = performance.now();
      times.push(now - from);
      from = now;
    }
    return times;
  };
}

async function interleaved(
  ways: Readonly<Partial<Record<SavedModelWay, (limitMs: number) => Promise<readonly number[]>>>>,
  slices: number,
  sliceMs: number,
): Promise<Partial<Record<SavedModelWay, readonly number[]>>> {
  const entries = Object.entries(ways) as [SavedModelWay, (limitMs: number) => Promise<readonly number[]>][];
  const times = new Map(entries.map(([name]) => [name, [] as number[]]));
  for (const [, run] of entries) await run(sliceMs); // warms the compilers up
  for (let slice = 0; slice < slices; slice++) {
    for (const [name, run] of entries) times.get(name)?.push(median(await run(sliceMs)));
  }
  return Object.fromEntries(times);
}

async function inTurn<Item, Result>(items: readonly Item[], act: (item: Item) => Promise<Result>): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const item of items) results.push(await act(item));
  return results;
}
