/** Reads what matters of an ONNX TensorProto, and steps over its values. */
import type { ScanCursor } from './onnx-scan.ts';
import { ONNX } from './onnx-types.ts';
import { malformed, WIRE, type WireReader } from './wire.ts';

/** An initializer without its values. */
export interface InitializerFacts {
  readonly name: string;
  readonly byteLength: number;
  /** The file that holds its values; null when the model does. */
  readonly externalFile: string | null;
}

/** Bits of an element by ONNX's element types: float8 are 17 to 20 and 24, int4 21 and 22, float4 23. Strings (8) are counted as they come. */
const ELEMENT_BITS: readonly number[] = [0, 32, 8, 8, 16, 16, 32, 64, 0, 8, 16, 64, 32, 64, 64, 128, 16, 8, 8, 8, 8, 4, 4, 4, 8];
const MAX_TEXT_BYTES = 1024 * 1024;

/** Reads the TensorProto that the cursor is confined to. */
export function readInitializer(cursor: ScanCursor): InitializerFacts {
  const { tensor } = ONNX;
  let name = '';
  let elementCount = 1;
  let elementType = 0;
  let stringBytes = 0;
  let isExternal = false;
  let location: string | null = null;
  while (cursor.more()) {
    const tag = cursor.tag();
    if (tag === tensor.dims * 8 + WIRE.varint) elementCount *= cursor.varint();
    else if (tag === tensor.dims * 8 + WIRE.bytes) {
      for (const packed = cursor.message(MAX_TEXT_BYTES); packed.more(); ) elementCount *= packed.int64();
    } else if (tag === tensor.dataType * 8 + WIRE.varint) elementType = cursor.varint();
    else if (tag === tensor.name * 8 + WIRE.bytes) name = cursor.text(MAX_TEXT_BYTES);
    else if (tag === tensor.stringData * 8 + WIRE.bytes) stringBytes += cursor.skipBytes();
    else if (tag === tensor.dataLocation * 8 + WIRE.varint) isExternal = cursor.varint() === 1;
    else if (tag === tensor.externalData * 8 + WIRE.bytes) location = readLocation(cursor.message(MAX_TEXT_BYTES)) ?? location;
    else cursor.skip(tag);
  }
  if (!(elementCount >= 0 && elementCount <= Number.MAX_SAFE_INTEGER)) throw malformed(`initializer ${name} has ${elementCount} elements`);
  const byteLength = stringBytes + Math.ceil((elementCount * (ELEMENT_BITS[elementType] ?? 0)) / 8);
  return { name, byteLength, externalFile: isExternal ? (location ?? '') : null };
}

/** The file of an external_data entry, when it is the one that names the file. */
function readLocation(reader: WireReader): string | undefined {
  let key = '';
  let value = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ONNX.entry.key * 8 + WIRE.bytes) key = reader.text();
    else if (tag === ONNX.entry.value * 8 + WIRE.bytes) value = reader.text();
    else reader.skip(tag);
  }
  return key === 'location' ? value : undefined;
}
