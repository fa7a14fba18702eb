import { describe, expect, test } from '@jest/globals';
import { readOnnxParts } from '#proto/onnx-parts.ts';
import { buildModel, type OnnxNode } from '#proto/onnx-writer.ts';
import { customNodes } from '../../../services/worker-gpu/runtimes/custom-ops/custom-nodes.ts';
import { cutGraph } from '../../../services/worker-gpu/runtimes/custom-ops/cut-graph.ts';
import { nodeAttributes } from '../../../services/worker-gpu/runtimes/custom-ops/node-attributes.ts';

/** A node for each line: `out … = Op(in …)`; ops that begin with a capital H are of the host. */
function graphOf(lines: readonly string[], { inputs = ['x'], outputs = ['y'] } = {}) {
  const nodes = lines.map((line): OnnxNode => {
    const [, made = '', op = '', taken = ''] = /^(.*) = (\w+)\((.*)\)$/.exec(line) ?? [];
    return { op, inputs: taken.split(' ').filter((name) => name !== ''), outputs: made.split(' ') };
  });
  const value = (name: string) => ({ name, dtype: 'float', shape: null }) as const;
  const constants = [{ name: 'k', dtype: 'float', shape: [], bytes: new Uint8Array(4) }] as const;
  const model = { name: 'g', opset: 18, inputs: inputs.map(value), outputs: outputs.map(value), initializers: constants, nodes };
  return readOnnxParts(buildModel(model)).graph;
}

const cut = (lines: readonly string[], ports = {}) =>
  cutGraph(graphOf(lines, ports), ({ op }) => op.startsWith('H')).map((step) =>
    step.type === 'host'
      ? step.node.op
      : `${step.inputs.join(' ')} -> ${step.nodes.map(({ op }) => op).join(' ')} -> ${step.outputs.join(' ')}`,
  );

describe('a graph with nodes of the host', () => {
  test('is cut before and after them; constants cross no border', () => {
    expect(cut(['a = Mul(x k)', 'b = H(a)', 'y = Add(b k)'])).toEqual(['x -> Mul -> a', 'H', 'b -> Add -> y']);
  });

  test('has as few parts as what nodes need allows, wherever they stand in the file', () => {
    expect(cut(['a = H1(x)', 'p = Relu(x)', 'b = Mul(a p)', 'q = Abs(p)', 'y = Sub(b q)'])).toEqual([
      'H1',
      // What needs no node of the host waits for the one part there is.
      'x a -> Relu Mul Abs Sub -> y',
    ]);
    expect(cut(['p = Relu(x)', 'a = H1(p)', 'b = H2(a)', 'c = Mul(b p)', 'd = H3(c)', 'y = Sub(d p)'])).toEqual([
      'x -> Relu -> p',
      'H1',
      'H2',
      'b p -> Mul -> c',
      'H3',
      'd p -> Sub -> y',
    ]);
  });

  test('may give an input as an output, and the same value to several', () => {
    expect(cut(['a = H1(x)', 'b = H2(x)', 'y = Add(a b)'], { outputs: ['y', 'x', 'a'] })).toEqual(['H1', 'H2', 'a b -> Add -> y']);
  });

  test('may have a node without inputs', () => {
    expect(cut(['c = Constant()', 'a = H(c)', 'y = Add(a x)'])).toEqual([' -> Constant -> c', 'H', 'a x -> Add -> y']);
  });
});

describe('custom nodes', () => {
  const body = (op: string, domain: string) => ({
    graph: { name: 'b', inputs: [], outputs: [], initializers: [], nodes: [{ op, domain, inputs: ['x', 'a'], outputs: ['z'] }] },
  });
  const parts = readOnnxParts(
    buildModel({
      name: 'g',
      opset: 18,
      inputs: [],
      outputs: [],
      initializers: [],
      functions: [
        {
          domain: 'own',
          name: 'Known',
          inputs: ['x'],
          outputs: ['y'],
          nodes: [{ op: 'Deep', domain: 'my', inputs: ['x'], outputs: ['y'] }],
        },
      ],
      nodes: [
        { op: 'Relu', inputs: ['x'], outputs: ['a'] },
        { op: 'Gelu', domain: 'com.microsoft', inputs: ['x'], outputs: ['b'] },
        { op: 'Known', domain: 'own', inputs: ['x'], outputs: ['c'] },
        { op: 'Known', domain: 'my', inputs: ['x'], outputs: ['d'] },
        { op: 'If', inputs: ['c'], outputs: ['e'], attributes: { then_branch: body('Inner', 'my') } },
      ],
    }),
  );

  test("are those of domains that neither onnxruntime nor the model's functions have, at any depth", () => {
    expect(customNodes(parts).map(({ node, isTop }) => [node.op, isTop])).toEqual([
      ['Known', true],
      ['Inner', false],
      ['Deep', false],
    ]);
  });

  test('of a graph inside use what they take from around it', () => {
    expect(parts.graph.nodes.at(-1)?.uses).toEqual(['c', 'x', 'a']);
  });
});

test('attributes are read as kernels want them, whatever their kind', () => {
  const node: OnnxNode = {
    op: 'H',
    inputs: [],
    outputs: ['y'],
    attributes: {
      count: 0,
      many: [1, -2],
      none: [],
      rate: { float: 0.5 },
      rates: { floats: [1, 2] },
      text: 'hé',
      texts: { strings: ['a', 'b'] },
      to: 11,
      value: { tensor: { name: 't', dtype: 'int32', shape: [1], bytes: Uint8Array.of(1, 0, 0, 0) } },
    },
  };
  const model = buildModel({ name: 'g', opset: 18, inputs: [], outputs: [], initializers: [], nodes: [node] });
  const [read] = readOnnxParts(model).graph.nodes;
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const string = (text: string) => ({ type: 'string', base64: base64(text) });
  expect(nodeAttributes(read?.attributes ?? [], new Set(['to']))).toEqual({
    count: { type: 'int', value: 0 },
    many: {
      type: 'list',
      values: [
        { type: 'int', value: 1 },
        { type: 'int', value: -2 },
      ],
    },
    none: { type: 'list', values: [] },
    rate: { type: 'float', value: 0.5 },
    rates: {
      type: 'list',
      values: [
        { type: 'float', value: 1 },
        { type: 'float', value: 2 },
      ],
    },
    text: string('hé'),
    texts: { type: 'list', values: [string('a'), string('b')] },
    to: { type: 'dtype', value: 2 },
    value: { type: 'tensor', dtype: 'int32', shape: [1], base64: 'AQAAAA==' },
  });
  expect(() => nodeAttributes(read?.attributes ?? [], new Set(['rate']))).toThrow('attribute rate names no element type');
});
