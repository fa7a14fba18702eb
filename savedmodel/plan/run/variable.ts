/** Variables on the worker: what stateful signatures read and write. */
import { ServeError } from '#mesh/errors.ts';
import type { DType } from '#mesh/tensor.ts';
import { shapeText } from '../../host/host-tensor.ts';
import type { HostTensor } from '../../host-value.ts';
import { HeldTensor } from './value.ts';

/** A variable and its handle. Its value is replaced as a whole, so that who has read it keeps what was read. */
export class Variable {
  readonly kind = 'variable';
  readonly name: string;
  readonly dtype: DType;
  #value: HeldTensor | undefined;

  /** Starts as `initial`, or uninitialised. */
  constructor(name: string, dtype: DType, initial: HeldTensor | undefined) {
    this.name = name;
    this.dtype = dtype;
    this.#value = initial;
  }

  get isInitialized(): boolean {
    return this.#value !== undefined;
  }

  /** As ReadVariableOp reads it. Throws FAILED_PRECONDITION with the words of TensorFlow 2.16 when nothing was assigned yet. */
  read(): HeldTensor {
    if (this.#value !== undefined) return this.#value;
    throw new ServeError(
      'FAILED_PRECONDITION',
      `Could not find variable ${this.name}. This could mean that the variable has been deleted. In TF1, it can also mean the variable is uninitialized. Debug info: container=localhost, status error message=Resource localhost/${this.name}/N10tensorflow3VarE does not exist.`,
    );
  }

  /** As TF1's reference variables are read: their error has other words. */
  deref(): HeldTensor {
    if (this.#value !== undefined) return this.#value;
    throw new ServeError('FAILED_PRECONDITION', `Attempting to use uninitialized value ${this.name}`);
  }

  /** Takes a value of any shape; the memory is copied, since it may be a request's. Throws INVALID_ARGUMENT for another dtype. */
  assign(value: HeldTensor): void {
    this.#checkDtype(value.dtype);
    this.#value = value.copy();
  }

  /** Takes what a kernel made for this variable alone: the memory is not copied. */
  replace(value: HostTensor): void {
    this.#checkDtype(value.dtype);
    this.#value = HeldTensor.ofHost(value);
  }

  /** Frees the value. */
  clear(): void {
    this.#value = undefined;
  }

  /** Its value, for an update by a tensor of the same shape. Throws INVALID_ARGUMENT with TensorFlow's words for another shape. */
  readForUpdate(update: HostTensor): HostTensor {
    const value = this.read().host();
    if (String(value.shape) !== String(update.shape)) {
      throw new ServeError(
        'INVALID_ARGUMENT',
        `Cannot update variable with shape ${shapeText(value.shape)} using a Tensor with shape ${shapeText(update.shape)}, shapes must be equal.`,
      );
    }
    return value;
  }

  #checkDtype(dtype: DType): void {
    if (dtype === this.dtype) return;
    throw new ServeError('INVALID_ARGUMENT', `Trying to assign variable with wrong dtype. Expected ${this.dtype} got ${dtype}`);
  }
}
