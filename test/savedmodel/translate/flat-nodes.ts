/** Flat graphs written by hand, and running what they become. */
import type { DType, Tensor } from '#mesh/tensor.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import type { Body, FlatNode, ValueRef } from '../../../savedmodel/flat-graph.ts';
import type { AttrValue } from '../../../savedmodel/graph.ts';
import { numbersOf, tensorOf } from '../../../savedmodel/translate/constants.ts';
import { type Region, translateGraph } from '../../../savedmodel/translate/translate-graph.ts';
import { runOnnx } from './run-onnx.ts';

/** A value: output 0 of a node, or any. */
export type Input = FlatNode | ValueRef;

/** A ref to what may be given as a node. */
export function ref(input: Input): ValueRef {
  return 'output' in input ? input : { node: input, output: 0 };
}

/** An int attribute. */
export const int = (value: number): AttrValue => ({ type: 'int', value });
/** A dtype attribute by its DataType number. */
export const dtype = (value: number): AttrValue => ({ type: 'dtype', value });
/** A string attribute. */
export const text = (value: string): AttrValue => ({ type: 'string', value: new TextEncoder().encode(value) });
/** A bool attribute. */
export const bool = (value: boolean): AttrValue => ({ type: 'bool', value });

/** A node; more than one output or bodies where given. */
export function node(
  name: string,
  op: string,
  inputs: readonly Input[] = [],
  attrs: Readonly<Record<string, AttrValue>> = {},
  more: { readonly outputCount?: number; readonly bodies?: readonly Body[] } = {},
): FlatNode {
  return { name, op, inputs: inputs.map(ref), controls: [], attrs: new Map(Object.entries(attrs)), outputCount: 1, ...more };
}

/** A Const node. */
export function constant(name: string, of: DType, shape: readonly number[], values: readonly number[]): FlatNode {
  return node(name, 'Const', [], { value: { type: 'tensor', value: tensorOf(of, shape, values) } });
}

/** A body: the nodes that its results need, in an order that fits, but for parameters and what is `outside`. */
export function body(parameters: readonly FlatNode[], results: readonly Input[], outside: readonly FlatNode[] = []): Body {
  const known = new Set([...parameters, ...outside]);
  const nodes: FlatNode[] = [];
  const visit = (one: FlatNode) => {
    if (known.has(one)) return;
    known.add(one);
    for (const input of one.inputs) visit(input.node);
    for (const used of (one.bodies ?? []).flatMap(usedOutside)) visit(used);
    nodes.push(one);
  };
  for (const result of results) visit(ref(result).node);
  return { parameters, nodes, results: results.map(ref) };
}

/** The nodes around a body whose values it uses, at whatever depth. */
function usedOutside({ parameters, nodes, results }: Body): readonly FlatNode[] {
  const used = nodes.flatMap((one) => [...one.inputs.map((input) => input.node), ...(one.bodies ?? []).flatMap(usedOutside)]);
  return [...used, ...results.map((result) => result.node)].filter((one) => !nodes.includes(one) && !parameters.includes(one));
}

/** What a placeholder is fed with, and what is known of it. */
export interface Feed {
  readonly node: FlatNode;
  readonly tensor: Tensor;
  /** Default: its rank. */
  readonly shape?: readonly number[] | null;
}

/** A region that computes `fetches` from `feeds`; in the model they are y0, y1 … */
export function regionOf(feeds: readonly Feed[], fetches: readonly Input[]): Region {
  const inputs = feeds.map((feed) => feed.node);
  return {
    nodes: body(inputs, fetches).nodes,
    feeds: feeds.map(({ node: one, tensor, shape = tensor.shape.map(() => -1) }) => ({
      value: ref(one),
      name: one.name,
      dtype: tensor.dtype,
      shape,
    })),
    fetches: fetches.map((fetch, index) => ({ value: ref(fetch), name: `y${index}` })),
  };
}

/** Shape and elements of what the region gives, or the runtime's error text. Fails when a shape that was promised is not kept. */
export function answers(
  feeds: readonly Feed[],
  fetches: readonly Input[],
): readonly { shape: readonly number[]; values: unknown }[] | string {
  const { model, outputs } = translateGraph(regionOf(feeds, fetches));
  const runs = [Object.fromEntries(feeds.map((feed) => [feed.node.name, feed.tensor]))];
  const [[result] = []] = runOnnx([{ model: buildModel(model), runs }]);
  if (result?.type !== 'outputs') return result?.message ?? 'no result';
  return outputs.map(({ name, shape }) => {
    const found = result.outputs[name];
    if (found === undefined) throw new Error(`${name} is missing`);
    const broken =
      shape !== null && (shape.length !== found.shape.length || shape.some((size, axis) => size >= 0 && size !== found.shape[axis]));
    if (broken) throw new Error(`${name} was promised [${shape}] and is [${found.shape}]`);
    return { shape: found.shape, values: numbersOf(found) };
  });
}
