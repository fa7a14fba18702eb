/** Ops over TensorLists. An element that was never set reads as zeros of the element shape. */
import { ServeError } from '#mesh/errors.ts';
import { dtypeFromNumber, elementCount } from '#mesh/tensor.ts';
import type { PartialShape } from '../../graph.ts';
import {
  allocate,
  dim,
  elementWidth,
  fromNumbers,
  int32s,
  int64s,
  invalid,
  joinData,
  numbers,
  scalar,
  shapeText,
} from '../../host/host-tensor.ts';
import type { HostTensor } from '../../host-value.ts';
import { compatible, isFull, mergeShapes, partialText, shapeFromInput } from './list-shape.ts';
import { PersistentArray } from './persistent-array.ts';
import {
  hostInput,
  inputValue,
  listInput,
  one,
  type StepContext,
  type StepKernel,
  type StepKernels,
  tensorOfValue,
} from './step-kernel.ts';
import { dtypeText, HeldTensor, type TensorList, VARIANT_DTYPE, type Value } from './value.ts';

/** A request's number must not claim all memory. */
const MAX_UNSET = 1 << 24;

type Element = HeldTensor | TensorList;

const empty: StepKernel = (inputs, step) => [
  {
    ...newList(step, shapeFromInput(hostInput(inputs, 0)), []),
    maxElements: scalar(hostInput(inputs, 1), 'max_num_elements'),
  },
];

const reserve: StepKernel = (inputs, step) => {
  const count = scalar(hostInput(inputs, 1), 'num_elements');
  if (count < 0) throw invalid(`The num_elements to reserve must be a non negative number, but got ${count}`);
  return [newList(step, shapeFromInput(hostInput(inputs, 0)), unset(count))];
};

const fromTensor: StepKernel = (inputs, step) => {
  const tensor = hostInput(inputs, 0);
  const elementShape = shapeFromInput(hostInput(inputs, 1));
  const rows = rowsOf(tensor);
  const shape = tensor.shape.slice(1);
  if (!compatible(elementShape, shape)) {
    throw invalid(`Specified a list with shape ${partialText(elementShape)} from a tensor with shape ${shapeText(shape)}`);
  }
  return [newList(step, mergeShapes(elementShape, shape), rows)];
};

const setItem: StepKernel = (inputs, { attrs }) => {
  const list = listInput(inputs, 0);
  const index = scalar(hostInput(inputs, 1), 'index');
  const item = inputValue(inputs, 2);
  const grows = ['_grows', 'resize_if_index_out_of_bounds'].some((name) => attrs.has(name) && attrs.bool(name));
  const { length } = list.elements;
  if (index < 0 || (index >= length && !grows)) {
    throw invalid(`Trying to modify element ${index} in a list with ${length} elements.`);
  }
  const element = elementFor(list, item, 'Tried to set a tensor with incompatible shape at a list index. Item element shape', 'list shape');
  if (index <= length) return [{ ...list, elements: list.elements.with(index, element) }];
  const elements = [...list.elements.toArray(), ...unset(index - length), element];
  return [{ ...list, elements: PersistentArray.of(elements) }];
};

const getItem: StepKernel = (inputs) => {
  const list = listInput(inputs, 0);
  const index = scalar(hostInput(inputs, 1), 'index');
  const { length } = list.elements;
  if (index < 0 || index >= length) throw invalid(`Trying to access element ${index} in a list with ${length} elements.`);
  const element = list.elements.at(index);
  if (element !== undefined) return [element];
  const wanted = inputs.length > 2 ? shapeFromInput(hostInput(inputs, 2)) : null;
  return [
    zeros(
      list,
      sharedShape(list, mergeShapes(list.elementShape, wanted)),
      'Trying to read an uninitialized tensor but element_shape is not fully defined',
    ),
  ];
};

const pushBack: StepKernel = (inputs) => {
  const list = listInput(inputs, 0);
  const { length } = list.elements;
  const element = elementFor(
    list,
    inputValue(inputs, 1),
    'Tried to append a tensor with incompatible shape to a list. Op element shape',
    'list shape',
  );
  if (list.maxElements >= 0 && length >= list.maxElements) {
    throw invalid(`Tried to push item to a full list. list size: ${length} max_num_elements: ${list.maxElements}`);
  }
  return [{ ...list, elements: list.elements.with(length, element) }];
};

