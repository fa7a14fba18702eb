/**
 * Keeps a request from ending the process by division. onnxruntime divides int32 and int64 with the processor's own instruction, which traps
 * (SIGFPE) where the quotient does not fit: the smallest integer divided by -1, in `Div` and in `Mod`. (A division by zero it refuses itself.)
 * Wherever a graph may do that, the divisor becomes 1 for exactly those elements: the quotient then wraps around to the smallest integer, as it
 * does in two's complement, and the remainder is 0.
 */
import { ONNX, ONNX_TYPE } from '#proto/onnx-types.ts';
import { WireReader, WireWriter } from '#proto/wire.ts';
import { outputTypes, type TypeOf } from './onnx-node-types.ts';
import { fieldsOf, GRAPHS, mapField, opsetOf, textOf, writeNode } from './onnx-rewriting.ts';

/** A model whose integer divisions cannot trap. */
export interface GuardedModel {
  /** The model as it is to be loaded; the very bytes given where nothing had to change. */
  readonly model: Uint8Array;
  /** Divisions that were changed. */
  readonly guarded: number;
  /** Divisions of which it is not known whether they are of integers, by the name of their output: these stay as they are. */
  readonly unknown: readonly string[];
}

const { int32, int64 } = ONNX_TYPE;
const SMALLEST: ReadonlyMap<number, bigint> = new Map([
  [int32, -(2n ** 31n)],
  [int64, -(2n ** 63n)],
]);
/** The first operator set with broadcasting: before it, the guard cannot be written. */
const FIRST_OPSET = 7;

/** Guards a model. Throws INVALID_ARGUMENT for bytes that are no ModelProto. */
export function guardIntegerDivision(model: Uint8Array): GuardedModel {
  const report = { guarded: 0, unknown: [] as string[] };
  const canGuard = opsetOf(model) >= FIRST_OPSET;
  const rewritten = mapField(model, ONNX.model.graph, (graph) => guardGraph(graph, emptyScope(), { report, canGuard }));
  for (const op of functionOps(model)) if (isDivision(op)) report.unknown.push(`${op.outputs[0] ?? ''} in a function`);
  return { model: report.guarded > 0 ? rewritten : model, ...report };
}

/** What is known of values by name: of this graph, and of those around it. */
interface Scope {
  /** ONNX's element types. */
  readonly types: Map<string, number>;
  /** Integers of constants. */
  readonly constants: Map<string, readonly bigint[]>;
  /** Values that come from shapes: never negative. */
  readonly sizes: Set<string>;
}

interface Guarding {
  readonly report: { guarded: number; readonly unknown: string[] };
  readonly canGuard: boolean;
}

/** A node as far as it matters. */
interface Node {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly ints: ReadonlyMap<string, number>;
  readonly tensors: ReadonlyMap<string, Constant>;
}

interface Constant {
  readonly name: string;
  readonly type: number;
  /** Null: not integers, or not here. */
  readonly values: readonly bigint[] | null;
}

function emptyScope(): Scope {
  return { types: new Map(), constants: new Map(), sizes: new Set() };
}

function guardGraph(graph: Uint8Array, outer: Scope, guarding: Guarding): Uint8Array {
  const scope: Scope = { types: new Map(outer.types), constants: new Map(outer.constants), sizes: new Set(outer.sizes) };
  for (const { field, bytes } of fieldsOf(graph)) {
    if (field === ONNX.graph.initializer) learnConstant(scope, readTensor(bytes));
    else if (field === ONNX.graph.input || field === ONNX.graph.output || field === VALUE_INFO) learnPort(scope, bytes);
  }
  const before = guarding.report.guarded;
  const writer = new WireWriter(graph.byteLength + 1024);
  for (const { field, bytes, raw } of fieldsOf(graph)) {
    if (field !== ONNX.graph.node) {
      writer.raw(raw);
      continue;
    }
    const inner = mapField(bytes, ONNX.node.attribute, (attribute) =>
      mapField(
        mapField(attribute, ONNX.attribute.graph, (sub) => guardGraph(sub, scope, guarding)),
        GRAPHS,
        (sub) => guardGraph(sub, scope, guarding),
      ),
    );
    const node = readNode(bytes);
    const type = divisionType(node, scope, guarding);
    if (type === undefined) writer.bytesField(ONNX.graph.node, inner);
    else writeGuarded(writer, node, inner, type);
    learnNode(scope, node);
  }
  return guarding.report.guarded === before ? graph : writer.finish();
}

