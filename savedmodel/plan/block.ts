import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import type { NodeFacts } from './node-facts.ts';
import { outputsOf } from './node-facts.ts';
import { placeNodes } from './placement.ts';
import type { Operand, Step } from './plan.ts';
import type { SegmentRequest, SegmentRequests } from './segment-requests.ts';
import { cutOut } from './signature-cut.ts';
import { stagesOf } from './stages.ts';
import { ValueMap, ValueSet } from './value-map.ts';

/** A step before segments have their numbers. */
export type DraftStep =
  | { readonly type: 'onnx'; readonly request: SegmentRequest; readonly slots: ValueMap<number>; readonly operands: ValueMap<Operand> }
  | { readonly type: 'ready'; readonly step: Exclude<Step, { readonly type: 'onnx' | 'while' | 'branch' }> }
  | {
      readonly type: 'while';
      readonly node: FlatNode;
      readonly carried: readonly {
        readonly initial: Operand;
        readonly slot: number;
        readonly next: Operand;
        readonly result: number | null;
      }[];
      readonly condition: { readonly steps: readonly DraftStep[]; readonly value: Operand };
      readonly body: readonly DraftStep[];
      readonly effect: boolean;
    }
  | {
      readonly type: 'branch';
      readonly node: FlatNode;
      readonly selector: Operand;
      readonly branches: readonly { readonly steps: readonly DraftStep[]; readonly results: readonly Operand[] }[];
      readonly outputs: readonly (number | null)[];
      readonly effect: boolean;
    };

/** What drafts of one program share. */
export interface DraftContext {
  readonly facts: NodeFacts;
  readonly requests: SegmentRequests;
  /** Why a node cannot be translated, where that was tried. */
  readonly whyBanned: (node: FlatNode) => string | undefined;
  /** The operand of a constant, a variable or a table. */
  readonly resident: (node: FlatNode) => Operand;
  /** A host step of a node. */
  readonly hostStep: (
    node: FlatNode,
    inputs: readonly Operand[],
    outputs: readonly (number | null)[],
  ) => Exclude<Step, { readonly type: 'onnx' | 'while' | 'branch' }>;
}

/** Drafts one program: places nodes, orders stages, gives out slots. */
export class ProgramDraft {
  readonly #context: DraftContext;
  readonly #slots = new ValueMap<number>();
  #slotCount = 0;

  constructor(context: DraftContext) {
    this.#context = context;
  }

  get slotCount(): number {
    return this.#slotCount;
  }

  /** A slot for a value that the program is given. */
  give(ref: ValueRef): number {
    const known = this.#slots.get(ref);
    if (known !== undefined) return known;
    const slot = this.#slotCount++;
    this.#slots.set(ref, slot);
    return slot;
  }

  /** Where a value is that has been computed, given, or is resident. */
  operand(ref: ValueRef): Operand {
    const slot = this.#slots.get(ref);
    if (slot !== undefined) return { slot };
    return this.#context.resident(ref.node);
  }

  /** Drafts the steps that compute `results` and run `effects` from what has a slot already. Errors are those of `placeNodes`. */
  draft(nodes: readonly FlatNode[], results: readonly ValueRef[], effects: readonly FlatNode[]): readonly DraftStep[] {
    return this.#draft(nodes, results, effects, 'signature');
  }

