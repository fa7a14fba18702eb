/** Ops that read and assign variables, resource variables and TF1's references alike. */
import { ServeError } from '#mesh/errors.ts';
import { elementCount } from '#mesh/tensor.ts';
import { ELEMENTWISE_OPS } from '../../host/elementwise.ts';
import { bools, fromNumbers, invalid, isBig, sameShape, shapeText } from '../../host/host-tensor.ts';
import { gather, INDEXING_OPS } from '../../host/indexing.ts';
import type { HostKernel, HostTensor } from '../../host-value.ts';
import {
  hostInput,
  inputValue,
  one,
  type StepContext,
  type StepKernel,
  type StepKernels,
  tensorInput,
  variableInput,
} from './step-kernel.ts';
import { HeldTensor, type Value } from './value.ts';

const read: StepKernel = (inputs) => [readable(inputs)];

const isInitialized: StepKernel = (inputs) => {
  const handle = inputValue(inputs, 0);
  return one(bools([], [handle.kind !== 'variable' || handle.isInitialized ? 1 : 0]));
};

/** What the handle refers to. A variable that nothing writes may be a constant of the plan: then the handle is the value itself. */
function readable(inputs: readonly Value[]): HeldTensor {
  const handle = inputValue(inputs, 0);
  return handle.kind === 'tensor' ? handle : variableInput(inputs, 0).read();
}

const assign: StepKernel = (inputs, step) => {
  const variable = variableInput(inputs, 0);
  const value = tensorInput(inputs, 1);
  if (flag(step, 'validate_shape') && variable.isInitialized) {
    const { shape } = variable.read();
    if (!sameShape(shape, value.shape)) {
      throw invalid(
        `Trying to assign to variable with tensor with wrong shape. Expected ${shapeText(shape)} got ${shapeText(value.shape)}`,
      );
    }
  }
  variable.assign(value);
  return [];
};

const assignRef: StepKernel = (inputs, step) => {
  const variable = variableInput(inputs, 0);
  const value = tensorInput(inputs, 1);
  const validates = step.attrs.has('validate_shape') ? step.attrs.bool('validate_shape') : true;
  if (validates && variable.isInitialized) {
    const { shape } = variable.deref();
    if (!sameShape(shape, value.shape)) {
      throw invalid(`Assign requires shapes of both tensors to match. lhs shape= ${shapeText(shape)} rhs shape= ${shapeText(value.shape)}`);
    }
  }
  variable.assign(value);
  return [variable];
};

/** An update by a kernel of two tensors: Add, Sub. A reference is passed on, a resource variable's op has no output. */
function update(kernel: HostKernel | undefined, kind: 'reference' | 'resource'): StepKernel {
  return (inputs, step) => {
    const variable = variableInput(inputs, 0);
    const value = hostInput(inputs, 1);
    if (kind === 'reference') variable.deref();
    const [next] = kernel?.([variable.readForUpdate(value), value], step.attrs) ?? [];
    if (next === undefined) throw new ServeError('INTERNAL', `${step.op} computed nothing (this is a bug)`);
    variable.replace(next);
    return kind === 'reference' ? [variable] : [];
  };
}

const shape: StepKernel = (inputs, { attrs }) => {
  const dims = readable(inputs).shape;
  return one(fromNumbers(attrs.has('out_type') ? attrs.dtype('out_type') : 'int32', [dims.length], dims));
};

const gatherRows: StepKernel = (inputs, { attrs }) => {
  const batchDims = attrs.has('batch_dims') ? attrs.int('batch_dims') : 0;
  // Rows are taken where the batch dimensions end.
  return one(gather(readable(inputs).host(), hostInput(inputs, 1), batchDims, batchDims));
};

const gatherNd: StepKernel = (inputs, step) => {
  const kernel = INDEXING_OPS.GatherNd;
  const results = kernel?.([readable(inputs).host(), hostInput(inputs, 1)], step.attrs) ?? [];
  return results.map((tensor) => HeldTensor.ofHost(tensor));
};

/** The value before, for the caller; the variable is one more. At the limit it throws OUT_OF_RANGE and the variable stays. */
const countUpTo: StepKernel = (inputs, { attrs }) => {
  const variable = variableInput(inputs, 0);
  const before = variable.deref().host();
  if (before.shape.length > 0) throw invalid('input is not a scalar');
  const limit = attrs.int('limit');
  if (Number(before.data[0]) >= limit) throw new ServeError('OUT_OF_RANGE', `Reached limit of ${limit}`);
  variable.replace(increment(before));
  return [HeldTensor.ofHost(before)];
};

function increment({ dtype, shape: dims, data }: HostTensor): HostTensor {
  if (elementCount(dims) !== 1) throw invalid('input is not a scalar');
  if (isBig(dtype)) return { dtype, shape: dims, data: BigInt64Array.of(BigInt(data[0] as bigint) + 1n) };
  return fromNumbers(dtype, dims, [Number(data[0]) + 1]);
}

function flag({ attrs }: StepContext, name: string): boolean {
  return attrs.has(name) && attrs.bool(name);
}

/** Reads and assignments. Gathers read the variable where it is, without a copy. */
export const VARIABLE_OPS: StepKernels = {
  ReadVariableOp: read,
  VarIsInitializedOp: isInitialized,
  IsVariableInitialized: isInitialized,
  VariableShape: shape,
  ResourceGather: gatherRows,
  ResourceGatherNd: gatherNd,
  AssignVariableOp: assign,
  AssignAddVariableOp: update(ELEMENTWISE_OPS.AddV2, 'resource'),
  AssignSubVariableOp: update(ELEMENTWISE_OPS.Sub, 'resource'),
  Assign: assignRef,
  AssignAdd: update(ELEMENTWISE_OPS.AddV2, 'reference'),
  AssignSub: update(ELEMENTWISE_OPS.Sub, 'reference'),
  CountUpTo: countUpTo,
  ResourceCountUpTo: countUpTo,
};
