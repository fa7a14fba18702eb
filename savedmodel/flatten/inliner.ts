import { ServeError } from '#mesh/errors.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { AttrValue, MetaGraph, StoredFunction, StoredNode } from '../graph.ts';
import { argSize, argsSize, createOpDefs, flatArgIndex, type OpDefs } from '../op-defs/index.ts';
import { functionsNamedBy, functionsWithEffects, hasEffect } from './effects.ts';
import { resolveAttrs } from './resolve-attrs.ts';
import { parseTensorName } from './tensor-name.ts';

type Attrs = ReadonlyMap<string, AttrValue>;

/** A flat node under construction: inputs are filled in after the node exists, so that no depth of graph needs a stack. */
interface BuildNode extends FlatNode {
  readonly inputs: ValueRef[];
  readonly controls: FlatNode[];
  outputCount: number;
}

/** A node with its inputs split. */
interface BodyNode {
  readonly stored: StoredNode;
  readonly data: readonly string[];
  readonly controls: readonly string[];
}

/** The main graph or a function, indexed by name. */
interface Body {
  readonly nodes: ReadonlyMap<string, BodyNode>;
  readonly fn?: StoredFunction;
  /** Names of the function's arguments, with their position where no argument is a list. */
  readonly args: ReadonlyMap<string, number | undefined>;
}

/** One use of a body: the main graph, or a function at one place where it is called. */
export interface Scope {
  readonly body: Body;
  /** What the names of its nodes start with: empty, or the calls on the way to it, each with a `/`. */
  readonly prefix: string;
  readonly attrs: Attrs;
  readonly call?: { readonly scope: Scope; readonly node: BodyNode };
  readonly made: Map<string, BuildNode>;
  readonly calls: Map<string, Scope>;
  readonly results: Map<string, ValueRef>;
  /** The parameters of a function that is not called but flattened by itself. */
  readonly parameters: readonly FlatNode[];
  start?: FlatNode | null;
  done?: FlatNode;
  /** What the function returns, in its own names, and what it does beside that: asked for once for each result of a call. */
  returns?: readonly string[];
  effects?: readonly string[];
}

/** A place of a value: a text and the scope whose names it uses. */
interface Place {
  readonly scope: Scope;
  readonly text: string;
}

/** Ops that only call a function, with the attribute that names it. BatchFunction's batching is the server's work here. */
const CALLS: ReadonlyMap<string, string> = new Map([
  ['PartitionedCall', 'f'],
  ['StatefulPartitionedCall', 'f'],
  ['BatchFunction', 'f'],
]);
const NO_ATTRS: Attrs = new Map();

/** Builds flat nodes on demand from a MetaGraph: what is asked for, and what that needs. Loops, never recurses. */
export class Inliner {
  readonly main: Scope;
  private readonly metaGraph: MetaGraph;
  private readonly opDefs: OpDefs;
  private readonly maxNodes: number;
  private readonly withEffects: ReadonlySet<string>;
  private readonly bodies = new Map<string, Body>();
  private readonly names = new Set<string>();
  private readonly unfinished: (() => void)[] = [];
  private scopeCount = 0;
  private sealed = false;

  constructor(metaGraph: MetaGraph, maxNodes: number) {
    this.metaGraph = metaGraph;
    this.maxNodes = maxNodes;
    this.opDefs = createOpDefs(metaGraph.strippedOps);
    this.withEffects = functionsWithEffects(metaGraph);
    this.main = newScope({ nodes: indexNodes(metaGraph.nodes), args: new Map() }, '', NO_ATTRS);
  }

  /** A scope for a function that is flattened by itself; its arguments become `_Arg` nodes. */
  functionScope(name: string, attrs: Attrs): Scope {
    const body = this.body(name, `function ${name}`);
    const parameters = (body.fn?.inputs ?? []).flatMap((arg) => {
      const count = argSize(arg, attrs, `function ${name}`);
      return Array.from({ length: count }, (_, index) => (count === 1 ? arg.name : `${arg.name}:${index}`));
    });
    const nodes = parameters.map((parameter, index) =>
      this.newNode(parameter, '_Arg', new Map<string, AttrValue>([['index', { type: 'int', value: index }]]), 1),
    );
    return newScope(body, '', attrs, undefined, nodes);
  }

