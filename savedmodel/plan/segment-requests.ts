import type { FlatNode, ValueRef } from '../flat-graph.ts';
import type { NodeFacts } from './node-facts.ts';
import { outputsOf } from './node-facts.ts';
import { ValueSet } from './value-map.ts';

/** Nodes that shall become one ONNX model, or a part of one. */
export interface SegmentRequest {
  /** In an order in which every node comes after its inputs. */
  readonly nodes: readonly FlatNode[];
  /** Values from outside, in the order of their first use. */
  readonly feeds: readonly ValueRef[];
  readonly fetches: readonly ValueRef[];
}

/** Several requests that one ONNX model serves. */
export interface SharedSegment extends SegmentRequest {
  readonly requests: readonly SegmentRequest[];
}

/** Work that is not worth computing for a request that did not ask for it. */
const COSTLY = /^(While|If|Case|.*MatMul.*|.*Conv.*|Einsum|Resize.*|.*Pool.*|.*NonMaxSuppression.*|TopK.*|.*Norm.*)$/;

/** Collects what ONNX has to compute. */
export class SegmentRequests {
  readonly #facts: NodeFacts;
  readonly #requests: SegmentRequest[] = [];

  constructor(facts: NodeFacts) {
    this.#facts = facts;
  }

  /**
   * Asks for the nodes of a stage; those of their outputs that are read later are fetched. Constant expressions they need come along, unless
   * `isAvailable` says that their value is at hand.
   */
  add(stageNodes: readonly FlatNode[], readLater: ValueSet, isAvailable: (ref: ValueRef) => boolean): SegmentRequest {
    const facts = this.#facts;
    const own = new Set(stageNodes);
    const floating: FlatNode[] = [];
    const feeds = new ValueSet();
    const pull = (node: FlatNode) => {
      for (const ref of facts.usedBy(node)) {
        if (own.has(ref.node) || facts.isConstant(ref.node)) continue;
        if (isAvailable(ref) || !facts.isConstantExpression(ref.node)) feeds.add(ref);
        else {
          own.add(ref.node);
          pull(ref.node);
          floating.push(ref.node);
        }
      }
    };
    stageNodes.forEach(pull);
    const fetches = stageNodes.flatMap(outputsOf).filter((ref) => readLater.has(ref));
    const request = { nodes: [...floating, ...stageNodes], feeds: feeds.values, fetches };
    this.#requests.push(request);
    return request;
  }

  /**
   * Merges requests that are fed the same, when what one has beyond the other is cheap: signatures that differ in their outputs, or in where
   * their inputs come from, then share one ONNX model and its weights.
   */
  shared(): readonly SharedSegment[] {
    const groups: { nodes: Set<FlatNode>; feeds: readonly ValueRef[]; fetches: ValueSet; requests: SegmentRequest[] }[] = [];
    for (const request of this.#requests) {
      const nodes = new Set(request.nodes);
      const fitting = groups.find((group) => sameValues(group.feeds, request.feeds) && isCheapDifference(group.nodes, nodes));
      if (fitting === undefined) {
        groups.push({ nodes, feeds: request.feeds, fetches: new ValueSet(request.fetches), requests: [request] });
        continue;
      }
      for (const node of request.nodes) fitting.nodes.add(node);
      for (const ref of request.fetches) fitting.fetches.add(ref);
      fitting.requests.push(request);
    }
    return groups.map(({ nodes, feeds, fetches, requests }) => ({
      nodes: inOrder(nodes, this.#facts),
      feeds,
      fetches: fetches.values,
      requests,
    }));
  }
}

function sameValues(one: readonly ValueRef[], other: readonly ValueRef[]): boolean {
  if (one.length !== other.length) return false;
  const set = new ValueSet(one);
  return other.every((ref) => set.has(ref));
}

/** Both must be part of one computation: what they have in common is most of it. */
function isCheapDifference(one: ReadonlySet<FlatNode>, other: ReadonlySet<FlatNode>): boolean {
  const only = [...[...one].filter((node) => !other.has(node)), ...[...other].filter((node) => !one.has(node))];
  return only.length < one.size + other.size && only.every((node) => !COSTLY.test(node.op));
}

/** Nodes after what they read. */
function inOrder(nodes: ReadonlySet<FlatNode>, facts: NodeFacts): readonly FlatNode[] {
  const ordered = new Set<FlatNode>();
  for (const root of nodes) {
    const pending = [root];
    for (let node = pending.at(-1); node !== undefined; node = pending.at(-1)) {
      const missing = ordered.has(node)
        ? []
        : facts.usedBy(node).flatMap((ref) => (nodes.has(ref.node) && !ordered.has(ref.node) ? [ref.node] : []));
      if (missing.length > 0) pending.push(...missing);
      else {
        ordered.add(node);
        pending.pop();
      }
    }
  }
  return [...ordered];
}
