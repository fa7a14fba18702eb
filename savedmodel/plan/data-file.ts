import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import type { DType, Tensor } from '#mesh/tensor.ts';

/** A tensor that is read when it is written. */
export interface TensorSource {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Of the tensor as `#mesh/tensor.ts` lays it out; null when that is not known before it is read (strings). */
  readonly byteLength: number | null;
  /** Reads it. */
  read(): Promise<Tensor>;
}

/** One tensor of a data file. */
export interface DataEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly byteLength: number;
}

/** A file of tensors one after another, laid out while a plan is made and written at its end, one tensor in memory at a time. */
export class DataFile {
  readonly #alignment: number;
  readonly #entries: { readonly entry: DataEntry; readonly source: TensorSource }[] = [];
  readonly #indices = new Map<unknown, number>();
  #end = 0;

  /** Each tensor starts at a multiple of `alignment` bytes. */
  constructor(alignment: number) {
    this.#alignment = alignment;
  }

  get byteLength(): number {
    return this.#end;
  }

  get entries(): readonly DataEntry[] {
    return this.#entries.map(({ entry }) => entry);
  }

  /** Finds what was added under a key. */
  find(key: unknown): number | undefined {
    return this.#indices.get(key);
  }

  /** Adds a tensor under a key, or finds it there; gives its index. `byteLength` must be known. */
  add(key: unknown, source: TensorSource): number {
    const known = this.#indices.get(key);
    if (known !== undefined) return known;
    const { dtype, shape, byteLength } = source;
    if (byteLength === null) throw new TypeError('a tensor of unknown size cannot be laid out (this is a bug)');
    const offset = Math.ceil(this.#end / this.#alignment) * this.#alignment;
    const index = this.#entries.length;
    this.#entries.push({ entry: { dtype, shape, offset, byteLength }, source });
    this.#indices.set(key, index);
    this.#end = offset + byteLength;
    return index;
  }

  /** One entry. */
  at(index: number): DataEntry {
    const found = this.#entries[index];
    if (found === undefined) throw new TypeError(`the data file has no tensor ${index} (this is a bug)`);
    return found.entry;
  }

  /** Writes the file, unless it would be empty. Calls `onBytes` with how many bytes have been written. Errors are those of the file system. */
  async write(
    folder: string,
    name: string,
    options: { readonly onBytes: (bytes: number) => void; readonly signal?: AbortSignal },
  ): Promise<void> {
    if (this.#entries.length === 0) return;
    await using file = await open(join(folder, name), 'wx');
    await file.truncate(this.#end); // An empty tensor at the end would else lie beyond it.
    for (const { entry, source } of this.#entries) {
      options.signal?.throwIfAborted();
      const { bytes } = await source.read();
      if (bytes.byteLength !== entry.byteLength) {
        throw new ServeError('DATA_LOSS', `a tensor has ${bytes.byteLength} bytes, ${entry.byteLength} were expected`);
      }
      await writeAll(file, bytes, entry.offset);
      options.onBytes(entry.offset + entry.byteLength);
    }
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.byteLength - done, offset + done);
    done += bytesWritten;
  }
}

/** A source that is at hand. */
export function tensorSource(tensor: Tensor): TensorSource {
  return { dtype: tensor.dtype, shape: tensor.shape, byteLength: tensor.bytes.byteLength, read: async () => tensor };
}
