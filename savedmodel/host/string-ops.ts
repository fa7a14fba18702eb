/** String ops that look at one string at a time, joins, and hashes to buckets. */
import { ServeError } from '#mesh/errors.ts';
import { elementCount } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { indicesOf } from './arrays.ts';
import { broadcastIndices, broadcastShape } from './broadcast.ts';
import { fingerprint64, hash64, sipHash } from './fingerprint.ts';
import {
  allocate,
  axisOf,
  bigints,
  fromNumbers,
  type HostKernels,
  input,
  int32s,
  invalid,
  numbers,
  scalar,
  shapeText,
  strides,
  strings,
  stringTensor,
} from './host-tensor.ts';
import { bytesOfText, fromLatin1, latin1 } from './utf8-text.ts';

/** StringJoin, StringLower, Substr, StringToNumber, ReduceJoin, the hash buckets and their like. */
export const STRING_OPS: HostKernels = {
  StringJoin: (inputs, attrs) => [join(inputs, attrs.has('separator') ? attrs.text('separator') : '')],
  StringLower: (inputs, attrs) => [changeCase(input(inputs, 0), attrs, (text) => text.toLowerCase(), 0x41)],
  StringUpper: (inputs, attrs) => [changeCase(input(inputs, 0), attrs, (text) => text.toUpperCase(), 0x61)],
  StringStrip: (inputs) => [each(input(inputs, 0), strip)],
  StringLength: (inputs, attrs) => {
    const count = unitOf(attrs) === 'UTF8_CHAR' ? characters : (bytes: Uint8Array) => bytes.length;
    return [int32s(input(inputs, 0).shape, strings(input(inputs, 0)).map(count))];
  },
  Substr: (inputs, attrs) => [substr(inputs, unitOf(attrs))],
  StringToNumber: (inputs, attrs) => [toNumber(input(inputs, 0), attrs)],
  StringToHashBucketFast: (inputs, attrs) => [buckets(input(inputs, 0), attrs, fingerprint64)],
  StringToHashBucket: (inputs, attrs) => [buckets(input(inputs, 0), attrs, hash64)],
  StringToHashBucketStrong: (inputs, attrs) => {
    const [first, second, ...more] = attrs.bigints('key');
    if (first === undefined || second === undefined || more.length > 0) throw invalid('Key must have 2 elements');
    return [buckets(input(inputs, 0), attrs, (bytes) => sipHash(bytes, [first, second]))];
  },
  Fingerprint: (inputs) => [fingerprint(input(inputs, 0), input(inputs, 1))],
  ReduceJoin: (inputs, attrs) => [reduceJoin(input(inputs, 0), input(inputs, 1), attrs)],
  UnsortedSegmentJoin: (inputs, attrs) => [segmentJoin(inputs, attrs.has('separator') ? attrs.text('separator') : '')],
  EncodeBase64: (inputs, attrs) => {
    const pad = attrs.has('pad') && attrs.bool('pad');
    return [
      each(input(inputs, 0), (bytes) => {
        const text = Buffer.from(bytes).toString('base64url');
        return fromLatin1(pad ? text.padEnd(Math.ceil(text.length / 4) * 4, '=') : text);
      }),
    ];
  },
  DecodeBase64: (inputs) => [each(input(inputs, 0), decodeBase64)],
  DecodeRaw: (inputs, attrs) => [decodeRaw(input(inputs, 0), attrs)],
};

/** A string tensor with a function applied to every element. */
export function each(tensor: HostTensor, change: (bytes: Uint8Array) => Uint8Array): HostTensor {
  return stringTensor(tensor.shape, strings(tensor).map(change));
}

/** Byte strings one after another, with a separator between them. */
export function joinBytes(parts: readonly Uint8Array[], separator: Uint8Array): Uint8Array {
  const all: Uint8Array[] = [];
  parts.forEach((part, index) => {
    if (index > 0) all.push(separator);
    all.push(part);
  });
  return new Uint8Array(Buffer.concat(all));
}

/** True for the bytes that TensorFlow strips and splits at: space, tab, newline, vertical tab, form feed, carriage return. */
export function isSpace(byte: number | undefined): boolean {
  return byte === 32 || (byte !== undefined && byte >= 9 && byte <= 13);
}

