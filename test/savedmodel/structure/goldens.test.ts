/** Models with loops and branches, structured and run plainly: they answer what TensorFlow answered. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { Tensor } from '#mesh/tensor.ts';
import type { FlatNode } from '../../../savedmodel/flat-graph.ts';
import { hostTensorOf, originOf, prepareServing, resourceIdentity } from '../../../savedmodel/flatten/index.ts';
import type { MetaGraph } from '../../../savedmodel/graph.ts';
import type { HostTensor } from '../../../savedmodel/host-value.ts';
import { readSavedModel } from '../../../savedmodel/read/saved-model.ts';
import { type StructuredGraph, structureGraph } from '../../../savedmodel/structure/index.ts';
import { loadPatternGolden, patternFolders } from '../goldens/goldens.ts';
import { runGraph, type Variables } from './interpreter.ts';

const SHARED = join(import.meta.dirname, '..', '..', '..', '..', 'shared', 'models');

/** Models with loops or branches whose other ops the interpreter here knows. */
const RUN = new Set(
  [
    'keras3_bidirectional keras3_embedding keras3_gru keras3_gru_backwards keras3_lstm keras3_lstm_masked',
    'tf1_bidirectional_lstm tf1_case tf1_cond tf1_dynamic_rnn_gru tf1_dynamic_rnn_lstm tf1_map_fn tf1_nested_while tf1_state_writes',
    'tf1_tensor_array tf1_while tf2_autograph tf2_case tf2_cond tf2_map_fn tf2_nested_while tf2_tensor_list tf2_while tf2_while_in_cond',
    'bilstm_tagger keras_gru keras_lstm stacked_lstm',
  ].flatMap((line) => line.split(' ')),
);

const patterns = patternFolders().map(({ name, directory }) => [name, directory] as const);
const models = existsSync(SHARED)
  ? readdirSync(SHARED)
      .filter((name) => existsSync(join(SHARED, name, 'golden.json')))
      .map((name) => [name, join(SHARED, name)] as const)
  : [];
if (models.length === 0) test.skip('shared models are not here: their structure is not tested', () => undefined);

async function load(directory: string) {
  const version = readdirSync(directory).find((name) => /^\d+$/.test(name)) ?? '1';
  const golden = loadPatternGolden(directory);
  const { metaGraph, bundle } = await readSavedModel(join(directory, version), { tags: golden.tags });
  const prepared = prepareServing(metaGraph, new Set(bundle?.keys() ?? []));
  return { golden, metaGraph, bundle, prepared, graph: structureGraph(metaGraph, prepared.graph) };
}

type Loaded = Awaited<ReturnType<typeof load>>;

async function variablesOf({ prepared, bundle }: Loaded): Promise<Variables> {
  const variables: Variables = new Map();
  for (const [node, source] of prepared.variables.bound) {
    if (source.type === 'asset') continue;
    const tensor = source.type === 'constant' ? source.value : await bundle?.read(source.key, source.slice);
    if (tensor !== undefined) variables.set(resourceIdentity(node), hostTensorOf(tensor));
  }
  return variables;
}

function allNodes(nodes: readonly FlatNode[]): FlatNode[] {
  return nodes.flatMap((node) => [node, ...(node.bodies ?? []).flatMap((body) => [...body.parameters, ...allNodes(body.nodes)])]);
}

/** Every node comes after what it needs, bodies use what is around them and came before, and no name is there twice. */
function expectOrdered(graph: StructuredGraph): void {
  const names = allNodes(graph.nodes).map((node) => node.name);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  const check = (nodes: readonly FlatNode[], around: ReadonlySet<FlatNode>) => {
    const known = new Set(around);
    for (const node of nodes) {
      const missing = [...node.inputs.map((ref) => ref.node), ...node.controls].filter((one) => !known.has(one));
      expect(missing.map((one) => `${node.name} before ${one.name}`)).toEqual([]);
      for (const body of node.bodies ?? []) {
        const inside = check(body.nodes, new Set([...known, ...body.parameters]));
        expect(body.results.filter((ref) => !inside.has(ref.node)).map((ref) => ref.node.name)).toEqual([]);
        const own = new Set(body.nodes);
        expect(body.nodes.flatMap((one) => one.controls.filter((before) => !own.has(before)))).toEqual([]);
      }
      known.add(node);
    }
    return known;
  };
  check(graph.nodes, new Set());
}

