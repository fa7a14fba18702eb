/** `{"b64": "…"}`, which stands for bytes wherever a string may stand, and the names of JSON's types in error texts. */
import { ServeError } from '#mesh/errors.ts';
import { decodeBase64 } from './base64.ts';
import type { JsonKind, JsonTape } from './json-tape.ts';

/** True for an object with the single key `b64` and a string as its value. */
export function isBase64Object(tape: JsonTape, entry: number): boolean {
  if (tape.kind(entry) !== 'object' || tape.size(entry) !== 1) return false;
  const value = tape.member(entry, 'b64');
  return value !== undefined && tape.kind(value) === 'string';
}

/** The bytes of a base64 object. Throws INVALID_ARGUMENT `Unable to base64 decode`. */
export function base64Of(tape: JsonTape, entry: number): Uint8Array {
  const decoded = decodeBase64(tape.string(entry + 2));
  if (decoded === undefined) throw new ServeError('INVALID_ARGUMENT', 'Unable to base64 decode');
  return decoded;
}

const TYPE_NAMES: Readonly<Record<JsonKind, string>> = {
  null: 'Null',
  false: 'False',
  true: 'True',
  object: 'Object',
  array: 'Array',
  string: 'String',
  integer: 'Number',
  double: 'Number',
};

/** RapidJSON's name of a value's type. */
export function jsonTypeName(tape: JsonTape, entry: number): string {
  return TYPE_NAMES[tape.kind(entry)];
}
