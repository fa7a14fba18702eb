import { ONNX_TYPE } from '#proto/onnx-types.ts';

/** The element type of a value, if it is known. */
export type TypeOf = (name: string) => number | undefined;

/** A node, as far as the types of its outputs depend on it. */
export interface TypedNode {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly ints: ReadonlyMap<string, number>;
  /** The element type of the tensor in its attribute `value`. */
  readonly constantType: number | undefined;
}

const { float, int32, int64, bool, uint8 } = ONNX_TYPE;

/** Operators whose outputs have a type of their own, whatever comes in. */
const FIXED: Readonly<Record<string, readonly number[]>> = {
  Shape: [int64],
  Size: [int64],
  NonZero: [int64],
  ArgMax: [int64],
  ArgMin: [int64],
  NonMaxSuppression: [int64],
  Equal: [bool],
  Less: [bool],
  LessOrEqual: [bool],
  Greater: [bool],
  GreaterOrEqual: [bool],
  And: [bool],
  Or: [bool],
  Xor: [bool],
  Not: [bool],
  IsNaN: [bool],
  IsInf: [bool],
  ConvInteger: [int32],
  MatMulInteger: [int32],
  DynamicQuantizeLinear: [uint8, float, uint8],
};

/** Operators with outputs of which the first has the type of an input, and the others their own. */
const MIXED: Readonly<Record<string, { readonly input: number; readonly others: number }>> = {
  TopK: { input: 0, others: int64 },
  Unique: { input: 0, others: int64 },
  MaxPool: { input: 0, others: int64 },
  Dropout: { input: 0, others: bool },
  CastLike: { input: 1, others: float },
  Where: { input: 1, others: float },
  DequantizeLinear: { input: 1, others: float },
  OneHot: { input: 2, others: float },
};

/** Operators whose attribute `dtype` or `to` is the type, and what they give without it. */
const BY_ATTRIBUTE: Readonly<Record<string, number | 'input'>> = {
  Cast: float,
  EyeLike: 'input',
  RandomNormal: float,
  RandomUniform: float,
  RandomNormalLike: 'input',
  RandomUniformLike: 'input',
  Bernoulli: 'input',
  Multinomial: int32,
};

/** Operators of which nothing can be said here: their outputs are sequences, or come out of graphs and models inside. */
const UNKNOWN: ReadonlySet<string> = new Set([
  'If',
  'Loop',
  'Scan',
  'SequenceAt',
  'SequenceEmpty',
  'SequenceConstruct',
  'SequenceMap',
  'SplitToSequence',
  'ConcatFromSequence',
  'Optional',
  'OptionalGetElement',
  'QuantizeLinear',
  'QLinearConv',
  'QLinearMatMul',
  'TfIdfVectorizer',
  'StringSplit',
  'RegexFullMatch',
  'ImageDecoder',
]);

/** The element types of a node's outputs, undefined where unknown. Nearly every operator of ONNX gives what it takes. */
export function outputTypes(node: TypedNode, typeOf: TypeOf): readonly (number | undefined)[] {
  const { op, domain, inputs, outputs, ints, constantType } = node;
  const input = (index: number) => typeOf(inputs[index] ?? '');
  if ((domain !== '' && domain !== 'ai.onnx') || UNKNOWN.has(op)) return outputs.map(() => undefined);
  const fixed = Object.hasOwn(FIXED, op) ? FIXED[op] : undefined;
  if (fixed) return fixed;
  const mixed = Object.hasOwn(MIXED, op) ? MIXED[op] : undefined;
  if (mixed) return outputs.map((_, index) => (index === 0 ? input(mixed.input) : mixed.others));
  const without = Object.hasOwn(BY_ATTRIBUTE, op) ? BY_ATTRIBUTE[op] : undefined;
  if (without !== undefined) return [ints.get('to') ?? ints.get('dtype') ?? (without === 'input' ? input(0) : without)];
  if (op === 'ConstantOfShape') return [constantType ?? float];
  if (op === 'Constant') return [constantType ?? (ints.has('value_int') ? int64 : undefined)];
  return outputs.map(() => input(0));
}