/** The element type of a division that may trap; undefined: it cannot, or nothing can be done about it. */
function divisionType(node: Node, { types, constants, sizes }: Scope, { report, canGuard }: Guarding): number | undefined {
  if (!isDivision(node)) return undefined;
  const [dividend = '', divisor = ''] = node.inputs;
  const type = types.get(dividend) ?? types.get(divisor) ?? types.get(node.outputs[0] ?? '');
  const smallest = type === undefined ? undefined : SMALLEST.get(type);
  if (type !== undefined && smallest === undefined) return undefined;
  if (constants.get(divisor)?.includes(-1n) === false || sizes.has(dividend) || sizes.has(divisor)) return undefined;
  if (smallest !== undefined && constants.get(dividend)?.includes(smallest) === false) return undefined;
  if (type === undefined || !canGuard) {
    report.unknown.push(node.outputs[0] ?? '');
    return undefined;
  }
  report.guarded++;
  return type;
}

function isDivision({ op, domain }: Pick<Node, 'op' | 'domain'>): boolean {
  return (op === 'Div' || op === 'Mod') && (domain === '' || domain === 'ai.onnx');
}

/** divisor + 2 where the dividend is the smallest integer and the divisor -1, then the node itself with that. */
function writeGuarded(writer: WireWriter, { inputs, outputs }: Node, node: Uint8Array, type: number): void {
  const [dividend = '', divisor = ''] = inputs;
  const name = (part: string) => `headrace_division_guard/${outputs[0]}/${part}`;
  const constant = (part: string, value: bigint) => {
    const tensor = new WireWriter().varintField(ONNX.tensor.dataType, type);
    const bytes = new DataView(new ArrayBuffer(type === int32 ? 4 : 8));
    if (type === int32) bytes.setInt32(0, Number(value), true);
    else bytes.setBigInt64(0, value, true);
    tensor.bytesField(ONNX.tensor.rawData, new Uint8Array(bytes.buffer));
    writeNode(writer, 'Constant', [], name(part), {
      name: 'value',
      type: 4,
      write: (to) => to.bytesField(ONNX.attribute.tensor, tensor.finish()),
    });
  };
  constant('smallest', SMALLEST.get(type) ?? 0n);
  constant('minus-one', -1n);
  writeNode(writer, 'Equal', [dividend, name('smallest')], name('is-smallest'));
  writeNode(writer, 'Equal', [divisor, name('minus-one')], name('is-minus-one'));
  writeNode(writer, 'And', [name('is-smallest'), name('is-minus-one')], name('traps'));
  writeNode(writer, 'Cast', [name('traps')], name('one'), { name: 'to', type: 2, write: (to) => to.varintField(ONNX.attribute.int, type) });
  writeNode(writer, 'Add', [name('one'), name('one')], name('two'));
  writeNode(writer, 'Add', [divisor, name('two')], name('divisor'));
  let position = 0;
  const encoder = new TextEncoder();
  const guarded = mapField(node, ONNX.node.input, (input) => (position++ === 1 ? encoder.encode(name('divisor')) : input));
  writer.bytesField(ONNX.graph.node, guarded);
}

// What is known.

/** Operators that pass sizes on, and change neither sign nor type. */
const KEEPS_SIZES: ReadonlySet<string> = new Set(['Gather', 'Slice', 'Squeeze', 'Unsqueeze', 'Identity', 'Reshape', 'Concat']);

function learnNode({ types, constants, sizes }: Scope, node: Node): void {
  const { op, inputs, outputs, tensors } = node;
  const typeOf: TypeOf = (name) => types.get(name);
  for (const [index, type] of outputTypes({ ...node, constantType: tensors.get('value')?.type }, typeOf).entries()) {
    const name = outputs[index];
    if (name !== undefined && type !== undefined && !types.has(name)) types.set(name, type);
  }
  const [output = ''] = outputs;
  const value = tensors.get('value')?.values;
  const whole = node.ints.get('value_int');
  if (op === 'Constant' && value) constants.set(output, value);
  else if (op === 'Constant' && whole !== undefined) constants.set(output, [BigInt(whole)]);
  const kept = op === 'Concat' ? inputs : inputs.slice(0, 1);
  if (op === 'Shape' || op === 'Size' || (KEEPS_SIZES.has(op) && kept.every((name) => sizes.has(name)))) sizes.add(output);
}