const popBack: StepKernel = (inputs) => {
  const list = listInput(inputs, 0);
  const { length } = list.elements;
  if (length === 0) throw invalid('Trying to pop from an empty list.');
  const wanted = mergeShapes(list.elementShape, inputs.length > 1 ? shapeFromInput(hostInput(inputs, 1)) : null);
  const last =
    list.elements.at(length - 1) ??
    zeros(list, sharedShape(list, wanted), 'Trying to read an uninitialized tensor but element_shape is not fully defined');
  return [{ ...list, elements: list.elements.withoutLast() }, last];
};

const length: StepKernel = (inputs) => one(int32s([], [listInput(inputs, 0).elements.length]));

const resize: StepKernel = (inputs) => {
  const list = listInput(inputs, 0);
  const size = scalar(hostInput(inputs, 1), 'size');
  if (size < 0) throw invalid(`TensorListSlice expects size to be non-negative. Got: ${size}`);
  const kept = list.elements.toArray().slice(0, size);
  return [{ ...list, elements: PersistentArray.of([...kept, ...unset(size - kept.length)]) }];
};

const stack: StepKernel = (inputs, { attrs }) => {
  const list = listInput(inputs, 0);
  const elements = list.elements.toArray();
  const wanted = attrs.has('num_elements') ? attrs.int('num_elements') : -1;
  if (wanted !== -1 && wanted !== elements.length) {
    throw invalid(`Operation expected a list with ${wanted} elements but got a list with ${elements.length} elements.`);
  }
  const stated = mergeShapes(list.elementShape, inputs.length > 1 ? shapeFromInput(hostInput(inputs, 1)) : null);
  if (elements.length === 0 && !isFull(stated)) {
    throw invalid(`Tried to stack elements of an empty list with non-fully-defined element_shape: ${partialText(stated)}`);
  }
  const shape = sharedShape(list, stated);
  const unknown = 'Tried to stack list which only contains uninitialized tensors and has a non-fully-defined element_shape';
  return one(joined(list, elements, shape, unknown));
};

const gather: StepKernel = (inputs) => {
  const list = listInput(inputs, 0);
  const places = Array.from(numbers(hostInput(inputs, 1)));
  const stated = mergeShapes(list.elementShape, inputs.length > 2 ? shapeFromInput(hostInput(inputs, 2)) : null);
  if (places.length === 0 && !isFull(stated)) {
    throw invalid(`Tried to gather 0-elements from a list with non-fully-defined shape: ${partialText(stated)}`);
  }
  const elements = places.map((place) => {
    if (place < 0 || place >= list.elements.length) {
      throw invalid(`Index ${place} out o range; list only has ${list.elements.length} elements.`);
    }
    return list.elements.at(place);
  });
  const unknown = 'Tried to gather uninitialized tensors from a list with non-fully-defined element_shape';
  return one(joined(list, elements, sharedShape(list, stated, elements), unknown));
};

const scatter: StepKernel = (inputs, step) => {
  const list = newList(step, shapeFromInput(hostInput(inputs, 2)), []);
  const places = Array.from(numbers(hostInput(inputs, 1)));
  const wanted = inputs.length > 3 ? scalar(hostInput(inputs, 3), 'num_elements') : -1;
  if (wanted < -1) throw invalid(`TensorListScatter expects num_elements >= -1, found: ${wanted}`);
  if (wanted >= 0 && places.some((place) => place >= wanted)) {
    throw invalid(`TensorListScatter: Trying to scatter at index ${Math.max(...places)} in list with size ${wanted}`);
  }
  return [scattered(list, places, hostInput(inputs, 0), Math.max(wanted, ...places.map((place) => place + 1), 0))];
};

const scatterInto: StepKernel = (inputs) => {
  const list = listInput(inputs, 0);
  const places = Array.from(numbers(hostInput(inputs, 2)));
  return [scattered(list, places, hostInput(inputs, 1), Math.max(list.elements.length, ...places.map((place) => place + 1)))];
};

function scattered(list: TensorList, places: readonly number[], tensor: HostTensor, size: number): TensorList {
  const rows = rowsOf(tensor);
  if (rows.length !== places.length) {
    throw invalid(`Invalid number of rows in input tensor. Expected: ${places.length} Actual: ${rows.length}`);
  }
  const shape = tensor.shape.slice(1);
  if (!compatible(list.elementShape, shape)) {
    throw invalid(`Specified a list with shape ${partialText(list.elementShape)} from a tensor with shape ${shapeText(shape)}`);
  }
  const elements = list.elements.toArray();
  elements.push(...unset(size - elements.length));
  for (const [row, place] of places.entries()) {
    if (place < 0) throw invalid('Indices in TensorListScatter must all be non-negative.');
    elements[place] = rows[row];
  }
  return { ...list, elements: PersistentArray.of(elements) };
}

