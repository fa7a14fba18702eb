/** Parses protobuf's text format for messages described by `schema.ts`. Errors name the message, the line, the column and the field. */
import { fromUtf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import { emptyMessage, encodeMessage, setField, type Values, zeroOf } from './message.ts';
import { ANY, type EnumType, type Field, type MessageInit, type MessageOf, type MessageType, type ScalarType } from './schema.ts';
import { type Place, scanText, type Token } from './text-scanner.ts';
import { MAX_DEPTH } from './wire.ts';

export { printText } from './text-printer.ts';

const INTEGER_RANGE: Readonly<Record<string, readonly [bigint, bigint]>> = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};

/**
 * Parses a message. `anyTypes` are the messages that may stand expanded in an Any (`[type.googleapis.com/a.B] { … }`); an Any of another
 * type keeps its type_url and has no value. Throws ServeError INVALID_ARGUMENT
 * `Error parsing text-format NAME: LINE:COLUMN: WHAT`, the form of protobuf's own parser.
 */
export function parseText<M extends MessageType>(type: M, text: string, anyTypes: readonly MessageType[] = []): MessageOf<M> {
  const complain = (place: Place, what: string) =>
    new ServeError('INVALID_ARGUMENT', `Error parsing text-format ${type.fullName}: ${place.line}:${place.column}: ${what}`);
  const parser = new TextParser(scanText(text, complain), complain, anyTypes);
  return parser.parseAll(type) as MessageOf<M>;
}

class TextParser {
  readonly #tokens: readonly Token[];
  readonly #complain: (place: Place, what: string) => ServeError;
  readonly #anyTypes: readonly MessageType[];
  #next = 0;

  constructor(tokens: readonly Token[], complain: (place: Place, what: string) => ServeError, anyTypes: readonly MessageType[]) {
    this.#tokens = tokens;
    this.#complain = complain;
    this.#anyTypes = anyTypes;
  }

  parseAll(type: MessageType): Values {
    const values = this.#fields(type, '', 0);
    const left = this.#peek();
    if (left.kind !== 'end') throw this.#complain(left, `Expected identifier, got: ${left.text}`);
    return values;
  }

  /** Fields up to the closing token (empty: the end of the text), which is left in place. */
  #fields(type: MessageType, close: string, depth: number): Values {
    const start = this.#peek();
    if (depth > MAX_DEPTH)
      throw this.#complain(start, `Message is too deep, the parser exceeded the configured recursion limit of ${MAX_DEPTH}.`);
    const values = emptyMessage(type);
    const seen = new Set<string>();
    for (;;) {
      const token = this.#peek();
      if (token.kind === 'end' || this.#isAt(close)) return values;
      if (this.#isAt('[') && type.fullName === ANY.fullName) this.#expandedAny(values, depth);
      else this.#field(type, values, seen, depth);
      if (!this.#accept(',')) this.#accept(';');
    }
  }

  #field(type: MessageType, values: Values, seen: Set<string>, depth: number): void {
    const token = this.#take();
    const name = token.text;
    if (token.kind !== 'name') throw this.#complain(token, `Expected identifier, got: ${name}`);
    const field = Object.hasOwn(type.fields, name) ? type.fields[name] : undefined;
    if (field === undefined) throw this.#complain(token, `Message type "${type.fullName}" has no field named "${name}".`);
    this.#checkFirst(type, field, token, seen);
    const isMessage = field.cardinality === 'map' || field.type().kind === 'message';
    if (!this.#accept(':') && !isMessage) throw this.#complain(this.#peek(), `Expected ":", found "${this.#peek().text}".`);
    if (field.cardinality !== 'repeated' && field.cardinality !== 'map') {
      setField(type, values, name, field, this.#value(field, name, depth));
      return;
    }
    for (const _ of this.#listed()) this.#append(field, name, values, depth);
  }

  /** Refuses a second value of a single field, and of a oneof's other member. */
  #checkFirst(type: MessageType, field: Field, { text: name, line, column }: Token, seen: Set<string>): void {
    if (field.cardinality !== 'repeated' && field.cardinality !== 'map' && seen.has(name)) {
      throw this.#complain({ line, column }, `Non-repeated field "${name}" is specified multiple times.`);
    }
    const rival = field.oneof && [...seen].find((other) => type.fields[other]?.oneof === field.oneof && other !== name);
    if (rival) {
      throw this.#complain(
        { line, column },
        `Field "${name}" is specified along with field "${rival}", another member of oneof "${field.oneof}".`,
      );
    }
    seen.add(name);
  }

  /** Yields once for each value of a repeated field: one, or those between brackets. */
  *#listed(): Generator<void> {
    if (!this.#isAt('[')) {
      yield;
      return;
    }
    this.#take();
    if (this.#accept(']')) return;
    do yield;
    while (this.#accept(','));
    this.#expect(']');
  }

  #append(field: Field, name: string, values: Values, depth: number): void {
    if (field.cardinality === 'repeated') {
      (values[name] as unknown[]).push(this.#value(field, name, depth));
      return;
    }
    const { key = undefined } = field;
    const type = field.type();
    const fallback = type.kind === 'message' ? emptyMessage(type) : zeroOf(type);
    const entryType: MessageType = {
      kind: 'message',
      fullName: `${name}Entry`,
      fields: {
        ...(key === undefined ? {} : { key: { number: 1, cardinality: 'optional', type: () => key } }),
        value: { number: 2, cardinality: 'optional', type: field.type },
      },
    };
    const entry = this.#message(entryType, depth + 1);
    (values[name] as Map<unknown, unknown>).set(entry.key ?? key?.zero, entry.value ?? fallback);
  }

  #value(field: Field, name: string, depth: number): unknown {
    const type = field.type();
    if (type.kind === 'message') return this.#message(type, depth + 1);
    if (type.kind === 'enum') return this.#enumValue(type, name);
    return this.#scalar(type, name);
  }

  #message(type: MessageType, depth: number): Values {
    const open = this.#take();
    if (open.text !== '{' && open.text !== '<') throw this.#complain(open, `Expected "{", found "${open.text}".`);
    const close = open.text === '{' ? '}' : '>';
    const values = this.#fields(type, close, depth);
    this.#expect(close);
    return values;
  }

  #enumValue(type: EnumType, name: string): string {
    const isNegative = this.#accept('-');
    const token = this.#take();
    if (token.kind === 'name' && !isNegative && Object.hasOwn(type.numbers, token.text)) return token.text;
    const number = token.kind === 'number' ? Number(token.text) * (isNegative ? -1 : 1) : undefined;
    const found = Object.keys(type.numbers).find((one) => type.numbers[one] === number);
    if (found === undefined) throw this.#complain(token, `Unknown enumeration value of "${token.text}" for field "${name}".`);
    return found;
  }