function join(inputs: readonly HostTensor[], separator: string): HostTensor {
  if (inputs.length === 0) return stringTensor([], [new Uint8Array(0)]);
  let shape: readonly number[] = [];
  for (const tensor of inputs) {
    if (tensor.shape.length > 0 && shape.length > 0 && shapeText(tensor.shape) !== shapeText(shape)) {
      throw invalid(`Input shapes do not match: ${shapeText(shape)} vs. ${shapeText(tensor.shape)}`);
    }
    if (tensor.shape.length > 0) shape = tensor.shape;
  }
  const between = bytesOfText(separator);
  const columns = inputs.map(strings);
  const values = Array.from({ length: elementCount(shape) }, (_, row) =>
    joinBytes(
      columns.map((column, index) => column[inputs[index]?.shape.length === 0 ? 0 : row] ?? new Uint8Array(0)),
      between,
    ),
  );
  return stringTensor(shape, values);
}

function changeCase(tensor: HostTensor, attrs: HostAttrs, change: (text: string) => string, first: number): HostTensor {
  const encoding = attrs.has('encoding') ? attrs.text('encoding') : '';
  if (encoding !== '' && encoding !== 'utf-8') throw invalid(`only utf-8 or '' (no encoding) is supported, received ${encoding}`);
  if (encoding === 'utf-8') return each(tensor, (bytes) => bytesOfText(change(Buffer.from(bytes).toString('utf8'))));
  return each(tensor, (bytes) => bytes.map((byte) => (byte >= first && byte < first + 26 ? byte ^ 0x20 : byte)));
}

function strip(bytes: Uint8Array): Uint8Array {
  let start = 0;
  let end = bytes.length;
  while (start < end && isSpace(bytes[start])) start++;
  while (end > start && isSpace(bytes[end - 1])) end--;
  return bytes.subarray(start, end);
}

function unitOf(attrs: HostAttrs): string {
  const unit = attrs.has('unit') ? attrs.text('unit') : 'BYTE';
  if (unit !== 'BYTE' && unit !== 'UTF8_CHAR') throw invalid(`unit must be BYTE or UTF8_CHAR, got: ${unit}`);
  return unit;
}

/** Characters of a UTF-8 string: the bytes that do not continue one. */
function characters(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if ((byte & 0xc0) !== 0x80) count++;
  return count;
}

function substr(inputs: readonly HostTensor[], unit: string): HostTensor {
  const tensor = input(inputs, 0);
  const positions = input(inputs, 1);
  const lengths = input(inputs, 2);
  if (shapeText(positions.shape) !== shapeText(lengths.shape)) {
    throw invalid(`pos and len should have the same shape, got: ${shapeText(positions.shape)} vs. ${shapeText(lengths.shape)}`);
  }
  const shape = broadcastShape(tensor.shape, positions.shape);
  const from = broadcastIndices(tensor.shape, shape);
  const at = broadcastIndices(positions.shape, shape);
  const texts = strings(tensor);
  const starts = numbers(positions);
  const counts = numbers(lengths);
  const values = Array.from(from, (source, index) => {
    const bytes = texts[source] ?? new Uint8Array(0);
    const start = starts[at[index] ?? 0] ?? 0;
    const count = counts[at[index] ?? 0] ?? 0;
    const bounds = unit === 'BYTE' ? undefined : characterBounds(bytes);
    const size = bounds === undefined ? bytes.length : bounds.length - 1;
    if (start < -size || start > size) {
      throw invalid(`pos ${start} out of range for string b'${latin1(bytes)}' at index ${index}`);
    }
    const first = start < 0 ? start + size : start;
    const last = Math.min(size, first + Math.max(0, count));
    return bounds === undefined ? bytes.subarray(first, last) : bytes.subarray(bounds[first], bounds[last]);
  });
  return stringTensor(shape, values);
}

function characterBounds(bytes: Uint8Array): number[] {
  const bounds: number[] = [];
  for (let at = 0; at < bytes.length; at++) if (((bytes[at] ?? 0) & 0xc0) !== 0x80 || at === 0) bounds.push(at);
  bounds.push(bytes.length);
  return bounds;
}

