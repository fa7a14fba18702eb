import type { FlatNode, ValueRef } from '../flat-graph.ts';

/** A map whose keys are values of a graph. */
export class ValueMap<T> {
  readonly #byNode = new Map<FlatNode, T[]>();

  get(ref: ValueRef): T | undefined {
    return this.#byNode.get(ref.node)?.[ref.output];
  }

  has(ref: ValueRef): boolean {
    return this.get(ref) !== undefined;
  }

  set(ref: ValueRef, value: T): void {
    const outputs = this.#byNode.get(ref.node);
    if (outputs !== undefined) outputs[ref.output] = value;
    else {
      const made: T[] = [];
      made[ref.output] = value;
      this.#byNode.set(ref.node, made);
    }
  }
}

/** Values, each once, in the order in which they came. */
export class ValueSet {
  readonly #seen = new ValueMap<true>();
  readonly values: ValueRef[] = [];

  constructor(values: Iterable<ValueRef> = []) {
    for (const ref of values) this.add(ref);
  }

  has(ref: ValueRef): boolean {
    return this.#seen.has(ref);
  }

  add(ref: ValueRef): void {
    if (this.#seen.has(ref)) return;
    this.#seen.set(ref, true);
    this.values.push(ref);
  }
}
