/** What a slot of a running program holds. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, dtypeFromNumber, elementCount, packStrings, type Tensor } from '#mesh/tensor.ts';
import { hostTensorOf, tensorOfHost } from '../../flatten/constant-value.ts';
import type { DataTypeNumber, PartialShape } from '../../graph.ts';
import { elementWidth, numbers } from '../../host/host-tensor.ts';
import type { HostTensor } from '../../host-value.ts';
import type { PersistentArray } from './persistent-array.ts';
import type { Table } from './table.ts';
import type { Variable } from './variable.ts';

/** A tensor, a TensorList, or the handle of a variable or table. */
export type Value = HeldTensor | TensorList | Variable | Table;

/** `tensorflow.DataType` of handles and of values such as TensorLists. */
export const RESOURCE_DTYPE = 20;
/** `tensorflow.DataType` of TensorLists. */
export const VARIANT_DTYPE = 21;

/** TensorFlow's list of tensors. Ops make new ones; none is ever changed. */
export interface TensorList {
  readonly kind: 'list';
  /** `tensorflow.DataType`: 21 for a list of lists. */
  readonly elementDtype: DataTypeNumber;
  readonly elementShape: PartialShape;
  /** The most elements that may be pushed; -1 for any number. */
  readonly maxElements: number;
  readonly elements: PersistentArray<HeldTensor | TensorList>;
}

/** A tensor as ONNX gives and takes it or as kernels do, made into the other at most once. Numbers share memory where they are aligned. */
export class HeldTensor {
  readonly kind = 'tensor';
  #tensor: Tensor | undefined;
  #host: HostTensor | undefined;

  private constructor(tensor: Tensor | undefined, host: HostTensor | undefined) {
    this.#tensor = tensor;
    this.#host = host;
  }

  /** Holds what ONNX gave, or a client. */
  static ofTensor(tensor: Tensor): HeldTensor {
    return new HeldTensor(tensor, undefined);
  }

  /** Holds what a kernel gave. */
  static ofHost(host: HostTensor): HeldTensor {
    return new HeldTensor(undefined, host);
  }

  get dtype(): DType {
    return this.#either().dtype;
  }

  get shape(): readonly number[] {
    return this.#either().shape;
  }

  /** Whether it is decoded. */
  get isHost(): boolean {
    return this.#host !== undefined;
  }

  /** For ONNX and clients. */
  tensor(): Tensor {
    if (this.#tensor === undefined) this.#tensor = tensorOfHost(this.host());
    return this.#tensor;
  }

  /** For kernels. Throws INVALID_ARGUMENT when the bytes do not fit dtype and shape. */
  host(): HostTensor {
    if (this.#host === undefined) this.#host = decoded(this.tensor());
    return this.#host;
  }

  /** The same in memory of its own: what outlives a run must not be a view of a request. */
  copy(): HeldTensor {
    const { dtype, shape } = this.#either();
    if (this.#tensor !== undefined) return HeldTensor.ofTensor({ dtype, shape, bytes: this.#tensor.bytes.slice() });
    const { data } = this.host();
    if (ArrayBuffer.isView(data)) return HeldTensor.ofHost({ dtype, shape, data: data.slice() });
    return HeldTensor.ofTensor({ dtype, shape, bytes: packStrings(data) });
  }

  #either(): Tensor | HostTensor {
    const either = this.#host ?? this.#tensor;
    if (either === undefined) throw new ServeError('INTERNAL', 'a held tensor holds nothing (this is a bug)');
    return either;
  }
}

function decoded(tensor: Tensor): HostTensor {
  try {
    return hostTensorOf(tensor);
  } catch (caught) {
    if (!(caught instanceof Error) || caught.name !== 'RangeError') throw caught;
    throw new ServeError('INVALID_ARGUMENT', caught.message, { cause: caught });
  }
}

/** Whether a kernel's result is what it says to be: as many elements as its shape has. */
export function isWhole({ dtype, shape, data }: HostTensor): boolean {
  return data.length === elementCount(shape) * elementWidth(dtype);
}

/** TensorFlow's truth: a number that is not zero, a string that is not empty; a tensor that is no scalar is true when it has elements. */
export function isTrue(value: HeldTensor): boolean {
  const { dtype, shape, data } = value.host();
  if (shape.length > 0) return elementCount(shape) > 0;
  const [first, second] = data;
  if (first instanceof Uint8Array) return first.byteLength > 0;
  if (dtype === 'half' || dtype === 'bfloat16') return numbers(value.host())[0] !== 0;
  return Number(first ?? 0) !== 0 || (elementWidth(dtype) === 2 && Number(second ?? 0) !== 0);
}

/** A dtype's name for error texts. */
export function dtypeText(number: DataTypeNumber): string {
  if (number === VARIANT_DTYPE) return 'variant';
  if (number === RESOURCE_DTYPE) return 'resource';
  return dtypeFromNumber(number) ?? String(number);
}
