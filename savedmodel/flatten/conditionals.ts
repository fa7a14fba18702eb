import type { FlatGraph, FlatNode, ValueRef } from '../flat-graph.ts';
import { originOf } from './resources.ts';

/** A value that a conditional gives: one Merge. */
export interface ConditionalValue {
  readonly merge: FlatNode;
  readonly whenTrue: ValueRef;
  readonly whenFalse: ValueRef;
}

/** A TF1 conditional: Switch and Merge nodes of one predicate that can be run as one If. */
export interface Conditional {
  /** A scalar bool. */
  readonly predicate: ValueRef;
  readonly values: readonly ConditionalValue[];
  /** The Switch nodes that bring values in: output 1 goes to the true branch, output 0 to the false one. */
  readonly switches: readonly FlatNode[];
  /** What runs only when the predicate is true, in order, without Switch nodes of this conditional; conditionals inside it included. */
  readonly trueNodes: readonly FlatNode[];
  readonly falseNodes: readonly FlatNode[];
}

/** The conditionals of a graph. */
export interface ConditionalAnalysis {
  /** In the order in which they can run; one inside a branch comes before the one around it. */
  readonly conditionals: readonly Conditional[];
  /** The conditional that a Merge belongs to; null for the Merge of a loop and for other nodes. */
  ofMerge(merge: FlatNode): Conditional | null;
  /** The branches in which a node runs, outer ones first: none for a node that always runs. */
  branchesOf(node: FlatNode): readonly Branch[];
}

/** One side of a predicate. */
export interface Branch {
  /** After {@link originOf}: nodes whose predicates are the same value have the same. */
  readonly predicate: ValueRef;
  readonly side: boolean;
}

/** By predicate, the side. Shared between nodes: never changed. */
type Sides = ReadonlyMap<string, Branch>;

const NONE: Sides = new Map();

/** How Merges are grouped. */
export interface ConditionalOptions {
  /**
   * Merges share a conditional only when as many other Merges, of whatever predicate, come before each of them; default false. For graphs
   * where two predicates' conditionals would else need each other's results.
   */
  readonly byDepth?: boolean;
}

/**
 * Finds TF1's conditionals. A node is in a branch when a value or a control edge comes to it from that side of a Switch; a Merge leaves the
 * branch. Merges of one predicate share a conditional unless one needs the other's result. Switches of loops do not count.
 */
export function analyzeConditionals(graph: FlatGraph, options: ConditionalOptions = {}): ConditionalAnalysis {
  const sides = new Map<FlatNode, Sides>();
  const merges: { readonly value: ConditionalValue; readonly branch: Branch; readonly key: string }[] = [];
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((ref) => sidesOfValue(ref, sides));
    const controls = node.controls.map((before) => sides.get(before) ?? NONE);
    const [first, second] = inputs;
    if (isMerge(node) && !isLoopMerge(node) && first !== undefined && second !== undefined && inputs.length === 2) {
      const parted = partingOf(first, second);
      if (parted !== undefined) {
        const [zero, one] = node.inputs as readonly [ValueRef, ValueRef];
        const value = parted.firstSide ? { whenTrue: zero, whenFalse: one } : { whenTrue: one, whenFalse: zero };
        merges.push({ value: { merge: node, ...value }, branch: parted.branch, key: parted.key });
        sides.set(node, without(union([first, second, ...controls]), parted.key));
        continue;
      }
    }
    sides.set(node, isMerge(node) && isLoopMerge(node) ? union(controls.concat(loopEntry(node, sides))) : union([...inputs, ...controls]));
  }
  const conditionals = groupMerges(graph, merges, sides, options.byDepth === true);
  const byMerge = new Map(conditionals.flatMap((one) => one.values.map((value) => [value.merge, one] as const)));
  return {
    conditionals,
    ofMerge: (merge) => byMerge.get(merge) ?? null,
    branchesOf: (node) => [...(sides.get(node) ?? NONE).values()],
  };
}

function isMerge(node: FlatNode): boolean {
  return node.op === 'Merge' || node.op === 'RefMerge';
}

function isLoopMerge(node: FlatNode): boolean {
  return node.inputs.some((ref) => ref.node.op.endsWith('NextIteration'));
}

function loopEntry(node: FlatNode, sides: ReadonlyMap<FlatNode, Sides>): Sides[] {
  return node.inputs.filter((ref) => !ref.node.op.endsWith('NextIteration')).map((ref) => sides.get(ref.node) ?? NONE);
}

function isSwitch(node: FlatNode): boolean {
  return node.op === 'Switch' || node.op === 'RefSwitch';
}

/** The predicate of a conditional's Switch; undefined for a loop's. */
function predicateOf(node: FlatNode): ValueRef | undefined {
  const given = isSwitch(node) ? node.inputs[1] : undefined;
  if (given === undefined || given.node.op === 'LoopCond') return undefined;
  return predicateOrigin(given);
}

/** Through Identity nodes only: a predicate that a Switch brought into a branch stays the value it was outside. */
function predicateOrigin(ref: ValueRef): ValueRef {
  return /^(Ref)?Merge$/.test(ref.node.op) ? ref : stopAtMerge(ref);
}

function stopAtMerge(ref: ValueRef): ValueRef {
  let at = ref;
  for (;;) {
    const { node } = at;
    const [input] = node.inputs;
    if (input === undefined || !(node.op === 'Identity' || (isSwitch(node) && predicateOf(node) !== undefined))) return at;
    at = input;
  }
}

function keyOf({ node, output }: ValueRef): string {
  return `${node.name}:${output}`;
}

