/** Code points of strings: UnicodeDecode, UnicodeDecodeWithOffsets, UnicodeEncode and UnicodeTranscode. */
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { fromNumbers, type HostKernels, input, int32s, int64s, invalid, numbers, strings, stringTensor } from './host-tensor.ts';
import { each } from './string-ops.ts';
import { codePointAt, sequenceLength, validPrefix } from './utf8-text.ts';

/** The ops on Unicode text. Encodings: UTF-8, UTF-16-BE, UTF-32-BE, and for input US-ASCII and ISO-8859-1. */
export const UNICODE_OPS: HostKernels = {
  UnicodeDecode: (inputs, attrs) => decode(input(inputs, 0), attrs, false),
  UnicodeDecodeWithOffsets: (inputs, attrs) => decode(input(inputs, 0), attrs, true),
  UnicodeEncode: (inputs, attrs) => [encode(input(inputs, 0), input(inputs, 1), attrs)],
  UnicodeTranscode: (inputs, attrs) => [transcode(input(inputs, 0), attrs)],
};

interface Character {
  /** The code point, or -1 for bytes that do not decode. */
  readonly code: number;
  readonly offset: number;
}

type Encoding = 'UTF-8' | 'UTF-16-BE' | 'UTF-16-LE' | 'UTF-32-BE' | 'US-ASCII' | 'ISO-8859-1';

function encodingOf(name: string): Encoding {
  const upper = name.toUpperCase();
  const aliases: Readonly<Record<string, Encoding>> = {
    UTF8: 'UTF-8',
    ASCII: 'US-ASCII',
    LATIN1: 'ISO-8859-1',
    'UTF-16BE': 'UTF-16-BE',
    'UTF-16LE': 'UTF-16-LE',
    'UTF-32BE': 'UTF-32-BE',
  };
  const known = ['UTF-8', 'UTF-16-BE', 'UTF-16-LE', 'UTF-32-BE', 'US-ASCII', 'ISO-8859-1'] as const;
  const found = aliases[upper] ?? known.find((one) => one === upper);
  if (found === undefined) throw invalid(`Could not create converter for input encoding: ${name}`);
  return found;
}

function charactersOf(bytes: Uint8Array, encoding: Encoding): Character[] {
  const found: Character[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const push = (code: number, length: number) => {
    found.push({ code, offset: at });
    at += length;
  };
  while (at < bytes.length) {
    if (encoding === 'ISO-8859-1') push(bytes[at] ?? 0, 1);
    else if (encoding === 'US-ASCII') push((bytes[at] ?? 0) < 128 ? (bytes[at] ?? 0) : -1, 1);
    else if (encoding === 'UTF-8') {
      const length = sequenceLength(bytes, at);
      if (length > 0) push(codePointAt(bytes, at, length), length);
      else push(-1, brokenLength(bytes, at));
    } else if (encoding === 'UTF-32-BE') {
      const code = at + 4 <= bytes.length ? view.getUint32(at) : -1;
      push(code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? code : -1, 4);
    } else {
      const little = encoding === 'UTF-16-LE';
      if (at + 2 > bytes.length) push(-1, 1);
      else {
        const unit = view.getUint16(at, little);
        const next = at + 4 <= bytes.length ? view.getUint16(at + 2, little) : 0;
        if (unit >= 0xd800 && unit < 0xdc00 && next >= 0xdc00 && next < 0xe000) push(0x10000 + ((unit - 0xd800) << 10) + next - 0xdc00, 4);
        else push(unit >= 0xd800 && unit < 0xe000 ? -1 : unit, 2);
      }
    }
  }
  return found;
}

/** How many bytes one replacement character stands for: the longest beginning of a sequence that is there, at least one byte. */
function brokenLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  const length = first >= 0xc2 && first <= 0xdf ? 2 : (first & 0xf0) === 0xe0 ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 1;
  return Math.max(1, validPrefix(bytes, at, length));
}

interface Policy {
  readonly errors: string;
  readonly replacement: number;
  readonly control: boolean;
}

