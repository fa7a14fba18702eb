/** Ops that change parts of variables: rows, elements by position, and slices. */
import { elementCount } from '#mesh/tensor.ts';
import { elementWidth, fromNumbers, input, invalid, numbers, sameShape, shapeText, strides } from '../../host/host-tensor.ts';
import { INDEXING_OPS, positionText } from '../../host/indexing.ts';
import type { HostData, HostTensor } from '../../host-value.ts';
import { hostInput, type StepKernel, type StepKernels, variableInput } from './step-kernel.ts';
import type { Variable } from './variable.ts';

type Combine = 'Update' | 'Add' | 'Sub' | 'Mul' | 'Div' | 'Min' | 'Max';

const ROWS: readonly Combine[] = ['Update', 'Add', 'Sub', 'Mul', 'Div', 'Min', 'Max'];
const ELEMENTS: readonly Combine[] = ['Update', 'Add', 'Sub', 'Min', 'Max'];

/** ResourceScatterX and ScatterX by rows, ResourceScatterNdX and ScatterNdX by positions, and assignments of strided slices. */
export const SCATTER_OPS: StepKernels = Object.fromEntries([
  ...ROWS.flatMap((combine) => forms(`Scatter${combine}`, (inputs) => scatterRows(inputs, combine))),
  ...ELEMENTS.flatMap((combine) => forms(`ScatterNd${combine}`, (inputs) => scatterElements(inputs, combine))),
  ...forms('StridedSliceAssign', assignSlice),
]);

/** An op over a reference gives the reference, one over a resource nothing. */
function forms(op: string, change: StepKernel): [string, StepKernel][] {
  return [
    [`Resource${op}`, change],
    [op, (inputs, step) => [variableInput(inputs, 0), ...change(inputs, step)]],
  ];
}

function scatterRows(inputs: Parameters<StepKernel>[0], combine: Combine): [] {
  const variable = variableInput(inputs, 0);
  const value = variable.deref().host();
  const indices = hostInput(inputs, 1);
  const updates = hostInput(inputs, 2);
  const [size] = value.shape;
  if (size === undefined) throw invalid(`params must be at least 1-D, got shape ${shapeText(value.shape)}`);
  const inner = elementCount(value.shape.slice(1));
  const expected = [...indices.shape, ...value.shape.slice(1)];
  if (updates.shape.length > 0 && !sameShape(updates.shape, expected)) {
    throw invalid(
      `Must have updates.shape = indices.shape + params.shape[1:] or updates.shape = [], got updates.shape ${shapeText(updates.shape)}, indices.shape ${shapeText(indices.shape)}, params.shape ${shapeText(value.shape)}`,
    );
  }
  const rows = numbers(indices);
  const places = new Float64Array(rows.length);
  for (let at = 0; at < rows.length; at++) {
    const row = rows[at] ?? -1;
    if (!(row >= 0 && row < size)) {
      const where = indices.shape.length === 0 ? '' : `[${positionText(indices.shape, at)}]`;
      throw invalid(`indices${where} = ${row} is not in [0, ${size})`);
    }
    places[at] = row * inner;
  }
  write(variable, { places, inner, updates, combine });
  return [];
}

function scatterElements(inputs: Parameters<StepKernel>[0], combine: Combine): [] {
  const variable = variableInput(inputs, 0);
  const { shape } = variable.deref();
  const indices = hostInput(inputs, 1);
  const updates = hostInput(inputs, 2);
  const depth = indices.shape.at(-1);
  if (depth === undefined) throw invalid('Indices shape must have rank at least one. Found:[]');
  if (depth > shape.length) throw invalid(`index innermost dimension length must be <= params rank; saw: ${depth} vs. ${shape.length}`);
  const outer = indices.shape.slice(0, -1);
  const expected = [...outer, ...shape.slice(depth)];
  if (!sameShape(updates.shape, expected)) {
    throw invalid(
      `Must have updates.shape = indices.shape[:batch_dim] + params_shape[slice_dim:], got updates.shape: ${shapeText(updates.shape)}, indices.shape: ${shapeText(indices.shape)}, params_shape: ${shapeText(shape)}`,
    );
  }
  const steps = strides(shape);
  const positions = numbers(indices);
  const places = new Float64Array(elementCount(outer));
  for (let row = 0; row < places.length; row++) {
    for (let axis = 0; axis < depth; axis++) {
      const place = positions[row * depth + axis] ?? -1;
      if (!(place >= 0 && place < (shape[axis] ?? 0))) {
        const all = Array.from({ length: depth }, (_, part) => positions[row * depth + part]).join(', ');
        throw invalid(`indices[${positionText(outer, row)}] = [${all}] does not index into shape ${shapeText(shape)}`);
      }
      places[row] = (places[row] ?? 0) + place * (steps[axis] ?? 0);
    }
  }
  write(variable, { places, inner: elementCount(shape.slice(depth)), updates, combine });
  return [];
}

