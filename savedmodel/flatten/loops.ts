import { fromUtf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import type { FlatGraph, FlatNode, ValueRef } from '../flat-graph.ts';

/** A loop variable. Its Merge is what the condition reads, output 1 of its Switch what the body reads. */
export interface CarriedValue {
  /** What it is before the first round, outside of the loop. */
  readonly initial: ValueRef;
  readonly enter: FlatNode;
  readonly merge: FlatNode;
  /** Null for a variable that neither the body nor what follows the loop reads. */
  readonly switch: FlatNode | null;
  /** What the body makes of it. */
  readonly next: ValueRef;
  /** Nodes outside that give its last value; all the same value, mostly none or one. */
  readonly exits: readonly FlatNode[];
}

/** A value from outside that stays the same in all rounds. */
export interface LoopInvariant {
  readonly value: ValueRef;
  readonly enter: FlatNode;
}

/** A TF1 loop: one frame of Enter, Merge, Switch, NextIteration and Exit. */
export interface Loop {
  /** `frame_name`, unique in a flat graph but for loops inside of loops. */
  readonly frame: string;
  readonly parent: Loop | null;
  readonly carried: readonly CarriedValue[];
  readonly invariants: readonly LoopInvariant[];
  /** A bool: whether another round begins. Computed from Merge outputs and invariants. */
  readonly condition: ValueRef;
  /** What computes the condition, in order, without the frame's plumbing and without inner loops. */
  readonly conditionNodes: readonly FlatNode[];
  /** What a round runs, in order, asserts and writes included; inner loops' nodes are in theirs. */
  readonly body: readonly FlatNode[];
  readonly exits: readonly FlatNode[];
}

/** The loops of a graph. */
export interface LoopAnalysis {
  /** Outer loops before inner ones. */
  readonly loops: readonly Loop[];
  /** The innermost loop in whose frame a node runs; an Exit runs in the frame around. Null outside of loops. */
  loopOf(node: FlatNode): Loop | null;
}

/** A frame while nodes are collected. */
interface Frame {
  readonly name: string;
  readonly parent: Frame | null;
  readonly depth: number;
  readonly nodes: FlatNode[];
}

const NEXT = /^(Ref)?NextIteration$/;
const ENTER = /^(Ref)?Enter$/;
const EXIT = /^(Ref)?Exit$/;
const PLUMBING = /^((Ref)?(Enter|Exit|NextIteration)|LoopCond)$/;

/** Finds TF1's loops. Throws ServeError INVALID_ARGUMENT, naming frame and node, for a frame that is not built as `while_loop` builds it. */
export function analyzeLoops(graph: FlatGraph): LoopAnalysis {
  if (!graph.nodes.some((node) => ENTER.test(node.op))) return { loops: [], loopOf: () => null };
  const { frames, frameOf } = assignFrames(graph);
  const users = usersOf(graph);
  const loops = new Map<Frame, Loop>();
  for (const frame of frames) {
    const parent = frame.parent === null ? null : (loops.get(frame.parent) ?? null);
    const loop = readLoop(frame, parent, users, frameOf);
    if (loop !== null) loops.set(frame, loop);
  }
  const loopOf = (node: FlatNode) => {
    const frame = frameOf.get(node);
    return frame === undefined ? null : (loops.get(frame) ?? null);
  };
  return { loops: [...loops.values()], loopOf };
}

/** Nodes run in the deepest frame that a value or a control edge comes to them from; Enter goes one deeper, Exit one up. */
function assignFrames(graph: FlatGraph): { readonly frames: readonly Frame[]; readonly frameOf: ReadonlyMap<FlatNode, Frame> } {
  const frameOf = new Map<FlatNode, Frame>();
  const frames = new Map<Frame | null, Map<string, Frame>>();
  const ordered: Frame[] = [];
  const child = (parent: Frame | null, name: string): Frame => {
    const siblings = frames.get(parent) ?? new Map<string, Frame>();
    frames.set(parent, siblings);
    const known = siblings.get(name);
    if (known !== undefined) return known;
    const made: Frame = { name, parent, depth: (parent?.depth ?? 0) + 1, nodes: [] };
    siblings.set(name, made);
    ordered.push(made);
    return made;
  };
  for (const node of graph.nodes) {
    let frame: Frame | null = null;
    for (const before of [...node.inputs.map((ref) => ref.node), ...node.controls]) {
      const other = frameOf.get(before) ?? null;
      if (other !== null && other.depth > (frame?.depth ?? 0)) frame = other;
    }
    if (ENTER.test(node.op)) frame = child(frame, frameName(node));
    else if (EXIT.test(node.op)) frame = frame?.parent ?? null;
    if (frame === null) continue;
    frameOf.set(node, frame);
    frame.nodes.push(node);
  }
  return { frames: ordered.sort((one, other) => one.depth - other.depth), frameOf };
}

function frameName(node: FlatNode): string {
  const name = node.attrs.get('frame_name');
  return name?.type === 'string' ? fromUtf8(name.value) : '';
}

function usersOf(graph: FlatGraph): ReadonlyMap<FlatNode, readonly FlatNode[]> {
  const users = new Map<FlatNode, FlatNode[]>();
  for (const node of graph.nodes) {
    for (const before of new Set(node.inputs.map((ref) => ref.node))) {
      const known = users.get(before);
      if (known === undefined) users.set(before, [node]);
      else known.push(node);
    }
  }
  return users;
}

/** Null for a frame without a condition: its values only pass through, as in a loop whose rounds nothing reads. */
function readLoop(
  frame: Frame,
  parent: Loop | null,
  users: ReadonlyMap<FlatNode, readonly FlatNode[]>,
  frameOf: ReadonlyMap<FlatNode, Frame>,
): Loop | null {
  const conditions = frame.nodes.filter((node) => node.op === 'LoopCond');
  const [loopCondition] = conditions;
  if (loopCondition === undefined) return null;
  if (conditions.length > 1) throw malformed(frame, `has ${conditions.length} LoopCond nodes`);
  const carried: CarriedValue[] = [];
  const invariants: LoopInvariant[] = [];
  for (const enter of frame.nodes.filter((node) => ENTER.test(node.op))) {
    const [initial] = enter.inputs;
    if (initial === undefined) throw malformed(frame, `enters nothing at ${enter.name}`);
    const merge = (users.get(enter) ?? []).find((user) => user.op.endsWith('Merge') && user.inputs.some((ref) => NEXT.test(ref.node.op)));
    if (merge === undefined) invariants.push({ value: initial, enter });
    else carried.push(readCarried({ initial, enter, merge, frame, loopCondition }, users));
  }
  const [condition] = loopCondition.inputs;
  if (condition === undefined) throw malformed(frame, 'has no condition');
  const own = new Set(carried.flatMap((one) => [one.merge, ...(one.switch === null ? [] : [one.switch])]));
  const inside = (node: FlatNode) => frameOf.get(node) === frame && !own.has(node) && !PLUMBING.test(node.op);
  const conditionSet = needed(condition.node, inside);
  const alsoBody = new Set(carried.flatMap((one) => [...needed(one.next.node, inside)]));
  const nodes = frame.nodes.filter(inside);
  return {
    frame: frame.name,
    parent,
    carried,
    invariants,
    condition,
    conditionNodes: nodes.filter((node) => conditionSet.has(node)),
    // A node that both need runs in both: the condition is evaluated once more than the body.
    body: nodes.filter((node) => !conditionSet.has(node) || alsoBody.has(node)),
    exits: carried.flatMap((one) => one.exits),
  };
}

interface LoopPlace {
  readonly initial: ValueRef;
  readonly enter: FlatNode;
  readonly merge: FlatNode;
  readonly frame: Frame;
  readonly loopCondition: FlatNode;
}

function readCarried(place: LoopPlace, users: ReadonlyMap<FlatNode, readonly FlatNode[]>): CarriedValue {
  const { initial, enter, merge, frame, loopCondition } = place;
  const back = merge.inputs.find((ref) => NEXT.test(ref.node.op))?.node;
  const next = back?.inputs[0];
  if (next === undefined) throw malformed(frame, `never gives ${merge.name} a next value`);
  const switches = (users.get(merge) ?? []).filter((user) => user.op.endsWith('Switch') && user.inputs[1]?.node === loopCondition);
  if (switches.length > 1) throw malformed(frame, `switches ${merge.name} ${switches.length} times`);
  const [chosen] = switches;
  const exits = chosen === undefined ? [] : (users.get(chosen) ?? []).filter((user) => EXIT.test(user.op));
  return { initial, enter, merge, switch: chosen ?? null, next, exits };
}

/** A node and what it needs, as far as `inside` goes, by values and control edges. */
function needed(start: FlatNode, inside: (node: FlatNode) => boolean): ReadonlySet<FlatNode> {
  const found = new Set<FlatNode>();
  const pending = [start];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (found.has(node) || !inside(node)) continue;
    found.add(node);
    for (const ref of node.inputs) pending.push(ref.node);
    pending.push(...node.controls);
  }
  return found;
}

function malformed(frame: Frame, what: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', `loop ${frame.name} ${what}`);
}