function policyOf(attrs: HostAttrs): Policy {
  const errors = attrs.has('errors') ? attrs.text('errors') : 'replace';
  if (!['strict', 'replace', 'ignore'].includes(errors)) throw invalid(`errors must be strict, replace or ignore, got: ${errors}`);
  return {
    errors,
    replacement: attrs.has('replacement_char') ? attrs.int('replacement_char') : 0xfffd,
    control: attrs.has('replace_control_characters') && attrs.bool('replace_control_characters'),
  };
}

/** Applies the policy for what does not decode, and for control characters up to U+001F. */
function cleaned(characters: readonly Character[], policy: Policy): Character[] {
  return characters.flatMap((one) => {
    const isControl = policy.control && one.code >= 0 && one.code <= 0x1f;
    if (one.code >= 0 && !isControl) return [one];
    if (one.code < 0 && policy.errors === 'strict') throw invalid('Invalid formatting on input string');
    if (policy.errors === 'ignore') return [];
    return [{ ...one, code: policy.replacement }];
  });
}

function decode(tensor: HostTensor, attrs: HostAttrs, offsets: boolean): HostTensor[] {
  const encoding = encodingOf(attrs.text('input_encoding'));
  const policy = policyOf(attrs);
  const rows = strings(tensor).map((bytes) => cleaned(charactersOf(bytes, encoding), policy));
  const splits = [0];
  for (const row of rows) splits.push((splits.at(-1) ?? 0) + row.length);
  const all = rows.flat();
  const splitType = attrs.has('Tsplits') ? attrs.dtype('Tsplits') : 'int64';
  const outputs = [
    fromNumbers(splitType, [splits.length], splits),
    int32s(
      [all.length],
      all.map((one) => one.code),
    ),
  ];
  return offsets
    ? [
        ...outputs,
        int64s(
          [all.length],
          all.map((one) => one.offset),
        ),
      ]
    : outputs;
}

function encode(codes: HostTensor, splits: HostTensor, attrs: HostAttrs): HostTensor {
  const encoding = encodingOf(attrs.text('output_encoding'));
  const policy = policyOf(attrs);
  const values = numbers(codes);
  const bounds = numbers(splits);
  if (bounds.length === 0 || bounds[0] !== 0) throw invalid('First value in input_splits must be zero.');
  if (bounds[bounds.length - 1] !== values.length) throw invalid('Last value in input_splits must be equal to length of input_tensor.');
  const rows: Uint8Array[] = [];
  for (let row = 0; row + 1 < bounds.length; row++) {
    const from = bounds[row] ?? 0;
    const to = bounds[row + 1] ?? 0;
    if (to < from) throw invalid('Values in input_splits must be equal or in ascending order.');
    const raw = Array.from({ length: to - from }, (_, at) => {
      const code = values[from + at] ?? 0;
      return { code: code < 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? -1 : code, offset: at };
    });
    if (policy.errors === 'strict' && raw.some((one) => one.code < 0))
      throw invalid('Code point is out of range for Unicode, or is a surrogate.');
    rows.push(encoded(cleaned(raw, { ...policy, control: false }), encoding));
  }
  return stringTensor([rows.length], rows);
}

function encoded(characters: readonly Character[], encoding: Encoding): Uint8Array {
  if (encoding === 'UTF-32-BE') {
    const bytes = new Uint8Array(characters.length * 4);
    const view = new DataView(bytes.buffer);
    characters.forEach((one, at) => {
      view.setUint32(4 * at, one.code);
    });
    return bytes;
  }
  const text = characters.map((one) => String.fromCodePoint(one.code)).join('');
  if (encoding === 'UTF-8') return new Uint8Array(Buffer.from(text, 'utf8'));
  if (encoding === 'UTF-16-BE') return new Uint8Array(Buffer.from(text, 'utf16le').swap16());
  throw invalid(`output_encoding must be UTF-8, UTF-16-BE or UTF-32-BE, got: ${encoding}`);
}

function transcode(tensor: HostTensor, attrs: HostAttrs): HostTensor {
  const from = encodingOf(attrs.text('input_encoding'));
  const to = encodingOf(attrs.text('output_encoding'));
  const policy = policyOf(attrs);
  return each(tensor, (bytes) => encoded(cleaned(charactersOf(bytes, from), policy), to));
}
