/** The names of `tensorflow.DataType`, also of those that no client can send. */
import type { DataTypeNumber } from '../graph.ts';

/** A reference to a variable has the number of its dtype plus this. */
const REF_OFFSET = 100;
const NAMES: readonly string[] = [
  'DT_INVALID',
  'DT_FLOAT',
  'DT_DOUBLE',
  'DT_INT32',
  'DT_UINT8',
  'DT_INT16',
  'DT_INT8',
  'DT_STRING',
  'DT_COMPLEX64',
  'DT_INT64',
  'DT_BOOL',
  'DT_QINT8',
  'DT_QUINT8',
  'DT_QINT32',
  'DT_BFLOAT16',
  'DT_QINT16',
  'DT_QUINT16',
  'DT_UINT16',
  'DT_COMPLEX128',
  'DT_HALF',
  'DT_RESOURCE',
  'DT_VARIANT',
  'DT_UINT32',
  'DT_UINT64',
  'DT_FLOAT8_E5M2',
  'DT_FLOAT8_E4M3FN',
  'DT_FLOAT8_E4M3FNUZ',
  'DT_FLOAT8_E4M3B11FNUZ',
  'DT_FLOAT8_E5M2FNUZ',
  'DT_INT4',
  'DT_UINT4',
  'DT_INT2',
  'DT_UINT2',
];

/** Numbers by name, references included: `DT_FLOAT` is 1, `DT_FLOAT_REF` 101. */
export const DATA_TYPE_NUMBERS: ReadonlyMap<string, DataTypeNumber> = new Map(
  NAMES.flatMap((name, number): [string, number][] => [
    [name, number],
    ...(number > 0 ? [[`${name}_REF`, number + REF_OFFSET] as [string, number]] : []),
  ]),
);

/** The name of a dtype; of one that TensorFlow does not define its number. */
export function dataTypeName(number: DataTypeNumber): string {
  const name = NAMES[number > REF_OFFSET ? number - REF_OFFSET : number];
  if (name === undefined) return String(number);
  return number > REF_OFFSET ? `${name}_REF` : name;
}
