import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import { hasEffect, isTable, isVariable } from '../flatten/index.ts';
import { VARIANT, type ValueDtypes } from './output-dtypes.ts';
import { ValueSet } from './value-map.ts';

/** What the planner asks of the nodes of a resolved graph. Answers are remembered. */
export interface NodeFacts {
  readonly dtypes: ValueDtypes;
  /** What a node reads: its inputs, and what its bodies use of the graphs around them. */
  usedBy(node: FlatNode): readonly ValueRef[];
  /** A constant of the graph, or a variable that never changes. */
  isConstant(node: FlatNode): boolean;
  /** A variable or table that lives on the worker. */
  isHandle(node: FlatNode): boolean;
  /** It runs for what it does: a write, an assert, or a loop or branch around one. */
  isEffect(node: FlatNode): boolean;
  /** It reads or writes what some signature writes, so that its place among other such nodes matters. */
  touchesState(node: FlatNode): boolean;
  /** It can become part of an ONNX model, as far as op and dtypes tell. */
  canOnnx(node: FlatNode): boolean;
  /** It can run on the host, with all that is inside. */
  canHost(node: FlatNode): boolean;
  /** Computed from constants alone, the same in each run, by ONNX: may stand in any segment, and in several. */
  isConstantExpression(node: FlatNode): boolean;
}

/** What the facts are made of. */
export interface NodeFactsOptions {
  readonly dtypes: ValueDtypes;
  readonly isFrozen: (variable: FlatNode) => boolean;
  /** Whether a node is a variable or table that some signature writes. */
  readonly isState: (node: FlatNode) => boolean;
  readonly onnxOps: { has(op: string): boolean };
  readonly hostOps: { has(op: string): boolean };
  /** Nodes that turned out not to be translatable. */
  readonly banned: ReadonlySet<FlatNode>;
}

const SILENT = /^Print(V2)?$/;
const RANDOM = /^(Random|TruncatedNormal|ParameterizedTruncatedNormal|Multinomial|Stateful)/;
/** Float to uint64, but for strings and complex numbers; half and bfloat16. */
const ONNX_DTYPES: ReadonlySet<number> = new Set([1, 2, 3, 4, 5, 6, 9, 10, 14, 17, 19, 22, 23]);

/** Makes the facts of one attempt at a plan. */
export function createNodeFacts(options: NodeFactsOptions): NodeFacts {
  const { dtypes } = options;
  const used = new Map<FlatNode, readonly ValueRef[]>();

  const facts: NodeFacts = {
    dtypes,
    usedBy: (node) => (node.bodies === undefined ? node.inputs : remembered(used, node, () => withCaptures(node, facts))),
    isConstant: (node) => node.op === 'Const' || (isVariable(node) && options.isFrozen(node)),
    isHandle: (node) => isTable(node) || (isVariable(node) && !options.isFrozen(node)),
    isEffect: byNode((node) => (hasEffect(node.op) && !SILENT.test(node.op)) || inside(node).some(facts.isEffect)),
    touchesState: byNode((node) => inside(node).some(facts.touchesState) || node.inputs.some((ref) => options.isState(ref.node))),
    canOnnx: byNode((node) => {
      if (options.banned.has(node) || facts.isEffect(node)) return false;
      if (node.bodies !== undefined) {
        return node.inputs.every(isOnnxValue) && inside(node).every((one) => facts.isConstant(one) || facts.canOnnx(one));
      }
      return options.onnxOps.has(node.op) && node.inputs.every(isOnnxValue) && outputsOf(node).every(isOnnxValue);
    }),
    canHost: byNode((node) => {
      if (node.bodies !== undefined) return true; // Its inner nodes are placed, or refused, one by one.
      return options.hostOps.has(node.op);
    }),
    isConstantExpression: byNode(
      (node) =>
        node.bodies === undefined &&
        !RANDOM.test(node.op) &&
        facts.canOnnx(node) &&
        outputsOf(node).every((ref) => dtypes.number(ref) !== VARIANT) &&
        node.inputs.every((ref) => facts.isConstant(ref.node) || facts.isConstantExpression(ref.node)),
    ),
  };

  function isOnnxValue(ref: ValueRef): boolean {
    if (facts.isConstant(ref.node) && isVariable(ref.node)) return true;
    const number = dtypes.number(ref);
    return ONNX_DTYPES.has(number) || number === VARIANT;
  }

  return facts;
}

/** The outputs of a node. */
export function outputsOf(node: FlatNode): readonly ValueRef[] {
  return Array.from({ length: node.outputCount }, (_, output) => ({ node, output }));
}

/** The nodes of all bodies, not those of bodies inside them. */
export function inside(node: FlatNode): readonly FlatNode[] {
  return node.bodies?.flatMap((body) => body.nodes) ?? [];
}

function withCaptures(node: FlatNode, facts: NodeFacts): readonly ValueRef[] {
  const used = new ValueSet(node.inputs);
  for (const body of node.bodies ?? []) for (const ref of capturedBy(body, facts)) used.add(ref);
  return used.values;
}

/** The values that a body uses of the graphs around it. */
export function capturedBy(body: Body, facts: NodeFacts): readonly ValueRef[] {
  const own = new Set([...body.parameters, ...body.nodes]);
  const found = new ValueSet();
  for (const ref of [...body.nodes.flatMap((node) => facts.usedBy(node)), ...body.results]) if (!own.has(ref.node)) found.add(ref);
  return found.values;
}

/** A question about nodes whose answer is remembered. */
function byNode(ask: (node: FlatNode) => boolean): (node: FlatNode) => boolean {
  const answers = new Map<FlatNode, boolean>();
  return (node) => remembered(answers, node, () => ask(node));
}

function remembered<T>(answers: Map<FlatNode, T>, node: FlatNode, ask: () => T): T {
  const known = answers.get(node);
  if (known !== undefined) return known;
  const answer = ask();
  answers.set(node, answer);
  return answer;
}
