/**
 * The functions that a model brings along. They say nothing of types: those come with the nodes that call them, and what a function gives comes
 * of what it is given.
 */
import { ONNX } from '#proto/onnx-types.ts';
import { emptyScope, learnNode, type Node, readNode, type Scope, scopeOf } from './integer-division-facts.ts';
import { fieldsOf, textOf } from './onnx-rewriting.ts';

/** ONNX's element types of some values, undefined where unknown. */
type Types = readonly (number | undefined)[];

interface Body {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** NodeProtos. */
  readonly nodes: readonly Uint8Array[];
  /** The types that all calls so far agree on; null where they do not. */
  readonly given: Map<string, number | null>;
}

/** Calls and graphs inside each other that are followed; what lies deeper counts as unknown. */
const MOST_NESTED = 100;

/** The functions of one model. */
export class ModelFunctions {
  readonly #bodies: ReadonlyMap<string, Body>;
  readonly #results = new Map<string, Types>();
  #depth = 0;

  /** Reads the functions of a ModelProto. */
  constructor(model: Uint8Array) {
    const bodies = new Map<string, Body>();
    for (const { field, bytes } of fieldsOf(model)) if (field === ONNX.model.functions) bodies.set(keyOf(bytes), readBody(bytes));
    this.#bodies = bodies;
  }

  /** Notes a call, and all that come of it. Gives the types of its outputs; undefined when the node calls no function of the model. */
  call({ op, domain, inputs }: Node, { types }: Scope): Types | undefined {
    const body = this.#bodies.get(`${domain}:${op}`);
    if (body === undefined) return undefined;
    const given = body.inputs.map((_, index) => types.get(inputs[index] ?? ''));
    for (const [index, name] of body.inputs.entries()) {
      const before = body.given.get(name);
      const type = given[index] ?? null;
      body.given.set(name, before === undefined || before === type ? type : null);
    }
    const key = `${domain}:${op}(${given})`;
    const known = this.#results.get(key);
    if (known !== undefined) return known;
    // For a function that calls itself, which onnxruntime refuses later.
    this.#results.set(key, []);
    const scope = emptyScope();
    for (const [index, name] of body.inputs.entries()) if (given[index] !== undefined) scope.types.set(name, given[index]);
    this.#learn(body.nodes, scope);
    const results = body.outputs.map((name) => scope.types.get(name));
    this.#results.set(key, results);
    return results;
  }

  /** What is known inside a function, of a FunctionProto: what all its calls so far agree on. */
  scopeIn(bytes: Uint8Array): Scope {
    const scope = emptyScope();
    for (const [name, type] of this.#bodies.get(keyOf(bytes))?.given ?? []) if (type !== null) scope.types.set(name, type);
    return scope;
  }

  #learn(nodes: readonly Uint8Array[], scope: Scope): void {
    if (this.#depth >= MOST_NESTED) return;
    this.#depth++;
    for (const bytes of nodes) {
      const node = readNode(bytes);
      for (const graph of node.graphs.values()) this.#learn(nodesOf(graph, ONNX.graph.node), scopeOf(graph, scope));
      learnNode(scope, node, this.call(node, scope));
    }
    this.#depth--;
  }
}

function nodesOf(message: Uint8Array, nodeField: number): Uint8Array[] {
  return [...fieldsOf(message)].filter(({ field }) => field === nodeField).map(({ bytes }) => bytes);
}

function readBody(bytes: Uint8Array): Body {
  const texts = (wanted: number) => [...fieldsOf(bytes)].filter(({ field }) => field === wanted).map((one) => textOf(one.bytes));
  const { input, output, node } = ONNX.function;
  return { inputs: texts(input), outputs: texts(output), nodes: nodesOf(bytes, node), given: new Map() };
}

function keyOf(bytes: Uint8Array): string {
  let [domain, name] = ['', ''];
  for (const { field, bytes: value } of fieldsOf(bytes)) {
    if (field === ONNX.function.domain) domain = textOf(value);
    else if (field === ONNX.function.name) name = textOf(value);
  }
  return `${domain}:${name}`;
}

/** The version of ONNX's own operators that a function uses; undefined when it does not say. */
export function functionOpset(body: Uint8Array): number | undefined {
  for (const { field, bytes } of fieldsOf(body)) {
    if (field !== ONNX.function.opsetImport) continue;
    const facts = [...fieldsOf(bytes)];
    const domain = facts.find((one) => one.field === ONNX.opset.domain);
    if (domain === undefined || ['', 'ai.onnx'].includes(textOf(domain.bytes))) {
      return facts.find((one) => one.field === ONNX.opset.version)?.varint;
    }
  }
  return undefined;
}
