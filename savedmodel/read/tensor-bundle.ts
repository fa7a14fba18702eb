/** Reads TensorBundles, the checkpoints in which TensorFlow stores variables: one index file and data files (shards). */
import { readFile } from 'node:fs/promises';
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, type DType, dtypeFromNumber, elementCount, type Tensor, tensorByteLength } from '#mesh/tensor.ts';
import { type BundleHeader, type BundleRecord, readBundleHeader, readBundleRecord } from './bundle-records.ts';
import { unpackBundleStrings } from './bundle-strings.ts';
import { Checksum } from './checksum.ts';
import { damaged, parsePart } from './damaged.ts';
import { dataTypeName } from './data-types.ts';
import { type FileRange, readRange, scanRange } from './file-range.ts';
import { assembleParts, cutPart, type PlacedPart, parseShapeAndSlice, resolveExtents } from './slice-copy.ts';
import { type Extent, sliceKey } from './slice-key.ts';
import { readSortedTable } from './sorted-table.ts';
import { isAbsence, unreadable } from './unreadable.ts';

/** The version of the format that this reader understands. */
const CONSUMER_VERSION = 1;
/** More slices than any partitioner makes; each is compared with each. */
const MAX_SLICES = 10_000;

/** What the index says of a tensor. */
export interface BundleEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Bytes in the shards, of all slices together. */
  readonly byteLength: number;
  /** For a partitioned variable its parts, one extent per dimension; empty for a tensor in one piece. */
  readonly slices: readonly (readonly Extent[])[];
}

/**
 * Tensors by key. `slice` is RestoreV2's `shape_and_slice`; empty, it means the whole tensor. A key that is not there throws NOT_FOUND, a
 * dtype that no tensor of ours can have UNIMPLEMENTED, a slice that does not fit INVALID_ARGUMENT, a damaged file DATA_LOSS.
 */
export interface TensorBundle {
  /** Path of the files up to `.index` and `.data-…`. */
  readonly prefix: string;
  /** In the order of their bytes. */
  keys(): readonly string[];
  has(key: string): boolean;
  entry(key: string): BundleEntry;
  /** Reads a tensor, only its own bytes, and compares its checksum. Its bytes are its own and start an ArrayBuffer. */
  read(key: string, slice?: string): Promise<Tensor>;
  /** Where a tensor lies as it is in memory, for readers that map files; null for strings, and for what lies in several places or none. */
  location(key: string, slice?: string): FileRange | null;
  /** Compares a tensor's checksum without keeping its bytes: for tensors that are used by `location`. */
  verify(key: string): Promise<void>;
}

/** Opens a bundle: reads its index. Throws NOT_FOUND without one, DATA_LOSS when it is damaged, UNIMPLEMENTED for a big-endian one. */
export async function openTensorBundle(prefix: string): Promise<TensorBundle> {
  const file = `${prefix}.index`;
  const table = readSortedTable(file, await readIndex(file));
  const headerBytes = table.get('');
  if (headerBytes === undefined) throw damaged(file, 0, 'the index has no header');
  const header = parsePart(file, 0, () => readBundleHeader(headerBytes));
  if (header.isBigEndian) throw new ServeError('UNIMPLEMENTED', `${file}: the bundle is big-endian, only little-endian ones are read`);
  if (header.leastConsumer > CONSUMER_VERSION) {
    throw new ServeError('UNIMPLEMENTED', `${file}: the bundle asks for version ${header.leastConsumer}, ${CONSUMER_VERSION} is read`);
  }
  const records = new Map<string, BundleRecord>();
  for (const [key, value] of table) {
    if (key === '') continue;
    const record = parsePart(file, 0, () => readBundleRecord(value));
    if (record.slices.length === 0 && record.shard >= header.shardCount) {
      throw damaged(file, 0, `${JSON.stringify(key)} is in shard ${record.shard} of ${header.shardCount}`);
    }
    records.set(key, record);
  }
  return new StoredBundle(prefix, header, records);
}

