/** Ops that cut strings into tokens and n-grams, or match them against patterns. */
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { bools, type HostKernels, input, int64s, invalid, numbers, strings, stringTensor } from './host-tensor.ts';
import { compileRegex } from './regex.ts';
import { matcher, type RegexMatch, wholeMatcher } from './regex-matcher.ts';
import { each, isSpace, joinBytes } from './string-ops.ts';
import { bytesOfText, textOfBytes } from './utf8-text.ts';

/** StringSplit, StringSplitV2, StringNGrams, RegexReplace, RegexFullMatch and their static forms. */
export const SPLIT_OPS: HostKernels = {
  StringSplit: (inputs, attrs) => {
    const skip = !attrs.has('skip_empty') || attrs.bool('skip_empty');
    const delimiter = oneString(input(inputs, 1), 'delimiter');
    return sparseTokens(input(inputs, 0), (bytes) => splitAtAny(bytes, delimiter, skip));
  },
  StringSplitV2: (inputs, attrs) => {
    const separator = oneString(input(inputs, 1), 'sep');
    const most = attrs.has('maxsplit') ? attrs.int('maxsplit') : -1;
    return sparseTokens(input(inputs, 0), (bytes) =>
      separator.length === 0 ? splitAtSpaces(bytes, most) : splitAt(bytes, separator, most),
    );
  },
  StringNGrams: nGrams,
  RegexReplace: (inputs, attrs) => {
    const pattern = textOfBytes(oneString(input(inputs, 1), 'Pattern'));
    const rewrite = textOfBytes(oneString(input(inputs, 2), 'Rewrite'));
    return [replace(input(inputs, 0), pattern, rewrite, attrs)];
  },
  StaticRegexReplace: (inputs, attrs) => [replace(input(inputs, 0), attrs.text('pattern'), attrs.text('rewrite'), attrs)],
  RegexFullMatch: (inputs) => [fullMatch(input(inputs, 0), textOfBytes(oneString(input(inputs, 1), 'Pattern')))],
  StaticRegexFullMatch: (inputs, attrs) => [fullMatch(input(inputs, 0), attrs.text('pattern'))],
};

function oneString(tensor: HostTensor, name: string): Uint8Array {
  const value = strings(tensor)[0];
  if (value === undefined || tensor.shape.length !== 0) throw invalid(`${name} must be a scalar, got shape: [${tensor.shape}]`);
  return value;
}

function sparseTokens(tensor: HostTensor, split: (bytes: Uint8Array) => readonly Uint8Array[]): HostTensor[] {
  if (tensor.shape.length !== 1) throw invalid(`input must be a vector, got shape: [${tensor.shape.join(',')}]`);
  const indices: number[] = [];
  const tokens: Uint8Array[] = [];
  let widest = 0;
  strings(tensor).forEach((bytes, row) => {
    const parts = split(bytes);
    widest = Math.max(widest, parts.length);
    parts.forEach((part, column) => {
      indices.push(row, column);
      tokens.push(part);
    });
  });
  return [int64s([tokens.length, 2], indices), stringTensor([tokens.length], tokens), int64s([2], [tensor.shape[0] ?? 0, widest])];
}

/** Splits at each byte of a set; an empty set splits into bytes. */
function splitAtAny(bytes: Uint8Array, delimiters: Uint8Array, skipEmpty: boolean): Uint8Array[] {
  if (delimiters.length === 0) return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
  if (bytes.length === 0) return [];
  const set = new Set(delimiters);
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let at = 0; at <= bytes.length; at++) {
    if (at < bytes.length && !set.has(bytes[at] ?? 0)) continue;
    if (at > start || !skipEmpty) parts.push(bytes.subarray(start, at));
    start = at + 1;
  }
  return parts;
}

function splitAt(bytes: Uint8Array, separator: Uint8Array, most: number): Uint8Array[] {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: Uint8Array[] = [];
  let start = 0;
  while (most < 0 || parts.length < most) {
    const at = source.indexOf(separator, start);
    if (at < 0) break;
    parts.push(bytes.subarray(start, at));
    start = at + separator.length;
  }
  parts.push(bytes.subarray(start));
  return parts;
}

function splitAtSpaces(bytes: Uint8Array, most: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  if (most === 0) return [bytes];
  let at = 0;
  for (;;) {
    while (at < bytes.length && isSpace(bytes[at])) at++;
    // After the last split the rest is a token, even if nothing is left.
    if (parts.length === most) {
      parts.push(bytes.subarray(at));
      return parts;
    }
    if (at === bytes.length) return parts;
    const start = at;
    while (at < bytes.length && !isSpace(bytes[at])) at++;
    parts.push(bytes.subarray(start, at));
  }
}