function learnConstant({ types, constants }: Scope, { name, type, values }: Constant): void {
  types.set(name, type);
  if (values) constants.set(name, values);
}

function learnPort({ types }: Scope, bytes: Uint8Array): void {
  let name = '';
  let type = 0;
  for (const { field, bytes: value } of fieldsOf(bytes)) {
    if (field === ONNX.valueInfo.name) name = textOf(value);
    if (field !== ONNX.valueInfo.type) continue;
    for (const kind of fieldsOf(value)) {
      if (kind.field !== ONNX.type.tensor) continue;
      for (const fact of fieldsOf(kind.bytes)) if (fact.field === ONNX.tensorType.elementType) type = fact.varint;
    }
  }
  if (type > 0) types.set(name, type);
}

// Reading.

/** `ValueInfoProto value_info` of a graph, `repeated int32 / int64 data` of a tensor. */
const VALUE_INFO = 13;
const INT32_DATA = 5;
const INT64_DATA = 7;

function readNode(bytes: Uint8Array): Node {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const ints = new Map<string, number>();
  const tensors = new Map<string, Constant>();
  let op = '';
  let domain = '';
  for (const { field, bytes: value } of fieldsOf(bytes)) {
    if (field === ONNX.node.input) inputs.push(textOf(value));
    else if (field === ONNX.node.output) outputs.push(textOf(value));
    else if (field === ONNX.node.opType) op = textOf(value);
    else if (field === ONNX.node.domain) domain = textOf(value);
    else if (field === ONNX.node.attribute) readAttribute(value, ints, tensors);
  }
  return { op, domain, inputs, outputs, ints, tensors };
}

function readAttribute(bytes: Uint8Array, ints: Map<string, number>, tensors: Map<string, Constant>): void {
  const fields = [...fieldsOf(bytes)];
  const named = fields.find(({ field }) => field === ONNX.attribute.name);
  const name = named === undefined ? '' : textOf(named.bytes);
  for (const { field, bytes: value, varint } of fields) {
    if (field === ONNX.attribute.int) ints.set(name, varint);
    else if (field === ONNX.attribute.tensor) tensors.set(name, readTensor(value));
  }
}

function readTensor(bytes: Uint8Array): Constant {
  let name = '';
  let type = 0;
  let elements = 1;
  const values: bigint[] = [];
  let raw: Uint8Array | undefined;
  for (const { field, bytes: value, varint, isVarint } of fieldsOf(bytes)) {
    if (field === ONNX.tensor.name) name = textOf(value);
    else if (field === ONNX.tensor.dataType) type = varint;
    else if (field === ONNX.tensor.rawData) raw = value;
    else if (field === ONNX.tensor.dims) for (const dim of isVarint ? [BigInt(varint)] : packed(value)) elements *= Number(dim);
    else if (field === INT32_DATA || field === INT64_DATA) values.push(...(isVarint ? [BigInt(varint)] : packed(value)));
  }
  if (!SMALLEST.has(type)) return { name, type, values: null };
  const size = type === int32 ? 4 : 8;
  if (raw !== undefined) {
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    for (let at = 0; at + size <= raw.byteLength; at += size)
      values.push(type === int32 ? BigInt(view.getInt32(at, true)) : view.getBigInt64(at, true));
  }
  return { name, type, values: values.length === elements ? values : null };
}

function packed(bytes: Uint8Array): bigint[] {
  const values: bigint[] = [];
  for (const reader = new WireReader(bytes); reader.more(); ) values.push(reader.int64Exact());
  return values;
}

function* functionOps(model: Uint8Array): Generator<Node> {
  for (const { field, bytes } of fieldsOf(model)) {
    if (field !== ONNX.model.functions) continue;
    for (const one of fieldsOf(bytes)) if (one.field === ONNX.function.node) yield readNode(one.bytes);
  }
}