  /** The host takes a body's results, so what is cheap is computed there; all effects run, not only those that results wait for. */
  #draftBody(body: Body): readonly DraftStep[] {
    return this.#draft(body.nodes, body.results, body.nodes.filter(this.#context.facts.isEffect), 'body');
  }

  #draft(
    nodes: readonly FlatNode[],
    results: readonly ValueRef[],
    effects: readonly FlatNode[],
    kind: 'signature' | 'body',
  ): readonly DraftStep[] {
    const { facts, whyBanned } = this.#context;
    const given = new ValueSet(nodes.flatMap(outputsOf).filter((ref) => this.#slots.has(ref)));
    const cut = cutOut(nodes, { values: results, effects }, given, facts);
    const sides = placeNodes(cut, { results: new ValueSet(results), taken: kind === 'body' }, facts, whyBanned);
    const readByHost = new ValueSet(results);
    const read = new ValueSet(results);
    for (const node of cut) {
      for (const ref of facts.usedBy(node)) {
        read.add(ref);
        if (sides.get(node) === 'host') readByHost.add(ref);
      }
    }
    const floats = (node: FlatNode) =>
      sides.get(node) === 'onnx' && facts.isConstantExpression(node) && !outputsOf(node).some((ref) => readByHost.has(ref));
    const stages = stagesOf(cut, new Map([...sides].filter(([node]) => !floats(node))), facts);
    const reads = stages.map((stage) => new ValueSet(stage.nodes.flatMap((node) => facts.usedBy(node))));
    return stages.flatMap((stage, index): readonly DraftStep[] => {
      if (stage.side === 'host') return stage.nodes.map((node) => this.#hostNode(node, read));
      const later = new ValueSet([...results, ...reads.slice(index + 1).flatMap((set) => set.values)]);
      return [this.#segment(stage.nodes, later)];
    });
  }

  #segment(stageNodes: readonly FlatNode[], readLater: ValueSet): DraftStep {
    const request = this.#context.requests.add(stageNodes, readLater, (ref) => this.#slots.has(ref));
    const operands = new ValueMap<Operand>();
    for (const ref of request.feeds) operands.set(ref, this.operand(ref));
    const slots = new ValueMap<number>();
    for (const ref of request.fetches) slots.set(ref, this.give(ref));
    return { type: 'onnx', request, slots, operands };
  }

  #hostNode(node: FlatNode, read: ValueSet): DraftStep {
    const { facts } = this.#context;
    if (node.op === 'While' && node.bodies !== undefined) return this.#loop(node, read);
    if (node.bodies !== undefined) {
      const selector = this.#selector(node);
      const branches = node.bodies.map((body) => ({
        steps: this.#draftBody(body),
        results: body.results.map((ref) => this.operand(ref)),
      }));
      return { type: 'branch', node, selector, branches, outputs: this.#outputs(node, read), effect: facts.isEffect(node) };
    }
    const inputs = node.inputs.map((ref) => this.operand(ref));
    return { type: 'ready', step: this.#context.hostStep(node, inputs, this.#outputs(node, read)) };
  }

  #outputs(node: FlatNode, read: ValueSet): readonly (number | null)[] {
    return outputsOf(node).map((ref) => (read.has(ref) ? this.give(ref) : null));
  }

  #selector(node: FlatNode): Operand {
    const [selector] = node.inputs;
    if (selector === undefined) throw new TypeError(`${node.op} node ${node.name} has no selector (this is a bug)`);
    return this.operand(selector);
  }

  #loop(node: FlatNode, read: ValueSet): DraftStep {
    const { facts } = this.#context;
    const [condition, body] = node.bodies ?? [];
    if (condition === undefined || body === undefined) throw new TypeError(`While node ${node.name} has no bodies (this is a bug)`);
    const initial = node.inputs.map((ref) => this.operand(ref));
    const slots = node.inputs.map(() => this.#slotCount++);
    const bind = ({ parameters }: Body) => {
      parameters.forEach((parameter, index) => {
        const slot = slots[index];
        if (slot !== undefined) this.#slots.set({ node: parameter, output: 0 }, slot);
      });
    };
    bind(condition);
    bind(body);
    const conditionSteps = this.#draftBody(condition);
    const [holds] = condition.results;
    if (holds === undefined) throw new TypeError(`While node ${node.name} has no condition (this is a bug)`);
    const value = this.operand(holds);
    const bodySteps = this.#draftBody(body);
    const next = body.results.map((ref) => this.operand(ref));
    const results = this.#outputs(node, read);
    return {
      type: 'while',
      node,
      carried: slots.map((slot, index) => ({
        initial: initial[index] as Operand,
        slot,
        next: next[index] as Operand,
        result: results[index] ?? null,
      })),
      condition: { steps: conditionSteps, value },
      body: bodySteps,
      effect: facts.isEffect(node),
    };
  }
}
