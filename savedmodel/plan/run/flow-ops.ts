/** Ops that pass values on, that check them, and that do nothing. */

import { ServeError } from '#mesh/errors.ts';
import { dtypeFromNumber } from '#mesh/tensor.ts';
import { ARRAY_OPS } from '../../host/arrays.ts';
import { ELEMENTWISE_OPS } from '../../host/elementwise.ts';
import { invalid, numbers } from '../../host/host-tensor.ts';
import type { HostKernel } from '../../host-value.ts';
import { partialText } from './list-shape.ts';
import { PersistentArray } from './persistent-array.ts';
import {
  hostInput,
  inputValue,
  listInput,
  type StepContext,
  type StepKernel,
  type StepKernels,
  stepKernelOf,
  tensorInput,
} from './step-kernel.ts';
import { summarize } from './summary-text.ts';
import { type HeldTensor, isTrue, RESOURCE_DTYPE, type TensorList, type Value } from './value.ts';

/** A reference is read here, as its reader would; a resource's handle goes on as it is. */
const pass: StepKernel = (inputs, step) => [passed(inputValue(inputs, 0), step)];
const passHandle: StepKernel = (inputs) => [inputValue(inputs, 0)];
const passAll: StepKernel = (inputs, step) => inputs.map((value) => passed(value, step));
const nothing: StepKernel = () => [];

function passed(value: Value, { stored }: StepContext): Value {
  if (value.kind !== 'variable') return value;
  const dtype = stored.get('T');
  const isHandle = dtype === undefined || dtype.type === 'list' || (dtype.type === 'dtype' && dtype.value === RESOURCE_DTYPE);
  return isHandle ? value : value.deref();
}

const assert: StepKernel = (inputs, { attrs }) => {
  const condition = hostInput(inputs, 0);
  if (condition.shape.length > 0) throw invalid(`In[0] should be a scalar: [${condition.shape.join(',')}]`);
  if (isTrue(tensorInput(inputs, 0))) return [];
  const most = attrs.has('summarize') ? attrs.int('summarize') : 3;
  const data = inputs.slice(1).map((_, index) => `[${summarize(hostInput(inputs, index + 1), most)}]`);
  throw invalid(`assertion failed: ${data.join(' ')}`);
};

const checkNumerics: StepKernel = (inputs, { attrs }) => {
  const tensor = tensorInput(inputs, 0);
  const values = numbers(tensor.host());
  let nan = false;
  let infinite = false;
  for (let at = 0; at < values.length; at++) {
    const value = values[at] ?? 0;
    if (value - value === 0) continue;
    if (Number.isNaN(value)) nan = true;
    else infinite = true;
  }
  if (!nan && !infinite) return [tensor];
  const found = nan && infinite ? 'Inf and NaN' : nan ? 'NaN' : 'Inf';
  throw invalid(`${attrs.has('message') ? attrs.text('message') : ''} : Tensor had ${found} values`);
};

const placeholder: StepKernel = (_inputs, { node, stored }) => {
  const dtype = stored.get('dtype');
  const shape = stored.get('shape');
  const name = dtype?.type === 'dtype' ? (dtypeFromNumber(dtype.value) ?? String(dtype.value)) : 'unknown';
  const sized = shape?.type === 'shape' && shape.value !== null && shape.value.length > 0 ? ` and shape ${partialText(shape.value)}` : '';
  throw invalid(`You must feed a value for placeholder tensor '${node}' with dtype ${name}${sized}`);
};

const abort: StepKernel = (_inputs, { attrs }) => {
  throw new ServeError('ABORTED', attrs.has('error_msg') ? attrs.text('error_msg') : 'aborted');
};

/** An op over tensors that also takes TensorLists, element by element. */
function overLists(kernel: HostKernel | undefined): StepKernel {
  if (kernel === undefined) throw new TypeError('an op over lists has no kernel for tensors (this is a bug)');
  const plain = stepKernelOf(kernel);
  const visit: StepKernel = (inputs, step) => {
    if (inputs[0]?.kind !== 'list') return plain(inputs, step);
    const lists = inputs.map((_, index) => listInput(inputs, index).elements.toArray());
    const list = listInput(inputs, 0);
    const elements = (lists[0] ?? []).map((_, at) => {
      const parts = lists.map((each) => each[at]).filter((part) => part !== undefined);
      return parts.length === 0 ? undefined : (visit(parts, step)[0] as HeldTensor | TensorList);
    });
    return [{ ...list, elements: PersistentArray.of(elements) }];
  };
  return visit;
}

/** Passing, checking, doing nothing. Prints print nothing: a server's log is not the model's. */
export const FLOW_OPS: StepKernels = {
  Identity: pass,
  StopGradient: pass,
  PreventGradient: pass,
  Snapshot: pass,
  RefIdentity: passHandle,
  IdentityN: passAll,
  Print: pass,
  PrintV2: nothing,
  NoOp: nothing,
  ControlTrigger: nothing,
  Assert: assert,
  Abort: abort,
  CheckNumerics: checkNumerics,
  Placeholder: placeholder,
  PlaceholderV2: placeholder,
  ZerosLike: overLists(ARRAY_OPS.ZerosLike),
  AddN: overLists(ELEMENTWISE_OPS.AddN),
};