function toNumber(tensor: HostTensor, attrs: HostAttrs): HostTensor {
  const dtype = attrs.has('out_type') ? attrs.dtype('out_type') : 'float';
  const fail = (bytes: Uint8Array) =>
    new ServeError('INVALID_ARGUMENT', `StringToNumberOp could not correctly convert string: ${latin1(bytes)}`);
  if (dtype === 'int64' || dtype === 'uint64') {
    const data = strings(tensor).map((bytes) => {
      const value = parseInteger(latin1(bytes), 64, dtype === 'uint64');
      if (value === undefined) throw fail(bytes);
      return value;
    });
    return { dtype, shape: tensor.shape, data: dtype === 'int64' ? BigInt64Array.from(data) : BigUint64Array.from(data) };
  }
  const values = strings(tensor).map((bytes) => {
    const value =
      dtype === 'float' || dtype === 'double'
        ? parseFloating(latin1(bytes))
        : Number(parseInteger(latin1(bytes), 32, dtype === 'uint32') ?? Number.NaN);
    if (value === undefined || (Number.isNaN(value) && dtype !== 'float' && dtype !== 'double')) throw fail(bytes);
    return value;
  });
  return fromNumbers(dtype, tensor.shape, values);
}

/** A whole decimal number with spaces around it, within the bits; undefined for anything else. */
export function parseInteger(text: string, bits: number, unsigned = false): bigint | undefined {
  const match = /^[ \t\n\v\f\r]*(-?\d+)[ \t\n\v\f\r]*$/.exec(text);
  if (match === null) return undefined;
  if (unsigned && match[1]?.startsWith('-')) return undefined;
  const value = BigInt(match[1] ?? '0');
  const fits = unsigned ? BigInt.asUintN(bits, value) === value : BigInt.asIntN(bits, value) === value;
  return fits ? value : undefined;
}