  /** The values that a function returns, in order. */
  returned(scope: Scope): ValueRef[] {
    return this.returnTexts(scope).map((text) => this.value(scope, text));
  }

  /** Nodes of a scope's function that run for their effect. */
  effectsOf(scope: Scope): FlatNode[] {
    return this.effectNames(scope).map((name) => this.control(scope, name));
  }

  /** Fills in the inputs of everything built so far, and of what that needs. */
  finish(): void {
    for (let fill = this.unfinished.pop(); fill !== undefined; fill = this.unfinished.pop()) fill();
  }

  /** From now on nothing new is built: asking for it is an error. */
  seal(): void {
    this.sealed = true;
  }

  /** Whether a node of the main graph is a call. */
  isCall(scope: Scope, name: string): boolean {
    const node = scope.body.nodes.get(name);
    return node !== undefined && this.calledBy(scope, node.stored) !== undefined;
  }

  /** The number of values that a call returns. */
  callOutputs(scope: Scope, name: string): number {
    const node = scope.body.nodes.get(name);
    return node === undefined ? 0 : this.returnTexts(this.inner(scope, node)).length;
  }

  /** The node that stands for having run `name`: itself, or for a call a NoOp after what the call does. */
  control(scope: Scope, name: string): FlatNode {
    const node = scope.body.nodes.get(name);
    if (node === undefined) return this.value(scope, name).node;
    if (this.calledBy(scope, node.stored) === undefined) return this.build(scope, node);
    const inner = this.inner(scope, node);
    if (inner.done !== undefined) return inner.done;
    const done = this.newNode(`${inner.prefix}^done`, 'NoOp', NO_ATTRS, 0);
    inner.done = done;
    this.unfinished.push(() => {
      const start = this.startOf(inner);
      const needed = [...this.effectsOf(inner), ...this.returned(inner).map((ref) => ref.node), ...(start === null ? [] : [start])];
      done.controls.push(...new Set(needed));
    });
    return done;
  }

  /** Follows a reference through calls and arguments to the node that computes it. */
  value(scope: Scope, text: string): ValueRef {
    const path: Place[] = [];
    const seen = new Set<string>();
    let at: Place = { scope, text };
    for (;;) {
      const step = at.scope.results.get(at.text) ?? this.step(at);
      path.push(at);
      if ('node' in step) {
        for (const place of path) place.scope.results.set(place.text, step);
        return step;
      }
      at = step;
      const key = `${at.scope.prefix} ${at.text}`;
      if (seen.has(key)) throw new ServeError('INVALID_ARGUMENT', `value ${text} of ${describe(scope)} is defined by itself`);
      seen.add(key);
    }
  }

  /** One step towards the node that computes a value: the node's output, or another place that says the same. */
  private step({ scope, text }: Place): Place | ValueRef {
    const name = parseTensorName(text);
    const { fn, args } = scope.body;
    if (fn !== undefined && args.has(name.node)) {
      const wanted = { name: name.node, index: name.index };
      const index = args.get(name.node) ?? flatArgIndex(fn.inputs, scope.attrs, wanted, describe(scope)) ?? 0;
      if (scope.call === undefined) {
        const parameter = scope.parameters[index];
        if (parameter === undefined) throw missing(text, scope);
        return { node: parameter, output: 0 };
      }
      const passed = scope.call.node.data[index];
      if (passed === undefined) {
        const { length } = scope.call.node.data;
        throw new ServeError('INVALID_ARGUMENT', `${describe(scope)} is called with ${length} values and has no value for ${name.node}`);
      }
      return { scope: scope.call.scope, text: passed };
    }
    const node = scope.body.nodes.get(name.node);
    if (node === undefined) throw missing(text, scope);
    if (this.calledBy(scope, node.stored) === undefined) {
      const built = this.build(scope, node);
      const output = this.outputIndex(scope, node, built, text);
      if (this.opDefs.find(node.stored.op) === undefined) built.outputCount = Math.max(built.outputCount, output + 1);
      else if (output >= built.outputCount) throw missing(text, scope);
      return { node: built, output };
    }
    return this.callResult(scope, node, text);
  }

