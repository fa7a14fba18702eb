/**
 * Turns protobuf text format into the wire format, so that a message has one decoder for both. Integers of 64 bits keep all their bits.
 * Fields that a description does not have are passed over: files of newer releases have more of them.
 */
import { ServeError } from '#mesh/errors.ts';
import { type Place, scanText, type Token } from '#proto/text-scanner.ts';
import { MAX_DEPTH, WIRE, WireWriter } from '#proto/wire.ts';
import { DATA_TYPE_NUMBERS } from './data-types.ts';

/** A scalar of a text message; `dtype` is the enum `tensorflow.DataType`. */
export type TextScalar = 'bytes' | 'bool' | 'int' | 'float' | 'double' | 'dtype';

/** A message as its text form needs it: fields by name, with their numbers. A map is a message with `key` and `value`. */
export interface TextMessage {
  readonly [name: string]: readonly [number: number, type: TextScalar | (() => TextMessage)];
}

/** `google.protobuf.Any`, whose value may stand expanded: `[type.googleapis.com/a.B] { … }`. */
export const TEXT_ANY: TextMessage = { type_url: [1, 'bytes'], value: [2, 'bytes'] };

/**
 * Converts a text. `anyTypes` are the messages that may stand expanded in an Any, by full name; of others only the name is kept. Throws
 * ServeError INVALID_ARGUMENT `line L, column C: WHAT`.
 */
export function textToWire(text: string, type: TextMessage, anyTypes: ReadonlyMap<string, TextMessage>): Uint8Array {
  const complain = ({ line, column }: Place, what: string) => new ServeError('INVALID_ARGUMENT', `line ${line}, column ${column}: ${what}`);
  return new Transcoder(scanText(text, complain), complain, anyTypes).transcode(type);
}

class Transcoder {
  readonly #tokens: readonly Token[];
  readonly #complain: (place: Place, what: string) => ServeError;
  readonly #anyTypes: ReadonlyMap<string, TextMessage>;
  readonly #writer = new WireWriter(1 << 16);
  #next = 0;

  constructor(tokens: readonly Token[], complain: (place: Place, what: string) => ServeError, anyTypes: ReadonlyMap<string, TextMessage>) {
    this.#tokens = tokens;
    this.#complain = complain;
    this.#anyTypes = anyTypes;
  }

  transcode(type: TextMessage): Uint8Array {
    this.#fields(type, 0);
    const left = this.#peek();
    if (left.kind !== 'end') throw this.#complain(left, `Expected identifier, got: ${left.text}`);
    return this.#writer.finish();
  }

  /** Fields up to a closing bracket or the end, which is left in place. */
  #fields(type: TextMessage, depth: number): void {
    if (depth > MAX_DEPTH) throw this.#complain(this.#peek(), `Messages are nested deeper than ${MAX_DEPTH}.`);
    for (;;) {
      const token = this.#peek();
      if (token.kind === 'end' || this.#isAt('}') || this.#isAt('>')) return;
      if (this.#isAt('[')) this.#bracketedField(type, depth);
      else this.#field(type, depth);
      if (!this.#accept(',')) this.#accept(';');
    }
  }

  #field(type: TextMessage, depth: number): void {
    const token = this.#take();
    if (token.kind !== 'name') throw this.#complain(token, `Expected identifier, got: ${token.text}`);
    const field = Object.hasOwn(type, token.text) ? type[token.text] : undefined;
    const hasColon = this.#accept(':');
    if (field === undefined) {
      this.#skipValue(depth);
      return;
    }
    const [number, of] = field;
    if (!hasColon && typeof of === 'string') throw this.#complain(this.#peek(), `Expected ":", found "${this.#peek().text}".`);
    if (!this.#accept('[')) this.#value(number, of, depth);
    else if (!this.#accept(']')) {
      do this.#value(number, of, depth);
      while (this.#accept(','));
      this.#expect(']');
    }
  }

  #value(number: number, of: TextScalar | (() => TextMessage), depth: number): void {
    if (typeof of === 'string') {
      this.#scalar(number, of);
      return;
    }
    this.#writer.delimited(number, () => this.#braced(of(), depth + 1));
  }

  #braced(type: TextMessage, depth: number): void {
    const open = this.#take();
    const close = open.text === '{' ? '}' : '>';
    if (open.kind !== 'punctuation' || (open.text !== '{' && open.text !== '<')) {
      throw this.#complain(open, `Expected "{", found "${open.text}".`);
    }
    this.#fields(type, depth);
    this.#expect(close);
  }

  /** An extension, which is passed over, or the expanded value of an Any. */
  #bracketedField(type: TextMessage, depth: number): void {
    this.#expect('[');
    let url = '';
    while (!this.#isAt(']') && this.#peek().kind !== 'end') url += this.#take().text;
    this.#expect(']');
    this.#accept(':');
    const known = type === TEXT_ANY ? this.#anyTypes.get(url.slice(url.lastIndexOf('/') + 1)) : undefined;
    if (type === TEXT_ANY) this.#writer.stringField(1, url);
    if (known === undefined) this.#skipValue(depth);
    else this.#writer.delimited(2, () => this.#braced(known, depth + 1));
  }

  #scalar(number: number, type: TextScalar): void {
    const token = this.#peek();
    if (type === 'bytes') {
      const bytes = this.#bytes();
      this.#writer.bytesField(number, bytes);
      return;
    }
    const isNegative = this.#accept('-');
    const { kind, text } = this.#take();
    if (type === 'float' || type === 'double') {
      const magnitude = floatOf(kind, text);
      if (magnitude === undefined) throw this.#complain(token, `Expected a number, got: ${text}`);
      const value = isNegative ? -magnitude : magnitude;
      if (type === 'float') this.#writer.floatField(number, value);
      else this.#writer.doubleField(number, value);
      return;
    }
    const magnitude = type === 'bool' ? boolOf(text) : type === 'dtype' && kind === 'name' ? dtypeOf(text) : integerOf(kind, text);
    if (magnitude === undefined) throw this.#complain(token, `Expected ${type === 'int' ? 'an integer' : `a ${type}`}, got: ${text}`);
    const value = isNegative ? -magnitude : magnitude;
    if (value < -(2n ** 63n) || value >= 2n ** 64n) throw this.#complain(token, `Integer out of range (${value})`);
    this.#writer.tag(number, WIRE.varint).int64(value);
  }

