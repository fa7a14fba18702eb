/** From While, If and Case that name functions to nodes that hold bodies. */
import { ServeError } from '#mesh/errors.ts';
import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import { type FunctionGraph, flattenFunction, foldConstants } from '../flatten/index.ts';
import type { AttrValue, MetaGraph } from '../graph.ts';
import { FRAME_OPS, removeFrames } from './frames.ts';
import { type Replacement, Rewriter } from './rewriter.ts';
import { UniqueNames } from './unique-names.ts';

const BOOL = 10;
const STRING = 7;

/** The op that holds bodies, by the op that names functions. */
const STRUCTURED: ReadonlyMap<string, 'While' | 'If' | 'Case'> = new Map([
  ['While', 'While'],
  ['StatelessWhile', 'While'],
  ['If', 'If'],
  ['StatelessIf', 'If'],
  ['Case', 'Case'],
  ['StatelessCase', 'Case'],
]);

type FunctionAttr = Extract<AttrValue, { readonly type: 'function' }>;

/** A function, ready to become a body. */
interface Template {
  readonly parameters: readonly FlatNode[];
  readonly nodes: readonly FlatNode[];
  readonly results: readonly ValueRef[];
}

/**
 * Replaces nodes that name functions by nodes that hold their bodies, down to the innermost: a branch's parameters become the values that it
 * is called with, a loop's stay parameters. Throws ServeError INVALID_ARGUMENT for functions that are not there, take or give another number
 * of values than the node says, or contain themselves; RESOURCE_EXHAUSTED for more than `maxNodes` nodes in all bodies.
 */
export class FunctionExpander extends Rewriter {
  private readonly metaGraph: MetaGraph;
  private readonly names: UniqueNames;
  private readonly maxNodes: number;
  private readonly templates = new Map<string, Template>();
  /** The functions around the node that is rewritten, outer ones first. */
  private readonly path: string[] = [];
  private prefix = '';
  private count = 0;

  constructor(metaGraph: MetaGraph, names: UniqueNames, maxNodes: number) {
    super();
    this.metaGraph = metaGraph;
    this.names = names;
    this.maxNodes = maxNodes;
  }

  protected override rewrite(node: FlatNode): Replacement {
    if (this.path.length > 0 && ++this.count > this.maxNodes) {
      throw new ServeError('RESOURCE_EXHAUSTED', `the bodies of loops and branches have more than ${this.maxNodes} nodes, the limit`);
    }
    const name = this.path.length === 0 ? node.name : this.names.take(`${this.prefix}${node.name}`);
    const op = node.bodies === undefined ? STRUCTURED.get(node.op) : undefined;
    if (op === undefined) return this.copy(node, name === node.name ? {} : { name });
    const made = op === 'While' ? this.loop(node, name) : this.branches(node, name, op);
    return this.asItself(this.emit(made));
  }

  /** A loop that a function brings with it, of TF1's kind: each use of the function has its own. */
  protected override copyBody(body: Body): Body {
    if (this.path.length === 0) return super.copyBody(body);
    const parameters = body.parameters.map((parameter) => {
      const made = { ...parameter, name: this.names.take(`${this.prefix}${parameter.name}`) };
      this.replace(parameter, this.asItself(made));
      return made;
    });
    return { ...super.copyBody(body), parameters };
  }

  private loop(node: FlatNode, name: string): FlatNode {
    const [inputs, controls] = [this.inputsOf(node), this.controlsOf(node)];
    const conditionName = this.functionOf(node, 'cond');
    const condition = this.body(node, name, 'cond', conditionName);
    const body = this.body(node, name, 'body', this.functionOf(node, 'body'));
    if (condition.results.length !== 1 || body.results.length !== inputs.length) {
      const counts = `${condition.results.length} conditions and ${body.results.length} values`;
      throw new ServeError('INVALID_ARGUMENT', `${this.where(node)} carries ${inputs.length} values, its functions give ${counts}`);
    }
    const [result] = condition.results;
    const type = this.metaGraph.functions.get(conditionName.name)?.outputs[0]?.dtype ?? BOOL;
    const bodies = [condition, body];
    if (result !== undefined && type !== BOOL) {
      const truth = this.truth(`${name}/cond/truth`, result, type, node);
      bodies[0] = { ...condition, nodes: [...condition.nodes, truth], results: [{ node: truth, output: 0 }] };
    }
    return { name, op: 'While', inputs, controls, attrs: withoutFunctions(node), outputCount: node.outputCount, bodies };
  }

  private branches(node: FlatNode, name: string, op: 'If' | 'Case'): FlatNode {
    const [selector, ...passed] = this.inputsOf(node);
    if (selector === undefined) throw new ServeError('INVALID_ARGUMENT', `${this.where(node)} has no input that selects a branch`);
    const functions =
      op === 'If' ? ['then_branch', 'else_branch'].map((attr) => this.functionOf(node, attr)) : this.functionsOf(node, 'branches');
    const type = node.attrs.get('Tcond');
    let chosen = selector;
    if (op === 'If' && type?.type === 'dtype' && type.value !== BOOL) {
      chosen = { node: this.emit(this.truth(`${name}/truth`, selector, type.value, node)), output: 0 };
    }
    const bodies = functions.map((called, index) => {
      const role = op === 'Case' ? `branch${index}` : index === 0 ? 'then' : 'else';
      const body = this.body(node, name, role, called, passed);
      if (body.results.length === node.outputCount) return body;
      const given = `gives ${body.results.length}`;
      throw new ServeError('INVALID_ARGUMENT', `${this.where(node)} has ${node.outputCount} outputs, function ${called.name} ${given}`);
    });
    if (bodies.length === 0) throw new ServeError('INVALID_ARGUMENT', `${this.where(node)} has no branches`);
    const controls = this.controlsOf(node);
    return { name, op, inputs: [chosen], controls, attrs: withoutFunctions(node), outputCount: node.outputCount, bodies };
  }

