/** Prints a message of wire format as text format, so that a model can be read in both forms. For tests of the reader. */
import { WIRE, type WireReader } from '#proto/wire.ts';
import { dataTypeName } from '../../../savedmodel/read/data-types.ts';
import type { TextMessage, TextScalar } from '../../../savedmodel/read/text-to-wire.ts';

/** The fields of `type` in `reader`; others are left out. */
export function wireToText(reader: WireReader, type: TextMessage): string {
  const byNumber = new Map(Object.entries(type).map(([name, [number, of]]) => [number, { name, of }]));
  const lines: string[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    const field = byNumber.get(tag >>> 3);
    if (field === undefined) {
      reader.skip(tag);
      continue;
    }
    const { name, of } = field;
    if (typeof of === 'function') lines.push(`${name} {\n${wireToText(reader.message(), of())}}`);
    else if ((tag & 7) === WIRE.bytes && of !== 'bytes') {
      for (const packed = reader.message(); packed.more(); ) lines.push(`${name}: ${scalar(packed, of)}`);
    } else lines.push(`${name}: ${scalar(reader, of)}`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

function scalar(reader: WireReader, type: TextScalar): string {
  switch (type) {
    case 'bytes':
      return quoted(reader.view());
    case 'bool':
      return String(reader.bool());
    case 'int':
      return String(reader.int64Exact());
    case 'float':
      return String(reader.float()).replace('Infinity', 'inf');
    case 'double':
      return String(reader.double()).replace('Infinity', 'inf');
    case 'dtype':
      return dataTypeName(reader.int32());
  }
}

function quoted(bytes: Uint8Array): string {
  const parts = Array.from(bytes, (byte) =>
    byte < 0x20 || byte > 0x7e || byte === 0x22 || byte === 0x5c ? `\\${byte.toString(8).padStart(3, '0')}` : String.fromCharCode(byte),
  );
  return `"${parts.join('')}"`;
}
