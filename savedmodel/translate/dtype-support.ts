/** Which dtypes onnxruntime has CPU kernels for, where it lacks some, and what to compute in instead. Probed on onnxruntime 1.30, opset 18. */
import type { DType } from '#mesh/tensor.ts';

const FLOAT = ['float', 'half'] as const;
const FLOATS = ['float', 'half', 'double'] as const;
const COMMON = ['float', 'half', 'double', 'int32', 'int64'] as const;
const NUMERIC = ['float', 'half', 'double', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'] as const;
const EXTREMES = ['float', 'half', 'double', 'int8', 'int32', 'int64', 'uint8'] as const;

const without = (lacking: readonly DType[]): readonly DType[] => NUMERIC.filter((dtype) => !lacking.includes(dtype));
const entries = (dtypes: readonly DType[], ...ops: readonly string[]) => ops.map((op) => [op, dtypes] as const);

const SUPPORTED: ReadonlyMap<string, readonly DType[]> = new Map<string, readonly DType[]>([
  ...entries(NUMERIC, 'Add', 'Sub', 'Mul', 'Div', 'Mod', 'Abs', 'Sign', 'Less', 'LessOrEqual', 'Greater', 'GreaterOrEqual'),
  ...entries([...NUMERIC, 'bool'], 'Equal', 'Gather', 'GatherND', 'Concat', 'Slice', 'Tile', 'Expand', 'Transpose', 'Split', 'ScatterND'),
  ...entries(COMMON, 'Pow', 'ReduceSum', 'ReduceProd', 'ReduceMean', 'ReduceSumSquare', 'ReduceL2', 'CumSum', 'Einsum'),
  ...entries(without(['int16', 'uint16']), 'Max', 'Min'),
  ...entries(without(['int16', 'uint16']).concat('bool'), 'Pad'),
  ...entries(without(['uint8', 'uint16', 'uint32', 'uint64']), 'Neg'),
  ...entries(EXTREMES, 'ReduceMax', 'ReduceMin', 'ArgMax', 'ArgMin'),
  ...entries(without(['uint16', 'uint32', 'uint64']), 'TopK'),
  ...entries(['float', 'double', 'int64', 'int8'], 'Unique'),
  ...entries(['float', 'bool', 'int32', 'int64', 'uint8'], 'NonZero'),
  ...entries(['float', 'half', 'double', 'int32', 'int64', 'bool'], 'Trilu'),
  ...entries(['float', 'half', 'double', 'int32', 'int64', 'uint8'], 'Where'),
  ...entries(['float', 'double', 'int16', 'int32', 'int64'], 'Range'),
  ...entries(['float', 'half', 'double', 'int8', 'int32', 'int64'], 'Relu'),
  ...entries(without(['int8', 'int16', 'uint8', 'uint16']), 'MatMul'),
  ...entries(['float', 'half', 'double', 'int8', 'uint8'], 'MaxPool', 'SpaceToDepth', 'DepthToSpace'),
  ...entries(['float', 'half', 'int32', 'uint8', 'int8'], 'Resize'),
  ...entries(['float', 'double'], 'IsInf', 'BatchNormalization'),
  ...entries(FLOATS, 'Sqrt', 'Reciprocal', 'Exp', 'Log', 'Floor', 'Ceil', 'Round', 'IsNaN', 'Sin', 'Cos', 'Softplus', 'Softsign'),
  ...entries(FLOATS, 'Elu', 'Selu', 'LeakyRelu', 'Softmax', 'LogSoftmax', 'Sigmoid', 'Tanh', 'Gemm'),
  ...entries(FLOAT, 'Tan', 'Asin', 'Acos', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Acosh', 'Atanh', 'Erf'),
  ...entries(FLOAT, 'Conv', 'ConvTranspose', 'AveragePool', 'LRN', 'Det'),
  ...entries(['uint8', 'uint32', 'uint64'], 'BitShift'),
  ...entries(without(['float', 'half', 'double']), 'BitwiseAnd', 'BitwiseOr', 'BitwiseXor', 'BitwiseNot'),
]);

/** What a dtype may be computed in, best first. Each holds every value of the dtype, but for 64-bit integers in double and double in float. */
const WIDER: Readonly<Partial<Record<DType, readonly DType[]>>> = {
  bool: ['uint8', 'int32', 'float'],
  int8: ['int32', 'int64', 'float'],
  uint8: ['int32', 'int64', 'float', 'uint32'],
  int16: ['int32', 'int64', 'float'],
  uint16: ['int32', 'int64', 'float', 'uint32'],
  int32: ['int64', 'double', 'float', 'uint32'],
  uint32: ['int64', 'double'],
  int64: ['double', 'float', 'uint64'],
  uint64: ['int64', 'double'],
  half: ['float'],
  bfloat16: ['float'],
  double: ['float'],
};

/** The dtype to run an ONNX op in for data of `dtype`: itself where there is a kernel or nothing is known of the op. Null: there is none. */
export function computeDtype(op: string, dtype: DType): DType | null {
  const supported = SUPPORTED.get(op);
  if (supported === undefined || supported.includes(dtype)) return dtype;
  return WIDER[dtype]?.find((wider) => supported.includes(wider)) ?? null;
}
