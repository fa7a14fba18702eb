/** ONNX's numbers for element types, and the facts of its messages that reader and writer share (onnx.proto, IR version 8 to 10). */
import type { DType } from '#mesh/tensor.ts';

/** For each of our dtypes: its number in ONNX's `TensorProto.DataType`. */
export const ONNX_TYPE: Readonly<Record<DType, number>> = {
  float: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  half: 10,
  double: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  complex128: 15,
  bfloat16: 16,
};

const BY_NUMBER: ReadonlyMap<number, DType> = new Map(Object.entries(ONNX_TYPE).map(([dtype, number]) => [number, dtype as DType]));

/** The dtype of an ONNX element type; undefined for those that clients cannot send (float8, int4, none). */
export function dtypeFromOnnx(elementType: number): DType | undefined {
  return BY_NUMBER.get(elementType);
}

/** Field numbers of the ONNX messages that we read or write. */
export const ONNX = {
  model: { irVersion: 1, producerName: 2, graph: 7, opsetImport: 8, functions: 25 },
  opset: { domain: 1, version: 2 },
  graph: { node: 1, name: 2, initializer: 5, input: 11, output: 12, valueInfo: 13, sparseInitializer: 15 },
  node: { input: 1, output: 2, name: 3, opType: 4, attribute: 5, domain: 7 },
  attribute: {
    name: 1,
    float: 2,
    int: 3,
    string: 4,
    tensor: 5,
    graph: 6,
    floats: 7,
    ints: 8,
    strings: 9,
    graphs: 11,
    type: 20,
    refName: 21,
  },
  tensor: { dims: 1, dataType: 2, stringData: 6, name: 8, rawData: 9, externalData: 13, dataLocation: 14 },
  valueInfo: { name: 1, type: 2 },
  type: { tensor: 1 },
  tensorType: { elementType: 1, shape: 2 },
  shape: { dim: 1 },
  dimension: { value: 1, param: 2 },
  function: { name: 1, input: 4, output: 5, attribute: 6, node: 7, opsetImport: 9, domain: 10, attributeDefault: 11 },
  entry: { key: 1, value: 2 },
} as const;
