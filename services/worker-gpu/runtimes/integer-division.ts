/**
 * Keeps a request from ending the process by division. onnxruntime divides int32 and int64 with the processor's own instruction, which traps
 * (SIGFPE) where the quotient does not fit: the smallest integer divided by -1, in `Div` and in `Mod`. (A division by zero it refuses itself.)
 * Wherever a graph may do that, the divisor becomes 1 for exactly those elements: the quotient then wraps around to the smallest integer, as it
 * does in two's complement, and the remainder is 0.
 */
import { ONNX, ONNX_TYPE } from '#proto/onnx-types.ts';
import { WireWriter } from '#proto/wire.ts';
import { checkNesting, emptyScope, isDivision, learnNode, type Node, readNode, type Scope, scopeOf } from './integer-division-facts.ts';
import { functionOpset, ModelFunctions } from './integer-division-functions.ts';
import { fieldsOf, GRAPHS, mapField, opsetOf, writeNode } from './onnx-rewriting.ts';

/** A model whose integer divisions cannot trap. */
export interface GuardedModel {
  /** The model as it is to be loaded; the very bytes given where nothing had to change. */
  readonly model: Uint8Array;
  /** Divisions that were changed. */
  readonly guarded: number;
  /** Divisions that may be of integers in models and functions too old for the guard, by the name of their output: these stay as they are. */
  readonly unknown: readonly string[];
}

const { int32, int64 } = ONNX_TYPE;
const SMALLEST: ReadonlyMap<number, bigint> = new Map([
  [int32, -(2n ** 31n)],
  [int64, -(2n ** 63n)],
]);
/** The first operator set with broadcasting: before it, the guard cannot be written. */
const FIRST_OPSET = 7;
/** The first operator set with CastLike, which the guard for any type needs. */
const ANY_TYPE_OPSET = 15;

/** Guards a model. Throws INVALID_ARGUMENT for bytes that are no ModelProto. */
export function guardIntegerDivision(model: Uint8Array): GuardedModel {
  const report = { guarded: 0, unknown: [] as string[] };
  const opset = opsetOf(model);
  const functions = new ModelFunctions(model);
  const inGraph: Guarding = { report, opset, functions, nodeField: ONNX.graph.node, where: '', depth: 0 };
  const main = mapField(model, ONNX.model.graph, (graph) => guardGraph(graph, emptyScope(), inGraph));
  // After the graph, whose nodes say what functions are given.
  const rewritten = mapField(main, ONNX.model.functions, (body) =>
    guardGraph(body, functions.scopeIn(body), {
      ...inGraph,
      opset: functionOpset(body) ?? opset,
      nodeField: ONNX.function.node,
      where: ' in a function',
    }),
  );
  return { model: report.guarded > 0 ? rewritten : model, ...report };
}

interface Guarding {
  readonly report: { guarded: number; readonly unknown: string[] };
  /** The version of ONNX's own operators. */
  readonly opset: number;
  readonly functions: ModelFunctions;
  /** Of the message that holds the nodes. */
  readonly nodeField: number;
  /** For remarks. */
  readonly where: string;
  /** Graphs around. */
  readonly depth: number;
}

function guardGraph(graph: Uint8Array, outer: Scope, guarding: Guarding): Uint8Array {
  const { report, nodeField, functions, depth } = guarding;
  checkNesting(depth);
  const isGraph = nodeField === ONNX.graph.node;
  const scope = isGraph ? scopeOf(graph, outer) : outer;
  const before = report.guarded;
  const writer = new WireWriter(graph.byteLength + 1024);
  for (const { field, bytes, raw } of fieldsOf(graph)) {
    if (field !== nodeField) {
      writer.raw(raw);
      continue;
    }
    const guardInner = (sub: Uint8Array) => guardGraph(sub, scope, { ...guarding, nodeField: ONNX.graph.node, depth: depth + 1 });
    const inner = mapField(bytes, ONNX.node.attribute, (attribute) =>
      mapField(mapField(attribute, ONNX.attribute.graph, guardInner), GRAPHS, guardInner),
    );
    const node = readNode(bytes);
    const type = divisionType(node, scope, guarding);
    if (type === undefined) writer.bytesField(nodeField, inner);
    else writeGuarded(writer, node, inner, { type, nodeField });
    learnNode(scope, node, functions.call(node, scope));
  }
  return report.guarded === before ? graph : writer.finish();
}

