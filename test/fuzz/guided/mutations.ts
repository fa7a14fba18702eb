/** Changes of an input: of its bytes, of the numbers written in it, of its words. */
import type { Random } from '../random.ts';
import { mutateMessage } from './protobuf-mutations.ts';
import type { FuzzTarget } from './target.ts';

/** What a mutation draws from. */
export interface MutationSource {
  readonly random: Random;
  readonly target: Pick<FuzzTarget, 'format' | 'words' | 'maxBytes'>;
  /** Inputs that are worth mixing in. */
  readonly others: readonly Uint8Array[];
}

const DEFAULT_MAX_BYTES = 4096;
const NUMBERS = [
  ...['0', '-0', '1', '-1', '127', '128', '255', '256', '65535', '2147483647', '2147483648', '-2147483649', '4294967296'],
  ...['9007199254740993', '9223372036854775807', '9223372036854775808', '18446744073709551616', '1e308', '1e309', '1e-400', '0.1', '1.5'],
];
const WHOLES = [0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1023, 4096, 32767, 32768, 65535, 0x7fffffff, 0x80000000];
const LARGEST = 0xffffffff;

/** Changes an input some times over. Never longer than the target allows. */
export function mutateInput(input: Uint8Array, source: MutationSource): Uint8Array {
  const { random, target } = source;
  const most = target.maxBytes ?? DEFAULT_MAX_BYTES;
  let bytes = input;
  for (let times = 1 + random.below(random.chance(0.5) ? 2 : 8); times > 0; times--) {
    const structured = target.format === 'protobuf' && random.chance(0.7) ? mutateMessage(bytes, source, mutateBytes) : undefined;
    bytes = structured ?? mutateBytes(bytes, source);
    if (bytes.byteLength > most) bytes = bytes.subarray(0, most);
  }
  return bytes;
}

/** One change of the bytes as such. */
export function mutateBytes(bytes: Uint8Array, { random, target, others }: MutationSource): Uint8Array {
  const length = bytes.byteLength;
  const at = random.below(length + 1);
  const size = Math.min(length - at, 1 + random.below(random.chance(0.2) ? 64 : 6));
  switch (random.below(target.format === 'text' ? 16 : 13)) {
    case 0:
      return written(bytes, at, Uint8Array.of((bytes[at] ?? 0) ^ (1 << random.below(8))));
    case 1:
      return written(bytes, at, Uint8Array.of(random.chance(0.5) ? random.below(256) : random.pick(WHOLES) & 0xff));
    case 2:
      return spliced(bytes, at, 0, random.bytes(1 + random.below(6)));
    case 3:
      return spliced(bytes, at, size, new Uint8Array(0));
    case 4:
      return spliced(bytes, at, 0, repeated(bytes.subarray(at, at + size), random));
    case 5: {
      const other = random.pick(others.length > 0 ? others : [bytes]);
      const start = random.below(other.byteLength + 1);
      const part = other.subarray(start, start + 1 + random.below(64));
      return spliced(bytes, at, random.chance(0.5) ? Math.min(part.byteLength, length - at) : 0, part);
    }
    case 6: {
      const other = random.pick(others.length > 0 ? others : [bytes]);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.byteLength + 1))]);
    }
    case 7:
      return written(bytes, at, numberBytes(random));
    case 8:
      return bytes.subarray(0, at);
    case 9: {
      const from = random.below(length + 1);
      return written(bytes, at, bytes.slice(from, from + size));
    }
    case 10:
    case 11: {
      const word = wordOf(target, random);
      return random.chance(0.6) ? spliced(bytes, at, 0, word) : written(bytes, at, word);
    }
    case 12:
      return written(bytes, at, new Uint8Array(size).fill(random.pick([0, 0xff, 0x80, 0x20])));
    default:
      return withNumber(bytes, random);
  }
}

function wordOf({ words = [] }: MutationSource['target'], random: Random): Uint8Array {
  if (words.length === 0) return random.bytes(4);
  const word = random.pick(words);
  return typeof word === 'string' ? Buffer.from(word) : word;
}

/** A number as a field of a binary format might hold it: one, two, four or eight bytes, either end first. */
function numberBytes(random: Random): Uint8Array {
  const bytes = Buffer.alloc(8);
  const value = random.chance(0.2) ? LARGEST : random.pick(WHOLES);
  if (random.chance(0.15)) {
    bytes.writeDoubleLE(random.pick([Number.NaN, -1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, 1e300, Number.POSITIVE_INFINITY]));
    return bytes;
  }
  const size = random.pick([1, 2, 4, 8]);
  if (random.chance(0.5)) bytes.writeUInt32LE(value);
  else bytes.writeUInt32BE(value, Math.max(0, size - 4));
  return bytes.subarray(0, size);
}

/** One of the numbers in a text, replaced. */
function withNumber(bytes: Uint8Array, random: Random): Uint8Array {
  const text = Buffer.from(bytes).toString('latin1');
  const found = [...text.matchAll(/-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g)];
  if (found.length === 0) return bytes;
  const { index, 0: old } = random.pick(found);
  const digits = Array.from({ length: 1 + random.below(25) }, () => random.below(10)).join('');
  const number = random.chance(0.6)
    ? random.pick(NUMBERS)
    : `${digits}${random.pick(['', '.5', `.${digits}`, `e${random.below(340)}`, `e-${digits.length}`])}`;
  return spliced(bytes, index, old.length, Buffer.from(number));
}

/** Mostly a few times, seldom very often: what takes the square of its length shows then. */
function repeated(part: Uint8Array, random: Random): Uint8Array {
  const times = random.chance(0.05) ? 1000 : 1 + random.below(4);
  return Buffer.concat(Array.from({ length: times }, () => part));
}

/** `bytes` with `part` written over what is there. */
function written(bytes: Uint8Array, at: number, part: Uint8Array): Uint8Array {
  return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at + part.byteLength)]);
}

/** `bytes` with `part` in the place of `removed` bytes. */
export function spliced(bytes: Uint8Array, at: number, removed: number, part: Uint8Array): Uint8Array {
  return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at + removed)]);
}