/** A floating-point number as TensorFlow reads it (`inf`, `nan` and hexadecimal included); undefined for anything else. */
export function parseFloating(text: string): number | undefined {
  const trimmed = text.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '');
  if (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(trimmed)) return Number(trimmed);
  const special = /^([+-]?)(inf(?:inity)?|nan)$/i.exec(trimmed);
  if (special === null) return undefined;
  if (special[2]?.toLowerCase() === 'nan') return Number.NaN;
  return special[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

function buckets(tensor: HostTensor, attrs: HostAttrs, hash: (bytes: Uint8Array) => bigint): HostTensor {
  const count = BigInt(attrs.int('num_buckets'));
  return { dtype: 'int64', shape: tensor.shape, data: BigInt64Array.from(strings(tensor), (bytes) => hash(bytes) % count) };
}

function fingerprint(tensor: HostTensor, method: HostTensor): HostTensor {
  const name = latin1(strings(method)[0] ?? new Uint8Array(0));
  if (name !== 'farmhash64') throw invalid(`Unsupported method: ${name}`);
  if (tensor.shape.length < 1) throw invalid('`data` should have at least one dimension: received shape []');
  const rows = tensor.shape[0] ?? 0;
  const perRow = elementCount(tensor.shape.slice(1));
  const out = new Uint8Array(rows * 8);
  const view = new DataView(out.buffer);
  for (let row = 0; row < rows; row++) {
    if (tensor.dtype !== 'string') {
      const data = tensor.data as Uint8Array;
      const rowBytes = data.byteLength / rows;
      view.setBigUint64(row * 8, fingerprint64(new Uint8Array(data.buffer, data.byteOffset + row * rowBytes, rowBytes)), true);
      continue;
    }
    const hashes = new BigUint64Array(perRow);
    for (let index = 0; index < perRow; index++) hashes[index] = fingerprint64(strings(tensor)[row * perRow + index] ?? new Uint8Array(0));
    view.setBigUint64(
      row * 8,
      perRow === 1 && tensor.shape.length === 1 ? (hashes[0] ?? 0n) : fingerprint64(new Uint8Array(hashes.buffer)),
      true,
    );
  }
  return { dtype: 'uint8', shape: [rows, 8], data: out };
}

function reduceJoin(tensor: HostTensor, axes: HostTensor, attrs: HostAttrs): HostTensor {
  const rank = tensor.shape.length;
  const wanted = Array.from(numbers(axes));
  const keep = attrs.has('keep_dims') && attrs.bool('keep_dims');
  const between = bytesOfText(attrs.has('separator') ? attrs.text('separator') : '');
  for (const axis of wanted)
    if (axis < -rank || axis >= rank) throw invalid(`Invalid reduction dimension ${axis} for input with ${rank} dimension(s)`);
  const order = wanted.map((axis) => axisOf(axis, rank));
  if (new Set(order).size !== order.length)
    throw invalid(`Duplicate reduction dimension ${order.find((axis, at) => order.indexOf(axis) !== at)}`);
  const chosen = order.length === 0 && axes.shape[0] !== 0 ? Array.from({ length: rank }, (_, axis) => axis) : order;
  const steps = strides(tensor.shape);
  const rest = tensor.shape.map((_, axis) => axis).filter((axis) => !chosen.includes(axis));
  const outShape = rest.map((axis) => tensor.shape[axis] ?? 0);
  const innerShape = chosen.map((axis) => tensor.shape[axis] ?? 0);
  // The axis named first changes fastest.
  const bases = indicesOf(outShape, (axis) => steps[rest[axis] ?? 0] ?? 0, 0);
  const inner = indicesOf(innerShape.toReversed(), (axis) => steps[chosen.at(-1 - axis) ?? 0] ?? 0, 0);
  const source = strings(tensor);
  const values = Array.from(bases, (base) =>
    joinBytes(
      Array.from(inner, (offset) => source[base + offset] ?? new Uint8Array(0)),
      between,
    ),
  );
  return stringTensor(keep ? tensor.shape.map((size, axis) => (chosen.includes(axis) ? 1 : size)) : outShape, values);
}

function segmentJoin(inputs: readonly HostTensor[], separator: string): HostTensor {
  const tensor = input(inputs, 0);
  const ids = input(inputs, 1);
  const count = scalar(input(inputs, 2), 'num_segments');
  if (count < 0) throw invalid('Number of segments must be non-negative');
  const inner = tensor.shape.slice(ids.shape.length);
  const each = elementCount(inner);
  const places = bigints(ids);
  const source = strings(tensor);
  allocate('string', count * each);
  const parts = Array.from({ length: count * each }, (): Uint8Array[] => []);
  for (let row = 0; row < places.length; row++) {
    const place = Number(places[row] ?? -1n);
    if (place >= count || place < 0) throw invalid('segment_ids are not allowed to exceed num_segments or to have negative values.');
    for (let index = 0; index < each; index++) parts[place * each + index]?.push(source[row * each + index] ?? new Uint8Array(0));
  }
  const between = bytesOfText(separator);
  return stringTensor(
    [count, ...inner],
    parts.map((list) => joinBytes(list, between)),
  );
}

function decodeBase64(bytes: Uint8Array): Uint8Array {
  const text = latin1(bytes);
  const bare = text.replace(/={0,2}$/, '');
  if (!/^[A-Za-z0-9_-]*$/.test(bare)) throw invalid('Invalid character found in base64.');
  if (bare.length % 4 === 1) throw invalid('Base64 string length cannot be 1 modulo 4.');
  if (bare.length !== text.length && text.length % 4 !== 0) {
    throw invalid(`Base64 string length ${text.length} is not valid`);
  }
  return new Uint8Array(Buffer.from(bare, 'base64url'));
}

function decodeRaw(tensor: HostTensor, attrs: HostAttrs): HostTensor {
  const dtype = attrs.dtype('out_type');
  const little = !attrs.has('little_endian') || attrs.bool('little_endian');
  const rows = strings(tensor);
  const size = rows[0]?.length ?? 0;
  rows.forEach((row, index) => {
    if (row.length !== size) {
      throw invalid(`DecodeRaw requires input strings to all be the same size, but element ${index} has size ${size} != ${row.length}`);
    }
  });
  const one = allocate(dtype, 1);
  const width = Array.isArray(one) ? 0 : one.byteLength;
  if (width === 0) throw invalid(`DecodeRaw cannot make ${dtype} values`);
  const perRow = size / width;
  if (!Number.isInteger(perRow))
    throw invalid(`Input to DecodeRaw has length ${size} that is not a multiple of ${width}, the size of ${dtype}`);
  const data = allocate(dtype, rows.length * perRow);
  if (Array.isArray(data)) throw invalid('DecodeRaw cannot make strings');
  const bytes = new Uint8Array(data.buffer);
  const part = dtype === 'complex64' || dtype === 'complex128' ? width / 2 : width;
  rows.forEach((row, index) => {
    const turned = little ? row : swapped(row, part);
    bytes.set(turned, index * size);
  });
  if (dtype === 'bool') for (let index = 0; index < bytes.length; index++) bytes[index] = bytes[index] === 0 ? 0 : 1;
  return { dtype, shape: rows.length === 0 ? [...tensor.shape, 0] : [...tensor.shape, perRow], data };
}

function swapped(bytes: Uint8Array, width: number): Uint8Array {
  return Uint8Array.from(bytes, (_, at) => bytes[at - (at % width) + width - 1 - (at % width)] ?? 0);
}
