/** How a host step computes: kernels over whatever slots hold. Plain kernels, which know tensors only, are wrapped. */
import { ServeError } from '#mesh/errors.ts';
import type { HostAttrs, HostKernel, HostTensor } from '../../host-value.ts';
import type { Attrs } from './stored-attr.ts';
import type { Table } from './table.ts';
import { HeldTensor, type TensorList, type Value } from './value.ts';
import type { Variable } from './variable.ts';

/** What a kernel knows of its step. */
export interface StepContext {
  /** Name of the node in the graph after inlining. */
  readonly node: string;
  readonly op: string;
  readonly attrs: HostAttrs;
  /** Also those that `attrs` cannot say: dtypes such as variant. */
  readonly stored: Attrs;
}

/** Computes a step. Throws ServeError with TensorFlow's words where TensorFlow fails. Changes no input but the variables and tables it is for. */
export type StepKernel = (inputs: readonly Value[], step: StepContext) => readonly Value[];

/** Kernels by op name. */
export type StepKernels = Readonly<Record<string, StepKernel>>;

/** A plain kernel as a step's kernel. A reference to a variable is read when the step runs, as TensorFlow does. */
export function stepKernelOf(kernel: HostKernel): StepKernel {
  return (inputs, step) => {
    const given = new Array<HostTensor>(inputs.length);
    for (let index = 0; index < inputs.length; index++) given[index] = hostInput(inputs, index);
    const results = kernel(given, step.attrs);
    const values = new Array<Value>(results.length);
    for (let index = 0; index < results.length; index++) values[index] = HeldTensor.ofHost(results[index] as HostTensor);
    return values;
  };
}

/** Any input. A missing one is a bug of the importer. */
export function inputValue(inputs: readonly Value[], index: number): Value {
  const value = inputs[index];
  if (value !== undefined) return value;
  throw new ServeError('INTERNAL', `the step has ${inputs.length} inputs, ${index + 1} were expected (this is a bug)`);
}

/** A tensor input, or the value of the variable that it refers to. */
export function tensorInput(inputs: readonly Value[], index: number): HeldTensor {
  return tensorOfValue(inputValue(inputs, index), `input ${index}`);
}

/** A tensor input for kernels. */
export function hostInput(inputs: readonly Value[], index: number): HostTensor {
  return tensorInput(inputs, index).host();
}

/** A variable's handle. */
export function variableInput(inputs: readonly Value[], index: number): Variable {
  const value = inputValue(inputs, index);
  if (value.kind === 'variable') return value;
  throw new ServeError('INVALID_ARGUMENT', `input ${index} is a ${value.kind}, not the handle of a variable`);
}

/** A table's handle. */
export function tableInput(inputs: readonly Value[], index: number): Table {
  const value = inputValue(inputs, index);
  if (value.kind === 'table') return value;
  throw new ServeError('INVALID_ARGUMENT', `input ${index} is a ${value.kind}, not the handle of a lookup table`);
}

/** A TensorList. */
export function listInput(inputs: readonly Value[], index: number): TensorList {
  const value = inputValue(inputs, index);
  if (value.kind === 'list') return value;
  throw new ServeError('INVALID_ARGUMENT', `Input handle is not a list. Saw: a ${value.kind}`);
}

/** The tensor of a value: a variable's is its value now. Throws INVALID_ARGUMENT for a list or a table. */
export function tensorOfValue(value: Value, what: string): HeldTensor {
  if (value.kind === 'tensor') return value;
  if (value.kind === 'variable') return value.deref();
  throw new ServeError('INVALID_ARGUMENT', `${what} is a ${value.kind}, not a tensor`);
}

/** Wraps one result of a kernel. */
export function one(host: HostTensor): readonly Value[] {
  return [HeldTensor.ofHost(host)];
}