  private callResult(scope: Scope, node: BodyNode, text: string): Place | ValueRef {
    const inner = this.inner(scope, node);
    const name = parseTensorName(text);
    const index = name.arg === undefined ? name.index : this.callOutput(scope, node, inner, name.arg, name.index);
    const returned = this.returnTexts(inner)[index];
    if (returned === undefined) {
      if (index === 0 && name.arg === undefined && !text.includes(':')) return { node: this.control(scope, name.node), output: 0 };
      throw missing(text, scope);
    }
    if (this.effectNames(inner).length === 0) return { scope: inner, text: returned };
    const identity = this.newNode(`${inner.prefix}^result${index}`, 'Identity', resultAttrs(inner, index), 1);
    this.unfinished.push(() => {
      identity.inputs.push(this.value(inner, returned));
      identity.controls.push(...new Set(this.effectsOf(inner)));
    });
    return { node: identity, output: 0 };
  }

  /** The flat index of `node:arg:index` for a call. */
  private callOutput(scope: Scope, node: BodyNode, inner: Scope, arg: string, index: number): number {
    if (CALLS.has(node.stored.op)) return index;
    const outputs = inner.body.fn?.outputs ?? [];
    const flat = flatArgIndex(outputs, inner.attrs, { name: arg, index }, describe(inner));
    if (flat === undefined) throw missing(`${node.stored.name}:${arg}:${index}`, scope);
    return flat;
  }

  private outputIndex(scope: Scope, node: BodyNode, built: FlatNode, text: string): number {
    const name = parseTensorName(text);
    if (name.arg === undefined) return name.index;
    const def = this.opDefs.find(node.stored.op);
    const where = `node ${built.name} (${built.op}) of ${describe(scope)}`;
    if (def === undefined) {
      throw new ServeError('UNIMPLEMENTED', `${where} is of an op that is not known, so its output ${name.arg} cannot be found`);
    }
    const flat = flatArgIndex(def.outputs, built.attrs, { name: name.arg, index: name.index }, where);
    if (flat === undefined) throw missing(text, scope);
    return flat;
  }

  private build(scope: Scope, node: BodyNode): BuildNode {
    const { stored } = node;
    const known = scope.made.get(stored.name);
    if (known !== undefined) return known;
    const def = this.opDefs.find(stored.op);
    const where = `node ${scope.prefix}${stored.name} (${stored.op}) of ${describe(scope)}`;
    const attrs = ownFrame(scope, stored, resolveAttrs(stored.attrs, scope.attrs, def?.defaults ?? NO_ATTRS, where));
    const outputCount = def === undefined ? 1 : argsSize(def.outputs, attrs, where);
    const built = this.newNode(`${scope.prefix}${stored.name}`, stored.op, attrs, outputCount, scope.body.fn?.name);
    scope.made.set(stored.name, built);
    this.unfinished.push(() => {
      for (const input of node.data) built.inputs.push(this.value(scope, input));
      const controls = new Set(node.controls.map((name) => this.control(scope, name)));
      const start = startsIn(scope, node) ? this.startOf(scope) : null;
      if (start !== null) controls.add(start);
      built.controls.push(...controls);
    });
    return built;
  }

