/** The ONNX segments of a plan in onnxruntime. */
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import type { Tensor } from '#mesh/tensor.ts';
import type { Plan, Program } from '../../../savedmodel/plan/plan.ts';
import type { SegmentRunner } from '../../../savedmodel/plan/run/index.ts';
import { type OpenGraph, openGraph, runSession, type SessionRequest } from './onnx-session.ts';
import { fromOrtTensor, toOrtTensor } from './onnx-tensors.ts';

/** Segments in memory. */
export interface OpenSegments extends SegmentRunner, AsyncDisposable {
  /** Of the first; `cpu` where there is none. */
  readonly executionProvider: string;
}

/** Where the segments of a plan lie, and how sessions are made. */
export interface SegmentsPlace {
  readonly planFolder: string;
  /** Where their models look for weights in other files; default: the plan's folder. */
  readonly weightsFolder?: string;
  /** Its segments alone are opened; default: all. */
  readonly program?: Program;
  readonly request: SessionRequest;
}

/** Opens the segments of a plan. What cannot be had as asked for is said in `remarks`. Rejects with ServeError that names the file. */
export async function openSegments(
  plan: Plan,
  { planFolder, weightsFolder, program, request }: SegmentsPlace,
  remarks: string[],
): Promise<OpenSegments> {
  await using opening = new AsyncDisposableStack();
  const graphs: (OpenGraph | undefined)[] = [];
  const used = program && new Set(program.steps.flatMap((step) => (step.type === 'onnx' ? [step.segment] : [])));
  for (const [index, { file }] of plan.segments.entries()) {
    if (used?.has(index) === false) continue;
    const graph = await openGraph(join(planFolder, file), request, remarks, weightsFolder === undefined ? {} : { weightsFolder });
    opening.defer(() => graph.session.release());
    graphs[index] = graph;
  }
  const opened = opening.move();
  return {
    executionProvider: graphs.find((graph) => graph !== undefined)?.executionProvider ?? 'cpu',
    async run(segment, feeds, fetches) {
      const graph = graphs[segment];
      if (graph === undefined) throw new ServeError('INTERNAL', `the plan has no segment ${segment} (this is a bug)`);
      const fed: Parameters<typeof runSession>[2] = {};
      for (const [name, tensor] of feeds) fed[name] = toOrtTensor(name, tensor);
      const results = await runSession(graph.session, fetches, fed);
      return fetches.map((name): Tensor => {
        const value = results[name];
        if (value === undefined)
          throw new ServeError('INTERNAL', `${plan.segments[segment]?.file} did not compute ${name} (this is a bug)`);
        return fromOrtTensor(name, value);
      });
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
