/** Writes TensorBundles. For tests of the reader. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DTYPES, elementCount, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import { WireWriter } from '#proto/wire.ts';
import { fixed32, masked, type TableLayout, writeSortedTable } from './table-writer.ts';

/** A tensor to write; with `cuts` it is partitioned: for each dimension the indices where a slice begins, or null for the whole dimension. */
export interface TensorToWrite {
  readonly key: string;
  readonly tensor: Tensor;
  readonly cuts?: readonly (readonly number[] | null)[];
  /** Slices as they are given, which need not be a partition; instead of `cuts`. */
  readonly slices?: readonly (readonly WireExtent[])[];
}

/** How a bundle is laid out. */
export interface BundleLayout extends TableLayout {
  readonly shardCount: number;
  /** Bytes that belong to no tensor, between tensors. */
  readonly gapBytes?: number;
  readonly bigEndian?: boolean;
  readonly minConsumer?: number;
}

/** One dimension of a slice; a length of -1 is the whole dimension. */
export interface WireExtent {
  readonly start: number;
  readonly length: number;
}

const encode = (body: (writer: WireWriter) => void) => {
  const writer = new WireWriter();
  body(writer);
  return writer.finish();
};

/** Writes `PREFIX.index` and the shards. */
export function writeBundle(prefix: string, tensors: readonly TensorToWrite[], layout: BundleLayout): void {
  const shards: Uint8Array[][] = Array.from({ length: layout.shardCount }, () => []);
  const index = new Map<string, Uint8Array>();
  let turn = 0;
  const place = (tensor: Tensor): Uint8Array => {
    const shard = turn++ % layout.shardCount;
    const chunks = shards[shard] ?? [];
    const offset = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    const { stored, summed } = storedForm(tensor);
    chunks.push(stored, new Uint8Array(layout.gapBytes ?? 0).fill(0xa5));
    return encode((writer) => {
      writeHead(writer, tensor);
      if (shard > 0) writer.varintField(3, shard);
      if (offset > 0) writer.varintField(4, offset);
      writer
        .varintField(5, stored.byteLength)
        .tag(6, 5)
        .raw(fixed32(masked(summed)));
    });
  };
  for (const { key, tensor, cuts, slices: given } of tensors) {
    const name = Buffer.from(key, 'utf8').toString('latin1');
    const slices = given ?? (cuts && slicesOf(tensor.shape, cuts));
    if (slices === undefined) {
      index.set(name, place(tensor));
      continue;
    }
    for (const slice of slices) index.set(orderedKey(key, slice), place(cutNaively(tensor, slice)));
    index.set(
      name,
      encode((writer) => {
        writeHead(writer, tensor);
        for (const slice of slices) writer.delimited(7, () => slice.forEach((extent) => void writeExtent(writer, extent)));
      }),
    );
  }
  index.set(
    '',
    encode((writer) => {
      writer.varintField(1, layout.shardCount);
      if (layout.bigEndian) writer.varintField(2, 1);
      writer.delimited(3, () => writer.varintField(1, 1).varintField(2, layout.minConsumer ?? 0));
    }),
  );
  const sorted = [...index].sort(([one], [other]) => (one < other ? -1 : 1));
  mkdirSync(dirname(prefix), { recursive: true });
  writeFileSync(`${prefix}.index`, writeSortedTable(sorted, layout));
  for (const [shard, chunks] of shards.entries()) writeFileSync(shardFile(prefix, shard, layout.shardCount), Buffer.concat(chunks));
}

/** The name of a shard. */
export function shardFile(prefix: string, shard: number, count: number): string {
  return `${prefix}.data-${`${shard}`.padStart(5, '0')}-of-${`${count}`.padStart(5, '0')}`;
}

function writeHead(writer: WireWriter, { dtype, shape }: Tensor): void {
  writer.varintField(1, DTYPES[dtype].number);
  writer.delimited(2, () => {
    for (const size of shape) writer.delimited(2, () => writer.varintField(1, size));
  });
}

