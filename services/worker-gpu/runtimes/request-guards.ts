/** What a request's numbers and shapes can do to the process, kept from happening by rewriting the model: see the two guards. */
import { guardEmptyAxes } from './empty-axes.ts';
import { guardIntegerDivision } from './integer-division.ts';

/** A model that no request can end the process with, as far as that is known. */
export interface GuardedModel {
  /** The model as it is to be loaded; the very bytes given where nothing had to change. */
  readonly model: Uint8Array;
  /** Operators that were guarded. */
  readonly guarded: number;
  /** What could not be guarded, each a sentence's second half. */
  readonly remarks: readonly string[];
}

/** Guards a model. Throws INVALID_ARGUMENT for bytes that are no ModelProto. */
export function guardRequests(model: Uint8Array): GuardedModel {
  const divisions = guardIntegerDivision(model);
  const filled = guardEmptyAxes(divisions.model);
  return {
    model: filled.model,
    guarded: divisions.guarded + filled.guarded,
    remarks: [
      ...divisions.unknown.map((output) => `the division that gives ${output} is not guarded: its operator set is too old`),
      ...filled.unguarded.map((output) => `the operator that gives ${output} is not guarded against empty axes`),
    ],
  };
}

/**
 * Passes of onnxruntime's optimiser that are left out: this one joins a product of matrices with a transpose that moves the first axis behind the
 * others, and then divides by the size of that axis (SIGFPE).
 */
export const OMITTED_PASSES = 'MatmulTransposeFusion';
