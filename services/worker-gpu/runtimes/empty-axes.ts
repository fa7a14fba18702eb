/**
 * Keeps a request from ending the process by an axis of size 0 (seen in onnxruntime 1.30). LSTM and GRU abort without a batch or without steps,
 * Einsum and DFT divide by the size of an axis (SIGFPE), TopK by the rows before its axis, Unique aborts on entries without elements,
 * InstanceNormalization reads where no pixels are (SIGSEGV), and Conv never ends with a kernel of size 0. What such an operator takes goes
 * through a Reshape to sizes of at least 1 before, on the axes that matter: it passes on what has elements, without a copy, and refuses what has none.
 */
import { ONNX, ONNX_TYPE } from '#proto/onnx-types.ts';
import { WireWriter } from '#proto/wire.ts';
import { type FilledPiece, piecesOf } from './empty-axes-risks.ts';
import { checkNesting } from './integer-division-facts.ts';
import { functionOpset } from './integer-division-functions.ts';
import { fieldsOf, GRAPHS, mapField, opsetOf, textOf, writeNode } from './onnx-rewriting.ts';

/** A model whose operators get elements where they would end the process without. */
export interface FilledModel {
  /** The model as it is to be loaded; the very bytes given where nothing had to change. */
  readonly model: Uint8Array;
  /** Operators that are guarded. */
  readonly guarded: number;
  /** Operators of models and functions too old for the guard, by the name of their output: these stay as they are. */
  readonly unguarded: readonly string[];
}

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
/** The first operator set whose Slice takes its places as inputs. */
const FIRST_OPSET = 10;
/** The first operator set whose Max takes int64. */
const MAX_OPSET = 12;
/** Slices to the end. */
const END = 2n ** 62n;

/** Guards a model. Throws INVALID_ARGUMENT for bytes that are no ModelProto. */
export function guardEmptyAxes(model: Uint8Array): FilledModel {
  const report = { guarded: 0, unguarded: [] as string[] };
  const opset = opsetOf(model);
  const inGraph: Place = { opset, nodeField: ONNX.graph.node, where: '', depth: 0, report };
  const main = mapField(model, ONNX.model.graph, (graph) => guardGraph(graph, NOTHING_KNOWN, inGraph));
  const rewritten = mapField(main, ONNX.model.functions, (body) =>
    guardGraph(body, NOTHING_KNOWN, {
      ...inGraph,
      opset: functionOpset(body) ?? opset,
      nodeField: ONNX.function.node,
      where: ' in a function',
    }),
  );
  return { model: report.guarded > 0 ? rewritten : model, ...report };
}

/** Where nodes stand that are guarded. */
interface Place {
  /** The version of ONNX's own operators there. */
  readonly opset: number;
  /** Of the message that holds the nodes. */
  readonly nodeField: number;
  /** For remarks. */
  readonly where: string;
  /** Graphs around. */
  readonly depth: number;
  readonly report: { guarded: number; readonly unguarded: string[] };
}

interface Node {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** `axis`, where the node names one; null for one that a function's caller names. */
  readonly axis: number | null | undefined;
}

/** What is known of a graph's values by name, those of the graphs around it included. */
interface Known {
  /** Values that have elements. */
  readonly filled: ReadonlySet<string>;
  /** The node that gives a value. */
  readonly makers: ReadonlyMap<string, Node>;
  /** Values that are the same in every run, made of constants alone. */
  readonly fixed: ReadonlySet<string>;
}

const NOTHING_KNOWN: Known = { filled: new Set(), makers: new Map(), fixed: new Set() };

