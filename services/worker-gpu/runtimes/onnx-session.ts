/**
 * One ONNX file in onnxruntime: opened with the providers asked for, and run.
 *
 * What a request's numbers can do to the process is guarded at load: see `integer-division.ts`.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { InferenceSession, type Tensor as OrtTensor } from 'onnxruntime-node';
import { ServeError } from '#mesh/errors.ts';
import { readOnnxSkeletonFile } from '#proto/onnx-skeleton.ts';
import type { LoadRequest } from '../runtime.ts';
import { guardIntegerDivision } from './integer-division.ts';
import { toLoadError, toRunError } from './onnx-errors.ts';
import { inspectModelFile } from './onnx-file.ts';
import { type Graph, graphOf } from './onnx-graph.ts';

/** A file in memory. */
export interface OpenGraph {
  readonly session: InferenceSession;
  readonly graph: Graph;
  readonly executionProvider: string;
}

/** How sessions are made: see `LoadRequest`. */
export type SessionRequest = Pick<LoadRequest, 'executionProviders' | 'intraOpThreads' | 'interOpThreads'>;

/** Opens a file. What cannot be had as asked for is said in `remarks`. Rejects with ServeError that names the file. */
export async function openGraph(path: string, request: SessionRequest, remarks: string[]): Promise<OpenGraph> {
  if (!existsSync(path)) throw new ServeError('NOT_FOUND', `${path} does not exist`);
  const unranked = inspectModelFile(path);
  const source = await guardedSource(path, remarks);
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
}

/** The file itself, or its guarded bytes when it has divisions that could end the process. */
async function guardedSource(path: string, remarks: string[]): Promise<ModelSource> {
  if (path.endsWith('.ort')) {
    remarks.push(`${path}: an .ort file cannot be guarded against integer division by -1 that traps`);
    return { path, bytes: undefined };
  }
  const { guarded, unknown } = guardIntegerDivision(readOnnxSkeletonFile(path));
  for (const output of unknown) remarks.push(`${path}: the division that gives ${output} is not guarded, its element type is unknown`);
  return { path, bytes: guarded === 0 ? undefined : guardIntegerDivision(await readFile(path)).model };
}

function createSession({ path, bytes }: ModelSource, options: InferenceSession.SessionOptions): Promise<InferenceSession> {
  if (bytes === undefined) return InferenceSession.create(path, options);
  // Weights in other files are looked for beside the model.
  const folder = { model_external_initializers_file_folder_path: dirname(path) };
  return InferenceSession.create(bytes, { ...options, extra: { session: { ...(options.extra?.session as object), ...folder } } });
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
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
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
