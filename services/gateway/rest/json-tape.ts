/**
 * A complete JSON parser that accepts and refuses what RapidJSON does in TensorFlow Serving's mode (iterative, NaN and Inf, stop when done),
 * with RapidJSON's messages and offsets. It builds no objects: values are entries of a tape that points into the source, 9 bytes each, so
 * that neither depth nor size of a body can exhaust the stack or the heap. It is the slow path; see `predict-scan.ts` for the fast one.
 */
import { ServeError } from '#mesh/errors.ts';
import { fail, type JsonProblem } from './json-problem.ts';
import { checkString, resolveEscapes } from './json-string.ts';

/** What an entry of the tape is. `double` is a number that RapidJSON would not store as an integer of at most 64 bits. */
export type JsonKind = 'null' | 'false' | 'true' | 'object' | 'array' | 'string' | 'integer' | 'double';
const KINDS: readonly JsonKind[] = ['null', 'false', 'true', 'object', 'array', 'string', 'integer', 'double'];
const [NULL, FALSE, TRUE, OBJECT, ARRAY, STRING, INTEGER, DOUBLE] = [0, 1, 2, 3, 4, 5, 6, 7] as const;

const MAX_INT64 = 2n ** 63n - 1n;
const MIN_INT64 = -(2n ** 63n);
const MAX_UINT64 = 2n ** 64n - 1n;

/** A parsed document. Entries are in document order; entry 0 is the root; a member is a string entry (its key) followed by its value. */
export class JsonTape {
  readonly bytes: Uint8Array;
  #kinds = new Uint8Array(64);
  /** Scalars: offset of the first byte (strings: after the quote). Containers: number of elements or members. */
  #starts = new Uint32Array(64);
  /** Scalars: offset after the last byte (strings: of the closing quote). Containers: the entry after the last descendant. */
  #ends = new Uint32Array(64);
  #length = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  kind(entry: number): JsonKind {
    return KINDS[this.#kinds[entry] ?? NULL] ?? 'null';
  }

  /** Elements of an array or members of an object; 0 for scalars. */
  size(entry: number): number {
    return this.#isContainer(entry) ? (this.#starts[entry] ?? 0) : 0;
  }

  /** The entry after `entry` and all its descendants. */
  next(entry: number): number {
    return this.#isContainer(entry) ? (this.#ends[entry] ?? 0) : entry + 1;
  }

  /** The value entry of an object's first member with this key, or undefined. */
  member(object: number, key: string): number | undefined {
    const wanted = Buffer.from(key);
    for (const [keyEntry, valueEntry] of this.members(object)) {
      if (wanted.equals(this.string(keyEntry))) return valueEntry;
    }
    return undefined;
  }

  /** Key and value entries of an object's members. */
  *members(object: number): Generator<readonly [key: number, value: number]> {
    const end = this.next(object);
    for (let key = object + 1; key < end; key = this.next(key + 1)) yield [key, key + 1];
  }

  /** The entries of an array's elements. */
  *elements(array: number): Generator<number> {
    const end = this.next(array);
    for (let entry = array + 1; entry < end; entry = this.next(entry)) yield entry;
  }

  /** The bytes of a string, escapes resolved; a view into the source when it has none. */
  string(entry: number): Uint8Array {
    return resolveEscapes(this.bytes.subarray(this.#starts[entry], this.#ends[entry]));
  }

  /** The text of a number as it stands in the source. */
  numberText(entry: number): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength).toString(
      'latin1',
      this.#starts[entry],
      this.#ends[entry],
    );
  }

