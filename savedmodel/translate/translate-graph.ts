/** Builds an ONNX model out of a region of a flat graph without control flow. */
import { ServeError } from '#mesh/errors.ts';
import type { OnnxModel } from '#proto/onnx-writer.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import { GraphBuilder } from './graph-builder.ts';
import type { TensorType, TypedValue } from './translator.ts';
import { TRANSLATORS } from './translators.ts';

/** The version of ONNX's operators that translators emit. */
export const OPSET = 18;

/** A value that the region takes from outside: what it stands for in the graph, its name in the model, and what is known of it. */
export interface RegionFeed extends TensorType {
  readonly value: ValueRef;
  readonly name: string;
}

/** A value that the region gives, and its name in the model. */
export interface RegionFetch {
  readonly value: ValueRef;
  readonly name: string;
}

/** What to translate. */
export interface Region {
  /** In an order in which every node comes after its inputs. Nodes whose outputs are all fed are skipped. */
  readonly nodes: readonly FlatNode[];
  readonly feeds: readonly RegionFeed[];
  readonly fetches: readonly RegionFetch[];
  /** Values bound to constants: variables by their resource handle or reference. */
  readonly constants?: ReadonlyMap<FlatNode, TypedValue['constant']>;
}

/** A translated region. Encode `model` with `buildModel`; its initializers share bytes with the graph's constants. */
export interface TranslatedRegion {
  readonly model: OnnxModel;
  /** The fetches with what is known of them, in order. */
  readonly outputs: readonly TypedValue[];
}

/** Translates a region. Throws ServeError UNIMPLEMENTED for an op that has no translator or a use of it that has none. */
export function translateGraph(region: Region): TranslatedRegion {
  const builder = new GraphBuilder();
  const values = new Map<FlatNode, (TypedValue | undefined)[]>();
  const put = (ref: ValueRef, value: TypedValue) => {
    const outputs = values.get(ref.node) ?? [];
    outputs[ref.output] = value;
    values.set(ref.node, outputs);
  };
  for (const fetch of region.fetches) builder.freshName(fetch.name);
  for (const feed of region.feeds) put(feed.value, { name: builder.freshName(feed.name), dtype: feed.dtype, shape: feed.shape });
  for (const [node, tensor] of region.constants ?? []) {
    if (tensor !== undefined) put({ node, output: 0 }, builder.constant(tensor));
  }
  for (const node of region.nodes) {
    const given = values.get(node);
    if (given !== undefined && given.filter((one) => one !== undefined).length >= node.outputCount) continue;
    const outputs = translateNode(node, builder, values);
    values.set(
      node,
      outputs.map((output, index) => given?.[index] ?? output),
    );
  }
  const outputs = region.fetches.map((fetch) => ({ fetch, value: translatedValue(fetch.value, values, fetch.value.node) }));
  for (const { fetch, value } of outputs) builder.nodes.push({ op: 'Identity', inputs: [value.name], outputs: [fetch.name] });
  return {
    model: {
      name: 'saved_model',
      opset: OPSET,
      inputs: region.feeds.map((feed) => {
        const name = translatedValue(feed.value, values, feed.value.node).name;
        return { name, dtype: feed.dtype, shape: feed.shape };
      }),
      outputs: outputs.map(({ fetch, value }) => ({ name: fetch.name, dtype: value.dtype, shape: null })),
      initializers: builder.usedInitializers([]),
      nodes: builder.nodes,
    },
    outputs: outputs.map(({ fetch, value }) => ({ ...value, name: fetch.name })),
  };
}

function translateNode(
  node: FlatNode,
  builder: GraphBuilder,
  values: ReadonlyMap<FlatNode, readonly (TypedValue | undefined)[]>,
): readonly TypedValue[] {
  const translator = TRANSLATORS.get(node.op);
  if (translator === undefined)
    throw new ServeError('UNIMPLEMENTED', `cannot translate ${node.op} node ${node.name}: the op has no translator`);
  const inputs = node.inputs.map((ref) => translatedValue(ref, values, node));
  return translator(node, inputs, builder.at(node, inputs));
}

function translatedValue(ref: ValueRef, values: ReadonlyMap<FlatNode, readonly (TypedValue | undefined)[]>, user: FlatNode): TypedValue {
  const value = values.get(ref.node)?.[ref.output];
  if (value !== undefined) return value;
  throw new ServeError(
    'INTERNAL',
    `${user.op} node ${user.name} needs ${ref.node.name}:${ref.output}, which its region neither computes nor is fed`,
  );
}