function writeExtent(writer: WireWriter, { start, length }: WireExtent): void {
  writer.delimited(1, () => {
    if (length >= 0) writer.varintField(1, start).varintField(2, length);
  });
}

/** What lies in the shard, and what its checksum is over. */
function storedForm({ dtype, shape, bytes }: Tensor): { readonly stored: Uint8Array; readonly summed: Uint8Array } {
  if (dtype !== 'string') return { stored: bytes, summed: bytes };
  const elements = unpackStrings(bytes, elementCount(shape));
  const lengths = Buffer.concat(elements.map((element) => fixed32(element.byteLength)));
  const varints = Buffer.concat(elements.map((element) => new WireWriter().varint(element.byteLength).finish()));
  const tail = Buffer.concat([fixed32(masked(lengths)), ...elements]);
  return { stored: Buffer.concat([varints, tail]), summed: Buffer.concat([lengths, tail]) };
}

function slicesOf(shape: readonly number[], cuts: readonly (readonly number[] | null)[]): readonly (readonly WireExtent[])[] {
  const perAxis = shape.map((size, axis): readonly WireExtent[] => {
    const starts = cuts[axis] ?? null;
    if (starts === null) return [{ start: 0, length: -1 }];
    return starts.map((start, index) => ({ start, length: (starts[index + 1] ?? size) - start }));
  });
  return perAxis.reduce<WireExtent[][]>((all, extents) => all.flatMap((one) => extents.map((extent) => [...one, extent])), [[]]);
}

/** Element by element, by its coordinates: slow and plain. */
function cutNaively({ dtype, shape, bytes }: Tensor, slice: readonly WireExtent[]): Tensor {
  const inside: number[] = [];
  for (let index = 0; index < elementCount(shape); index++) {
    let rest = index;
    let isInside = true;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const coordinate = rest % (shape[axis] ?? 1);
      rest = Math.floor(rest / (shape[axis] ?? 1));
      const { start, length } = slice[axis] ?? { start: 0, length: -1 };
      if (length >= 0 && (coordinate < start || coordinate >= start + length)) isInside = false;
    }
    if (isInside) inside.push(index);
  }
  const own = shape.map((size, axis) => ((slice[axis]?.length ?? -1) < 0 ? size : (slice[axis]?.length ?? 0)));
  if (dtype === 'string') {
    const elements = unpackStrings(bytes, elementCount(shape));
    return { dtype, shape: own, bytes: packStrings(inside.map((index) => elements[index] ?? new Uint8Array(0))) };
  }
  const size = DTYPES[dtype].byteSize;
  return {
    dtype,
    shape: own,
    bytes: new Uint8Array(Buffer.concat(inside.map((index) => bytes.subarray(index * size, (index + 1) * size)))),
  };
}

/** OrderedCode through strings of bits. */
function orderedKey(name: string, slice: readonly WireExtent[]): string {
  const escaped = [...Buffer.from(name, 'utf8')].flatMap((byte) => (byte === 0 ? [0, 255] : byte === 255 ? [255, 0] : [byte]));
  const rank = slice.length === 0 ? [0] : [1, slice.length];
  const numbers = slice.flatMap(({ start, length }) => [...signedCode(start), ...signedCode(length)]);
  return Buffer.from([0, ...escaped, 0, 1, ...rank, ...numbers]).toString('latin1');
}

function signedCode(value: number): number[] {
  const isNegative = value < 0;
  const bits = (isNegative ? ~BigInt(value) : BigInt(value)).toString(2).replace(/^0$/, '');
  for (let count = 1; ; count++) {
    const room = 7 * count - 1;
    if (bits.length > room) continue;
    const positive = `${'1'.repeat(count)}0${bits.padStart(room, '0')}`;
    const flipped = isNegative ? [...positive].map((bit) => (bit === '0' ? '1' : '0')).join('') : positive;
    return Array.from({ length: count }, (_, index) => Number.parseInt(flipped.slice(8 * index, 8 * index + 8), 2));
  }
}
