/** JSON values as they stand in TensorFlow Serving's error texts. */
import { fromUtf8 } from '#mesh/bytes.ts';
import { rapidJsonDouble } from './grisu-text.ts';
import type { JsonTape } from './json-tape.ts';

/** Once this many bytes are written nothing more is begun. */
const LIMIT_BYTES = 256;
/** A string that was begun is written to its end in TensorFlow Serving; here to this many bytes. */
const STRING_LIMIT_BYTES = 64 * 1024;

/** A value in the layout of error texts: objects over lines with indents of four, arrays on one line, cut after about 256 bytes. */
export function debugText(tape: JsonTape, root: number): string {
  const printer = new Printer(tape);
  printer.value(root, 0);
  return printer.text;
}

class Printer {
  readonly #tape: JsonTape;
  text = '';
  #bytes = 0;

  constructor(tape: JsonTape) {
    this.#tape = tape;
  }

  /** Writes a value whose container is at depth `depth`; false: the limit is reached and all must stop. Depth is bounded by the limit. */
  value(entry: number, depth: number): boolean {
    if (this.#bytes >= LIMIT_BYTES) return false;
    const tape = this.#tape;
    switch (tape.kind(entry)) {
      case 'object':
        return this.#object(entry, depth);
      case 'array':
        return this.#array(entry, depth);
      case 'string':
        this.#put(quoteJson(fromUtf8(tape.string(entry).subarray(0, STRING_LIMIT_BYTES))));
        return true;
      case 'integer':
        this.#put(String(tape.integer(entry)));
        return true;
      case 'double': {
        const value = tape.number(entry);
        if (!Number.isFinite(value)) return false;
        this.#put(doubleText(value));
        return true;
      }
      default:
        this.#put(tape.kind(entry));
        return true;
    }
  }

  #object(entry: number, depth: number): boolean {
    this.#put('{');
    let separator = '\n';
    for (const [key, value] of this.#tape.members(entry)) {
      if (this.#bytes >= LIMIT_BYTES) return false;
      this.#put(`${separator}${' '.repeat(4 * (depth + 1))}`);
      this.value(key, depth + 1);
      if (this.#bytes >= LIMIT_BYTES) return false;
      this.#put(': ');
      if (!this.value(value, depth + 1)) return false;
      separator = ',\n';
    }
    if (this.#bytes >= LIMIT_BYTES) return false;
    this.#put(this.#tape.size(entry) === 0 ? '}' : `\n${' '.repeat(4 * depth)}}`);
    return true;
  }

  #array(entry: number, depth: number): boolean {
    this.#put('[');
    let first = true;
    for (const element of this.#tape.elements(entry)) {
      if (this.#bytes >= LIMIT_BYTES) return false;
      if (!first) this.#put(', ');
      first = false;
      if (!this.value(element, depth + 1)) return false;
    }
    if (this.#bytes >= LIMIT_BYTES) return false;
    this.#put(']');
    return true;
  }

  #put(text: string): void {
    this.text += text;
    this.#bytes += Buffer.byteLength(text);
  }
}

/** A finite double as RapidJSON prints it. */
function doubleText(value: number): string {
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  return `${sign}${value === 0 ? '0.0' : rapidJsonDouble(Math.abs(value))}`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** A JSON string with quotes, escaped as RapidJSON does: only quotes, backslashes and control characters. */
export function quoteJson(text: string): string {
  let escaped = '';
  for (const character of text) {
    const code = character.charCodeAt(0);
    if (code >= 0x20 && character !== '"' && character !== '\\') escaped += character;
    else escaped += ESCAPES[character] ?? `\\u${code.toString(16).toUpperCase().padStart(4, '0')}`;
  }
  return `"${escaped}"`;
}
