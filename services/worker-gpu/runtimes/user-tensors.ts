/** Tensors between the mesh and user code: what it is given, and what it gives held against what it declared. */

import { ServeError } from '#mesh/errors.ts';
import { type Signature, type Signatures, shapeFits, type TensorSpec } from '#mesh/signature.ts';
import { DTYPES, type DType, elementCount, type NamedTensors, type Tensor } from '#mesh/tensor.ts';
import type { NamedResults, ServableSignature, ServableTensor, TypedTensor } from '../../../extend/index.ts';
import { hostTensorOf, tensorOfHost } from '../../../savedmodel/flatten/constant-value.ts';
import { allocate } from '../../../savedmodel/host/host-tensor.ts';

const METHODS: readonly string[] = ['tensorflow/serving/predict', 'tensorflow/serving/classify', 'tensorflow/serving/regress'];

/**
 * The signatures of a servable of a user's own as clients and gateways see them. Throws INVALID_ARGUMENT, with `module`, for what is no
 * signature.
 */
export function signaturesOf(module: string, declared: unknown): Signatures {
  const fail = (why: string): never => {
    throw new ServeError('INVALID_ARGUMENT', `servable module ${module}: ${why}`);
  };
  if (!isRecord(declared) || Object.keys(declared).length === 0) return fail('load gives no signatures');
  return Object.fromEntries(
    Object.entries(declared).map(([name, value]): [string, Signature] => {
      if (name === '' || !isRecord(value)) return fail(`signature "${name}" is not one`);
      const { method = 'tensorflow/serving/predict', inputs, outputs, batchable = false } = value as Partial<ServableSignature>;
      if (!METHODS.includes(method)) return fail(`signature "${name}" has the method ${method}, which is none of ${METHODS.join(', ')}`);
      const specs = (kind: string, tensors: unknown): Readonly<Record<string, TensorSpec>> => {
        if (!isRecord(tensors) || Object.keys(tensors).length === 0) return fail(`signature "${name}" has no ${kind}s`);
        return Object.fromEntries(
          Object.entries(tensors).map(([alias, tensor]) => {
            const what = `${kind} "${alias}" of signature "${name}"`;
            const { dtype, shape } = (isRecord(tensor) ? tensor : {}) as Partial<ServableTensor>;
            if (dtype === undefined || !Object.hasOwn(DTYPES, dtype)) return fail(`${what} has the dtype ${dtype}, which does not exist`);
            if (shape === undefined || !isShape(shape)) return fail(`${what} has the shape ${JSON.stringify(shape)}, which is none`);
            if (batchable && shape !== null && shape[0] !== -1)
              return fail(`${what} has the shape [${shape}]: rows of a batchable signature are free, so it begins with -1`);
            return [alias, { dtype, shape, accepts: shape, tensorName: `${alias}:0` }];
          }),
        );
      };
      return [name, { method, inputs: specs('input', inputs), outputs: specs('output', outputs), batchable }];
    }),
  );
}

/** Inputs as user code gets them. Numbers stay in shared memory; strings are copied out of it, because text decoders do not take shared views. */
export function userInputs(inputs: NamedTensors): Readonly<Record<string, TypedTensor>> {
  return Object.fromEntries([...inputs].map(([alias, tensor]) => [alias, userTensor(tensor)]));
}

/** One tensor as user code gets it. */
export function userTensor(tensor: Tensor): TypedTensor {
  return hostTensorOf(tensor.dtype === 'string' ? { ...tensor, bytes: new Uint8Array(tensor.bytes) } : tensor);
}

