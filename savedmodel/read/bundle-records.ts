/** The records in a TensorBundle's index: `BundleHeaderProto` and `BundleEntryProto` (tensor_bundle.proto). */
import { malformed, WireReader } from '#proto/wire.ts';
import type { DataTypeNumber } from '../graph.ts';
import { readPartialShape } from './partial-shape.ts';
import type { Extent } from './slice-key.ts';

/** What is under the empty key. */
export interface BundleHeader {
  readonly shardCount: number;
  readonly isBigEndian: boolean;
  /** A reader must understand at least this version of the format. */
  readonly leastConsumer: number;
}

/** A tensor, or the list of slices it lies in. */
export interface BundleRecord {
  readonly dtypeNumber: DataTypeNumber;
  readonly shape: readonly number[];
  readonly shard: number;
  /** In the shard, in bytes. */
  readonly offset: number;
  readonly byteLength: number;
  /** Masked CRC-32C of the tensor. */
  readonly checksum: number;
  /** Each with one extent per dimension; empty for a tensor in one piece. */
  readonly slices: readonly (readonly Extent[])[];
}

const HEADER = { shardCount: 8, endianness: 16, version: 26 } as const;
const VERSION = { minConsumer: 16 } as const;
const ENTRY = { dtype: 8, shape: 18, shard: 24, offset: 32, size: 40, checksum: 53, slice: 58 } as const;
const SLICE = { extent: 10 } as const;
const EXTENT = { start: 8, length: 16 } as const;

/** Reads a header. Throws INVALID_ARGUMENT. */
export function readBundleHeader(bytes: Uint8Array): BundleHeader {
  const reader = new WireReader(bytes);
  let [shardCount, endianness, leastConsumer] = [0, 0, 0];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === HEADER.shardCount) shardCount = reader.int32();
    else if (tag === HEADER.endianness) endianness = reader.int32();
    else if (tag === HEADER.version) leastConsumer = readMinConsumer(reader.message());
    else reader.skip(tag);
  }
  if (shardCount < 0) throw malformed(`bundle of ${shardCount} shards`);
  return { shardCount, isBigEndian: endianness !== 0, leastConsumer };
}

function readMinConsumer(reader: WireReader): number {
  let version = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === VERSION.minConsumer) version = reader.int32();
    else reader.skip(tag);
  }
  return version;
}

/** Reads an entry. Throws INVALID_ARGUMENT. */
export function readBundleRecord(bytes: Uint8Array): BundleRecord {
  const reader = new WireReader(bytes);
  let [dtypeNumber, shard, offset, byteLength, checksum] = [0, 0, 0, 0, 0];
  let shape: readonly number[] = [];
  const slices: (readonly Extent[])[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ENTRY.dtype) dtypeNumber = reader.int32();
    else if (tag === ENTRY.shape) shape = knownShape(reader.message());
    else if (tag === ENTRY.shard) shard = reader.int32();
    else if (tag === ENTRY.offset) offset = reader.int64();
    else if (tag === ENTRY.size) byteLength = reader.int64();
    else if (tag === ENTRY.checksum) checksum = littleEndian32(reader.fixed(4));
    else if (tag === ENTRY.slice) slices.push(readSlice(reader.message()));
    else reader.skip(tag);
  }
  for (const value of [shard, offset, byteLength, offset + byteLength]) {
    if (value < 0 || !Number.isSafeInteger(value)) throw malformed(`tensor of ${byteLength} bytes at ${offset} of shard ${shard}`);
  }
  return { dtypeNumber, shape, shard, offset, byteLength, checksum, slices };
}

function knownShape(reader: WireReader): readonly number[] {
  const { shape } = readPartialShape(reader);
  const count = shape?.reduce((product, size) => product * size, 1);
  if (shape === null || shape.some((size) => size < 0) || !Number.isSafeInteger(count)) throw malformed(`tensor of shape [${shape}]`);
  return shape;
}

function readSlice(reader: WireReader): readonly Extent[] {
  const extents: Extent[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === SLICE.extent) extents.push(readExtent(reader.message()));
    else reader.skip(tag);
  }
  return extents;
}

/** Without a length an extent is the whole dimension. */
function readExtent(reader: WireReader): Extent {
  let start = 0;
  let length = -1;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === EXTENT.start) start = reader.int64();
    else if (tag === EXTENT.length) length = reader.int64();
    else reader.skip(tag);
  }
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length)) throw malformed(`extent of ${length} from ${start} on`);
  return length === -1 ? { start: 0, length } : { start, length };
}

function littleEndian32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
}