function sidesOfValue(ref: ValueRef, sides: ReadonlyMap<FlatNode, Sides>): Sides {
  const own = sides.get(ref.node) ?? NONE;
  const predicate = predicateOf(ref.node);
  if (predicate === undefined) return own;
  return new Map([...own, [keyOf(predicate), { predicate, side: ref.output === 1 }]]);
}

function union(all: readonly Sides[]): Sides {
  let result = NONE;
  for (const one of all) {
    if (one.size === 0 || one === result) continue;
    if (result.size === 0) result = one;
    else if ([...one.keys()].some((key) => !result.has(key))) result = new Map([...result, ...one]);
  }
  return result;
}

function without(sides: Sides, key: string): Sides {
  return new Map([...sides].filter(([one]) => one !== key));
}

/** The predicate on whose sides two values lie; one that only one of them is known to lie on will do when there is no other. */
function partingOf(
  first: Sides,
  second: Sides,
): { readonly key: string; readonly branch: Branch; readonly firstSide: boolean } | undefined {
  for (const [key, branch] of first) {
    const other = second.get(key);
    if (other !== undefined && other.side !== branch.side) return { key, branch, firstSide: branch.side };
  }
  const alone = [...first].filter(([key]) => !second.has(key)).at(-1);
  if (alone !== undefined) return { key: alone[0], branch: alone[1], firstSide: alone[1].side };
  const otherAlone = [...second].filter(([key]) => !first.has(key)).at(-1);
  return otherAlone === undefined ? undefined : { key: otherAlone[0], branch: otherAlone[1], firstSide: !otherAlone[1].side };
}

interface FoundMerge {
  readonly value: ConditionalValue;
  readonly branch: Branch;
  readonly key: string;
}

/** Merges of one predicate in stages: a Merge that needs another's result runs in a later If. Merges in different branches stay apart. */
function groupMerges(
  graph: FlatGraph,
  merges: readonly FoundMerge[],
  sides: ReadonlyMap<FlatNode, Sides>,
  byDepth: boolean,
): Conditional[] {
  const depths = byDepth ? stagesOf(graph, merges) : undefined;
  const byKey = Map.groupBy(merges, (one) => one.key);
  const groups = new Map<string, { readonly key: string; readonly stage: number; readonly members: FoundMerge[] }>();
  for (const [key, members] of byKey) {
    const stages = depths ?? stagesOf(graph, members);
    for (const member of members) {
      const stage = stages.get(member.value.merge) ?? 0;
      const id = `${key} ${stage} in ${branchText(sides.get(member.value.merge) ?? NONE)}`;
      const group = groups.get(id) ?? { key, stage, members: [] };
      groups.set(id, group);
      group.members.push(member);
    }
  }
  const position = new Map(graph.nodes.map((node, index) => [node, index]));
  const last = (one: Conditional) => Math.max(...one.values.map((value) => position.get(value.merge) ?? 0));
  return [...groups.values()]
    .flatMap(({ key, members }) => {
      const [first] = members;
      return first === undefined ? [] : [buildConditional(first.branch, key, members, sides, position)];
    })
    .sort((one, other) => last(one) - last(other));
}

function branchText(sides: Sides): string {
  return [...sides]
    .map(([key, { side }]) => `${key}=${side}`)
    .sort()
    .join(' ');
}

function stagesOf(graph: FlatGraph, members: readonly FoundMerge[]): ReadonlyMap<FlatNode, number> {
  const own = new Set(members.map((one) => one.value.merge));
  if (own.size === 1) return new Map([...own].map((node) => [node, 0]));
  const after = new Map<FlatNode, number>();
  const stages = new Map<FlatNode, number>();
  for (const node of graph.nodes) {
    let stage = 0;
    for (const ref of node.inputs) stage = Math.max(stage, after.get(ref.node) ?? 0);
    for (const before of node.controls) stage = Math.max(stage, after.get(before) ?? 0);
    if (own.has(node)) {
      stages.set(node, stage);
      stage += 1;
    }
    if (stage > 0) after.set(node, stage);
  }
  return stages;
}

function buildConditional(
  branch: Branch,
  key: string,
  members: readonly FoundMerge[],
  sides: ReadonlyMap<FlatNode, Sides>,
  position: ReadonlyMap<FlatNode, number>,
): Conditional {
  const switches = new Set<FlatNode>();
  const collect = (roots: readonly ValueRef[], side: boolean) => {
    const found = new Set<FlatNode>();
    const pending = roots.map((ref) => ref.node);
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      const predicate = predicateOf(node);
      if (predicate !== undefined && keyOf(predicate) === key) {
        switches.add(node);
        continue;
      }
      if (found.has(node) || sides.get(node)?.get(key)?.side !== side) continue;
      found.add(node);
      for (const ref of node.inputs) pending.push(ref.node);
      pending.push(...node.controls);
    }
    return inOrder(found, position);
  };
  const trueNodes = collect(
    members.map((one) => one.value.whenTrue),
    true,
  );
  const falseNodes = collect(
    members.map((one) => one.value.whenFalse),
    false,
  );
  return {
    predicate: branch.predicate,
    values: members.map((one) => one.value),
    switches: inOrder(switches, position),
    trueNodes,
    falseNodes,
  };
}

function inOrder(nodes: Iterable<FlatNode>, position: ReadonlyMap<FlatNode, number>): FlatNode[] {
  return [...nodes].sort((one, other) => (position.get(one) ?? 0) - (position.get(other) ?? 0));
}
