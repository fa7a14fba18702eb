/**
 * Lookup tables, the resources of TensorFlow's HashTableV2: filled once when a model loads, read by requests.
 * Keys are told apart by `elementKeys`; values are held one after another, `valueShape` elements each (scalars but for MutableHashTableOfTensors).
 */
import { ServeError } from '#mesh/errors.ts';
import { type DType, elementCount } from '#mesh/tensor.ts';
import type { HostTable, HostTensor } from '../host-value.ts';
import { elementKeys } from './counting.ts';
import { fingerprint64, sipHash } from './fingerprint.ts';
import { dim, fromNumbers, int64s, invalid, joinData, sameShape, shapeText, strings, take } from './host-tensor.ts';
import { parseFloating, parseInteger } from './string-ops.ts';
import { latin1 } from './utf8-text.ts';

/** A table: `HostTable` with its keys in order of arrival, for export and size. */
export interface LookupTable extends HostTable {
  readonly entries: ReadonlyMap<string, HostTensor>;
  /** Keys [size], in the order they came. */
  readonly keys: HostTensor;
  /** The shape of one value; [] for scalars. */
  readonly valueShape: readonly number[];
}

/** `InitializeTableFromTextFileV2`'s attributes. An index of -2 means the whole line, -1 the line's number, else a column. */
export interface TextFileFormat {
  readonly keyIndex: number;
  readonly valueIndex: number;
  /** -1: as many lines as the file has. */
  readonly vocabularySize: number;
  readonly delimiter: string;
  /** Added to line numbers. */
  readonly offset: number;
}

/** An empty table, as it is before its initializer ran. */
export function emptyTable(keyDtype: DType, valueDtype: DType): LookupTable {
  return { keyDtype, valueDtype, entries: new Map(), keys: { dtype: keyDtype, shape: [0], data: [] }, valueShape: [] };
}

/** InitializeTableV2 and LookupTableImportV2 on an empty table. Throws INVALID_ARGUMENT when a key comes twice with different values. */
export function tableFromTensors(keys: HostTensor, values: HostTensor): LookupTable {
  const count = elementCount(keys.shape);
  const valueShape = values.shape.slice(keys.shape.length);
  if (!sameShape(values.shape.slice(0, keys.shape.length), keys.shape)) {
    throw invalid(`Expected shape ${shapeText(keys.shape)} for value, got ${shapeText(values.shape)}`);
  }
  const each = elementCount(valueShape);
  const entries = new Map<string, HostTensor>();
  const order: number[] = [];
  const texts = elementKeys(keys);
  for (let at = 0; at < count; at++) {
    const key = texts[at] ?? '';
    const value = take(
      values,
      valueShape,
      Array.from({ length: each }, (_, part) => at * each + part),
    );
    const before = entries.get(key);
    if (before === undefined) order.push(at);
    else if (elementKeys(before).join('\0') !== elementKeys(value).join('\0')) {
      throw new ServeError(
        'FAILED_PRECONDITION',
        `HashTable has different value for same key. Key ${key} has ${elementKeys(before).join()} and trying to add value ${elementKeys(value).join()}`,
      );
    }
    entries.set(key, value);
  }
  return { keyDtype: keys.dtype, valueDtype: values.dtype, entries, keys: take(keys, [order.length], order), valueShape };
}

/** InitializeTableFromTextFileV2: one entry per line; both `\n` and `\r\n` end lines, and an end of line at the end adds no line. */
export function tableFromTextFile(
  file: Uint8Array,
  format: TextFileFormat,
  keyDtype: DType,
  valueDtype: DType,
  fileName: string,
): LookupTable {
  if (format.delimiter.length !== 1) throw invalid(`delimiter must be only 1 char, got ${format.delimiter}`);
  const lines = latin1(file)
    .split('\n')
    .map((line) => line.replace(/\r$/, ''));
  if (lines.at(-1) === '') lines.pop();
  const size = format.vocabularySize === -1 ? lines.length : format.vocabularySize;
  if (lines.length < size) {
    throw invalid(`Invalid vocab_size in ${fileName}: expected ${size} but got ${lines.length}`);
  }
  const used = lines.slice(0, size);
  const column = (index: number, dtype: DType): HostTensor => {
    const cells = used.map((line, number) => {
      if (index === -2) return line;
      if (index === -1) return String(number + format.offset);
      const parts = line.split(format.delimiter);
      const cell = parts[index];
      if (cell === undefined) {
        throw invalid(`Invalid number of columns in ${fileName} line ${number} (${line}) : expected ${index + 1} got ${parts.length}`);
      }
      return cell;
    });
    return parseCells(cells, dtype, fileName);
  };
  const keys = column(format.keyIndex, keyDtype);
  if (new Set(elementKeys(keys)).size !== used.length) {
    const seen = new Set<string>();
    const twice = elementKeys(keys).find((key) => seen.has(key) || !seen.add(key));
    throw new ServeError('FAILED_PRECONDITION', `Duplicate key found in ${fileName}: ${twice}`);
  }
  return tableFromTensors(keys, column(format.valueIndex, valueDtype));
}

