/** Puts the answers to the parts of a split request together again, by rows. */
import { ServeError } from '#mesh/errors.ts';
import type { Answer, AnswerTimings, WireTensor } from '#mesh/messages.ts';
import { DTYPES, type DType, elementCount, type NamedTensors, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';

/** An answer that carries outputs: of a whole request, or of rows `[rowStart, rowStart + rowCount)` of it. */
export type OutputsAnswer = Extract<Answer, { readonly type: 'outputs' }>;

/** Brings the bytes of a payload that stayed with its holder; with `into`, writes them there. */
export type FetchPayload = (tensor: WireTensor, into: Uint8Array | undefined) => Promise<Uint8Array>;

/** One output of the whole request while its parts arrive. */
interface Joined {
  readonly dtype: DType;
  readonly inner: readonly number[];
  /** Elements of one row. */
  readonly perRow: number;
  /** Numbers: all rows. Strings: empty. */
  readonly bytes: Uint8Array;
  /** Strings: all elements. Numbers: empty. */
  readonly elements: Uint8Array[];
}

/**
 * Collects parts until every row is there. A row may arrive twice (the request was sent again and both were executed): inference is pure, so
 * either will do, and parts may be cut differently each time.
 */
export class RowAssembly {
  readonly #totalRows: number;
  readonly #joined = new Map<string, Joined>();
  /** Disjoint ranges of rows that are here, as start, end, start, end, …; in no order. */
  #covered: number[] = [];
  #timings: AnswerTimings | undefined;

  constructor(totalRows: number) {
    this.#totalRows = totalRows;
  }

  /** Adds a part whose payloads are all inline. Returns true when all rows are there. Throws DATA_LOSS for a part that does not fit. */
  add(part: OutputsAnswer): boolean {
    this.#check(part);
    for (const tensor of part.outputs) {
      if (tensor.payload.type === 'inline') this.#place(part, this.#outputFor(part, tensor), tensor, tensor.payload.bytes);
    }
    return this.#cover(part);
  }

  /** Adds a part with payloads that have to be fetched. Resolves like `add` returns. */
  async addFetched(part: OutputsAnswer, fetchPayload: FetchPayload): Promise<boolean> {
    this.#check(part);
    for (const tensor of part.outputs) {
      const joined = this.#outputFor(part, tensor);
      if (tensor.payload.type === 'inline') this.#place(part, joined, tensor, tensor.payload.bytes);
      else if (tensor.dtype === 'string') this.#place(part, joined, tensor, await fetchPayload(tensor, undefined));
      else await fetchPayload(tensor, this.#rowsOf(part, joined, tensor.payload.byteLength, tensor.name));
    }
    return this.#cover(part);
  }

  /** The whole outputs. Only once `add` has returned true. */
  finish(): { readonly outputs: NamedTensors; readonly timings: AnswerTimings } {
    const outputs = new Map<string, Tensor>();
    for (const [name, { dtype, inner, bytes, elements }] of this.#joined) {
      outputs.set(name, { dtype, shape: [this.#totalRows, ...inner], bytes: dtype === 'string' ? packStrings(elements) : bytes });
    }
    if (this.#timings === undefined) throw new TypeError('an assembly without parts cannot be finished (this is a bug)');
    return { outputs, timings: this.#timings };
  }

  #check(part: OutputsAnswer): void {
    if (part.totalRows !== this.#totalRows || part.rowCount === 0 || part.rowStart + part.rowCount > this.#totalRows) {
      throw new ServeError(
        'DATA_LOSS',
        `a worker answered rows [${part.rowStart}, ${part.rowStart + part.rowCount}) of ${part.totalRows}, the request has ${this.#totalRows}`,
      );
    }
  }

  #outputFor(part: OutputsAnswer, { name, dtype, shape }: WireTensor): Joined {
    const [rows, ...inner] = shape;
    const known = this.#joined.get(name);
    if (rows !== part.rowCount || (known && (known.dtype !== dtype || !equal(known.inner, inner)))) {
      throw new ServeError(
        'INVALID_ARGUMENT',
        `output ${name} of a split request has shape [${shape}] for ${part.rowCount} rows${known ? `, other rows have inner shape [${known.inner}]` : ''}: it cannot be put together`,
      );
    }
    if (known) return known;
    const perRow = elementCount(inner);
    const elements = dtype === 'string' ? new Array<Uint8Array>(this.#totalRows * perRow) : [];
    const joined = { dtype, inner, perRow, elements, bytes: new Uint8Array(this.#totalRows * perRow * DTYPES[dtype].byteSize) };
    this.#joined.set(name, joined);
    return joined;
  }

  #place(part: OutputsAnswer, joined: Joined, tensor: WireTensor, bytes: Uint8Array): void {
    if (joined.dtype !== 'string') {
      this.#rowsOf(part, joined, bytes.byteLength, tensor.name).set(bytes);
      return;
    }
    const elements = unpackStrings(bytes, part.rowCount * joined.perRow);
    const start = part.rowStart * joined.perRow;
    for (const [index, element] of elements.entries()) joined.elements[start + index] = element;
  }

  /** The place of a part's rows in the whole output. */
  #rowsOf(part: OutputsAnswer, { bytes, dtype, perRow }: Joined, byteLength: number, name: string): Uint8Array {
    const rowBytes = perRow * DTYPES[dtype].byteSize;
    if (byteLength !== part.rowCount * rowBytes) {
      throw new ServeError('DATA_LOSS', `output ${name} has ${byteLength} bytes for ${part.rowCount} rows of ${rowBytes}`);
    }
    return bytes.subarray(part.rowStart * rowBytes, (part.rowStart + part.rowCount) * rowBytes);
  }

  /** Notes that a part's rows are here. Returns true when all are. */
  #cover(part: OutputsAnswer): boolean {
    const seen = this.#timings;
    this.#timings =
      seen === undefined
        ? part.timings
        : {
            ...part.timings,
            queuedMs: Math.max(seen.queuedMs, part.timings.queuedMs),
            executedMs: Math.max(seen.executedMs, part.timings.executedMs),
          };
    let start = part.rowStart;
    let end = part.rowStart + part.rowCount;
    const merged: number[] = [];
    for (let index = 0; index < this.#covered.length; index += 2) {
      const otherStart = this.#covered[index] ?? 0;
      const otherEnd = this.#covered[index + 1] ?? 0;
      if (otherEnd < start || otherStart > end) merged.push(otherStart, otherEnd);
      else {
        start = Math.min(start, otherStart);
        end = Math.max(end, otherEnd);
      }
    }
    merged.push(start, end);
    this.#covered = merged;
    return start === 0 && end === this.#totalRows;
  }
}

function equal(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}