  #bytes(): Uint8Array {
    const first = this.#peek();
    const parts: Uint8Array[] = [];
    for (let token = first; token.kind === 'string'; token = this.#peek()) parts.push(this.#take().bytes ?? new Uint8Array(0));
    if (parts.length === 0) throw this.#complain(first, `Expected string, got: ${first.text}`);
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  /** Passes over a value of an unknown field: a scalar, a message, or a list of either. */
  #skipValue(depth: number): void {
    const closers: string[] = [];
    do {
      const token = this.#take();
      if (token.kind === 'end') throw this.#complain(token, 'The text ends within a value.');
      const closer = token.kind === 'punctuation' ? { '{': '}', '<': '>', '[': ']' }[token.text] : undefined;
      if (closer !== undefined) closers.push(closer);
      else if (token.kind === 'punctuation' && '}>]'.includes(token.text)) {
        if (closers.pop() !== token.text) throw this.#complain(token, `Expected a value, found "${token.text}".`);
      } else if (closers.length === 0 && token.text === '-') this.#take();
      if (closers.length + depth > MAX_DEPTH) throw this.#complain(token, `Messages are nested deeper than ${MAX_DEPTH}.`);
    } while (closers.length > 0);
    while (this.#peek().kind === 'string') this.#take();
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { kind: 'end', text: '', line: 1, column: 1 };
  }

  #take(): Token {
    const token = this.#peek();
    if (token.kind !== 'end') this.#next++;
    return token;
  }

  #isAt(punctuation: string): boolean {
    const token = this.#peek();
    return token.kind === 'punctuation' && token.text === punctuation;
  }

  #accept(punctuation: string): boolean {
    if (!this.#isAt(punctuation)) return false;
    this.#next++;
    return true;
  }

  #expect(punctuation: string): void {
    const token = this.#peek();
    if (!this.#accept(punctuation)) throw this.#complain(token, `Expected "${punctuation}", found "${token.text}".`);
  }
}

function integerOf(kind: Token['kind'], text: string): bigint | undefined {
  if (kind !== 'number' || !/^(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)$/.test(text)) return undefined;
  return BigInt(/^0\d/.test(text) ? `0o${text.slice(1)}` : text);
}

function boolOf(text: string): bigint | undefined {
  if (['true', 'True', 't', '1'].includes(text)) return 1n;
  return ['false', 'False', 'f', '0'].includes(text) ? 0n : undefined;
}

function dtypeOf(name: string): bigint | undefined {
  const number = DATA_TYPE_NUMBERS.get(name);
  return number === undefined ? undefined : BigInt(number);
}

function floatOf(kind: Token['kind'], text: string): number | undefined {
  if (kind === 'name') {
    const name = text.toLowerCase();
    if (name === 'inf' || name === 'infinity') return Number.POSITIVE_INFINITY;
    return name === 'nan' ? Number.NaN : undefined;
  }
  if (kind !== 'number') return undefined;
  return /^0[xX]/.test(text) ? Number(text) : Number(text.replace(/[fF]$/, ''));
}
