/** Apply and SparseApply ops, for resource variables and references. */
import { elementCount } from '#mesh/tensor.ts';
import { dim, fromNumbers, invalid, numbers, sameShape, scalar, shapeText } from '../../host/host-tensor.ts';
import type { HostTensor } from '../../host-value.ts';
import { OPTIMIZERS, type Optimizer } from './optimizers.ts';
import { hostInput, type StepContext, type StepKernel, type StepKernels, variableInput } from './step-kernel.ts';
import type { Value } from './value.ts';
import type { Variable } from './variable.ts';

/** Every optimizer as `ApplyX`, `ResourceApplyX`, `SparseApplyX` and `ResourceSparseApplyX`. A reference's op gives the reference. */
export const TRAINING_OPS: StepKernels = Object.fromEntries(
  Object.entries(OPTIMIZERS).flatMap(([name, optimizer]): [string, StepKernel][] => [
    [`Apply${name}`, (inputs, step) => reference(inputs, dense(optimizer)(inputs, step))],
    [`ResourceApply${name}`, dense(optimizer)],
    [`SparseApply${name}`, (inputs, step) => reference(inputs, sparse(optimizer)(inputs, step))],
    [`ResourceSparseApply${name}`, sparse(optimizer)],
  ]),
);

function reference(inputs: readonly Value[], results: readonly Value[]): readonly Value[] {
  return [variableInput(inputs, 0), ...results];
}

function dense(optimizer: Optimizer): StepKernel {
  return (inputs, step) => {
    const grad = hostInput(inputs, optimizer.inputs.indexOf('grad'));
    const { shape } = variableInput(inputs, 0).deref();
    if (!sameShape(shape, grad.shape)) {
      throw invalid(`var and grad do not have the same shape${shapeText(shape)} ${shapeText(grad.shape)}`);
    }
    apply(optimizer, optimizer.inputs, inputs, step, elementCount(shape), (at) => at);
    return [];
  };
}

function sparse(optimizer: Optimizer): StepKernel {
  const after = optimizer.inputs.indexOf('grad') + 1;
  const names = [...optimizer.inputs.slice(0, after), 'indices', ...optimizer.inputs.slice(after)];
  return (inputs, step) => {
    const { shape } = variableInput(inputs, 0).deref();
    const grad = hostInput(inputs, names.indexOf('grad'));
    const rows = numbers(hostInput(inputs, names.indexOf('indices')));
    const size = dim(shape, 0);
    const inner = elementCount(shape.slice(1));
    if (!sameShape(grad.shape, [rows.length, ...shape.slice(1)])) {
      throw invalid(
        `grad must be ${shapeText([rows.length, ...shape.slice(1)])} for var ${shapeText(shape)}, got ${shapeText(grad.shape)}`,
      );
    }
    for (let at = 0; at < rows.length; at++) {
      const row = rows[at] ?? -1;
      if (!(row >= 0 && row < size)) throw invalid(`Index ${row} at offset ${at} in indices is out of range`);
    }
    apply(optimizer, names, inputs, step, rows.length * inner, (at) => (rows[Math.floor(at / inner)] ?? 0) * inner + (at % inner));
    return [];
  };
}

/** Updates `count` elements; `place` says which element of the variables gradient element `at` is for. */
function apply(
  optimizer: Optimizer,
  names: readonly string[],
  inputs: readonly Value[],
  { attrs }: StepContext,
  count: number,
  place: (at: number) => number,
): void {
  const variables = optimizer.variables.map((name, index) => ({ name, ...state(variableInput(inputs, index)) }));
  for (const { variable, value } of variables) {
    const { shape } = value;
    const trained = variableInput(inputs, 0).deref().shape;
    if (!sameShape(shape, trained)) {
      throw invalid(`var and ${variable.name} do not have the same shape${shapeText(trained)} ${shapeText(shape)}`);
    }
  }
  const cell: Record<string, number> = {};
  for (const [index, name] of names.entries()) {
    if (index >= variables.length && name !== 'grad' && name !== 'indices') cell[name] = scalar(hostInput(inputs, index), name);
  }
  const grad = numbers(hostInput(inputs, names.indexOf('grad')));
  const flags = (name: string, otherwise: boolean) => (attrs.has(name) ? attrs.bool(name) : otherwise);
  for (let at = 0; at < count; at++) {
    const to = place(at);
    for (const { name, numbers: values } of variables) cell[name] = values[to] ?? 0;
    cell.grad = grad[at] ?? 0;
    optimizer.step(cell, flags);
    for (const { name, numbers: values } of variables) values[to] = cell[name] ?? 0;
  }
  for (const { variable, value, numbers: values } of variables) variable.replace(fromNumbers(value.dtype, value.shape, values));
}

function state(variable: Variable): { readonly variable: Variable; readonly value: HostTensor; readonly numbers: Float64Array } {
  const value = variable.deref().host();
  return { variable, value, numbers: Float64Array.from(numbers(value)) };
}
