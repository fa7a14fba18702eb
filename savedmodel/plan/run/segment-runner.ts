/** The port through which a plan's ONNX segments run: whoever owns onnxruntime sessions implements it. */
import type { Tensor } from '#mesh/tensor.ts';

/** Runs ONNX segments of one plan. */
export interface SegmentRunner {
  /**
   * Runs segment `segment` (its index in the plan). `feeds` has all of its inputs by name, `fetches` names some of its outputs; the result has
   * one tensor for each, in that order. What is fed stays valid and unchanged until the promise settles. What is given must stay valid and
   * unchanged for as long as anyone holds it: loops carry it, lists keep it, and it may be an output of the run.
   * Rejects with ServeError, whose message the client gets.
   */
  run(segment: number, feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]): Promise<readonly Tensor[]>;
}