  /** A number as a double. Integers lose precision beyond 2^53; `-0` without a point is 0. */
  number(entry: number): number {
    const text = this.numberText(entry);
    if (this.#kinds[entry] === INTEGER) return Number(text) + 0;
    const sign = text.startsWith('-') ? -1 : 1;
    if (text.includes('I')) return sign * Number.POSITIVE_INFINITY;
    return text.includes('N') ? Number.NaN : Number(text);
  }

  /** An `integer` entry, exactly. */
  integer(entry: number): bigint {
    return BigInt(this.numberText(entry));
  }

  /** Appends an entry and returns its index. For the parser. */
  push(kind: number, start: number, end: number): number {
    const entry = this.#length++;
    if (entry === this.#kinds.length) this.#grow();
    this.#kinds[entry] = kind;
    this.#starts[entry] = start;
    this.#ends[entry] = end;
    return entry;
  }

  /** Counts one more element or member of a container. For the parser. */
  count(entry: number): void {
    this.#starts[entry] = (this.#starts[entry] ?? 0) + 1;
  }

  /** Ends a container at the tape's end. For the parser. */
  close(entry: number): void {
    this.#ends[entry] = this.#length;
  }

  /** True for an object (else an array). For the parser. */
  isObject(entry: number): boolean {
    return this.#kinds[entry] === OBJECT;
  }

  #isContainer(entry: number): boolean {
    const kind = this.#kinds[entry];
    return kind === OBJECT || kind === ARRAY;
  }

  #grow(): void {
    const capacity = this.#kinds.length * 2;
    const [kinds, starts, ends] = [new Uint8Array(capacity), new Uint32Array(capacity), new Uint32Array(capacity)];
    kinds.set(this.#kinds);
    starts.set(this.#starts);
    ends.set(this.#ends);
    this.#kinds = kinds;
    this.#starts = starts;
    this.#ends = ends;
  }
}

/** Where the parser stands between two tokens; each has its own complaint about a token that does not belong. */
type Place = 'start' | 'first-name' | 'name' | 'colon' | 'member-value' | 'after-member' | 'first-element' | 'element' | 'after-element';
const COMPLAINTS: Readonly<Record<Place, JsonProblem>> = {
  start: 'empty',
  'first-name': 'name',
  name: 'name',
  colon: 'colon',
  'member-value': 'value',
  'after-member': 'member',
  'first-element': 'value',
  element: 'value',
  'after-element': 'element',
};

/**
 * Parses the first value of `bytes`; what follows it is ignored. A NUL ends the document, as in C. Throws ServeError INVALID_ARGUMENT
 * `JSON Parse error: … at offset: N`.
 */
export function parseJson(bytes: Uint8Array): JsonTape {
  if (bytes.byteLength === 0) throw new ServeError('INVALID_ARGUMENT', 'JSON Parse error: The document is empty');
  const tape = new JsonTape(bytes);
  /** Open containers, outermost first. */
  const open: number[] = [];
  let place: Place = 'start';
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  for (;;) {
    at = skipSpace(bytes, at);
    const byte = bytes[at] ?? 0;
    const top = open.at(-1);
    if (byte === 0) return fail(COMPLAINTS[place], at);
    if (place === 'colon') {
      if (byte !== 0x3a) fail('colon', at);
      place = 'member-value';
      at++;
      continue;
    }
    if (place === 'first-name' || place === 'name') {
      if (byte === 0x22) {
        const end = checkString(bytes, at + 1);
        tape.push(STRING, at + 1, end);
        place = 'colon';
        at = end + 1;
        continue;
      }
      if (byte !== 0x7d || place === 'name') fail('name', at);
    }
    if ((place === 'after-member' || place === 'after-element') && byte === 0x2c) {
      place = place === 'after-member' ? 'name' : 'element';
      at++;
      continue;
    }
    const closes =
      (byte === 0x7d && (place === 'first-name' || place === 'after-member')) ||
      (byte === 0x5d && (place === 'first-element' || place === 'after-element'));
    if (closes && top !== undefined) {
      tape.close(top);
      open.pop();
      at++;
    } else {
      const refused =
        place === 'after-member' || place === 'after-element' || byte === 0x5d || byte === 0x7d || byte === 0x2c || byte === 0x3a;
      if (refused) fail(COMPLAINTS[place], at);
      if (byte === 0x5b || byte === 0x7b) {
        open.push(tape.push(byte === 0x5b ? ARRAY : OBJECT, 0, 0));
        place = byte === 0x5b ? 'first-element' : 'first-name';
        at++;
        continue;
      }
      at = parseScalar(tape, bytes, at, byte);
    }
    const parent = open.at(-1);
    if (parent === undefined) return tape;
    tape.count(parent);
    place = tape.isObject(parent) ? 'after-member' : 'after-element';
  }
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  for (;;) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
    at++;
  }
}

/** Parses a scalar at `at`, pushes it, and returns the offset after it. */
function parseScalar(tape: JsonTape, bytes: Uint8Array, at: number, byte: number): number {
  if (byte === 0x22) {
    const end = checkString(bytes, at + 1);
    tape.push(STRING, at + 1, end);
    return end + 1;
  }
  const word = byte === 0x6e ? 'null' : byte === 0x74 ? 'true' : byte === 0x66 ? 'false' : undefined;
  if (word === undefined) return parseNumber(tape, bytes, at);
  const end = consume(bytes, at, word);
  tape.push(word === 'null' ? NULL : word === 'true' ? TRUE : FALSE, at, end);
  return end;
}

/** The offset after `word`; fails at the first byte that differs. */
function consume(bytes: Uint8Array, start: number, word: string): number {
  for (let index = 0; index < word.length; index++) {
    if (bytes[start + index] !== word.charCodeAt(index)) fail('value', start + index);
  }
  return start + word.length;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function parseNumber(tape: JsonTape, bytes: Uint8Array, start: number): number {
  let at = bytes[start] === 0x2d ? start + 1 : start;
  const first = bytes[at];
  if (first === 0x4e || first === 0x49) {
    at = consume(bytes, at, first === 0x4e ? 'NaN' : 'Inf');
    if (first === 0x49 && bytes[at] === 0x69) at = consume(bytes, at, 'inity');
    tape.push(DOUBLE, start, at);
    return at;
  }
  if (!isDigit(first)) fail('value', at);
  const digitsStart = at++;
  if (first !== 0x30) while (isDigit(bytes[at])) at++;
  const integerDigits = at - digitsStart;
  let whole = true;
  /** Fraction digits that RapidJSON takes into the significand: it stops at 17 significant ones. */
  let fractionDigits = 0;
  if (bytes[at] === 0x2e) {
    whole = false;
    if (!isDigit(bytes[++at])) fail('fraction', at);
    let significant = first === 0x30 ? 0 : integerDigits;
    for (; isDigit(bytes[at]); at++) {
      if (significant < 17) fractionDigits++;
      if (significant > 0 || bytes[at] !== 0x30) significant++;
    }
  }
  if (bytes[at] === 0x65 || bytes[at] === 0x45) {
    whole = false;
    at++;
    const negative = bytes[at] === 0x2d;
    if (negative || bytes[at] === 0x2b) at++;
    if (!isDigit(bytes[at])) fail('exponent', at);
    let exponent = 0;
    for (; isDigit(bytes[at]); at++) {
      exponent = Math.min(exponent * 10 + (bytes[at] ?? 0) - 0x30, 1e9);
      if (!negative && exponent > 308 + fractionDigits) fail('tooBig', start);
    }
  }
  if (integerDigits > 308) {
    const text = Buffer.from(bytes.subarray(digitsStart, digitsStart + integerDigits)).toString('latin1');
    if (Number(text) === Number.POSITIVE_INFINITY) fail('tooBig', start);
  }
  tape.push(whole && fitsInteger(bytes, start, at) ? INTEGER : DOUBLE, start, at);
  return at;
}

/** True when RapidJSON keeps the whole number in `[start, end)` as an integer: it fits int64 when negative, uint64 otherwise. */
function fitsInteger(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < 19) return true;
  if (end - start > 20) return false;
  const value = BigInt(Buffer.from(bytes.subarray(start, end)).toString('latin1'));
  return value < 0n ? value >= MIN_INT64 : value <= MAX_UINT64;
}

/** True when an `integer` value fits int64. */
export function fitsInt64(value: bigint): boolean {
  return value >= MIN_INT64 && value <= MAX_INT64;
}
