/**
 * Keeps a request from ending the process by an axis of size 0. onnxruntime's LSTM and GRU abort without a batch or without steps, and its Einsum
 * divides by the size of an axis (SIGFPE). What such an operator takes goes through a Reshape to sizes of at least 1 before: it passes on what
 * has elements, without a copy, and refuses what has none.
 */
import { ONNX, ONNX_TYPE } from '#proto/onnx-types.ts';
import { WireWriter } from '#proto/wire.ts';
import { fieldsOf, GRAPHS, mapField, opsetOf, textOf, writeNode } from './onnx-rewriting.ts';

/** A model whose recurrent operators and Einsums get elements only. */
export interface FilledModel {
  /** The model as it is to be loaded; the very bytes given where nothing had to change. */
  readonly model: Uint8Array;
  /** Operators that are guarded. */
  readonly guarded: number;
  /** Operators in functions, or in models too old for the guard, by the name of their output: these stay as they are. */
  readonly unguarded: readonly string[];
}

/** By operator, how many of its inputs count. */
const RISKY: ReadonlyMap<string, number> = new Map([
  ['LSTM', 1],
  ['GRU', 1],
  ['Einsum', Number.POSITIVE_INFINITY],
]);
/** Operators whose first output has elements when their first input has. */
const KEEPS_ELEMENTS: ReadonlySet<string> = new Set([
  'Transpose',
  'Squeeze',
  'Unsqueeze',
  'Identity',
  'LSTM',
  'GRU',
  'RNN',
  'Relu',
  'Tanh',
]);
/** The first operator set whose Max takes int64. */
const FIRST_OPSET = 12;

/** Guards a model. Throws INVALID_ARGUMENT for bytes that are no ModelProto. */
export function guardEmptyAxes(model: Uint8Array): FilledModel {
  const report = { guarded: 0, unguarded: [] as string[] };
  const canGuard = opsetOf(model) >= FIRST_OPSET;
  const rewritten = mapField(model, ONNX.model.graph, (graph) => guardGraph(graph, NOTHING_KNOWN, canGuard, report));
  for (const { field, bytes } of fieldsOf(model)) {
    if (field !== ONNX.model.functions) continue;
    for (const one of fieldsOf(bytes)) {
      if (one.field === ONNX.function.node) report.unguarded.push(...riskOf(readNode(one.bytes)).map((name) => `${name} in a function`));
    }
  }
  return { model: report.guarded > 0 ? rewritten : model, ...report };
}