/** Finds the slice by slicing a tensor of positions. */
function assignSlice(inputs: Parameters<StepKernel>[0], step: Parameters<StepKernel>[1]): [] {
  const variable = variableInput(inputs, 0);
  const { shape } = variable.deref();
  const value = hostInput(inputs, 4);
  const positions = fromNumbers(
    'int32',
    shape,
    Int32Array.from({ length: elementCount(shape) }, (_, at) => at),
  );
  const slice = INDEXING_OPS.StridedSlice?.([positions, hostInput(inputs, 1), hostInput(inputs, 2), hostInput(inputs, 3)], step.attrs);
  const chosen = input(slice ?? [], 0);
  if (value.shape.length > 0 && !sameShape(chosen.shape, value.shape)) {
    throw invalid(`Unhandled input dimensions: the slice has shape ${shapeText(chosen.shape)}, the value ${shapeText(value.shape)}`);
  }
  write(variable, { places: numbers(chosen), inner: 1, updates: value, combine: 'Update' });
  return [];
}

interface Change {
  /** Where each run of `inner` elements begins. */
  readonly places: ArrayLike<number>;
  readonly inner: number;
  /** As many elements as are changed, or one for all. */
  readonly updates: HostTensor;
  readonly combine: Combine;
}

type Cells = { [index: number]: never };

function write(variable: Variable, { places, inner, updates, combine }: Change): void {
  const before = variable.deref().host();
  if (updates.dtype !== before.dtype) throw invalid(`updates are ${updates.dtype}, the variable is ${before.dtype}`);
  // Halves are computed as numbers, everything else as it is stored.
  const widened = (before.dtype === 'half' || before.dtype === 'bfloat16') && combine !== 'Update';
  const width = elementWidth(before.dtype);
  const data = widened ? Float64Array.from(numbers(before)) : before.data.slice();
  const from = (widened ? numbers(updates) : updates.data) as unknown as Cells;
  const change = combination(combine, before.dtype) as (old: never, update: never) => never;
  const run = inner * width;
  const single = elementCount(updates.shape) === 1 && updates.shape.length === 0;
  const into = data as unknown as Cells;
  for (let row = 0; row < places.length; row++) {
    const to = (places[row] ?? 0) * width;
    for (let at = 0; at < run; at++) {
      const update = from[single ? at % width : row * run + at] as never;
      into[to + at] = change(into[to + at] as never, combine === 'Update' ? owned(update) : update);
    }
  }
  variable.replace(widened ? fromNumbers(before.dtype, before.shape, data as Float64Array) : { ...before, data: data as HostData });
}

/** Byte strings may be views of a request. */
function owned(value: never): never {
  const cell: unknown = value;
  return (cell instanceof Uint8Array ? cell.slice() : cell) as never;
}

/** Numbers and bigints take the same operators; typed arrays wrap what does not fit. */
function combination(combine: Combine, dtype: HostTensor['dtype']): unknown {
  switch (combine) {
    case 'Update':
      return (_: number, update: number) => update;
    case 'Add':
      return (old: number, update: number) => old + update;
    case 'Sub':
      return (old: number, update: number) => old - update;
    case 'Mul':
      return dtype === 'int32' || dtype === 'uint32' ? Math.imul : (old: number, update: number) => old * update;
    case 'Div':
      return (old: number, update: number) => {
        const whole = !/^(float|double|half|bfloat16)$/.test(dtype);
        if (whole && (update === 0 || (update as unknown) === 0n)) throw invalid('Integer division by zero');
        return old / update;
      };
    case 'Min':
      return (old: number, update: number) => {
        // Not Math.min: these may be bigints.
        if (update < old) return update;
        return old;
      };
    case 'Max':
      return (old: number, update: number) => {
        if (update > old) return update;
        return old;
      };
  }
}
