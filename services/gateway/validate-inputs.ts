/** Holds a request against its signature, in TensorFlow Serving's words. */
import { ServeError } from '#mesh/errors.ts';
import { type Signature, shapeFits, type TensorSpec, withDefaults } from '#mesh/signature.ts';
import type { DType, NamedTensors, Tensor } from '#mesh/tensor.ts';

/** TensorFlow's own bound; a shape with more dimensions cannot be expressed in it. */
const MAX_RANK = 254;

/**
 * What has to be checked. `all`: names, dtypes and shapes, for protocols whose clients choose all three. `shapes`: only shapes, for those
 * that read names and dtypes from the signature in the first place.
 */
export type ValidationMode = 'all' | 'shapes';

/**
 * Throws INVALID_ARGUMENT for the first thing wrong with a request's inputs. Gives them back, and with them what the signature says of those
 * that were left out.
 */
export function validateInputs(signature: Signature, inputs: NamedTensors, mode: ValidationMode): NamedTensors {
  if (mode === 'all') validateInputNames(signature, inputs);
  const complete = withDefaults(signature, inputs);
  if (mode === 'all') validateDtypes(signature, complete);
  validateShapes(signature, complete);
  return complete;
}

/** The names of a request's inputs; their tensors are not looked at, so that names can be checked before anything is decoded. */
export interface InputNames {
  readonly size: number;
  has(alias: string): boolean;
  keys(): Iterable<string>;
}

/** Throws INVALID_ARGUMENT unless the request names exactly the signature's inputs; those that have a default may be left out. */
export function validateInputNames(signature: Signature, inputs: InputNames): void {
  let wanted = 0;
  let used = 0;
  let hasDefaults = false;
  let lacks = false;
  for (const alias in signature.inputs) {
    wanted++;
    if (signature.inputs[alias]?.default !== undefined) hasDefaults = true;
    else if (!inputs.has(alias)) lacks = true;
    if (inputs.has(alias)) used++;
  }
  if (inputs.size > wanted || (inputs.size < wanted && !hasDefaults)) throw sizeError(signature, inputs);
  if (lacks) throw missingError(signature, inputs);
  if (used !== inputs.size) {
    const sent = [...inputs.keys()].sort();
    const known = sent.filter((alias) => Object.hasOwn(signature.inputs, alias));
    throw invalid(`Inputs contains invalid name. Used request inputs: ${known}, request input: ${sent}`);
  }
}

function sizeError(signature: Signature, inputs: InputNames): ServeError {
  const sent = [...inputs.keys()].sort();
  const expected = Object.keys(signature.inputs).sort();
  const extra = sent.filter((alias) => !Object.hasOwn(signature.inputs, alias));
  const lacking = expected.filter((alias) => !inputs.has(alias));
  return invalid(
    `input size does not match signature: ${sent.length}!=${expected.length} len({${sent}}) != len({${expected}}). Sent extra: {${extra}}. Missing but required: {${lacking}}.`,
  );
}

function missingError(signature: Signature, inputs: InputNames): ServeError {
  const aliases = Object.keys(signature.inputs).sort();
  const defaulted = aliases.filter((alias) => signature.inputs[alias]?.default !== undefined);
  const first = aliases.find((alias) => !inputs.has(alias) && !defaulted.includes(alias)) ?? '';
  return invalid(
    `Signature input alias: ${first}(feed name: ${signature.inputs[first]?.tensorName}) not found in request and no default value provided. Inputs expected to be in the request {${[...inputs.keys()].sort()}}, or default input alias set: ${defaulted}`,
  );
}

/** Throws INVALID_ARGUMENT for an input of another dtype than the signature's. Names have been checked. */
export function validateDtypes(signature: Signature, inputs: NamedTensors): void {
  for (const alias in signature.inputs) {
    if (inputs.get(alias)?.dtype !== signature.inputs[alias]?.dtype) throw dtypeError(signature, inputs);
  }
}

/** Throws INVALID_ARGUMENT for an input whose shape the runtime does not take (`TensorSpec.accepts`). Names have been checked. */
export function validateShapes(signature: Signature, inputs: NamedTensors): void {
  for (const [alias, tensor] of inputs) {
    const spec = signature.inputs[alias];
    if (spec !== undefined && !fits(tensor, spec)) throw shapeError(alias, tensor, spec);
  }
}

/**
 * The outputs a request asks for, in its order; without a filter all of the signature. Throws INVALID_ARGUMENT for an output that is unknown
 * or named twice.
 */
export function wantedOutputs(signature: Signature, filter: readonly string[]): readonly string[] {
  if (filter.length === 0) return Object.keys(signature.outputs).sort();
  const seen = new Set<string>();
  for (const alias of filter) {
    if (!Object.hasOwn(signature.outputs, alias)) {
      throw invalid(
        `output tensor alias not found in signature: ${alias} Outputs expected to be in the set {${Object.keys(signature.outputs).sort()}}.`,
      );
    }
    if (seen.has(alias)) throw invalid(`duplicate output tensor alias: ${alias}`);
    seen.add(alias);
  }
  return filter;
}

function fits({ shape }: Tensor, { accepts }: TensorSpec): boolean {
  return shape.length <= MAX_RANK && shapeFits(shape, accepts);
}

/** An argument's number is the place of its alias among all, in order. */
function dtypeError(signature: Signature, inputs: NamedTensors): ServeError {
  const aliases = Object.keys(signature.inputs).sort();
  const index = aliases.findIndex((alias) => inputs.get(alias)?.dtype !== signature.inputs[alias]?.dtype);
  const alias = aliases[index] ?? '';
  const expected: DType | undefined = signature.inputs[alias]?.dtype;
  return invalid(`Expects arg[${index}] to be ${expected} but ${inputs.get(alias)?.dtype} is provided`);
}

function shapeError(alias: string, { shape }: Tensor, { accepts }: TensorSpec): ServeError {
  if (shape.length > MAX_RANK) return invalid(`input ${alias} has ${shape.length} dimensions, at most ${MAX_RANK} are possible`);
  const expected = (accepts ?? []).map((dim) => (dim < 0 ? '?' : dim)).join(',');
  return invalid(`input ${alias} has shape [${shape}], expected [${expected}]`);
}

function invalid(message: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', message);
}
