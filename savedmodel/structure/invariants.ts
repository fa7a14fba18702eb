import type { FlatNode, ValueRef } from '../flat-graph.ts';

const PASSES = new Set(['Identity', 'RefIdentity', 'StopGradient', 'PreventGradient', 'Snapshot']);

/**
 * The value that an output of a While, If or Case always is, where there is one: a loop gives back its first value when its body gives back
 * its parameter, a conditional what all branches take from the same place around it. Otherwise the output itself.
 */
export function valueBehind(ref: ValueRef): ValueRef {
  return new Tracer().behind(ref);
}

/** An Identity of a reference reads the variable, and one with control edges waits: neither is the same as what it is given. */
function passes({ op, inputs, controls }: FlatNode): boolean {
  const [input] = inputs;
  return PASSES.has(op) && controls.length === 0 && input !== undefined && !/^Variable(V2)?$/.test(input.node.op);
}

class Tracer {
  /** By node, what is behind its outputs; bodies are nested only as deep as functions are. */
  private readonly known = new Map<FlatNode, Map<number, ValueRef>>();

  behind(ref: ValueRef): ValueRef {
    let at = ref;
    for (let next = this.step(at); next !== undefined; next = this.step(at)) at = next;
    return at;
  }

  private step({ node, output }: ValueRef): ValueRef | undefined {
    if (node.bodies === undefined) return passes(node) ? node.inputs[0] : undefined;
    const memo = this.known.get(node) ?? new Map<number, ValueRef>();
    this.known.set(node, memo);
    const seen = memo.get(output);
    if (seen !== undefined) return seen.node === node ? undefined : seen;
    const found = node.op === 'While' ? this.throughLoop(node, output) : this.throughBranches(node, output);
    memo.set(output, found ?? { node, output });
    return found;
  }

  private throughLoop(node: FlatNode, output: number): ValueRef | undefined {
    const body = node.bodies?.[1];
    const [result, parameter] = [body?.results[output], body?.parameters[output]];
    if (result === undefined || parameter === undefined) return undefined;
    return this.behind(result).node === parameter ? node.inputs[output] : undefined;
  }

  private throughBranches(node: FlatNode, output: number): ValueRef | undefined {
    const bodies = node.bodies ?? [];
    const [first, ...others] = bodies.flatMap((body) => {
      const result = body.results[output];
      return result === undefined ? [] : [this.behind(result)];
    });
    if (first === undefined || others.some((one) => one.node !== first.node || one.output !== first.output)) return undefined;
    return bodies.some((body) => body.nodes.includes(first.node)) ? undefined : first;
  }
}
