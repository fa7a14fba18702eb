/** Checks that JSON from another process has the shape its reader relies on: outside input, like every message. */
import { fromUtf8 } from './bytes.ts';
import { ServeError } from './errors.ts';

/** Throws DATA_LOSS naming `path` when `value` has another shape. Members nobody asked for are fine: a newer process may send more. */
export type Shape = (value: unknown, path: string) => void;

/** Parses JSON and checks it. Throws DATA_LOSS with `what` for text that is no JSON or has another shape. */
export function readDocument<Document>(bytes: Uint8Array, what: string, shape: Shape): Document {
  let parsed: unknown;
  try {
    parsed = JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new ServeError('DATA_LOSS', `${what} of ${bytes.byteLength} bytes is not JSON`, { cause });
  }
  shape(parsed, what);
  return parsed as Document;
}

/** Any text. */
export const text: Shape = (value, path) => expect(typeof value === 'string', path, 'text');

/** True or false. */
export const flag: Shape = (value, path) => expect(typeof value === 'boolean', path, 'true or false');

/** A whole number from 0 to 2^53 - 1. */
export const count: Shape = (value, path) => expect(Number.isSafeInteger(value) && Number(value) >= 0, path, 'a whole number from 0');

/** A finite number. */
export const number: Shape = (value, path) => expect(Number.isFinite(value), path, 'a number');

/** One of some texts. */
export function oneOf(...allowed: readonly string[]): Shape {
  return (value, path) => expect(typeof value === 'string' && allowed.includes(value), path, `one of ${allowed.join(', ')}`);
}

/** A list. */
export function listOf(item: Shape): Shape {
  return (value, path) => {
    if (!Array.isArray(value)) return expect(false, path, 'a list');
    for (const [index, one] of value.entries()) item(one, `${path}[${index}]`);
  };
}

/** An object used as a map from names. */
export function mapOf(item: Shape): Shape {
  return (value, path) => {
    if (!isObject(value)) return expect(false, path, 'an object');
    for (const [key, one] of Object.entries(value)) item(one, `${path}.${key}`);
  };
}

/** Null, or what `shape` takes. */
export function orNull(shape: Shape): Shape {
  return (value, path) => {
    if (value !== null) shape(value, path);
  };
}

/** Absent, or what `shape` takes. */
export function optional(shape: Shape): Shape {
  return (value, path) => {
    if (value !== undefined) shape(value, path);
  };
}

/** An object with a check for every member of `Document`: the compiler misses none. */
export function objectOf<Document>(members: { readonly [Key in keyof Document]-?: Shape }): Shape {
  const entries = Object.entries<Shape>(members);
  return (value, path) => {
    if (!isObject(value)) return expect(false, path, 'an object');
    for (const [key, shape] of entries) shape(Object.hasOwn(value, key) ? value[key] : undefined, `${path}.${key}`);
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function expect(holds: boolean, path: string, what: string): void {
  if (!holds) throw new ServeError('DATA_LOSS', `${path.slice(0, 200)} is not ${what}`);
}