/** Elements one after another along dimension 0, and how long each was. */
const concat: StepKernel = (inputs, { attrs }) => {
  const list = listInput(inputs, 0);
  const elements = list.elements.toArray();
  const given = inputs.length > 1 ? shapeFromInput(hostInput(inputs, 1)) : attrs.has('element_shape') ? attrs.shape('element_shape') : null;
  // The first dimension is the one that differs.
  const open = (shape: PartialShape): PartialShape => (shape === null ? null : [-1, ...shape.slice(1)]);
  const shape = mergeShapes(open(list.elementShape), open(given));
  const leading = inputs.length > 2 ? Array.from(numbers(hostInput(inputs, 2))) : [];
  let rowShape: PartialShape = shape === null ? null : shape.slice(1);
  for (const [at, element] of elements.entries()) {
    if (element === undefined) continue;
    const { shape: own } = tensorOfValue(element, 'element');
    if (own.length === 0) throw invalid(`Concat saw a scalar shape at index ${at} but requires at least vectors.`);
    rowShape = mergeShapes(rowShape, own.slice(1));
  }
  if (!isFull(rowShape)) {
    throw invalid(
      elements.length === 0
        ? 'All except the first dimension must be fully defined when concating an empty tensor list. element_shape: '.concat(
            partialText(shape),
          )
        : `Trying to concat list with only uninitialized tensors but element_shape_except_first_dim is not fully defined: ${partialText(rowShape)}`,
    );
  }
  const inner = rowShape;
  const tensors = elements.map((element, at) => {
    if (element !== undefined) return tensorOfValue(element, 'element').host();
    const rows = leading[at];
    if (rows === undefined)
      throw invalid(`Concating lists with uninitialized tensors is not supported in this version of TensorListConcat.`);
    return blank(list, [rows, ...inner]);
  });
  const lengths = tensors.map((tensor) => dim(tensor.shape, 0));
  const total = lengths.reduce((sum, rows) => sum + rows, 0);
  return [HeldTensor.ofHost(joinData(plainDtype(list), tensors, [total, ...inner])), HeldTensor.ofHost(int64s([lengths.length], lengths))];
};

const split: StepKernel = (inputs, step) => {
  const tensor = hostInput(inputs, 0);
  const lengths = Array.from(numbers(hostInput(inputs, 2)));
  const [size, ...inner] = tensor.shape;
  if (size === undefined) throw invalid(`Tensor must be at least a vector, but saw shape: []`);
  const total = lengths.reduce((sum, rows) => sum + rows, 0);
  if (lengths.some((rows) => rows < 0)) throw invalid(`Invalid value in lengths: ${lengths.find((rows) => rows < 0)}`);
  if (total > size) throw invalid(`Attempting to slice [0, ${total}] from tensor with length ${size}`);
  if (total < size) throw invalid(`Unused values in tensor. Length of tensor: ${size} Values used: ${total}`);
  const elementShape = shapeFromInput(hostInput(inputs, 1));
  let from = 0;
  const elements = lengths.map((rows) => {
    const shape = [rows, ...inner];
    if (!compatible(elementShape, shape)) {
      throw invalid(`Specified a list with shape ${partialText(elementShape)} from a tensor with shape ${shapeText(shape)}`);
    }
    from += rows;
    return HeldTensor.ofHost(view(tensor, shape, (from - rows) * elementCount(inner)));
  });
  return [newList(step, elementShape, elements)];
};

const elementShape: StepKernel = (inputs, { attrs }) => {
  const { elementShape: shape } = listInput(inputs, 0);
  const dtype = attrs.has('shape_type') ? attrs.dtype('shape_type') : 'int32';
  return one(shape === null ? fromNumbers(dtype, [], [-1]) : fromNumbers(dtype, [shape.length], shape));
};

const concatLists: StepKernel = (inputs) => {
  const left = listInput(inputs, 0);
  const right = listInput(inputs, 1);
  if (left.elementDtype !== right.elementDtype) {
    throw invalid(`input_list_a has type ${dtypeText(left.elementDtype)}, input_list_b has ${dtypeText(right.elementDtype)}`);
  }
  return [{ ...left, elements: PersistentArray.of([...left.elements.toArray(), ...right.elements.toArray()]) }];
};

function newList({ stored }: StepContext, shape: PartialShape, elements: (Element | undefined)[]): TensorList {
  const dtype = stored.get('element_dtype');
  if (dtype?.type !== 'dtype') throw invalid('attribute element_dtype is missing');
  return { kind: 'list', elementDtype: dtype.value, elementShape: shape, maxElements: -1, elements: PersistentArray.of(elements) };
}

