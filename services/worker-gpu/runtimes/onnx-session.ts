/**
 * One ONNX file in onnxruntime: opened with the providers asked for, and run.
 *
 * What a request's numbers and shapes can do to the process is guarded at load: see `request-guards.ts`.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { InferenceSession, type Tensor as OrtTensor } from 'onnxruntime-node';
import { ServeError } from '#mesh/errors.ts';
import { readOnnxSkeletonFile } from '#proto/onnx-skeleton.ts';
import type { LoadRequest } from '../runtime.ts';
import { toLoadError, toRunError } from './onnx-errors.ts';
import { inspectModelFile } from './onnx-file.ts';
import { type Graph, graphOf } from './onnx-graph.ts';
import { guardRequests, OMITTED_PASSES } from './request-guards.ts';

/** A file in memory. */
export interface OpenGraph {
  readonly session: InferenceSession;
  readonly graph: Graph;
  readonly executionProvider: string;
}

/** How sessions are made: see `LoadRequest`. */
export type SessionRequest = Pick<LoadRequest, 'executionProviders' | 'intraOpThreads' | 'interOpThreads'>;

/** How a model file becomes the model that is opened. */
export interface ModelAdditions {
  /** Fields of a ModelProto that are appended: functions of custom ops. */
  readonly functions?: Uint8Array;
  /** Where weights in other files lie; default: beside the model. */
  readonly weightsFolder?: string;
}

/** Opens a file. What cannot be had as asked for is said in `remarks`. Rejects with ServeError that names the file. */
export async function openGraph(
  path: string,
  request: SessionRequest,
  remarks: string[],
  additions: ModelAdditions = {},
): Promise<OpenGraph> {
  if (!existsSync(path)) throw new ServeError('NOT_FOUND', `${path} does not exist`);
  const { weightsFolder = dirname(path) } = additions;
  const unranked = inspectModelFile(path, weightsFolder);
  const source = await guardedSource(path, remarks, additions);
  const preferred = request.executionProviders.filter((provider) => provider !== 'cpu');
  const beforeCpu = request.executionProviders.indexOf('cpu');
  const providers = beforeCpu < 0 ? preferred : request.executionProviders.slice(0, beforeCpu);
  for (const provider of providers) {
    try {
      // Alone in the list: onnxruntime adds the CPU for operators the provider lacks, and onnxruntime-common would drop an unknown name silently.
      const session = await createSession(source, sessionOptions(request, [provider]));
      return { session, graph: graphOf(session, unranked), executionProvider: provider };
    } catch (caught) {
      remarks.push(`execution provider ${provider} cannot be used: ${toLoadError(path, caught).message}`);
    }
  }
  try {
    const session = await createSession(source, sessionOptions(request, ['cpu']));
    return { session, graph: graphOf(session, unranked), executionProvider: 'cpu' };
  } catch (caught) {
    throw toLoadError(path, caught);
  }
}

/** A model file, or bytes in its place. */
interface ModelSource {
  readonly path: string;
  readonly bytes: Uint8Array | undefined;
  readonly weightsFolder: string;
}

/** The file itself; its bytes when functions are added, when its weights lie elsewhere, and, guarded, when it has operators that could end the process. */
async function guardedSource(path: string, remarks: string[], { functions, weightsFolder }: ModelAdditions): Promise<ModelSource> {
  if (path.endsWith('.ort')) {
    remarks.push(`${path}: an .ort file cannot be guarded against integer division by -1 nor against empty axes`);
    return { path, bytes: undefined, weightsFolder: dirname(path) };
  }
  const added = (model: Uint8Array) => (functions === undefined ? model : Buffer.concat([model, functions]));
  const { guarded, remarks: found } = guardRequests(added(readOnnxSkeletonFile(path)));
  for (const remark of found) remarks.push(`${path}: ${remark}`);
  const place = { path, weightsFolder: weightsFolder ?? dirname(path) };
  if (guarded === 0 && functions === undefined && weightsFolder === undefined) return { ...place, bytes: undefined };
  const model = added(await readFile(path));
  return { ...place, bytes: guarded === 0 ? model : guardRequests(model).model };
}

function createSession({ path, bytes, weightsFolder }: ModelSource, options: InferenceSession.SessionOptions): Promise<InferenceSession> {
  if (bytes === undefined) return InferenceSession.create(path, options);
  const folder = { model_external_initializers_file_folder_path: weightsFolder };
  return InferenceSession.create(bytes, {
    ...options,
    extra: { ...options.extra, session: { ...(options.extra?.session as object), ...folder } },
  });
}

function sessionOptions(request: SessionRequest, executionProviders: readonly string[]): InferenceSession.SessionOptions {
  return {
    executionProviders,
    intraOpNumThreads: request.intraOpThreads,
    interOpNumThreads: request.interOpThreads,
    executionMode: request.interOpThreads > 1 ? 'parallel' : 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4,
    // A spinning thread would take the core from its neighbours: other executors, and the service itself.
    extra: {
      session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } },
      optimization: { disable_specified_optimizers: OMITTED_PASSES },
    },
  };
}

/** Runs the graph for some of its outputs, each asked for once or more. Rejects with INVALID_ARGUMENT when the inputs are to blame, INTERNAL otherwise. */
export async function runSession(session: InferenceSession, fetches: readonly string[], feeds: Record<string, OrtTensor>) {
  try {
    return (await inThisTurn(() => session.run(feeds, [...new Set(fetches)]))) as Readonly<Record<string, OrtTensor>>;
  } catch (caught) {
    throw toRunError(caught);
  }
}

/**
 * Starts something that would put its work off to the next turn of the event loop, and has it done now. onnxruntime-node wraps its blocking
 * call in `setImmediate`, so that a main thread can breathe first; an executor's thread has nothing else to do, and a turn costs it three
 * system calls for each run. Where the work is put off in another way, nothing changes.
 */
function inThisTurn<Result>(start: () => Result): Result {
  const { setImmediate: later } = globalThis;
  globalThis.setImmediate = doNow as typeof setImmediate;
  try {
    return start();
  } finally {
    globalThis.setImmediate = later;
  }
}

function doNow(work: (...args: unknown[]) => void, ...args: unknown[]): void {
  work(...args);
}
