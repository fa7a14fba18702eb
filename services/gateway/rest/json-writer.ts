/** JSON text written byte by byte into one growing buffer, with numbers as TensorFlow Serving prints them. */
import { printExact } from './float-text.ts';

const HEX = '0123456789ABCDEF';
/** Two-character escapes by control byte. */
const SHORT_ESCAPES: Readonly<Record<number, number>> = { 8: 0x62, 9: 0x74, 10: 0x6e, 12: 0x66, 13: 0x72, 34: 0x22, 92: 0x5c };
/** The longest text of a number, and then some. */
const NUMBER_BYTES = 40;
const POWERS: Float64Array = Float64Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);

/** Appends tokens; the caller puts commas and brackets. */
export class JsonWriter {
  #buf: Buffer;
  #length = 0;
  /** Digits of the number being written, least significant last: 20 places. */
  readonly #digits: number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

  constructor(initialBytes: number) {
    this.#buf = Buffer.allocUnsafe(Math.max(64, initialBytes));
  }

  /** What was written; the writer must not be used afterwards. */
  finish(): Buffer {
    return this.#buf.subarray(0, this.#length);
  }

  /** Text of ASCII characters, as it is. */
  ascii(text: string): void {
    this.#reserve(text.length);
    for (let index = 0; index < text.length; index++) this.#buf[this.#length++] = text.charCodeAt(index);
  }

  /** A line break and four spaces for each level. */
  newline(level: number): void {
    this.#reserve(1 + 4 * level);
    this.#buf[this.#length++] = 0x0a;
    for (let index = 0; index < 4 * level; index++) this.#buf[this.#length++] = 0x20;
  }

  /** A quoted string of these bytes; only quotes, backslashes and control characters are escaped, UTF-8 is not checked. */
  string(bytes: Uint8Array): void {
    this.#reserve(2 + 6 * bytes.byteLength);
    const buf = this.#buf;
    let at = this.#length;
    buf[at++] = 0x22;
    for (let index = 0; index < bytes.byteLength; index++) {
      const byte = bytes[index] as number;
      if (byte >= 0x20 && byte !== 0x22 && byte !== 0x5c) {
        buf[at++] = byte;
        continue;
      }
      buf[at++] = 0x5c;
      const short = SHORT_ESCAPES[byte];
      if (short !== undefined) {
        buf[at++] = short;
        continue;
      }
      buf[at++] = 0x75;
      buf[at++] = 0x30;
      buf[at++] = 0x30;
      buf[at++] = HEX.charCodeAt(byte >> 4);
      buf[at++] = HEX.charCodeAt(byte & 15);
    }
    buf[at++] = 0x22;
    this.#length = at;
  }

  /** `"…"` holding the base64 of these bytes. */
  base64(bytes: Uint8Array): void {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
    this.#reserve(text.length + 2);
    this.#buf[this.#length++] = 0x22;
    this.#length += this.#buf.write(text, this.#length, 'latin1');
    this.#buf[this.#length++] = 0x22;
  }

  /** A whole number below 2^53 in magnitude. */
  integer(value: number): void {
    this.#reserve(NUMBER_BYTES);
    let rest = value;
    if (rest < 0) {
      this.#buf[this.#length++] = 0x2d;
      rest = -rest;
    }
    const digits = this.#digits;
    let first = digits.length;
    while (rest > 0x7fffffff) {
      const quotient = Math.floor(rest / 10);
      digits[--first] = 48 + (rest - quotient * 10);
      rest = quotient;
    }
    let small = rest | 0;
    do {
      const quotient = (small / 10) | 0;
      digits[--first] = 48 + (small - quotient * 10);
      small = quotient;
    } while (small > 0);
    while (first < digits.length) this.#buf[this.#length++] = digits[first++] as number;
  }