/** Checks what is put into a list: its dtype and its shape. */
function elementFor(list: TensorList, value: Value, what: string, listWord: string): Element {
  if (value.kind === 'list' && list.elementDtype === VARIANT_DTYPE) return value;
  const tensor = tensorOfValue(value, 'item');
  if (tensor.dtype !== dtypeFromNumber(list.elementDtype)) {
    throw invalid(`Invalid data type; op elements ${tensor.dtype} but list elements ${dtypeText(list.elementDtype)}`);
  }
  if (!compatible(list.elementShape, tensor.shape)) {
    throw invalid(`${what}: ${shapeText(tensor.shape)} ${listWord}: ${partialText(list.elementShape)}`);
  }
  return tensor;
}

/** What is known of the shape of all elements: from those that are set, where `stated` leaves sizes open. */
function sharedShape(list: TensorList, stated: PartialShape, elements?: readonly (Element | undefined)[]): PartialShape {
  if (isFull(stated)) return stated;
  let shape = stated as PartialShape;
  for (const element of elements ?? list.elements.toArray()) if (element?.kind === 'tensor') shape = mergeShapes(shape, element.shape);
  return shape;
}

function joined(list: TensorList, elements: readonly (Element | undefined)[], shape: PartialShape, unknown: string): HostTensor {
  if (!isFull(shape)) throw invalid(`${unknown}: ${partialText(shape)}`);
  const blankElement = elements.includes(undefined) ? blank(list, shape) : undefined;
  const tensors = elements.map((element) => {
    if (element === undefined) return blankElement ?? blank(list, shape);
    const tensor = tensorOfValue(element, 'element').host();
    mergeShapes(shape, tensor.shape);
    return tensor;
  });
  return joinData(plainDtype(list), tensors, [tensors.length, ...shape]);
}

function zeros(list: TensorList, shape: PartialShape, unknown: string): HeldTensor {
  if (!isFull(shape)) throw invalid(`${unknown}: ${partialText(shape)} and no list element is set.`);
  return HeldTensor.ofHost(blank(list, shape));
}

function blank(list: TensorList, shape: readonly number[]): HostTensor {
  const dtype = plainDtype(list);
  return { dtype, shape, data: allocate(dtype, elementCount(shape)) };
}

function plainDtype(list: TensorList): HostTensor['dtype'] {
  const dtype = dtypeFromNumber(list.elementDtype);
  if (dtype === undefined) throw invalid(`elements of dtype ${dtypeText(list.elementDtype)} cannot be made into a tensor`);
  return dtype;
}

function rowsOf(tensor: HostTensor): HeldTensor[] {
  const [count, ...inner] = tensor.shape;
  if (count === undefined) throw invalid(`Tensor must be at least a vector, but saw shape: []`);
  const each = elementCount(inner);
  return Array.from({ length: count }, (_, row) => HeldTensor.ofHost(view(tensor, inner, row * each)));
}

/** Elements from `start` on under another shape, without a copy. */
function view({ dtype, data }: HostTensor, shape: readonly number[], start: number): HostTensor {
  const width = elementWidth(dtype);
  const end = start + elementCount(shape);
  return { dtype, shape, data: ArrayBuffer.isView(data) ? data.subarray(start * width, end * width) : data.slice(start, end) };
}

function unset(count: number): undefined[] {
  if (count > MAX_UNSET)
    throw new ServeError('RESOURCE_EXHAUSTED', `a TensorList would get ${count} elements at once, ${MAX_UNSET} is the most`);
  return Array.from({ length: Math.max(0, count) }, () => undefined);
}

/** Lists from nothing or a tensor, elements in and out, and back to tensors. */
export const LIST_OPS: StepKernels = {
  EmptyTensorList: empty,
  TensorListReserve: reserve,
  TensorListFromTensor: fromTensor,
  TensorListSetItem: setItem,
  TensorListGetItem: getItem,
  TensorListPushBack: pushBack,
  TensorListPopBack: popBack,
  TensorListLength: length,
  TensorListResize: resize,
  TensorListStack: stack,
  TensorListGather: gather,
  TensorListScatter: scatter,
  TensorListScatterV2: scatter,
  TensorListScatterIntoExistingList: scatterInto,
  TensorListConcat: concat,
  TensorListConcatV2: concat,
  TensorListSplit: split,
  TensorListElementShape: elementShape,
  TensorListConcatLists: concatLists,
};