function parseCells(cells: readonly string[], dtype: DType, fileName: string): HostTensor {
  const shape = [cells.length];
  if (dtype === 'string') return { dtype, shape, data: cells.map((cell) => new Uint8Array(Buffer.from(cell, 'latin1'))) };
  const bits = dtype === 'int32' ? 32 : 64;
  if (dtype === 'int64' || dtype === 'int32') {
    const values = cells.map((cell, line) => {
      const value = parseInteger(cell, bits);
      if (value === undefined) throw invalid(`Field ${cell} in line ${line} of ${fileName} is not a valid ${dtype}.`);
      return value;
    });
    return dtype === 'int64' ? { dtype, shape, data: BigInt64Array.from(values) } : fromNumbers(dtype, shape, values.map(Number));
  }
  if (dtype !== 'float' && dtype !== 'double') throw invalid(`Data type ${dtype} not supported.`);
  const values = cells.map((cell, line) => {
    const value = parseFloating(cell);
    if (value === undefined) throw invalid(`Field ${cell} in line ${line} of ${fileName} is not a valid ${dtype}.`);
    return value;
  });
  return fromNumbers(dtype, shape, values);
}

/** LookupTableFindV2: values [...keys.shape, ...valueShape], the default where a key is not there. Throws INVALID_ARGUMENT for other dtypes. */
export function findInTable(table: LookupTable, keys: HostTensor, fallback: HostTensor): HostTensor {
  if (keys.dtype !== table.keyDtype) throw invalid(`Key must be type ${table.keyDtype} but got ${keys.dtype}`);
  if (fallback.dtype !== table.valueDtype) throw invalid(`Default value must be type ${table.valueDtype} but got ${fallback.dtype}`);
  const shape = [...keys.shape, ...table.valueShape];
  const found = elementKeys(keys).map((key) => table.entries.get(key) ?? fallback);
  return joinData(table.valueDtype, found, shape);
}

/** LookupTableSizeV2: an int64 scalar. */
export function tableSize(table: LookupTable): HostTensor {
  return int64s([], [table.entries.size]);
}

/** LookupTableExportV2: keys [size] and values [size, ...valueShape]. TensorFlow's order is that of its hash map; this one is that of arrival. */
export function exportTable(table: LookupTable): readonly [HostTensor, HostTensor] {
  const values = joinData(table.valueDtype, [...table.entries.values()], [dim(table.keys.shape, 0), ...table.valueShape]);
  return [table.keys, values];
}

/** How an id table places keys that it does not hold: FarmHash, or SipHash under a key. */
export type OovHash = { readonly kind: 'fast' } | { readonly kind: 'strong'; readonly key: readonly [bigint, bigint] };

/** Ids [keys.shape] of a vocabulary table with out-of-vocabulary buckets behind its entries: what `StaticVocabularyTable` computes in one step. */
export function idsWithBuckets(table: LookupTable, keys: HostTensor, buckets: number, hash: OovHash): HostTensor {
  const size = table.entries.size;
  const hashed = keys.dtype === 'string' ? strings(keys) : elementKeys(keys).map((text) => new Uint8Array(Buffer.from(text, 'latin1')));
  const ids = elementKeys(keys).map((key, at) => {
    const known = table.entries.get(key);
    if (known !== undefined) return Number(known.data[0]);
    if (buckets === 0) return -1;
    const bytes = hashed[at] ?? new Uint8Array(0);
    const bits = hash.kind === 'fast' ? fingerprint64(bytes) : sipHash(bytes, hash.key);
    return Number(bits % BigInt(buckets)) + size;
  });
  return int64s(keys.shape, ids);
}