  /**
   * A float of `precision` 9 (single) or 17 (double): `%g` if its six digits read back as the same value, else `%.9g` or `%.17g`; `.0` is put
   * after what would look like a whole number; NaN and infinities stand bare.
   */
  decimal(value: number, precision: 9 | 17): void {
    if (!Number.isFinite(value)) {
      this.ascii(Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity');
      return;
    }
    this.#reserve(NUMBER_BYTES);
    let magnitude = value;
    if (value < 0 || Object.is(value, -0)) {
      this.#buf[this.#length++] = 0x2d;
      magnitude = -value;
    }
    if (magnitude === 0) {
      this.ascii('0.0');
      return;
    }
    const written = magnitude >= 1e-12 && magnitude < 1e20 && this.#quickDecimal(magnitude, precision);
    if (!written) this.ascii(printExact(magnitude, precision));
  }

  /** Writes a magnitude from 1e-12 to 1e20 when arithmetic in doubles is certain of its digits; false (nothing written) when it is not. */
  #quickDecimal(magnitude: number, precision: 9 | 17): boolean {
    // An exponent that is off by one at a power of ten does no harm: the digits then carry.
    let exponent = 0;
    if (magnitude >= 1) while (magnitude >= (POWERS[exponent + 1] as number)) exponent++;
    else while (magnitude * (POWERS[-exponent] as number) < 1) exponent--;
    const nine = scaled(magnitude, 8 - exponent);
    const six = nine / 1000;
    const roundSix = Math.round(six);
    if (Math.abs(six - roundSix) < 0.499999) {
      const back = scaled(roundSix, exponent - 5);
      if ((precision === 9 ? Math.fround(back) : back) === magnitude) return this.#general(roundSix, exponent, 6);
    } else return false;
    if (precision === 17) return false;
    const roundNine = Math.round(nine);
    if (Math.abs(nine - roundNine) > 0.499999) return false;
    return this.#general(roundNine, exponent, 9);
  }

  /** Lays `digits` (of `precision` digits) out as C's `%g` does, with `.0` where there is neither point nor exponent. */
  #general(rounded: number, decimalExponent: number, precision: 6 | 9): true {
    let mantissa = rounded;
    let exponent = decimalExponent;
    if (mantissa >= (precision === 6 ? 1e6 : 1e9)) {
      mantissa /= 10;
      exponent++;
    }
    const digits = this.#digits;
    let rest = mantissa | 0;
    for (let index = precision - 1; index >= 0; index--) {
      const quotient = (rest / 10) | 0;
      digits[index] = 48 + (rest - quotient * 10);
      rest = quotient;
    }
    let count: number = precision;
    while (count > 1 && digits[count - 1] === 48) count--;
    const buf = this.#buf;
    let at = this.#length;
    if (exponent < -4 || exponent >= precision) {
      buf[at++] = digits[0] as number;
      if (count > 1) {
        buf[at++] = 0x2e;
        for (let index = 1; index < count; index++) buf[at++] = digits[index] as number;
      }
      buf[at++] = 0x65;
      buf[at++] = exponent < 0 ? 0x2d : 0x2b;
      const size = Math.abs(exponent);
      buf[at++] = 48 + ((size / 10) | 0);
      buf[at++] = 48 + (size % 10);
    } else if (exponent < 0) {
      buf[at++] = 48;
      buf[at++] = 0x2e;
      for (let index = -1; index > exponent; index--) buf[at++] = 48;
      for (let index = 0; index < count; index++) buf[at++] = digits[index] as number;
    } else {
      for (let index = 0; index <= exponent; index++) buf[at++] = index < count ? (digits[index] as number) : 48;
      buf[at++] = 0x2e;
      if (count <= exponent + 1) buf[at++] = 48;
      for (let index = exponent + 1; index < count; index++) buf[at++] = digits[index] as number;
    }
    this.#length = at;
    return true;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#buf.byteLength) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#length + more, this.#buf.byteLength * 2));
    this.#buf.copy(grown, 0, 0, this.#length);
    this.#buf = grown;
  }
}

/** `value` times ten to `exponent`, rounded once for exponents to ±22. */
function scaled(value: number, exponent: number): number {
  return exponent < 0 ? value / (POWERS[-exponent] as number) : value * (POWERS[exponent] as number);
}