  /** What must have run before a call starts, as one node; null when nothing must. */
  private startOf(scope: Scope): FlatNode | null {
    const open: Scope[] = [];
    let at: Scope | undefined = scope;
    // Outer calls first: a call that only passes arguments on starts no earlier than the one around it.
    while (at !== undefined && at.start === undefined) {
      open.push(at);
      at = at.call !== undefined && startsIn(at.call.scope, at.call.node) ? at.call.scope : undefined;
    }
    let outer = at?.start ?? null;
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      const names = one.call?.node.controls ?? [];
      const caller = one.call?.scope;
      const before = caller === undefined ? [] : names.map((name) => this.control(caller, name));
      if (outer !== null) before.push(outer);
      const unique = [...new Set(before)];
      const [only] = unique;
      if (unique.length > 1) {
        const start = this.newNode(`${one.prefix}^start`, 'NoOp', NO_ATTRS, 0);
        start.controls.push(...unique);
        outer = start;
      } else outer = only ?? null;
      one.start = outer;
    }
    return outer;
  }

  /** The function that a node calls with its attributes, or undefined for an op. */
  private calledBy(scope: Scope, node: StoredNode): { readonly name: string; readonly attrs: Attrs } | undefined {
    const attr = CALLS.get(node.op);
    if (attr === undefined) return this.metaGraph.functions.has(node.op) ? { name: node.op, attrs: NO_ATTRS } : undefined;
    const stored = node.attrs.get(attr);
    const called = stored?.type === 'placeholder' ? scope.attrs.get(stored.name) : stored;
    if (called?.type !== 'function') {
      throw new ServeError('INVALID_ARGUMENT', `node ${scope.prefix}${node.name} (${node.op}) of ${describe(scope)} names no function`);
    }
    return called;
  }

  private inner(scope: Scope, node: BodyNode): Scope {
    const { stored } = node;
    const known = scope.calls.get(stored.name);
    if (known !== undefined) return known;
    const called = this.calledBy(scope, stored);
    const where = `node ${scope.prefix}${stored.name} (${stored.op}) of ${describe(scope)}`;
    if (called === undefined) throw new ServeError('INTERNAL', `${where} is no call (this is a bug)`);
    refuseRecursion(scope, called.name);
    if (++this.scopeCount > this.maxNodes) throw tooMany(this.maxNodes);
    const attrs = new Map([
      ...resolveAttrs(stored.attrs, scope.attrs, NO_ATTRS, where),
      ...resolveAttrs(called.attrs, scope.attrs, NO_ATTRS, where),
    ]);
    const made = newScope(this.body(called.name, where), `${scope.prefix}${stored.name}/`, attrs, { scope, node });
    scope.calls.set(stored.name, made);
    return made;
  }

  private effectNames(scope: Scope): readonly string[] {
    scope.effects ??= (scope.body.fn?.controlReturns ?? []).filter((name) => {
      const node = scope.body.nodes.get(name);
      return node !== undefined && this.isEffect(node.stored);
    });
    return scope.effects;
  }

  private isEffect(node: StoredNode): boolean {
    return hasEffect(node.op) || functionsNamedBy(node, this.metaGraph).some((name) => this.withEffects.has(name));
  }

  private returnTexts(scope: Scope): readonly string[] {
    scope.returns ??= this.readReturns(scope);
    return scope.returns;
  }

  private readReturns(scope: Scope): readonly string[] {
    const { fn } = scope.body;
    if (fn === undefined) return [];
    return fn.outputs.flatMap((arg) => {
      const text = fn.returns.get(arg.name);
      if (text === undefined) throw new ServeError('INVALID_ARGUMENT', `${describe(scope)} does not say what it returns as ${arg.name}`);
      const isList = arg.numberAttr !== undefined || arg.typeListAttr !== undefined;
      if (!isList) return [text];
      return Array.from({ length: argSize(arg, scope.attrs, describe(scope)) }, (_, index) => `${text}:${index}`);
    });
  }

  private body(name: string, where: string): Body {
    const known = this.bodies.get(name);
    if (known !== undefined) return known;
    const fn = this.metaGraph.functions.get(name);
    if (fn === undefined) throw new ServeError('INVALID_ARGUMENT', `${where} names function ${name}, which the library does not have`);
    const made = { nodes: indexNodes(fn.nodes), fn, args: indexArgs(fn) };
    this.bodies.set(name, made);
    return made;
  }

  private newNode(name: string, op: string, attrs: Attrs, outputCount: number, fn?: string): BuildNode {
    if (this.sealed) throw new ServeError('INVALID_ARGUMENT', `node ${name} is not among what was kept of the graph`);
    if (this.names.size >= this.maxNodes) throw tooMany(this.maxNodes);
    let unique = name;
    for (let count = 1; this.names.has(unique); count++) unique = `${name}#${count}`;
    this.names.add(unique);
    return { name: unique, op, inputs: [], controls: [], attrs, outputCount, ...(fn !== undefined && { function: fn }) };
  }
}