interface Node {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** What is known of a graph's values by name, those of the graphs around it included. */
interface Known {
  /** Values that have elements. */
  readonly filled: ReadonlySet<string>;
  /** The node that gives a value. */
  readonly makers: ReadonlyMap<string, Node>;
}

const NOTHING_KNOWN: Known = { filled: new Set(), makers: new Map() };

function guardGraph(
  graph: Uint8Array,
  outer: Known,
  canGuard: boolean,
  report: { guarded: number; readonly unguarded: string[] },
): Uint8Array {
  const filled = new Set(outer.filled);
  const makers = new Map(outer.makers);
  const before = report.guarded;
  const writer = new WireWriter(graph.byteLength + 1024);
  for (const { field, bytes, raw } of fieldsOf(graph)) {
    if (field !== ONNX.graph.node) {
      writer.raw(raw);
      continue;
    }
    const node = readNode(bytes);
    const tested = node.op === 'If' ? testedForElements(node, makers) : undefined;
    let made = mapField(bytes, ONNX.node.attribute, (attribute) => {
      const isElse = tested !== undefined && attributeName(attribute) === 'else_branch';
      const inside: Known = { filled: isElse ? new Set([...filled, tested]) : filled, makers };
      const inner = (sub: Uint8Array) => guardGraph(sub, inside, canGuard, report);
      return mapField(mapField(attribute, ONNX.attribute.graph, inner), GRAPHS, inner);
    });
    const risky = riskOf(node).filter((name) => !filled.has(name));
    if (risky.length > 0 && canGuard) {
      made = writeGuards(writer, node, new Set(risky), made);
      report.guarded++;
      if (node.op !== 'Einsum' && node.outputs[0] !== undefined) filled.add(node.outputs[0]);
    } else if (risky.length > 0) report.unguarded.push(node.outputs[0] ?? '');
    writer.bytesField(ONNX.graph.node, made);
    for (const output of node.outputs) makers.set(output, node);
    const [input = '', output] = [node.inputs[0], node.outputs[0]];
    const keeps = isOnnx(node) && KEEPS_ELEMENTS.has(node.op) && filled.has(input);
    if (output !== undefined && (keeps || isFilledPad(node, makers))) filled.add(output);
  }
  return report.guarded === before ? graph : writer.finish();
}

function isOnnx({ domain }: Node): boolean {
  return domain === '' || domain === 'ai.onnx';
}

/** The inputs that must have elements. */
function riskOf(node: Node): readonly string[] {
  const count = isOnnx(node) ? RISKY.get(node.op) : undefined;
  return count === undefined ? [] : node.inputs.slice(0, count);
}

/** The value whose size an If compares, whose other branch is for what has elements: as the importer of SavedModels writes it. */
function testedForElements({ inputs: [condition = ''] }: Node, makers: ReadonlyMap<string, Node>): string | undefined {
  const equal = makers.get(condition);
  const size = equal?.op === 'Equal' ? makers.get(equal.inputs[0] ?? '') : undefined;
  return size?.op === 'Size' ? size.inputs[0] : undefined;
}

/** Whether a node puts a row in where there is none: as the importer of SavedModels writes it, a Pad by what a size equals. */
function isFilledPad({ op, inputs }: Node, makers: ReadonlyMap<string, Node>): boolean {
  const cast = op === 'Pad' ? makers.get(inputs[1] ?? '') : undefined;
  const equal = cast?.op === 'Cast' ? makers.get(cast.inputs[0] ?? '') : undefined;
  const shape = equal?.op === 'Equal' ? makers.get(equal.inputs[0] ?? '') : undefined;
  return shape?.op === 'Shape' && shape.inputs[0] === inputs[0];
}

/** Adds the guards of a node; gives the node with what they give. */
function writeGuards(writer: WireWriter, { op, inputs, outputs }: Node, risky: ReadonlySet<string>, node: Uint8Array): Uint8Array {
  const name = (part: string) => `${op} takes no empty axis: ${outputs.find((output) => output !== '') ?? ''}/${part}`;
  const tensor = new WireWriter().varintField(ONNX.tensor.dataType, ONNX_TYPE.int64);
  tensor.bytesField(ONNX.tensor.rawData, new Uint8Array(BigInt64Array.of(1n).buffer));
  const value = { name: 'value', type: 4, write: (to: WireWriter) => void to.bytesField(ONNX.attribute.tensor, tensor.finish()) };
  writeNode(writer, 'Constant', [], name('one'), value);
  for (const [index, input] of inputs.entries()) {
    if (!risky.has(input) || inputs.indexOf(input) < index) continue;
    writeNode(writer, 'Shape', [input], name(`${index}/sizes`));
    writeNode(writer, 'Max', [name(`${index}/sizes`), name('one')], name(`${index}/at-least-one`));
    writeNode(writer, 'Reshape', [input, name(`${index}/at-least-one`)], name(`${index}`));
  }
  const encoder = new TextEncoder();
  const places = new Map([...risky].map((input) => [input, encoder.encode(name(`${inputs.indexOf(input)}`))] as const));
  return mapField(node, ONNX.node.input, (input) => places.get(textOf(input)) ?? input);
}

function readNode(bytes: Uint8Array): Node {
  const inputs: string[] = [];
  const outputs: string[] = [];
  let op = '';
  let domain = '';
  for (const { field, bytes: value } of fieldsOf(bytes)) {
    if (field === ONNX.node.input) inputs.push(textOf(value));
    else if (field === ONNX.node.output) outputs.push(textOf(value));
    else if (field === ONNX.node.opType) op = textOf(value);
    else if (field === ONNX.node.domain) domain = textOf(value);
  }
  return { op, domain, inputs, outputs };
}

function attributeName(attribute: Uint8Array): string {
  for (const { field, bytes } of fieldsOf(attribute)) if (field === ONNX.attribute.name) return textOf(bytes);
  return '';
}
