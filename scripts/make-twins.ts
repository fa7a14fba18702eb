/**
 * Writes test/fixtures/twins: ONNX models with the signatures and the arithmetic of two of the SavedModels that the conformance transcripts were
 * recorded with, for tests that want them everywhere, at once and without an import.
 *
 *     node scripts/make-twins.ts
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DTYPES, type DType } from '#mesh/tensor.ts';
import { buildModel, type OnnxInitializer, type OnnxModel, type OnnxNode } from '#proto/onnx-writer.ts';

/** High enough for Identity on every dtype, low enough for any onnxruntime of the last years. */
const OPSET = 17;

const root = fileURLToPath(new URL('../test/fixtures/twins/', import.meta.url));
rmSync(root, { recursive: true, force: true });
writeHalfPlusTwo('half_plus_two/00000123');
writeIdent('ident/1');
writeIdent('ident/3');

/** One input or output of signatures.json. */
interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[] | null;
  readonly onnx?: string;
  readonly tensor_name: string;
  readonly parse_example?: object;
  readonly host?: object;
}

/** One signature of signatures.json. */
interface SignatureEntry {
  readonly method: 'predict' | 'classify' | 'regress';
  readonly model?: string;
  readonly inputs: Readonly<Record<string, TensorEntry>>;
  readonly outputs: Readonly<Record<string, TensorEntry>>;
}

/** y = x / 2 + 2 and y2 = x / 2 + 3 in one graph, y3 = x2 / 2 + 3 in another: a run of the first must not ask for x2. */
function writeHalfPlusTwo(folder: string): void {
  const column = [-1, 1];
  const plain = (name: string): TensorEntry => ({ dtype: 'DT_FLOAT', shape: column, onnx: name, tensor_name: `${name}:0` });
  const example: TensorEntry = {
    dtype: 'DT_STRING',
    shape: null,
    tensor_name: 'tf_example:0',
    parse_example: { x: { dtype: 'DT_FLOAT', shape: [1], onnx: 'x' } },
  };
  const signatures: Record<string, SignatureEntry> = {
    serving_default: { method: 'predict', inputs: { x: plain('x') }, outputs: { y: plain('y') } },
    classify_x_to_y: { method: 'classify', inputs: { inputs: example }, outputs: { scores: plain('y') } },
    regress_x_to_y: { method: 'regress', inputs: { inputs: example }, outputs: { outputs: plain('y') } },
    regress_x_to_y2: { method: 'regress', inputs: { inputs: example }, outputs: { outputs: plain('y2') } },
    regress_x2_to_y3: { method: 'regress', model: 'y3.onnx', inputs: { inputs: plain('x2') }, outputs: { outputs: plain('y3') } },
  };
  const constants = [floats('a', 0.5), floats('b', 2), floats('c', 3)];
  const half: OnnxNode = { op: 'Mul', inputs: ['x', 'a'], outputs: ['half'] };
  const models = {
    'model.onnx': graph('half_plus_two', {
      inputs: { x: 'float' },
      outputs: { y: 'float', y2: 'float' },
      initializers: constants,
      nodes: [half, { op: 'Add', inputs: ['half', 'b'], outputs: ['y'] }, { op: 'Add', inputs: ['half', 'c'], outputs: ['y2'] }],
    }),
    'y3.onnx': graph('half_plus_three', {
      inputs: { x2: 'float' },
      outputs: { y3: 'float' },
      initializers: constants.slice(0, 1).concat(constants.slice(2)),
      nodes: [
        { op: 'Mul', inputs: ['x2', 'a'], outputs: ['half'] },
        { op: 'Add', inputs: ['half', 'c'], outputs: ['y3'] },
      ],
    }),
  };
  writeFolder(folder, { signatures, models });
}

/** Every dtype echoed by a signature of its own, and three signatures with a shape of their own. Tensor names as TensorFlow wrote them. */
function writeIdent(folder: string): void {
  const echoes: Record<string, { readonly dtype: DType; readonly output: string }> = {
    serving_default: { dtype: 'float', output: 'PartitionedCall_11:0' },
    f32: { dtype: 'float', output: 'PartitionedCall_4:0' },
    f64: { dtype: 'double', output: 'PartitionedCall_5:0' },
    f16: { dtype: 'half', output: 'PartitionedCall_3:0' },
    bf16: { dtype: 'bfloat16', output: 'PartitionedCall:0' },
    i8: { dtype: 'int8', output: 'PartitionedCall_9:0' },
    i16: { dtype: 'int16', output: 'PartitionedCall_6:0' },
    i32: { dtype: 'int32', output: 'PartitionedCall_7:0' },
    i64: { dtype: 'int64', output: 'PartitionedCall_8:0' },
    u8: { dtype: 'uint8', output: 'PartitionedCall_17:0' },
    u16: { dtype: 'uint16', output: 'PartitionedCall_14:0' },
    u32: { dtype: 'uint32', output: 'PartitionedCall_15:0' },
    u64: { dtype: 'uint64', output: 'PartitionedCall_16:0' },
    bool: { dtype: 'bool', output: 'PartitionedCall_1:0' },
    str: { dtype: 'string', output: 'PartitionedCall_12:0' },
  };
  const signatures: Record<string, SignatureEntry> = { two: twoSignature(), scalar: scalarSignature(), bytes: bytesSignature() };
  const models: Record<string, Uint8Array> = { 'two.onnx': twoModel(), 'scalar.onnx': scalarModel() };
  for (const [name, { dtype, output }] of Object.entries(echoes)) {
    const { protoName } = DTYPES[dtype];
    const input: TensorEntry = { dtype: protoName, shape: null, tensor_name: `${name}_x:0` };
    const echo: TensorEntry = { dtype: protoName, shape: null, tensor_name: output };
    if (dtype === 'string' || dtype === 'bfloat16') {
      // onnxruntime-node takes no bfloat16, and its strings end at a NUL: these pass by the host.
      const host = { op: 'Identity', input: 'x' };
      signatures[name] = { method: 'predict', inputs: { x: input }, outputs: { y: { ...echo, host } } };
      continue;
    }
    const file = name === 'serving_default' ? 'f32.onnx' : `${name}.onnx`;
    models[file] ??= graph(`ident_${name}`, {
      inputs: { x: dtype },
      outputs: { y: dtype },
      initializers: [],
      nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
    });
    signatures[name] = { method: 'predict', model: file, inputs: { x: { ...input, onnx: 'x' } }, outputs: { y: { ...echo, onnx: 'y' } } };
  }
  writeFolder(folder, { signatures, models });
}

