/** Elements of a tensor of any dtype, appended one at a time; the slow path's counterpart of `DenseColumn`. */
import { DTYPES, type DType, packStrings } from '#mesh/tensor.ts';

/** Grows as elements come; strings and numbers of the dtype only. */
export class ElementWriter {
  readonly dtype: DType;
  readonly #strings: Uint8Array[] = [];
  readonly #elementBytes: number;
  #buffer = new ArrayBuffer(64);
  #view = new DataView(this.#buffer);
  #length = 0;

  constructor(dtype: DType) {
    this.dtype = dtype;
    this.#elementBytes = DTYPES[dtype].byteSize;
  }

  /** Elements so far. */
  get count(): number {
    return this.dtype === 'string' ? this.#strings.length : this.#length / this.#elementBytes;
  }

  string(bytes: Uint8Array): void {
    this.#strings.push(bytes);
  }

  /** A number for any numeric dtype up to 32 bits or a double; wraps as two's complement where the dtype is smaller. */
  number(value: number): void {
    const at = this.#advance();
    switch (this.dtype) {
      case 'float':
        this.#view.setFloat32(at, value, true);
        break;
      case 'double':
        this.#view.setFloat64(at, value, true);
        break;
      case 'int8':
      case 'uint8':
      case 'bool':
        this.#view.setInt8(at, value);
        break;
      case 'int16':
        this.#view.setInt16(at, value, true);
        break;
      default:
        this.#view.setInt32(at, value, true);
        break;
    }
  }

  /** A 64-bit integer, signed or not. */
  wide(value: bigint): void {
    const at = this.#advance();
    this.#view.setBigInt64(at, BigInt.asIntN(64, value), true);
  }

  /** The elements in the layout of `Tensor.bytes`. */
  finish(): Uint8Array {
    return this.dtype === 'string' ? packStrings(this.#strings) : new Uint8Array(this.#buffer, 0, this.#length);
  }

  #advance(): number {
    const at = this.#length;
    this.#length += this.#elementBytes;
    if (this.#length > this.#buffer.byteLength) {
      const grown = new ArrayBuffer(this.#buffer.byteLength * 2);
      new Uint8Array(grown).set(new Uint8Array(this.#buffer));
      this.#buffer = grown;
      this.#view = new DataView(grown);
    }
    return at;
  }
}