async function readIndex(file: string): Promise<Uint8Array> {
  try {
    const { buffer, byteOffset, byteLength } = await readFile(file);
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch (caught) {
    if (isAbsence(caught)) throw new ServeError('NOT_FOUND', `${file} is not there`, { cause: caught });
    throw unreadable(file, caught);
  }
}

class StoredBundle implements TensorBundle {
  readonly prefix: string;
  readonly #header: BundleHeader;
  /** By the bytes of their keys. */
  readonly #records: ReadonlyMap<string, BundleRecord>;

  constructor(prefix: string, header: BundleHeader, records: ReadonlyMap<string, BundleRecord>) {
    this.prefix = prefix;
    this.#header = header;
    this.#records = records;
  }

  keys(): readonly string[] {
    // Slices of partitioned variables have keys of their own, which start with a zero byte.
    return [...this.#records.keys()].filter((key) => !key.startsWith('\0')).map((key) => Buffer.from(key, 'latin1').toString('utf8'));
  }

  has(key: string): boolean {
    return this.#records.has(storedKey(key));
  }

  entry(key: string): BundleEntry {
    const record = this.#record(key);
    const parts = record.slices.length === 0 ? [record] : this.#parts(key, record).map((part) => part.record);
    const byteLength = parts.reduce((sum, part) => sum + part.byteLength, 0);
    return { dtype: this.#dtype(key, record), shape: record.shape, byteLength, slices: record.slices };
  }

  async read(key: string, slice = ''): Promise<Tensor> {
    const record = this.#record(key);
    const wanted = this.#wanted(key, record, slice);
    if (wanted === null) return this.#readWhole(key, record);
    const own = this.#records.get(sliceKey(key, wanted.extents));
    if (own !== undefined) return this.#readPiece(key, own);
    return cutPart(await this.#readWhole(key, record), wanted.starts, wanted.sizes);
  }

  location(key: string, slice = ''): FileRange | null {
    const record = this.#record(key);
    const wanted = this.#wanted(key, record, slice);
    const piece = wanted === null ? record : this.#records.get(sliceKey(key, wanted.extents));
    if (piece === undefined || piece.slices.length > 0 || piece.byteLength === 0 || this.#dtype(key, piece) === 'string') return null;
    return this.#range(key, piece);
  }

  async verify(key: string): Promise<void> {
    const record = this.#record(key);
    const pieces = record.slices.length === 0 ? [record] : this.#parts(key, record).map((part) => part.record);
    for (const piece of pieces) {
      if (this.#dtype(key, piece) === 'string') {
        await this.#readPiece(key, piece);
        continue;
      }
      const range = this.#range(key, piece);
      const checksum = new Checksum();
      await scanRange(range, (chunk) => checksum.update(chunk));
      checkSum(range, key, checksum.masked(), piece.checksum);
    }
  }

  #record(key: string): BundleRecord {
    const record = this.#records.get(storedKey(key));
    if (record === undefined) throw new ServeError('NOT_FOUND', `Key ${key} not found in checkpoint ${this.prefix}`);
    return record;
  }

  #dtype(key: string, { dtypeNumber }: BundleRecord): DType {
    const dtype = dtypeFromNumber(dtypeNumber);
    if (dtype === undefined) {
      throw new ServeError('UNIMPLEMENTED', `${this.prefix}: ${key} has dtype ${dataTypeName(dtypeNumber)}, which is not supported`);
    }
    return dtype;
  }

  /** The slice that is asked for, or null for the whole tensor. */
  #wanted(key: string, record: BundleRecord, slice: string) {
    const parsed = parseShapeAndSlice(slice);
    if (parsed === null) return null;
    const resolved = resolveExtents(record.shape, parsed.extents);
    if (resolved === null || parsed.shape.join() !== record.shape.join()) {
      throw new ServeError('INVALID_ARGUMENT', `${this.prefix}: ${key} has shape [${record.shape}], slice "${slice}" does not fit it`);
    }
    const isWhole = resolved.sizes.every((size, axis) => size === record.shape[axis]);
    return isWhole ? null : { extents: parsed.extents, ...resolved };
  }

  async #readWhole(key: string, record: BundleRecord): Promise<Tensor> {
    if (record.slices.length === 0) return this.#readPiece(key, record);
    const parts = this.#parts(key, record);
    const placed: PlacedPart[] = [];
    for (const part of parts) placed.push({ tensor: await this.#readPiece(key, part.record), starts: part.starts });
    return assembleParts(this.#dtype(key, record), record.shape, placed);
  }

  /** The records of a partitioned variable, checked to be all of it and each element once. */
  #parts(key: string, { slices, shape, dtypeNumber }: BundleRecord) {
    const broken = (what: string) => damaged(`${this.prefix}.index`, 0, `${key} of shape [${shape}] lies in slices, ${what}`);
    if (slices.length > MAX_SLICES) throw broken(`${slices.length} of them, at most ${MAX_SLICES} are read`);
    const parts = slices.map((extents) => {
      const place = resolveExtents(shape, extents);
      const record = this.#records.get(sliceKey(key, extents));
      const text = extents.map(({ start, length }) => (length === -1 ? '-' : `${start},${length}`)).join(':');
      if (place === null) throw broken(`${text} is outside of it`);
      if (record === undefined || record.slices.length > 0) throw broken(`${text} is not there`);
      if (record.dtypeNumber !== dtypeNumber || record.shape.join() !== place.sizes.join()) {
        throw broken(`${text} has dtype ${record.dtypeNumber} and shape [${record.shape}]`);
      }
      return { record, ...place };
    });
    for (const [index, one] of parts.entries()) {
      if (parts.slice(0, index).some((other) => overlap(one, other))) throw broken('two of them overlap');
    }
    const covered = parts.reduce((sum, { sizes }) => sum + elementCount(sizes), 0);
    if (covered !== elementCount(shape)) throw broken(`they hold ${covered} elements`);
    return parts;
  }

  /** Where a tensor in one piece lies, its size checked against its shape. */
  #range(key: string, { shard, offset, byteLength, shape, dtypeNumber }: BundleRecord): FileRange {
    const index = `${this.prefix}.index`;
    const count = this.#header.shardCount;
    if (shard >= count) throw damaged(index, 0, `${key} is in shard ${shard} of ${count}`);
    const dtype = dtypeFromNumber(dtypeNumber);
    if (dtype !== undefined && DTYPES[dtype].byteSize > 0 && tensorByteLength(dtype, shape) !== byteLength) {
      throw damaged(index, 0, `${key} has ${byteLength} bytes, ${tensorByteLength(dtype, shape)} fit ${dtype} of shape [${shape}]`);
    }
    const file = `${this.prefix}.data-${String(shard).padStart(5, '0')}-of-${String(count).padStart(5, '0')}`;
    return { file, offset, byteLength };
  }

  async #readPiece(key: string, record: BundleRecord): Promise<Tensor> {
    const { shape } = record;
    const dtype = this.#dtype(key, record);
    const range = this.#range(key, record);
    if (dtype === 'string') {
      const stored = await readRange(range);
      const { bytes, checksum } = parsePart(range.file, range.offset, () => unpackBundleStrings(stored, elementCount(shape)));
      checkSum(range, key, checksum, record.checksum);
      return { dtype, shape, bytes };
    }
    const checksum = new Checksum();
    const bytes = await readRange(range, (chunk) => checksum.update(chunk));
    checkSum(range, key, checksum.masked(), record.checksum);
    return { dtype, shape, bytes };
  }
}

function storedKey(key: string): string {
  return Buffer.from(key, 'utf8').toString('latin1');
}

function checkSum({ file, offset, byteLength }: FileRange, key: string, found: number, expected: number): void {
  if (found === expected) return;
  throw damaged(file, offset, `the ${byteLength} bytes of ${key} have checksum ${found}, ${expected} was written`);
}

interface Placed {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
}

function overlap(one: Placed, other: Placed): boolean {
  return one.starts.every((start, axis) => {
    const end = start + (one.sizes[axis] ?? 0);
    const otherStart = other.starts[axis] ?? 0;
    const otherEnd = otherStart + (other.sizes[axis] ?? 0);
    return Math.max(start, otherStart) < Math.min(end, otherEnd);
  });
}