function newScope(body: Body, prefix: string, attrs: Attrs, call?: Scope['call'], parameters: readonly FlatNode[] = []): Scope {
  const base = { body, prefix, attrs, made: new Map(), calls: new Map(), results: new Map(), parameters };
  return call === undefined ? base : { ...base, call };
}

function indexNodes(nodes: readonly StoredNode[]): ReadonlyMap<string, BodyNode> {
  return new Map(
    nodes.map((stored) => [
      stored.name,
      {
        stored,
        data: stored.inputs.filter((input) => !input.startsWith('^')),
        controls: stored.inputs.filter((input) => input.startsWith('^')).map((input) => input.slice(1)),
      },
    ]),
  );
}

function indexArgs(fn: StoredFunction): ReadonlyMap<string, number | undefined> {
  const hasLists = fn.inputs.some((arg) => arg.numberAttr !== undefined || arg.typeListAttr !== undefined);
  return new Map(fn.inputs.map((arg, index) => [arg.name, hasLists ? undefined : index]));
}

/** Whether a node waits for nothing inside its body, so that only the call's own control edges say when it may run. */
function startsIn(scope: Scope, node: BodyNode): boolean {
  if (scope.call === undefined || node.controls.length > 0) return false;
  return node.data.every((input) => scope.body.args.has(parseTensorName(input).node));
}

/** The dtype of a function's result, as Identity's attribute; nothing where the function has lists of results. */
function resultAttrs({ body, attrs }: Scope, index: number): Attrs {
  const outputs = body.fn?.outputs ?? [];
  const arg = outputs.some((one) => one.numberAttr !== undefined || one.typeListAttr !== undefined) ? undefined : outputs[index];
  if (arg?.dtype !== undefined) return new Map([['T', { type: 'dtype', value: arg.dtype }]]);
  const dtype = arg?.typeAttr === undefined ? undefined : attrs.get(arg.typeAttr);
  return dtype === undefined ? NO_ATTRS : new Map([['T', dtype]]);
}

/** A function called twice brings its loops twice, under one frame name: the call's name keeps them apart. */
function ownFrame(scope: Scope, node: StoredNode, attrs: Attrs): Attrs {
  const frame = attrs.get('frame_name');
  if (scope.prefix === '' || frame?.type !== 'string' || !/^(Ref)?Enter$/.test(node.op)) return attrs;
  const named = new TextEncoder().encode(scope.prefix + new TextDecoder().decode(frame.value));
  return new Map([...attrs, ['frame_name', { type: 'string', value: named }]]);
}

function refuseRecursion(scope: Scope, name: string): void {
  const path = [name];
  for (let at: Scope | undefined = scope; at !== undefined; at = at.call?.scope) {
    if (at.body.fn === undefined) return;
    path.unshift(at.body.fn.name);
    if (at.body.fn.name === name) throw new ServeError('INVALID_ARGUMENT', `functions call themselves: ${path.join(' → ')}`);
  }
}

function describe(scope: Scope): string {
  return scope.body.fn === undefined ? 'the main graph' : `function ${scope.body.fn.name}`;
}

function missing(text: string, scope: Scope): ServeError {
  return new ServeError('INVALID_ARGUMENT', `${describe(scope)} has no value ${text}`);
}

function tooMany(limit: number): ServeError {
  return new ServeError('RESOURCE_EXHAUSTED', `inlining the graph's functions makes more than ${limit} nodes, the limit`);
}
