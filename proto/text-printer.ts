/** Prints messages in protobuf's text format, so that `parseText` gives them back. */
import { utf8 } from '#mesh/bytes.ts';
import { type Values, zeroOf } from './message.ts';
import type { EnumType, Field, MessageInit, MessageType, ScalarType } from './schema.ts';

/** Prints a message, one field a line in the order of field numbers, defaults left out. */
export function printText<M extends MessageType>(type: M, value: MessageInit<M>): string {
  return printMessage(type, value as Values, '');
}

function printMessage(type: MessageType, values: Values, indent: string): string {
  const byNumber = Object.entries(type.fields).sort(([, one], [, other]) => one.number - other.number);
  return byNumber.map(([name, field]) => (values[name] === undefined ? '' : printField(name, field, values[name], indent))).join('');
}

function printField(name: string, field: Field, value: unknown, indent: string): string {
  const type = field.type();
  if (field.cardinality === 'repeated') return (value as readonly unknown[]).map((one) => printValue(name, type, one, indent)).join('');
  if (field.cardinality !== 'map') return isLeftOut(field, value) ? '' : printValue(name, type, value, indent);
  const deeper = `${indent}  `;
  return [...(value as ReadonlyMap<unknown, unknown>)]
    .map(([key, entry]) => {
      const keyText = field.key === undefined ? '' : printValue('key', field.key, key, deeper);
      return `${indent}${name} {\n${keyText}${printValue('value', type, entry, deeper)}${indent}}\n`;
    })
    .join('');
}

function isLeftOut(field: Field, value: unknown): boolean {
  const type = field.type();
  if (field.cardinality !== 'implicit' || type.kind === 'message') return false;
  return value instanceof Uint8Array ? value.byteLength === 0 : Object.is(value, zeroOf(type));
}

function printValue(name: string, type: ScalarType<unknown> | EnumType | MessageType, value: unknown, indent: string): string {
  if (type.kind === 'message') return `${indent}${name} {\n${printMessage(type, value as Values, `${indent}  `)}${indent}}\n`;
  return `${indent}${name}: ${printScalar(value, type)}\n`;
}

function printScalar(value: unknown, type: ScalarType<unknown> | EnumType): string {
  if (value instanceof Uint8Array) return quote(value);
  if (typeof value === 'string') return type.kind === 'enum' ? value : quote(utf8(value));
  if (value === Number.POSITIVE_INFINITY) return 'inf';
  if (value === Number.NEGATIVE_INFINITY) return '-inf';
  if (typeof value === 'number' && Number.isNaN(value)) return 'nan';
  if (typeof value === 'number' && Number.isInteger(value) && type.kind === 'scalar' && !/float|double/.test(type.name)) {
    return BigInt(Math.min(value, type.name === 'uint64' ? 2 ** 64 - 2048 : 2 ** 63 - 1024)).toString();
  }
  return Object.is(value, -0) ? '-0' : String(value);
}

const NAMED: Readonly<Record<number, string>> = { 10: '\\n', 13: '\\r', 9: '\\t', 34: '\\"', 39: "\\'", 92: '\\\\' };

/** A quoted string; bytes that are not printable ASCII are octal. */
function quote(bytes: Uint8Array): string {
  let text = '"';
  for (const byte of bytes) {
    const isPrintable = byte >= 0x20 && byte < 0x7f;
    text += NAMED[byte] ?? (isPrintable ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`);
  }
  return `${text}"`;
}