const LEFT_OVER = /^((Ref)?(Enter|Exit|Merge|Switch|NextIteration)|LoopCond|Stateless(If|While|Case)|TensorArray.*)$/;
const USES_HANDLE =
  /^(ReadVariableOp|ResourceGather(Nd)?|LookupTable(Find|Size|Insert|Export)(V2)?|Assign(Add|Sub)?(VariableOp)?|ResourceScatter.*)$/;
const HANDLE = /^(VarHandleOp|Variable(V2)?|(Mutable)?(Dense)?HashTable(V2)?)$/;

describe.each([...patterns, ...models])('%s', (_name, directory) => {
  test('is structured: nothing of frames, functions and TensorArrays is left, and handles lead to their nodes', async () => {
    const { metaGraph, graph } = await load(directory);
    for (const tensorName of tensorNames(metaGraph)) expect(graph.value(tensorName).node.name).not.toBe('');
    const nodes = allNodes(graph.nodes);
    expect(nodes.filter((node) => LEFT_OVER.test(node.op)).map((node) => node.name)).toEqual([]);
    const named = nodes.filter((node) => /^(While|If|Case)$/.test(node.op));
    expect(named.filter((node) => node.bodies === undefined || namesFunction(node)).map((node) => node.name)).toEqual([]);
    const handles = nodes.filter((node) => USES_HANDLE.test(node.op)).flatMap((node) => node.inputs.slice(0, 1));
    expect(handles.map((ref) => originOf(ref).node).filter((node) => !HANDLE.test(node.op))).toEqual([]);
    expectOrdered(graph);
  });
});

test.each([...patterns, ...models].filter(([name]) => RUN.has(name)))('%s answers as TensorFlow does', async (_name, directory) => {
  const loaded = await load(directory);
  expect(allNodes(loaded.graph.nodes).some((node) => node.bodies !== undefined)).toBe(true);
  const variables = await variablesOf(loaded);
  for (const { signature, inputs, answer, tolerance } of loaded.golden.calls) {
    const stored = loaded.metaGraph.signatures.get(signature);
    const feeds = new Map([...(stored?.inputs ?? [])].flatMap(([alias, { tensorName }]) => feedOf(tensorName, inputs.get(alias))));
    const outputs = answer.type === 'error' ? [] : [...answer.outputs];
    const asked = answer.type === 'error' ? [...(stored?.outputs.keys() ?? [])] : outputs.map(([alias]) => alias);
    const fetches = asked.map((alias) => stored?.outputs.get(alias)?.tensorName ?? '');
    if (answer.type === 'error') {
      expect(() => runGraph(loaded.graph, feeds, fetches, variables)).toThrow();
      continue;
    }
    const got = runGraph(loaded.graph, feeds, fetches, variables);
    outputs.forEach(([, wanted], index) => {
      expectClose(got[index], hostTensorOf(wanted), tolerance ?? 1e-4);
    });
  }
});

function feedOf(tensorName: string, tensor: Tensor | undefined): [string, HostTensor][] {
  return tensor === undefined ? [] : [[tensorName, hostTensorOf(tensor)]];
}

function namesFunction(node: FlatNode): boolean {
  return [...node.attrs.values()].some((value) => value.type === 'function');
}

function tensorNames(metaGraph: MetaGraph): string[] {
  return [...metaGraph.signatures.values()].flatMap(({ inputs, outputs }) =>
    [...inputs.values(), ...outputs.values()].flatMap((info) =>
      info.sparse === undefined ? [info.tensorName] : [info.sparse.values, info.sparse.indices, info.sparse.denseShape],
    ),
  );
}

function expectClose(got: HostTensor | undefined, wanted: HostTensor, tolerance: number): void {
  expect([got?.dtype, got?.shape]).toEqual([wanted.dtype, wanted.shape]);
  if (!(wanted.data instanceof Float32Array || wanted.data instanceof Float64Array)) {
    expect(got?.data).toEqual(wanted.data);
    return;
  }
  wanted.data.forEach((value, index) => {
    const found = Number(got?.data[index]);
    if (!(Math.abs(found - value) <= 1e-5 + tolerance * Math.abs(value))) expect([index, found]).toEqual([index, value]);
  });
}