  /** A function as a body; its parameters become `passed`, or parameters of the body where nothing is passed. */
  private body(node: FlatNode, name: string, role: string, called: FunctionAttr, passed?: readonly ValueRef[]): Body {
    const template = this.template(called, this.where(node));
    const given = passed?.length ?? node.inputs.length;
    if (template.parameters.length !== given) {
      const wanted = `function ${called.name} takes ${template.parameters.length}`;
      throw new ServeError('INVALID_ARGUMENT', `${this.where(node)} passes ${given} values, ${wanted}`);
    }
    const outer = this.prefix;
    this.prefix = `${name}/${role}/`;
    this.path.push(called.name);
    const types = listOf(node.attrs.get('T'));
    const parameters: FlatNode[] = [];
    template.parameters.forEach((parameter, index) => {
      const value = passed?.[index];
      if (value !== undefined) {
        this.replace(parameter, { outputs: [value], ran: value.node });
        return;
      }
      const type = types[index];
      const attrs = type === undefined ? parameter.attrs : new Map([...parameter.attrs, ['T', type] as const]);
      const made = { ...parameter, name: this.names.take(`${this.prefix}${parameter.name}`), attrs };
      parameters.push(made);
      this.replace(parameter, this.asItself(made));
    });
    const nodes = this.within(() => this.visitAll(template.nodes));
    const results = template.results.map((ref) => this.moved(ref) ?? ref);
    this.path.pop();
    this.prefix = outer;
    return { parameters, nodes, results };
  }

  private template(called: FunctionAttr, where: string): Template {
    if (this.path.includes(called.name)) {
      throw new ServeError('INVALID_ARGUMENT', `functions contain themselves: ${[...this.path, called.name].join(' → ')}`);
    }
    if (!this.metaGraph.functions.has(called.name)) {
      throw new ServeError('INVALID_ARGUMENT', `${where} names function ${called.name}, which the library does not have`);
    }
    const known = called.attrs.size === 0 ? this.templates.get(called.name) : undefined;
    if (known !== undefined) return known;
    const made = templateOf(flattenFunction(this.metaGraph, called.name, called.attrs));
    if (called.attrs.size === 0) this.templates.set(called.name, made);
    return made;
  }

  private truth(name: string, value: ValueRef, type: number, node: FlatNode): FlatNode {
    if (type === STRING) throw new ServeError('UNIMPLEMENTED', `${this.where(node)} has a string as its predicate, which is not supported`);
    const attrs = new Map<string, AttrValue>([
      ['SrcT', { type: 'dtype', value: type }],
      ['DstT', { type: 'dtype', value: BOOL }],
      ['Truncate', { type: 'bool', value: false }],
    ]);
    return { name: this.names.take(name), op: 'Cast', inputs: [value], controls: [], attrs, outputCount: 1 };
  }

  private functionOf(node: FlatNode, attr: string): FunctionAttr {
    const value = node.attrs.get(attr);
    if (value?.type === 'function') return value;
    throw new ServeError('INVALID_ARGUMENT', `${this.where(node)} names no function as its ${attr}`);
  }

  private functionsOf(node: FlatNode, attr: string): readonly FunctionAttr[] {
    const functions = listOf(node.attrs.get(attr)).filter((one): one is FunctionAttr => one.type === 'function');
    if (functions.length > 0) return functions;
    throw new ServeError('INVALID_ARGUMENT', `${this.where(node)} names no functions as its ${attr}`);
  }

  private where(node: FlatNode): string {
    const around = this.path.at(-1);
    return `node ${this.prefix}${node.name} (${node.op}) of ${around === undefined ? 'the main graph' : `function ${around}`}`;
  }
}

/** A function's graph without TF1's control flow, which functions made of old graphs have. */
function templateOf(graph: FunctionGraph): Template {
  const parameters = new Set(graph.parameters);
  const without = (nodes: readonly FlatNode[]) => nodes.filter((node) => !parameters.has(node));
  if (!graph.nodes.some((node) => FRAME_OPS.test(node.op))) return { ...graph, nodes: without(graph.nodes) };
  const folded = foldConstants(graph);
  const frameless = removeFrames(folded, new UniqueNames(folded.nodes.map((node) => node.name)));
  const results = graph.results.map((ref) => {
    const before = folded.moved(ref);
    const now = before === undefined ? undefined : frameless.moved(before);
    if (now !== undefined) return now;
    const where = `node ${ref.node.name} (${ref.node.op}) of function ${graph.name}`;
    throw new ServeError('UNIMPLEMENTED', `${where} is returned, but runs in a loop or in one branch of a conditional only`);
  });
  return { parameters: graph.parameters, nodes: without(frameless.nodes), results };
}

function withoutFunctions(node: FlatNode): ReadonlyMap<string, AttrValue> {
  return new Map([...node.attrs].filter(([, value]) => value.type !== 'function' && !listOf(value).some((one) => one.type === 'function')));
}

function listOf(value: AttrValue | undefined): readonly AttrValue[] {
  return value?.type === 'list' ? value.values : [];
}
