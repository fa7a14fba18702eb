/** String tensors between TensorProto's two encodings and the layout of `#mesh/tensor.ts` (offsets, then data). */
import { unpackStrings } from '#mesh/tensor.ts';
import { malformed, varintBytes, WireReader, WireWriter } from './wire.ts';

/** A string tensor must stay below this: its offsets are uint32. */
const MAX_DATA_BYTES = 0xffffffff;

/** Packs strings from `tensor_content`: `count` varint lengths, then exactly their bytes. Throws INVALID_ARGUMENT when they do not fit. */
export function stringsFromContent(content: Uint8Array, count: number): Uint8Array {
  if (count > content.byteLength) throw malformed(`tensor_content of ${content.byteLength} bytes cannot hold ${count} strings`);
  const reader = new WireReader(content);
  const headerBytes = 4 * (count + 1);
  const header = new DataView(new ArrayBuffer(headerBytes));
  let end = 0;
  for (let index = 0; index < count; index++) {
    end += reader.uint32();
    if (end > MAX_DATA_BYTES) throw malformed('string tensor of 4 GiB or more');
    header.setUint32(4 * (index + 1), end, true);
  }
  if (end !== content.byteLength - reader.offset) {
    throw malformed(`tensor_content holds ${content.byteLength - reader.offset} bytes of strings, ${end} were expected`);
  }
  const packed = new Uint8Array(headerBytes + end);
  packed.set(new Uint8Array(header.buffer));
  packed.set(content.subarray(reader.offset), headerBytes);
  return packed;
}

/**
 * Packs strings from runs of `string_val` fields, each run key after key. Fewer than `count`: the last is repeated; none: all are empty;
 * more: dropped. Throws INVALID_ARGUMENT when repeating would take more than `maxBytes`.
 */
export function stringsFromRun(
  bytes: Uint8Array,
  runs: readonly { readonly start: number; readonly end: number }[],
  count: number,
  maxBytes: number,
): Uint8Array {
  const elements: Uint8Array[] = [];
  for (const run of runs) {
    const reader = new WireReader(bytes, run.start, run.end);
    while (reader.more() && elements.length < count) {
      reader.tag();
      elements.push(reader.view());
    }
  }
  const last = elements.at(-1);
  const present = elements.reduce((sum, element) => sum + element.byteLength, 0);
  const repeated = (count - elements.length) * (last?.byteLength ?? 0);
  const headerBytes = 4 * (count + 1);
  if (repeated > maxBytes || present + repeated > MAX_DATA_BYTES) throw malformed(`string tensor of ${present + repeated} bytes`);
  const packed = new Uint8Array(headerBytes + present + repeated);
  const view = new DataView(packed.buffer);
  let end = 0;
  for (let index = 0; index < count; index++) {
    const element = elements[index] ?? last;
    if (element !== undefined) {
      packed.set(element, headerBytes + end);
      end += element.byteLength;
    }
    view.setUint32(4 * (index + 1), end, true);
  }
  return packed;
}

/** The `tensor_content` of a packed string tensor. */
export function contentFromStrings(packed: Uint8Array, count: number): Uint8Array {
  const elements = unpackStrings(packed, count);
  const writer = new WireWriter(elements.reduce((sum, element) => sum + varintBytes(element.byteLength) + element.byteLength, 0));
  for (const element of elements) writer.varint(element.byteLength);
  for (const element of elements) writer.raw(element);
  return writer.finish();
}
