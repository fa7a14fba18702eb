import type { InferenceSession } from 'onnxruntime-node';
import type { DType } from '#mesh/tensor.ts';

/** An input or output of an ONNX graph. */
export interface GraphValue {
  readonly name: string;
  /** Undefined for what no tensor of ours can hold: a sequence, a map, a four-bit integer. */
  readonly dtype: DType | undefined;
  /** The type in ONNX's words, for error texts. */
  readonly typeName: string;
  /** -1: any size; null: no shape is declared. */
  readonly shape: readonly number[] | null;
  /** Names of the free dimensions, empty where there is none; same length as `shape`. */
  readonly dimNames: readonly string[];
}

/** The inputs that must be fed and the outputs that can be fetched, in the graph's order. */
export interface Graph {
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  /** Some custom op in it does not keep rows apart. */
  readonly mixesRows?: boolean;
}

/** onnxruntime's type names and ours. */
export const DTYPE_OF: Readonly<Record<string, DType>> = {
  float32: 'float',
  float64: 'double',
  int8: 'int8',
  int16: 'int16',
  int32: 'int32',
  int64: 'int64',
  uint8: 'uint8',
  uint16: 'uint16',
  uint32: 'uint32',
  uint64: 'uint64',
  bool: 'bool',
  float16: 'half',
  string: 'string',
};

/** Names of values that declare no shape at all: onnxruntime reports those as scalars. */
export type UnrankedNames = ReadonlySet<string>;

/** What a session says of its graph. */
export function graphOf(session: InferenceSession, unranked: UnrankedNames): Graph {
  const convert = (value: InferenceSession.ValueMetadata): GraphValue => {
    if (!value.isTensor) return { name: value.name, dtype: undefined, typeName: 'not a tensor', shape: null, dimNames: [] };
    const rankless = value.shape.length === 0 && unranked.has(value.name);
    return {
      name: value.name,
      dtype: DTYPE_OF[value.type],
      typeName: value.type,
      shape: rankless ? null : value.shape.map((dim) => (typeof dim === 'number' ? dim : -1)),
      dimNames: value.shape.map((dim) => (typeof dim === 'number' ? '' : dim)),
    };
  };
  return { inputs: session.inputMetadata.map(convert), outputs: session.outputMetadata.map(convert) };
}
