/** Kernels of custom ops as host steps run them: what they throw and what they give is checked here, and named. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, elementCount } from '#mesh/tensor.ts';
import type { KernelOp } from '../../extend/ops.ts';
import { elementWidth } from '../host/host-tensor.ts';
import type { HostAttrs, HostData, HostKernel, HostTensor } from '../host-value.ts';

/** The array that holds the elements of each dtype, by its name: arrays may come from another realm. */
const ARRAYS: Readonly<Record<Exclude<DType, 'string'>, string>> = {
  float: 'Float32Array',
  double: 'Float64Array',
  int8: 'Int8Array',
  int16: 'Int16Array',
  int32: 'Int32Array',
  int64: 'BigInt64Array',
  uint8: 'Uint8Array',
  uint16: 'Uint16Array',
  uint32: 'Uint32Array',
  uint64: 'BigUint64Array',
  bool: 'Uint8Array',
  half: 'Uint16Array',
  bfloat16: 'Uint16Array',
  complex64: 'Float32Array',
  complex128: 'Float64Array',
};

/**
 * The kernel of a custom op. What `run` throws becomes INVALID_ARGUMENT with the op's name before it; results of another number, dtype, shape or length than
 * the op promises become INTERNAL, naming op and output.
 */
export function customKernel(op: KernelOp): HostKernel {
  const broken = (why: string) => new ServeError('INTERNAL', `the custom op ${op.name} ${why}`);
  return (inputs, attrs) => {
    let results: unknown;
    try {
      results = op.run(inputs, attrs);
    } catch (cause) {
      throw new ServeError('INVALID_ARGUMENT', `${op.name}: ${textOf(cause)}`, { cause });
    }
    if (!Array.isArray(results)) throw broken(`gave ${kindOf(results)}, not a list of tensors`);
    if (results.length !== op.outputs.length) throw broken(`gave ${results.length} outputs, ${op.outputs.length} were expected`);
    for (const [index, result] of results.entries()) {
      const wanted = wantedDtype(op, index, inputs, attrs);
      const why = wrongTensor(result, wanted);
      if (why !== null) throw broken(`gave as output ${index} ${why}`);
    }
    const tensors = results as readonly HostTensor[];
    if (op.shapes !== undefined) holdToShapes(op, tensors, inputs, attrs, broken);
    return tensors;
  };
}

function holdToShapes(
  op: KernelOp,
  results: readonly HostTensor[],
  inputs: readonly HostTensor[],
  attrs: HostAttrs,
  broken: (why: string) => ServeError,
): void {
  let wanted: unknown;
  try {
    wanted = op.shapes?.(
      inputs.map(({ shape }) => shape),
      attrs,
    );
  } catch (cause) {
    throw new ServeError('INVALID_ARGUMENT', `${op.name}: ${textOf(cause)}`, { cause });
  }
  for (const [index, { shape }] of results.entries()) {
    const expected = Array.isArray(wanted) ? (wanted[index] as readonly number[] | null | undefined) : undefined;
    if (expected === undefined) throw broken(`has no shape for output ${index} in what its "shapes" gave`);
    if (expected === null) continue;
    const fits = shape.length === expected.length && expected.every((size, axis) => size === -1 || size === shape[axis]);
    if (!fits) throw broken(`gave as output ${index} a tensor of shape [${shape}], its "shapes" promised [${expected}]`);
  }
}

/** What is wrong with a result; null when nothing is. */
function wrongTensor(result: unknown, wanted: DType | undefined): string | null {
  if (typeof result !== 'object' || result === null) return `${kindOf(result)}, not a tensor`;
  const { dtype, shape, data } = result as Partial<HostTensor>;
  if (typeof dtype !== 'string' || (dtype !== 'string' && !Object.hasOwn(ARRAYS, dtype))) return `a tensor of dtype ${String(dtype)}`;
  if (wanted !== undefined && dtype !== wanted) return `a tensor of dtype ${dtype}, ${wanted} was expected`;
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return `a tensor of shape ${String(shape)}`;
  const wrongData = wrongElements(dtype, data);
  if (wrongData !== null) return wrongData;
  const count = elementCount(shape) * elementWidth(dtype);
  const { length } = data as HostData;
  return length === count ? null : `${length} elements, ${dtype} of shape [${shape}] has ${count}`;
}

function wrongElements(dtype: DType, data: unknown): string | null {
  if (dtype === 'string') {
    if (Array.isArray(data) && data.every((one) => nameOf(one) === 'Uint8Array')) return null;
    return `a tensor of strings whose data is no list of Uint8Array`;
  }
  const found = nameOf(data);
  return found === ARRAYS[dtype] ? null : `a tensor of dtype ${dtype} whose data is ${found || kindOf(data)}, not ${ARRAYS[dtype]}`;
}

function nameOf(data: unknown): string {
  if (!ArrayBuffer.isView(data)) return '';
  return (data as unknown as { readonly [Symbol.toStringTag]: string })[Symbol.toStringTag];
}

/** What the op says of an output's dtype, for these inputs; undefined where it depends on what is not there. */
function wantedDtype(op: KernelOp, index: number, inputs: readonly HostTensor[], attrs: HostAttrs): DType | undefined {
  const rule = op.outputs[index]?.dtype;
  if (typeof rule === 'string' || rule === undefined) return rule;
  if ('like' in rule) return inputs[rule.like]?.dtype;
  return attrs.has(rule.attribute) ? attrs.dtype(rule.attribute) : undefined;
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value !== 'object') return `a ${typeof value}`;
  return 'then' in value ? 'a promise' : 'an object';
}

function textOf(caught: unknown): string {
  return caught instanceof Error || (typeof caught === 'object' && caught !== null && 'message' in caught)
    ? String((caught as { readonly message: unknown }).message)
    : String(caught);
}