function guardGraph(graph: Uint8Array, outer: Known, place: Place): Uint8Array {
  const { report, nodeField, depth } = place;
  checkNesting(depth);
  const filled = new Set(outer.filled);
  const makers = new Map(outer.makers);
  const fixed = new Set(outer.fixed);
  const before = report.guarded;
  const writer = new WireWriter(graph.byteLength + 1024);
  // A function has no initializers; its fields of that number are its outputs.
  if (nodeField === ONNX.graph.node) for (const name of initializersOf(graph)) fixed.add(name);
  for (const { field, bytes, raw } of fieldsOf(graph)) {
    if (field !== nodeField) {
      writer.raw(raw);
      continue;
    }
    const node = readNode(bytes);
    const tested = node.op === 'If' ? testedForElements(node, makers) : undefined;
    let made = mapField(bytes, ONNX.node.attribute, (attribute) => {
      const isElse = tested !== undefined && attributeName(attribute) === 'else_branch';
      const inside: Known = { filled: isElse ? new Set([...filled, tested]) : filled, makers, fixed };
      const inner = (sub: Uint8Array) => guardGraph(sub, inside, { ...place, nodeField: ONNX.graph.node, depth: depth + 1 });
      return mapField(mapField(attribute, ONNX.attribute.graph, inner), GRAPHS, inner);
    });
    const risky = isOnnx(node) ? riskOf(node, filled, fixed) : NO_RISK;
    if (risky.size > 0 && place.opset >= FIRST_OPSET) {
      made = writeGuards(writer, node, risky, made, place);
      report.guarded++;
      if ((node.op === 'LSTM' || node.op === 'GRU') && node.outputs[0] !== undefined) filled.add(node.outputs[0]);
    } else if (risky.size > 0) report.unguarded.push(`${node.outputs[0] ?? ''}${place.where}`);
    writer.bytesField(nodeField, made);
    for (const output of node.outputs) makers.set(output, node);
    if (node.inputs.every((name) => name === '' || fixed.has(name)) && !CHANGES.has(node.op))
      for (const output of node.outputs) fixed.add(output);
    const [input = '', output] = [node.inputs[0], node.outputs[0]];
    const keeps = isOnnx(node) && KEEPS_ELEMENTS.has(node.op) && filled.has(input);
    if (output !== undefined && (keeps || isFilledPad(node, makers))) filled.add(output);
  }
  return report.guarded === before ? graph : writer.finish();
}

function initializersOf(graph: Uint8Array): string[] {
  const inputs = new Set<string>();
  const names: string[] = [];
  for (const { field, bytes } of fieldsOf(graph)) {
    if (field !== ONNX.graph.initializer && field !== ONNX.graph.input) continue;
    const nameField = field === ONNX.graph.input ? ONNX.valueInfo.name : ONNX.tensor.name;
    for (const one of fieldsOf(bytes))
      if (one.field === nameField) field === ONNX.graph.input ? inputs.add(textOf(one.bytes)) : names.push(textOf(one.bytes));
  }
  // One that is an input too is a default, which a caller may replace.
  return names.filter((name) => !inputs.has(name));
}

/** The inputs that must have elements, and on which axes. */
function riskOf(node: Node, filled: ReadonlySet<string>, fixed: ReadonlySet<string>): ReadonlyMap<string, readonly FilledPiece[]> {
  const risky = new Map<string, readonly FilledPiece[]>();
  for (const [index, input] of node.inputs.entries()) {
    const pieces = filled.has(input) ? undefined : piecesOf(node, index);
    // What is the same in every run ends the first run of the first test, or none.
    if (pieces !== undefined && !fixed.has(input) && !risky.has(input)) risky.set(input, pieces);
  }
  return risky;
}

const NO_RISK: ReadonlyMap<string, readonly FilledPiece[]> = new Map();
/** Operators that give something else each time, or whose graphs may take anything from around them. */
const CHANGES: ReadonlySet<string> = new Set(['RandomNormal', 'RandomUniform', 'If', 'Loop', 'Scan']);

