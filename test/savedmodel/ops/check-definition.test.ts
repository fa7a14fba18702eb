import { describe, expect, test } from '@jest/globals';
import { checkDefinition } from '../../../savedmodel/ops/check-definition.ts';

const kernel = { name: 'Op', form: 'kernel', outputs: [{ dtype: 'float' }], run: () => [] };
const body = { name: 'Op', form: 'onnx', outputs: [{ dtype: { like: 0 } }], inputs: ['x'], results: ['y'] };
const relu = { op: 'Relu', inputs: ['x'], outputs: ['y'] };
const onnx = { ...body, nodes: [relu] };

describe('a definition of an op', () => {
  test.each([
    ['a kernel', kernel],
    ['a kernel with all fields', { ...kernel, domain: 'my.ops', batchable: true, shapes: () => [null] }],
    ['a function', onnx],
    [
      'a function with attributes',
      { ...body, attributes: { k: 1 }, opset: 21, nodes: [{ ...relu, attributes: { k: { ref: 'k', type: 'int' } } }] },
    ],
    ['a function that leaves out an optional input', { ...body, nodes: [{ op: 'Clip', inputs: ['x', '', 'x'], outputs: ['y'] }] }],
  ])('is taken as %s', (_, definition) => {
    expect(checkDefinition(definition, 'ops.ts', 0)).toBe(definition);
  });

  test.each([
    ['no object', 7, 'ops.ts: op 3 is a number, not an object'],
    ['null', null, 'ops.ts: op 3 is null, not an object'],
    ['without a name', { ...kernel, name: undefined }, 'ops.ts: op 3 has no name: "name" is missing'],
    ['with a name that no graph has', { ...kernel, name: 'a b' }, 'op a b has no name: "name" is "a b"'],
    ['of no form', { ...kernel, form: 'wasm' }, `op Op is wrong: "form" is "wasm", not 'kernel' or 'onnx'`],
    ['with a field too many', { ...kernel, nodes: [] }, `op Op is wrong: "nodes" is not a field of the form 'kernel'`],
    ["in ONNX's own domain", { ...kernel, domain: 'ai.onnx.ml' }, `"domain" is ai.onnx.ml, which onnxruntime has itself`],
    ['in a domain that is no name', { ...kernel, domain: '' }, '"domain" is "", not a name'],
    ['without outputs', { ...kernel, outputs: [] }, '"outputs" is [], not a list with one element for each output'],
    [
      'with an unknown dtype',
      { ...kernel, outputs: [{ dtype: 'float32' }] },
      '"outputs[0].dtype" is "float32", which is no dtype; float, double',
    ],
    [
      'with a dtype like nothing',
      { ...kernel, outputs: [{ dtype: { like: -1 } }] },
      '"outputs[0].dtype" is {"like":-1}, not a dtype, { like: INPUT }',
    ],
    ['with an output that is a dtype', { ...kernel, outputs: ['float'] }, '"outputs[0]" is "float", not an object with "dtype"'],
    ['without run', { ...kernel, run: 'later' }, '"run" is "later", not a function'],
    ['with shapes that are none', { ...kernel, shapes: [2] }, '"shapes" is [2], not a function'],
    ['batchable now and then', { ...kernel, batchable: 'yes' }, '"batchable" is "yes", not true or false'],
    ['with two inputs of one name', { ...onnx, inputs: ['x', 'x'] }, '"inputs" is ["x","x"], not a list of different names'],
    ['with results for other outputs', { ...onnx, results: ['y', 'x'] }, '"results" names 2 values, "outputs" has 1'],
    ['without nodes', { ...onnx, nodes: [] }, '"nodes" is [], not a list of nodes'],
    ['with a result that nothing makes', { ...onnx, results: ['z'] }, '"results" names z, which no node makes'],
    [
      'with a node before what it takes',
      { ...body, nodes: [{ op: 'Add', inputs: ['x', 'h'], outputs: ['y'] }] },
      '"nodes[0]" (Add) takes h, which is no input',
    ],
    ['with a value that is made twice', { ...body, nodes: [relu, relu] }, '"nodes[1]" (Relu) makes y, which is made before'],
    [
      'with an attribute of nothing',
      { ...body, nodes: [{ ...relu, attributes: { k: { ref: 'k', type: 'int' } } }] },
      '"nodes[0].attributes.k" refers to "k", which is not in "attributes"',
    ],
    ['of an opset that there is not', { ...onnx, opset: 3 }, '"opset" is 3, not a whole number from 13 to 22'],
  ])('is refused %s, with file, op and field', (_, definition, why) => {
    expect(() => checkDefinition(definition, 'ops.ts', 3)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(() => checkDefinition(definition, 'ops.ts', 3)).toThrow(/^ops\.ts: op /);
    expect(() => checkDefinition(definition, 'ops.ts', 3)).toThrow(why);
  });
});