/** A tensor that user code made. Throws INVALID_ARGUMENT, beginning with `what`, when its data do not have the kind or number that dtype and shape ask for. */
export function tensorOfUser(what: string, tensor: unknown): Tensor {
  const fail = (why: string): never => {
    throw new ServeError('INVALID_ARGUMENT', `${what} ${why}`);
  };
  if (!isRecord(tensor)) return fail(tensor === undefined ? 'is missing' : 'is not a tensor { dtype, shape, data }');
  const { dtype, shape, data } = tensor as Partial<TypedTensor>;
  if (dtype === undefined || !Object.hasOwn(DTYPES, dtype)) return fail(`has the dtype ${dtype}, which does not exist`);
  if (!isShape(shape) || shape === null || shape.some((dim) => dim < 0))
    return fail(`has the shape ${JSON.stringify(shape)}, which is none`);
  const count = elementCount(shape);
  if (dtype === 'string') {
    if (!Array.isArray(data)) return fail('has strings that are not an array of Uint8Array');
    const stranger = data.findIndex((element) => !isBytes(element));
    if (stranger >= 0) return fail(`has a ${typeof data[stranger]} at ${stranger}, where a Uint8Array belongs`);
    if (data.length !== count) return fail(`has ${data.length} elements, its shape [${shape}] has ${count}`);
    return tensorOfHost({ dtype, shape, data });
  }
  const wanted = kindOf(allocate(dtype, 0));
  if (!ArrayBuffer.isView(data) || kindOf(data) !== wanted) return fail(`has ${kindOf(data)} data, ${dtype} is ${wanted}`);
  const made = tensorOfHost({ dtype, shape, data } as TypedTensor);
  const needed = count * DTYPES[dtype].byteSize;
  if (made.bytes.byteLength !== needed)
    return fail(
      `has ${data.length} elements of data, its shape [${shape}] of ${dtype} has ${count}${isComplex(dtype) ? ' of two each' : ''}`,
    );
  return made;
}

/**
 * The outputs asked for, out of what a run gave. Throws INTERNAL, naming the module and the output, for one that is missing or is not what
 * the signature says. `rows`: what the inputs of a batchable signature have along dimension 0.
 */
export function checkedResults(
  module: string,
  signature: Signature,
  asked: { readonly outputs: readonly string[]; readonly rows: number | undefined },
  results: NamedResults,
): readonly Tensor[] {
  if (!isRecord(results)) throw new ServeError('INTERNAL', `servable module ${module} gave ${typeof results} and no outputs by name`);
  return asked.outputs.map((alias) => {
    const what = `servable module ${module}: output "${alias}"`;
    const fail = (why: string): never => {
      throw new ServeError('INTERNAL', `${what} ${why}`);
    };
    const spec = signature.outputs[alias];
    if (spec === undefined) return fail('is not in the signature (this is a bug)');
    let made: Tensor;
    try {
      made = tensorOfUser(what, Object.hasOwn(results, alias) ? results[alias] : undefined);
    } catch (caught) {
      throw caught instanceof ServeError ? new ServeError('INTERNAL', caught.message) : caught;
    }
    if (made.dtype !== spec.dtype) return fail(`is ${made.dtype}, the signature says ${spec.dtype}`);
    if (!shapeFits(made.shape, spec.shape)) return fail(`has the shape [${made.shape}], the signature says [${spec.shape}]`);
    if (asked.rows !== undefined && made.shape[0] !== asked.rows)
      return fail(`has the shape [${made.shape}] for inputs of ${asked.rows} rows: a batchable signature gives one row for each`);
    return made;
  });
}

/** Dimension 0 of the inputs of a batchable signature, where they agree on it. */
export function rowsOf({ batchable }: Signature, inputs: NamedTensors): number | undefined {
  if (!batchable) return undefined;
  const rows = new Set([...inputs.values()].map(({ shape }) => shape[0]));
  return rows.size === 1 ? [...rows][0] : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isShape(value: unknown): value is readonly number[] | null {
  return value === null || (Array.isArray(value) && value.every((dim) => Number.isSafeInteger(dim) && dim >= -1));
}

function isBytes(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value) && kindOf(value) === 'Uint8Array';
}

function isComplex(dtype: DType): boolean {
  return dtype === 'complex64' || dtype === 'complex128';
}

/** `Float32Array` and so on; also of an array that another realm made. */
function kindOf(data: unknown): string {
  return Object.prototype.toString.call(data).slice('[object '.length, -1);
}