function twoSignature(): SignatureEntry {
  return {
    method: 'predict',
    model: 'two.onnx',
    inputs: {
      a: { dtype: 'DT_FLOAT', shape: [-1, 2], onnx: 'a', tensor_name: 'two_a:0' },
      b: { dtype: 'DT_INT64', shape: [-1], onnx: 'b', tensor_name: 'two_b:0' },
    },
    outputs: {
      sum: { dtype: 'DT_FLOAT', shape: [-1], onnx: 'sum', tensor_name: 'PartitionedCall_13:0' },
      twice: { dtype: 'DT_INT64', shape: [-1], onnx: 'twice', tensor_name: 'PartitionedCall_13:1' },
    },
  };
}

/** sum: a over axis 1; twice: 2 b. */
function twoModel(): Uint8Array {
  return graph('ident_two', {
    inputs: { a: 'float', b: 'int64' },
    outputs: { sum: 'float', twice: 'int64' },
    initializers: [int64s('axes', [1]), int64s('two', 2)],
    nodes: [
      { op: 'ReduceSum', inputs: ['a', 'axes'], outputs: ['sum'], attributes: { keepdims: 0 } },
      { op: 'Mul', inputs: ['b', 'two'], outputs: ['twice'] },
    ],
  });
}

function scalarSignature(): SignatureEntry {
  return {
    method: 'predict',
    model: 'scalar.onnx',
    inputs: { x: { dtype: 'DT_FLOAT', shape: [], onnx: 'x', tensor_name: 'scalar_x:0' } },
    outputs: { y: { dtype: 'DT_FLOAT', shape: [], onnx: 'y', tensor_name: 'PartitionedCall_10:0' } },
  };
}

function scalarModel(): Uint8Array {
  return graph('ident_scalar', {
    inputs: { x: 'float' },
    outputs: { y: 'float' },
    initializers: [floats('two', 2)],
    nodes: [{ op: 'Mul', inputs: ['x', 'two'], outputs: ['y'] }],
  });
}

function bytesSignature(): SignatureEntry {
  const input = 'image_bytes';
  return {
    method: 'predict',
    inputs: { [input]: { dtype: 'DT_STRING', shape: [-1], tensor_name: 'bytes_image_bytes:0' } },
    outputs: {
      len: { dtype: 'DT_INT32', shape: [-1], tensor_name: 'PartitionedCall_2:0', host: { op: 'StringLength', input } },
      out_bytes: { dtype: 'DT_STRING', shape: [-1], tensor_name: 'PartitionedCall_2:1', host: { op: 'Identity', input } },
    },
  };
}

interface GraphParts {
  readonly inputs: Readonly<Record<string, DType>>;
  readonly outputs: Readonly<Record<string, DType>>;
  readonly initializers: readonly OnnxInitializer[];
  readonly nodes: readonly OnnxNode[];
}

/** A graph whose inputs and outputs declare no shape: any rank goes, as in the originals. */
function graph(name: string, parts: GraphParts): Uint8Array {
  const ofUnknownRank = (values: Readonly<Record<string, DType>>) =>
    Object.entries(values).map(([value, dtype]) => ({ name: value, dtype, shape: null }));
  const model: OnnxModel = {
    name,
    opset: OPSET,
    inputs: ofUnknownRank(parts.inputs),
    outputs: ofUnknownRank(parts.outputs),
    initializers: parts.initializers,
    nodes: parts.nodes,
  };
  return buildModel(model);
}

function floats(name: string, value: number): OnnxInitializer {
  return { name, dtype: 'float', shape: [], bytes: new Uint8Array(Float32Array.of(value).buffer) };
}

function int64s(name: string, value: number | readonly number[]): OnnxInitializer {
  const values = typeof value === 'number' ? [value] : value;
  const shape = typeof value === 'number' ? [] : [value.length];
  return { name, dtype: 'int64', shape, bytes: new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer) };
}

function writeFolder(
  folder: string,
  content: { readonly signatures: Readonly<Record<string, SignatureEntry>>; readonly models: Readonly<Record<string, Uint8Array>> },
): void {
  mkdirSync(`${root}${folder}`, { recursive: true });
  writeFileSync(`${root}${folder}/signatures.json`, `${JSON.stringify({ signatures: content.signatures }, null, 2)}\n`);
  for (const [file, bytes] of Object.entries(content.models)) writeFileSync(`${root}${folder}/${file}`, bytes);
}