function isOnnx({ domain }: Node): boolean {
  return domain === '' || domain === 'ai.onnx';
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
function writeGuards(
  writer: WireWriter,
  { op, inputs, outputs }: Node,
  risky: ReadonlyMap<string, readonly FilledPiece[]>,
  node: Uint8Array,
  { opset, nodeField }: Place,
): Uint8Array {
  const name = (part: string) => `${op} takes no empty axis: ${outputs.find((output) => output !== '') ?? ''}/${part}`;
  const guards = new WireWriter();
  writeNumber(guards, name('one'), 1n);
  for (const [input, pieces] of risky) {
    const own = (part: string) => name(`${inputs.indexOf(input)}/${part}`);
    writeNode(guards, 'Shape', [input], own('sizes'));
    const parts = pieces.map((piece, index) =>
      writePiece(guards, piece, { own: (part) => own(`${index}/${part}`), sizes: own('sizes'), one: name('one'), opset }),
    );
    let sizes = parts[0] ?? '';
    if (parts.length > 1) {
      const axis = { name: 'axis', type: 2, write: (to: WireWriter) => void to.varintField(ONNX.attribute.int, 0) };
      sizes = own('at-least-one');
      writeNode(guards, 'Concat', parts, sizes, axis);
    }
    writeNode(guards, 'Reshape', [input, sizes], own('filled'));
  }
  for (const { bytes } of fieldsOf(guards.finish())) writer.bytesField(nodeField, bytes);
  const encoder = new TextEncoder();
  const places = new Map([...risky.keys()].map((input) => [input, encoder.encode(name(`${inputs.indexOf(input)}/filled`))] as const));
  return mapField(node, ONNX.node.input, (input) => places.get(textOf(input)) ?? input);
}

/** Adds what gives the sizes of some axes, at least 1 where they must be filled; a size of 0 that may stay is one that Reshape takes over. */
function writePiece(
  guards: WireWriter,
  { start, end, filled }: FilledPiece,
  {
    own,
    sizes,
    one,
    opset,
  }: { readonly own: (part: string) => string; readonly sizes: string; readonly one: string; readonly opset: number },
): string {
  let part = sizes;
  if (start !== 0 || end !== undefined) {
    writeNumber(guards, own('start'), BigInt(start));
    writeNumber(guards, own('end'), end === undefined ? END : BigInt(end));
    writeNode(guards, 'Slice', [sizes, own('start'), own('end')], own('part'));
    part = own('part');
  }
  if (!filled) return part;
  if (opset >= MAX_OPSET) writeNode(guards, 'Max', [part, one], own('filled'));
  else {
    // A size is below 1 where it is 0: one more, then.
    const to = { name: 'to', type: 2, write: (writer: WireWriter) => void writer.varintField(ONNX.attribute.int, ONNX_TYPE.int64) };
    writeNode(guards, 'Less', [part, one], own('none'));
    writeNode(guards, 'Cast', [own('none')], own('more'), to);
    writeNode(guards, 'Add', [part, own('more')], own('filled'));
  }
  return own('filled');
}

/** Adds a vector of one whole number. */
function writeNumber(guards: WireWriter, name: string, value: bigint): void {
  const tensor = new WireWriter().varintField(ONNX.tensor.dims, 1).varintField(ONNX.tensor.dataType, ONNX_TYPE.int64);
  tensor.bytesField(ONNX.tensor.rawData, new Uint8Array(BigInt64Array.of(value).buffer));
  writeNode(guards, 'Constant', [], name, {
    name: 'value',
    type: 4,
    write: (to) => void to.bytesField(ONNX.attribute.tensor, tensor.finish()),
  });
}

function readNode(bytes: Uint8Array): Node {
  const inputs: string[] = [];
  const outputs: string[] = [];
  let op = '';
  let domain = '';
  let axis: number | null | undefined;
  for (const { field, bytes: value } of fieldsOf(bytes)) {
    if (field === ONNX.node.input) inputs.push(textOf(value));
    else if (field === ONNX.node.output) outputs.push(textOf(value));
    else if (field === ONNX.node.opType) op = textOf(value);
    else if (field === ONNX.node.domain) domain = textOf(value);
    else if (field === ONNX.node.attribute && attributeName(value) === 'axis') axis = wholeOf(value);
  }
  return { op, domain, inputs, outputs, axis };
}

function attributeName(attribute: Uint8Array): string {
  for (const { field, bytes } of fieldsOf(attribute)) if (field === ONNX.attribute.name) return textOf(bytes);
  return '';
}

/** An attribute's whole number, 0 where it is left out; null for one that a function's caller gives. */
function wholeOf(attribute: Uint8Array): number | null {
  let whole = 0;
  for (const { field, varint } of fieldsOf(attribute)) {
    if (field === ONNX.attribute.refName) return null;
    if (field === ONNX.attribute.int) whole = varint;
  }
  return whole;
}
