/** Which requests may share a batch, and how many rows a request brings. */
import { servableKey } from '#mesh/ids.ts';
import type { Signature } from '#mesh/signature.ts';
import type { Tensor } from '#mesh/tensor.ts';
import type { InferRequest, ResolvedServable } from './core.ts';

/** Where a request queues at its batcher, as the gateway that sends it works it out. */
export interface Lane {
  /** Equal keys may share a batch. Every text in it is preceded by its length, so no two lanes have one key. */
  readonly key: string;
  /** Rows along dimension 0 of every input; 0: the request is executed alone. */
  readonly rows: number;
}

/** What a signature contributes to the key; worked out once. */
interface Facts {
  /** In order, so that all gateways make the same key. */
  readonly aliases: readonly string[];
  servable: ResolvedServable;
  outputs: readonly string[];
  prefix: string;
  /** The key made last and the inputs it was made of, in the order of `aliases`: the next request mostly has the same. */
  lastKey: string;
  lastInputs: readonly Pick<Tensor, 'dtype' | 'shape'>[];
}

/** Makes the function that finds a request's lane. It remembers what does not change between requests of a signature. */
export function createLaneFinder(): (request: InferRequest) => Lane {
  const known = new WeakMap<Signature, Facts>();

  function factsOf(request: InferRequest): Facts {
    const { signature, servable, outputs } = request;
    let facts = known.get(signature);
    if (facts === undefined) {
      facts = { aliases: Object.keys(signature.inputs).sort(), servable, outputs, prefix: prefixOf(request), lastKey: '', lastInputs: [] };
      known.set(signature, facts);
    } else if (facts.servable !== servable || !sameTexts(facts.outputs, outputs)) {
      facts.servable = servable;
      facts.outputs = outputs;
      facts.prefix = prefixOf(request);
      facts.lastInputs = [];
    }
    return facts;
  }

  return (request) => {
    const facts = factsOf(request);
    const { aliases, prefix } = facts;
    const { batching } = request.servable;
    const rows = batching === null || !request.signature.batchable ? 0 : commonRows(request, aliases);
    // What servables wait for has lanes of its own: a batcher lets it pass where others have to wait.
    const called = request.callers === undefined ? '' : '|called';
    if (batching === null || rows === 0) return { key: `${prefix}|alone${called}`, rows: 0 };
    // The same text again is the same string: one whose hash is known, and that equals its neighbour's at a glance.
    if (sameInner(facts.lastInputs, request, aliases)) return { key: facts.lastKey + called, rows };
    let key = prefix;
    const inputs: Pick<Tensor, 'dtype' | 'shape'>[] = [];
    for (const alias of aliases) {
      const tensor = request.inputs.get(alias);
      if (tensor === undefined) continue;
      key += batching.padVariableLengthInputs ? `|${tensor.dtype}${tensor.shape.length}` : innerOf(tensor);
      inputs.push({ dtype: tensor.dtype, shape: tensor.shape });
    }
    facts.lastKey = key;
    facts.lastInputs = inputs;
    return { key: key + called, rows };
  };
}

function prefixOf({ servable, signatureName, outputs }: InferRequest): string {
  return `${measured(servableKey(servable.id))}${measured(signatureName)}${outputs.map(measured).join('')}`;
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

function measured(text: string): string {
  return `${text.length}.${text}`;
}

function innerOf({ dtype, shape }: Tensor): string {
  let text = `|${dtype}`;
  for (let axis = 1; axis < shape.length; axis++) text += `,${shape[axis]}`;
  return text;
}

/** True when a request's inputs are as the last ones were, but for dimension 0. */
function sameInner(last: Facts['lastInputs'], { inputs }: InferRequest, aliases: readonly string[]): boolean {
  if (last.length !== aliases.length) return false;
  for (let index = 0; index < last.length; index++) {
    const before = last[index];
    const tensor = inputs.get(aliases[index] ?? '');
    if (tensor === undefined || before === undefined) return false;
    if (tensor.dtype !== before.dtype || tensor.shape.length !== before.shape.length) return false;
    for (let axis = 1; axis < tensor.shape.length; axis++) if (tensor.shape[axis] !== before.shape[axis]) return false;
  }
  return true;
}

/** Dimension 0 when all inputs have the same; 0 otherwise. */
function commonRows(request: InferRequest, aliases: readonly string[]): number {
  let rows = 0;
  for (const alias of aliases) {
    const first = request.inputs.get(alias)?.shape[0];
    if (first === undefined || (rows !== 0 && first !== rows)) return 0;
    rows = first;
    if (rows === 0) return 0;
  }
  return rows;
}
