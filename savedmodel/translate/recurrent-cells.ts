/** The formulas of recurrent cells that ONNX has operators for. */
import type { Bias, Expression, Product } from './recurrent-algebra.ts';

/** input · W + state · R + biases. */
export interface Affine {
  readonly input: Product;
  readonly state: Product;
  readonly biases: readonly Bias[];
  /** Biases that are added to the state's product before the reset gate multiplies it; only in GRU's candidate. */
  readonly stateBiases: readonly Bias[];
}

/** A cell: the operator, its gates in the operator's order, and the activations in the operator's order. */
export interface Cell {
  readonly op: 'LSTM' | 'GRU' | 'RNN';
  readonly gates: readonly Affine[];
  readonly activations: readonly string[];
  /** Carried values: what the cell gives, and LSTM's memory. */
  readonly output: number;
  readonly memory: number | null;
  /** GRU: the reset gate multiplies the state's product, not the state. */
  readonly linearBeforeReset: boolean;
}

/** A carried value and what a round makes of it. */
export interface State {
  readonly index: number;
  readonly next: Expression;
}

/** The cell that a round is, if it is one that is known. */
export function matchCell(states: readonly State[]): Cell | null {
  const [one, other] = states;
  if (one === undefined || states.length > 2) return null;
  if (other !== undefined) return matchLstm(one, other) ?? matchLstm(other, one);
  return matchGru(one) ?? matchRnn(one);
}

/** Both orders of the operands, when it is that operation. */
function operands(of: Expression, op: 'add' | 'multiply'): readonly (readonly [Expression, Expression])[] {
  if (of.op !== op) return [];
  return [
    [of.left, of.right],
    [of.right, of.left],
  ];
}

const isState = (of: Expression, index: number) => of.op === 'state' && of.index === index;

/** The first match that `attempt` finds. */
function first<T, R>(candidates: readonly T[], attempt: (candidate: T) => R | null): R | null {
  for (const candidate of candidates) {
    const found = attempt(candidate);
    if (found !== null) return found;
  }
  return null;
}

/** memory' = forget · memory + in · candidate; output' = out · activation(memory'). */
function matchLstm(output: State, memory: State): Cell | null {
  return first(operands(output.next, 'multiply'), ([out, active]) => {
    if (active.op !== 'apply' || active.to !== memory.next) return null;
    return first(operands(memory.next, 'add'), ([kept, added]) => {
      const forget = first(operands(kept, 'multiply'), ([gate, state]) => (isState(state, memory.index) ? gate : null));
      if (forget === null) return null;
      return first(operands(added, 'multiply'), ([input, candidate]) => {
        const parts = [input, out, forget, candidate].map((part) => gateOf(part, output.index));
        const [i, o, f, c] = parts;
        if (!i || !o || !f || !c || i.activation !== o.activation || i.activation !== f.activation) return null;
        // Which factor is the gate and which the candidate is open when both have the same activation: then either answer is the same.
        const activations = [i.activation, c.activation, active.activation];
        const gates = [i.affine, o.affine, f.affine, c.affine];
        return { op: 'LSTM', gates, activations, output: output.index, memory: memory.index, linearBeforeReset: false } as const;
      });
    });
  });
}

/** output' = update · output + (1 - update) · candidate. */
function matchGru(output: State): Cell | null {
  return first(operands(output.next, 'add'), ([kept, added]) => {
    const update = first(operands(kept, 'multiply'), ([gate, state]) => (isState(state, output.index) ? gate : null));
    if (update === null) return null;
    const candidate = first(operands(added, 'multiply'), ([rest, value]) =>
      rest.op === 'complement' && rest.of === update ? value : null,
    );
    const z = gateOf(update, output.index);
    if (candidate?.op !== 'apply' || z === null) return null;
    const inner = candidateBeforeReset(candidate.to, output.index) ?? candidateAfterReset(candidate.to, output.index);
    const r = inner === null ? null : gateOf(inner.reset, output.index);
    if (inner === null || r === null || r.activation !== z.activation) return null;
    return {
      op: 'GRU',
      gates: [z.affine, r.affine, inner.affine],
      activations: [z.activation, candidate.activation],
      output: output.index,
      memory: null,
      linearBeforeReset: inner.linearBeforeReset,
    } as const;
  });
}

interface Candidate {
  readonly reset: Expression;
  readonly affine: Affine;
  readonly linearBeforeReset: boolean;
}

/** input · W + b + reset · (state · R + c). */
function candidateBeforeReset(of: Expression, state: number): Candidate | null {
  return first(operands(of, 'add'), ([fromInput, gated]) =>
    first(operands(gated, 'multiply'), ([reset, fromState]) => {
      const [one, other] = [parted(fromInput), parted(fromState)];
      const [input, extra] = one?.products ?? [];
      const [product, more] = other?.products ?? [];
      if (one === null || other === null || !input || !product || extra !== undefined || more !== undefined) return null;
      if (input.operand.op !== 'input' || !isState(product.operand, state)) return null;
      return { reset, affine: { input, state: product, biases: one.biases, stateBiases: other.biases }, linearBeforeReset: true };
    }),
  );
}

/** input · W + (reset · state) · R + b. */
function candidateAfterReset(of: Expression, state: number): Candidate | null {
  const parts = parted(of);
  const input = parts?.products.find((one) => one.operand.op === 'input');
  const product = parts?.products.find((one) => one !== input);
  if (parts === null || input === undefined || product === undefined || parts.products.length !== 2) return null;
  return first(operands(product.operand, 'multiply'), ([reset, value]) => {
    if (!isState(value, state)) return null;
    return { reset, affine: { input, state: product, biases: parts.biases, stateBiases: [] }, linearBeforeReset: false };
  });
}

function matchRnn(output: State): Cell | null {
  const gate = gateOf(output.next, output.index);
  if (gate === null) return null;
  const { affine, activation } = gate;
  return { op: 'RNN', gates: [affine], activations: [activation], output: output.index, memory: null, linearBeforeReset: false };
}

/** activation(input · W + state · R + biases). */
function gateOf(of: Expression, state: number): { readonly activation: string; readonly affine: Affine } | null {
  const parts = of.op === 'apply' ? parted(of.to) : null;
  const input = parts?.products.find((one) => one.operand.op === 'input');
  const product = parts?.products.find((one) => isState(one.operand, state));
  if (of.op !== 'apply' || parts === null || input === undefined || product === undefined || parts.products.length !== 2) return null;
  return { activation: of.activation, affine: { input, state: product, biases: parts.biases, stateBiases: [] } };
}

function parted(of: Expression): { readonly products: readonly Product[]; readonly biases: readonly Bias[] } | null {
  if (of.op !== 'linear') return null;
  const products = of.terms.filter((term) => term.type === 'product');
  return { products, biases: of.terms.filter((term) => term.type !== 'product') };
}