  #scalar(type: ScalarType<unknown>, name: string): unknown {
    switch (type.name) {
      case 'string':
        return fromUtf8(this.#string());
      case 'bytes':
        return this.#string();
      case 'bool':
        return this.#bool(name);
      case 'float':
        return Math.fround(this.#float());
      case 'double':
        return this.#float();
      default:
        return this.#integer(type.name);
    }
  }

  #string(): Uint8Array {
    const first = this.#peek();
    const parts: Uint8Array[] = [];
    while (this.#peek().bytes !== undefined) parts.push(this.#take().bytes ?? new Uint8Array(0));
    if (parts.length === 0) throw this.#complain(first, `Expected string, got: ${first.text}`);
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : new Uint8Array(Buffer.concat(parts));
  }

  #bool(name: string): boolean {
    const token = this.#take();
    if (['true', 'True', 't', '1'].includes(token.text)) return true;
    if (['false', 'False', 'f', '0'].includes(token.text)) return false;
    throw this.#complain(token, `Invalid value for boolean field "${name}". Value: "${token.text}".`);
  }

  #integer(range: string): number {
    const isNegative = this.#accept('-');
    const token = this.#take();
    if (token.kind !== 'number' || !/^(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)$/.test(token.text)) {
      throw this.#complain(token, `Expected integer, got: ${token.text}`);
    }
    const magnitude = BigInt(/^0\d/.test(token.text) ? `0o${token.text.slice(1)}` : token.text);
    const value = isNegative ? -magnitude : magnitude;
    const [least, most] = INTEGER_RANGE[range] ?? [0n, 0n];
    if (value < least || value > most) throw this.#complain(token, `Integer out of range (${isNegative ? '-' : ''}${token.text})`);
    return Number(value);
  }

  #float(): number {
    const isNegative = this.#accept('-');
    const token = this.#take();
    const value = floatOf(token);
    if (value === undefined) throw this.#complain(token, `Expected double, got: ${token.text}`);
    return isNegative ? -value : value;
  }

  /** `[type.googleapis.com/a.B] { … }` inside an Any. */
  #expandedAny(values: Values, depth: number): void {
    this.#expect('[');
    let url = '';
    while (!this.#isAt(']') && this.#peek().kind !== 'end') url += this.#take().text;
    this.#expect(']');
    this.#accept(':');
    const known = this.#anyTypes.find((type) => type.fullName === url.slice(url.lastIndexOf('/') + 1));
    if (known === undefined) this.#skipMessage(depth + 1);
    else values.value = encodeMessage(known, this.#message(known, depth + 1) as MessageInit<MessageType>);
    values.type_url = url;
  }

  /** Passes over a message of an unknown type: anything with balanced brackets. */
  #skipMessage(depth: number): void {
    const open = this.#peek();
    if (open.text !== '{' && open.text !== '<') throw this.#complain(open, `Expected "{", found "${open.text}".`);
    const closers: string[] = [];
    do {
      const token = this.#take();
      const closer = { '{': '}', '<': '>', '[': ']' }[token.kind === 'punctuation' ? token.text : ''];
      if (token.kind === 'end') throw this.#complain(token, `Expected "${closers.at(-1)}", found "".`);
      if (closer !== undefined) closers.push(closer);
      else if (token.kind === 'punctuation' && '}>]'.includes(token.text) && closers.pop() !== token.text) {
        throw this.#complain(token, `Expected identifier, got: ${token.text}`);
      }
      if (closers.length + depth > MAX_DEPTH) throw this.#complain(token, 'Message is too deep.');
    } while (closers.length > 0);
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

  /** Takes this token if it comes next. */
  #accept(punctuation: string): boolean {
    if (!this.#isAt(punctuation)) return false;
    this.#next++;
    return true;
  }

  #expect(punctuation: string): void {
    const token = this.#take();
    if (token.kind !== 'punctuation' || token.text !== punctuation) {
      throw this.#complain(token, `Expected "${punctuation}", found "${token.text}".`);
    }
  }
}

function floatOf(token: Token): number | undefined {
  if (token.kind === 'name') {
    const name = token.text.toLowerCase();
    if (name === 'inf' || name === 'infinity') return Number.POSITIVE_INFINITY;
    return name === 'nan' ? Number.NaN : undefined;
  }
  if (token.kind !== 'number') return undefined;
  return /^0[xX]/.test(token.text) ? Number(token.text) : Number(token.text.replace(/[fF]$/, ''));
}