/** The element type of a division that may trap, or that it may be any; undefined: it cannot trap, or nothing can be done about it. */
function divisionType(node: Node, { types, constants, sizes }: Scope, { report, opset, where }: Guarding): number | 'any' | undefined {
  if (!isDivision(node)) return undefined;
  const [dividend = '', divisor = ''] = node.inputs;
  const type = types.get(dividend) ?? types.get(divisor) ?? types.get(node.outputs[0] ?? '');
  const smallest = type === undefined ? undefined : SMALLEST.get(type);
  if (type !== undefined && smallest === undefined) return undefined;
  if (constants.get(divisor)?.includes(-1n) === false || sizes.has(dividend) || sizes.has(divisor)) return undefined;
  if (smallest !== undefined && constants.get(dividend)?.includes(smallest) === false) return undefined;
  if (opset < (type === undefined ? ANY_TYPE_OPSET : FIRST_OPSET)) {
    report.unknown.push(`${node.outputs[0] ?? ''}${where}`);
    return undefined;
  }
  report.guarded++;
  return type ?? 'any';
}

/** The node itself, with a divisor that is 1 where the quotient would not fit. */
function writeGuarded(
  writer: WireWriter,
  { inputs, outputs }: Node,
  node: Uint8Array,
  { type, nodeField }: { readonly type: number | 'any'; readonly nodeField: number },
): void {
  const [dividend = '', divisor = ''] = inputs;
  const name = (part: string) => `headrace_division_guard/${outputs[0]}/${part}`;
  const guards = new WireWriter();
  if (type === 'any') writeAnyGuard(guards, { dividend, divisor, name });
  else writeTypedGuard(guards, { dividend, divisor, name }, type);
  for (const { bytes } of fieldsOf(guards.finish())) writer.bytesField(nodeField, bytes);
  let position = 0;
  const encoder = new TextEncoder();
  const guarded = mapField(node, ONNX.node.input, (input) => (position++ === 1 ? encoder.encode(name('divisor')) : input));
  writer.bytesField(nodeField, guarded);
}

interface Guard {
  readonly dividend: string;
  readonly divisor: string;
  /** Names a value of the guard's own. */
  readonly name: (part: string) => string;
}

/** divisor + 2 where the dividend is the smallest integer and the divisor -1. */
function writeTypedGuard(writer: WireWriter, { dividend, divisor, name }: Guard, type: number): void {
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
}

/**
 * The same for a type that is not known, out of operators that take all types that division takes. The smallest integer is the negative number
 * that is its own negative; -1 is the negative number that is its own sign. Of other types no value is both, and what is taken from their
 * divisors is 0, which leaves even a zero's sign as it is.
 */
function writeAnyGuard(writer: WireWriter, { dividend, divisor, name }: Guard): void {
  writeNode(writer, 'Sub', [dividend, dividend], name('dividend-zero'));
  writeNode(writer, 'Sub', [name('dividend-zero'), dividend], name('negated'));
  writeNode(writer, 'Equal', [name('negated'), dividend], name('is-own-negative'));
  writeNode(writer, 'Less', [dividend, name('dividend-zero')], name('dividend-is-negative'));
  writeNode(writer, 'And', [name('is-own-negative'), name('dividend-is-negative')], name('is-smallest'));
  writeNode(writer, 'Sub', [divisor, divisor], name('divisor-zero'));
  writeNode(writer, 'Sign', [divisor], name('sign'));
  writeNode(writer, 'Equal', [name('sign'), divisor], name('is-own-sign'));
  writeNode(writer, 'Less', [divisor, name('divisor-zero')], name('divisor-is-negative'));
  writeNode(writer, 'And', [name('is-own-sign'), name('divisor-is-negative')], name('is-minus-one'));
  writeNode(writer, 'And', [name('is-smallest'), name('is-minus-one')], name('traps'));
  writeNode(writer, 'CastLike', [name('traps'), divisor], name('one'));
  writeNode(writer, 'Sub', [name('one'), name('one')], name('zero'));
  writeNode(writer, 'Sub', [name('zero'), name('one')], name('minus-one'));
  writeNode(writer, 'Sub', [name('minus-one'), name('one')], name('minus-two'));
  writeNode(writer, 'Sub', [divisor, name('minus-two')], name('divisor'));
}
