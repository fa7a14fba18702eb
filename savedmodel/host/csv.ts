/** DecodeCSV: RFC 4180 records into one tensor per column. */
import { ServeError } from '#mesh/errors.ts';
import type { DType } from '#mesh/tensor.ts';
import type { HostAttrs, HostTensor } from '../host-value.ts';
import { fromNumbers, type HostKernels, input, invalid, strings, stringTensor } from './host-tensor.ts';
import { parseFloating, parseInteger } from './string-ops.ts';
import { fromLatin1, latin1 } from './utf8-text.ts';

/** DecodeCSV. */
export const CSV_OPS: HostKernels = { DecodeCSV: decodeCsv };

function decodeCsv(inputs: readonly HostTensor[], attrs: HostAttrs): HostTensor[] {
  const records = input(inputs, 0);
  const dtypes = attrs.dtypes('OUT_TYPE');
  const delimiter = attrs.has('field_delim') ? attrs.text('field_delim') : ',';
  const quotes = !attrs.has('use_quote_delim') || attrs.bool('use_quote_delim');
  const missing = attrs.has('na_value') ? attrs.text('na_value') : '';
  const chosen = attrs.has('select_cols') ? attrs.ints('select_cols') : [];
  if (delimiter.length !== 1) throw invalid('field_delim should be only 1 char');
  const rows = strings(records).map((record, row) => {
    const fields = splitRecord(latin1(record), delimiter, quotes);
    const selected = chosen.length === 0 ? fields : chosen.map((column) => fields[column]).filter((field) => field !== undefined);
    if (selected.length !== dtypes.length)
      throw invalid(`Expect ${dtypes.length} fields but have ${chosen.length === 0 ? fields.length : selected.length} in record ${row}`);
    return selected;
  });
  return dtypes.map((dtype, column) => {
    const fallback = input(inputs, 1 + column);
    const values = rows.map((row, record) => {
      const field = row[column] ?? '';
      if (field !== '' && field !== missing) return field;
      if (fallback.data.length !== 1) throw invalid(`Field ${column} is required but missing in record ${record}!`);
      return undefined;
    });
    return toColumn(dtype, records.shape, values, fallback, column);
  });
}

function toColumn(
  dtype: DType,
  shape: readonly number[],
  values: readonly (string | undefined)[],
  fallback: HostTensor,
  column: number,
): HostTensor {
  if (dtype === 'string')
    return stringTensor(
      shape,
      values.map((value) => (value === undefined ? (strings(fallback)[0] ?? new Uint8Array(0)) : fromLatin1(value))),
    );
  const fail = (record: number, value: string) =>
    new ServeError('INVALID_ARGUMENT', `Field ${column} in record ${record} is not a valid ${dtype}: ${value}`);
  if (dtype === 'int64') {
    const standIn = (fallback.data[0] as bigint | undefined) ?? 0n;
    const data = BigInt64Array.from(
      values.map((value, record) => {
        const parsed = value === undefined ? standIn : parseInteger(value, 64);
        if (parsed === undefined) throw fail(record, value ?? '');
        return parsed;
      }),
    );
    return { dtype, shape, data };
  }
  const numbers = values.map((value, record) => {
    if (value === undefined) return Number(fallback.data[0] ?? 0);
    const whole = dtype === 'int32' ? parseInteger(value, 32) : undefined;
    const parsed = dtype === 'int32' ? (whole === undefined ? undefined : Number(whole)) : parseFloating(value);
    if (parsed === undefined) throw fail(record, value);
    return parsed;
  });
  return fromNumbers(dtype, shape, numbers);
}

function splitRecord(text: string, delimiter: string, quotes: boolean): string[] {
  const fields: string[] = [];
  let at = 0;
  if (text === '') return [];
  for (;;) {
    if (quotes && text[at] === '"') {
      let field = '';
      at++;
      for (;;) {
        if (at >= text.length) throw invalid('Quoted field has to end with quote followed by delim or end');
        if (text[at] !== '"') field += text[at++];
        else if (text[at + 1] === '"') {
          field += '"';
          at += 2;
        } else break;
      }
      at++;
      if (at < text.length && text[at] !== delimiter) throw invalid('Quote inside a string has to be escaped by another quote');
      fields.push(field);
    } else {
      const end = text.indexOf(delimiter, at);
      const field = end < 0 ? text.slice(at) : text.slice(at, end);
      if (quotes && field.includes('"')) throw invalid('Unquoted fields cannot have quotes/CRLFs inside');
      fields.push(field);
      at += field.length;
    }
    if (at >= text.length) return fields;
    at++;
    if (at === text.length) {
      fields.push('');
      return fields;
    }
  }
}
