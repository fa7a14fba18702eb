/** Signatures of SavedModels as one ONNX model each, without a planner: for models that need nothing of the host. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Tensor } from '#mesh/tensor.ts';
import { dtypeFromNumber } from '#mesh/tensor.ts';
import { buildModel } from '#proto/onnx-writer.ts';
import type { FlatNode, ValueRef } from '../../../savedmodel/flat-graph.ts';
import { prepareServing } from '../../../savedmodel/flatten/index.ts';
import type { SavedModelSource } from '../../../savedmodel/read/saved-model.ts';
import { readSavedModel } from '../../../savedmodel/read/saved-model.ts';
import { structureGraph } from '../../../savedmodel/structure/index.ts';
import { type TranslatedRegion, translateGraph } from '../../../savedmodel/translate/translate-graph.ts';

/** The models that other people saved, where they are. */
export const SHARED_MODELS = join(import.meta.dirname, '../../../../shared/models');

/** The folder of a model's only version. */
export function versionFolder(directory: string): string | undefined {
  if (!existsSync(directory)) return undefined;
  const version = readdirSync(directory).find((name) => /^\d+$/.test(name));
  return version === undefined ? undefined : join(directory, version);
}

/** Signatures by key. */
export interface WholeModel {
  /** Translates a signature; inputs and outputs of the ONNX model have the signature's names. Throws what translateGraph throws. */
  translate(signature: string): TranslatedRegion;
}

/** Reads a SavedModel with its variables. */
export async function readWholeModel(folder: string, tags: readonly string[] = ['serve']): Promise<WholeModel> {
  const source = await readSavedModel(folder, { tags });
  const { metaGraph, bundle } = source;
  const serving = prepareServing(metaGraph, new Set(bundle?.keys() ?? []));
  const graph = structureGraph(metaGraph, serving.graph);
  const constants = await variablesOf(graph.nodes, serving.variables, source);
  return {
    translate(signature) {
      const stored = metaGraph.signatures.get(signature);
      if (stored === undefined) throw new RangeError(`there is no signature ${signature}`);
      const feeds = [...stored.inputs].map(([name, info]) => ({
        name,
        value: graph.value(info.tensorName),
        dtype: dtypeFromNumber(info.dtype) ?? 'float',
        shape: info.shape?.map(() => -1) ?? null,
      }));
      const fetches = [...stored.outputs].map(([name, info]) => ({ name: `${name}`, value: graph.value(info.tensorName) }));
      const nodes = neededBy(
        fetches.map(({ value }) => value),
        new Set(feeds.map(({ value }) => value.node)),
        graph.nodes,
      );
      return translateGraph({ nodes, feeds, fetches, constants });
    },
  };
}

async function variablesOf(
  nodes: readonly FlatNode[],
  variables: ReturnType<typeof prepareServing>['variables'],
  { bundle }: SavedModelSource,
): Promise<ReadonlyMap<FlatNode, Tensor>> {
  const bound = new Map<FlatNode, Tensor>();
  for (const node of nodes) {
    const source = node.outputCount === 1 ? variables.bound.get(node) : undefined;
    if (source?.type === 'constant') bound.set(node, source.value);
    else if (source?.type === 'checkpoint' && bundle !== null) bound.set(node, await bundle.read(source.key, source.slice));
  }
  return bound;
}

/** The nodes that the values need, in their order. */
function neededBy(values: readonly ValueRef[], fed: ReadonlySet<FlatNode>, nodes: readonly FlatNode[]): readonly FlatNode[] {
  const needed = new Set<FlatNode>();
  const pending = values.map((value) => value.node);
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (needed.has(node) || fed.has(node)) continue;
    needed.add(node);
    pending.push(...node.inputs.map((input) => input.node));
    for (const body of node.bodies ?? []) pending.push(...body.nodes, ...body.results.map((result) => result.node));
  }
  return nodes.filter((node) => needed.has(node));
}

/** A model's bytes. */
export function bytesOf(region: TranslatedRegion): Uint8Array {
  return buildModel(region.model);
}