function nGrams(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const data = strings(input(inputs, 0));
  const splits = Array.from(numbers(input(inputs, 1)));
  const separator = bytesOfText(attrs.text('separator'));
  const widths = attrs.ints('ngram_widths');
  const left = bytesOfText(attrs.text('left_pad'));
  const right = bytesOfText(attrs.text('right_pad'));
  const padWidth = attrs.int('pad_width');
  const preserve = attrs.bool('preserve_short_sequences');
  checkSplits(splits, data.length);
  const grams: Uint8Array[] = [];
  const ends: number[] = [0];
  for (let row = 0; row + 1 < splits.length; row++) {
    const tokens = data.slice(splits[row], splits[row + 1]);
    const before = grams.length;
    for (const width of widths) {
      const pad = padWidth < 0 ? width - 1 : Math.min(padWidth, width - 1);
      const padded = [...new Array<Uint8Array>(pad).fill(left), ...tokens, ...new Array<Uint8Array>(pad).fill(right)];
      for (let at = 0; at + width <= padded.length; at++) grams.push(joinBytes(padded.slice(at, at + width), separator));
    }
    if (preserve && grams.length === before && tokens.length > 0) {
      const most = Math.min(...widths) - 1;
      const pad = padWidth < 0 ? most : Math.min(padWidth, most);
      grams.push(joinBytes([...new Array<Uint8Array>(pad).fill(left), ...tokens, ...new Array<Uint8Array>(pad).fill(right)], separator));
    }
    ends.push(grams.length);
  }
  const out = int64s([ends.length], splits.length === 0 ? [] : ends);
  return [stringTensor([grams.length], grams), splits.length === 0 ? int64s([0], []) : out];
}

function checkSplits(splits: readonly number[], size: number): void {
  if (splits.length === 0) return;
  if (splits[0] !== 0) throw invalid(`First split value must be 0, got ${splits[0]}`);
  for (let index = 1; index < splits.length; index++) {
    const valid = (splits[index] ?? 0) >= (splits[index - 1] ?? 0) && (splits[index] ?? 0) <= size;
    if (!valid) throw invalid(`Invalid split value ${splits[index]}, must be in [${splits[index - 1]}, ${size}]`);
  }
  if (splits.at(-1) !== size) throw invalid(`Last split value must be data size. Expected ${size}, got ${splits.at(-1)}`);
}

function replace(tensor: HostTensor, pattern: string, rewrite: string, attrs: HostAttrs): HostTensor {
  const compiled = compileRegex(pattern);
  const all = !attrs.has('replace_global') || attrs.bool('replace_global');
  const parts = rewriteParts(rewrite);
  if (parts.some((part) => typeof part === 'number' && part > compiled.groups)) return tensor;
  const matches = matcher(
    compiled,
    parts.filter((part) => typeof part === 'number'),
  );
  return each(tensor, (bytes) => {
    const text = textOfBytes(bytes);
    return bytesOfText(replaceMatches(text, matches(text), all, parts));
  });
}

/** RE2's Replace and GlobalReplace: an empty match right after the last one is passed over. */
function replaceMatches(text: string, matches: Iterable<RegexMatch>, all: boolean, parts: readonly (string | number)[]): string {
  let out = '';
  let copied = 0;
  let lastEnd = -1;
  for (const match of matches) {
    if (match.end === match.start && match.start === lastEnd) continue;
    out += text.slice(copied, match.start);
    for (const part of parts) out += typeof part === 'string' ? part : (match.groups[part] ?? '');
    copied = match.end;
    lastEnd = copied;
    if (!all) break;
  }
  return out + text.slice(copied);
}

function rewriteParts(rewrite: string): (string | number)[] {
  const parts: (string | number)[] = [];
  for (let at = 0; at < rewrite.length; at++) {
    const unit = rewrite[at] ?? '';
    if (unit !== '\\') {
      parts.push(unit);
      continue;
    }
    const next = rewrite[++at] ?? '';
    if (/\d/.test(next)) parts.push(Number(next));
    else if (next === '\\') parts.push('\\');
    else throw invalid(`invalid rewrite pattern: ${rewrite}`);
  }
  return parts;
}

function fullMatch(tensor: HostTensor, pattern: string): HostTensor {
  const matches = wholeMatcher(compileRegex(pattern));
  return bools(
    tensor.shape,
    strings(tensor).map((bytes) => (matches(textOfBytes(bytes)) ? 1 : 0)),
  );
}
