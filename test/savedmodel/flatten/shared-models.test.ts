/** Every SavedModel of the shared folder: flattens for each signature, binds all variables, finds its loops and tables. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { FlatGraph } from '../../../savedmodel/flat-graph.ts';
import {
  analyzeConditionals,
  analyzeLoops,
  flatten,
  flattenFunction,
  foldConstants,
  prepareServing,
} from '../../../savedmodel/flatten/index.ts';
import type { AttrValue, MetaGraph } from '../../../savedmodel/graph.ts';
import { createOpDefs } from '../../../savedmodel/op-defs/index.ts';
import { readSavedModel } from '../../../savedmodel/read/saved-model.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..', '..', 'shared', 'models');
const folders = existsSync(ROOT)
  ? readdirSync(ROOT, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(versionsOf)
  : [];

function versionsOf(entry: { readonly name: string }): (readonly [string, string])[] {
  const folder = join(ROOT, entry.name);
  return readdirSync(folder, { withFileTypes: true })
    .filter((version) => version.isDirectory() && /^saved_model\.pb(txt)?$/m.test(readdirSync(join(folder, version.name)).join('\n')))
    .map((version) => [`${entry.name}/${version.name}`, join(folder, version.name)] as const);
}

/** All functions that the nodes name in attributes, flattened, and those that these name. */
function functionsOf(metaGraph: MetaGraph, graph: FlatGraph): ReadonlyMap<string, FlatGraph> {
  const found = new Map<string, FlatGraph>();
  const pending: FlatGraph[] = [graph];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const named = at.nodes.flatMap((node) => [...node.attrs.values()].flatMap((attr) => (attr.type === 'list' ? attr.values : [attr])));
    for (const attr of named.filter((one): one is AttrValue & { type: 'function' } => one.type === 'function')) {
      if (found.has(attr.name)) continue;
      const body = flattenFunction(metaGraph, attr.name, attr.attrs);
      found.set(attr.name, body);
      pending.push(body);
    }
  }
  return found;
}

async function load(folder: string) {
  const { metaGraph, bundle } = await readSavedModel(folder, { tags: ['serve'] });
  return { metaGraph, keys: new Set(bundle?.keys() ?? []) };
}

/** Variables with the path of an asset, which no checkpoint has. */
const NOT_RESTORED: ReadonlyMap<string, readonly string[]> = new Map([
  ['half_plus_two', ['filename_tensor constant']],
  ['half_plus_three', ['filename_tensor constant']],
  ['half_plus_two_tf2', ['Variable asset']],
  ['image_bytes_classifier', ['Variable asset']],
]);

const describeModels = folders.length > 0 ? describe : describe.skip;
if (folders.length === 0) test.skip('shared models are not here: their flattening is not tested', () => undefined);

describeModels('shared models', () => {
  test.each(folders)('%s flattens, and every variable has its checkpoint key', async (name, folder) => {
    const { metaGraph, keys } = await load(folder);
    const { graph, variables, tables } = prepareServing(metaGraph, keys);
    for (const { inputs, outputs } of metaGraph.signatures.values()) {
      for (const { tensorName } of [...inputs.values(), ...outputs.values()]) if (tensorName !== '') graph.value(tensorName);
    }
    expect(variables.unbound.map((one) => `${one.node.name}: ${one.reason}`)).toEqual([]);
    const others = [...variables.bound]
      .filter(([, source]) => source.type !== 'checkpoint')
      .map(([node, source]) => `${node.name} ${source.type}`);
    expect(others).toEqual(NOT_RESTORED.get(name.split('/')[0] ?? '') ?? []);
    expect(tables.filter((one) => one.problem !== null || one.sources.length === 0)).toEqual([]);
  });

  test.each(folders)('%s has only ops that are known, whole and in its functions', async (name, folder) => {
    const { metaGraph } = await load(folder);
    const whole = foldConstants(flatten(metaGraph));
    const defs = createOpDefs();
    const all = [whole, ...functionsOf(metaGraph, whole).values()];
    const unknown = new Set(all.flatMap((graph) => graph.nodes.map((node) => node.op)).filter((op) => !defs.names.has(op)));
    expect([...unknown]).toEqual(name.startsWith('zero_out/') ? ['ZeroOut'] : []);
    for (const graph of all) {
      analyzeLoops(graph);
      analyzeConditionals(graph);
      const seen = new Set<unknown>();
      for (const node of graph.nodes) {
        const broken = node.inputs.filter(
          (ref) => ref.output >= ref.node.outputCount || (ref.node.op !== 'NextIteration' && !seen.has(ref.node)),
        );
        expect([node.name, broken.length]).toEqual([node.name, 0]);
        seen.add(node);
      }
    }
  });

  test.each([
    ['keras_lstm', 1],
    ['keras_gru', 1],
    ['stacked_lstm', 2],
    ['bilstm_tagger', 4], // Two directions in each of two signatures.
  ])('%s has %d while loops, whose bodies give back what they take', async (name, count) => {
    const [, folder] = folders.find(([one]) => one.startsWith(`${name}/`)) ?? ['', ''];
    const { metaGraph, keys } = await load(folder);
    const { graph } = prepareServing(metaGraph, keys);
    const loops = graph.nodes.filter((node) => node.op === 'While' || node.op === 'StatelessWhile');
    expect(loops.length).toBe(count);
    for (const node of loops) {
      const named = (attr: string) => {
        const value = node.attrs.get(attr);
        if (value?.type !== 'function') throw new Error(`${node.name} has no ${attr}`);
        return flattenFunction(metaGraph, value.name, value.attrs);
      };
      expect(named('body').parameters.length).toBe(node.inputs.length);
      expect(named('body').results.length).toBe(node.inputs.length);
      expect([named('cond').parameters.length, named('cond').results.length]).toEqual([node.inputs.length, 1]);
    }
  });

  test('the conditionals of estimator_regressor’s training part are recognised', async () => {
    const [, folder] = folders.find(([one]) => one.startsWith('estimator_regressor/')) ?? ['', ''];
    const { conditionals } = analyzeConditionals(flatten((await load(folder)).metaGraph));
    expect(conditionals.map((one) => [one.values.length > 0, one.switches.length > 0])).toEqual(conditionals.map(() => [true, true]));
    expect(conditionals.length).toBe(4);
  });
});
