/** Custom ops of the form 'onnx': calls of functions that the model brings along. */
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, dtypeFromNumber } from '#mesh/tensor.ts';
import { ONNX_TYPE } from '#proto/onnx-types.ts';
import type { OnnxAttribute, OnnxFunction } from '#proto/onnx-writer.ts';
import type { FlatNode } from '../flat-graph.ts';
import type { AttrValue } from '../graph.ts';
import type { Scope } from '../translate/scope.ts';
import type { TypedValue } from '../translate/translator.ts';
import { UntranslatableError } from '../translate/untranslatable.ts';
import { type FunctionOp, isFunctionOp, type LibraryOp, type OpLibraryIndex } from './op-library.ts';
import { outputNumbers, outputShapes } from './planned-ops.ts';
import { RUNTIME_DOMAINS } from './runtime-domains.ts';

/** The version of ONNX's operators that functions use which name none. */
const DEFAULT_OPSET = 18;

/** Translates a node of a custom op into a node of its domain. Throws UntranslatableError for what the function cannot take. */
export function translateCall(op: LibraryOp<FunctionOp>, node: FlatNode, scope: Scope): readonly TypedValue[] {
  const { definition, domain } = op;
  const inputs = node.inputs.map((ref) => scope.tensor(ref, node));
  if (inputs.length > definition.inputs.length) {
    throw new UntranslatableError(node, `it has ${inputs.length} inputs, the custom op takes ${definition.inputs.length}`);
  }
  const numbers = outputNumbers(definition.outputs, node.attrs, (index) => {
    const dtype = inputs[index]?.dtype;
    return dtype === undefined ? 0 : DTYPES[dtype].number;
  });
  const shapes = outputShapes(
    op,
    node,
    inputs.map(({ shape }) => shape),
  );
  const { builder } = scope;
  const name = builder.pool.freshName(node.name);
  const results = definition.outputs.map((_, index): TypedValue => {
    const dtype = dtypeFromNumber(numbers[index] ?? 0);
    if (dtype === undefined || dtype === 'string') {
      throw new UntranslatableError(node, `the dtype of its output ${index} is ${dtype ?? 'not known'}, which ONNX cannot carry here`);
    }
    return { name: builder.pool.freshName(`${name}:${index}`), dtype, shape: shapes[index] ?? null };
  });
  builder.nodes.push({
    op: definition.name,
    domain,
    name,
    inputs: inputs.map((input) => input.name),
    outputs: results.map((result) => result.name),
    attributes: attributesOf(definition, node),
  });
  return results;
}

/**
 * The functions of some ops, and those that their nodes call in turn, as a model takes them. Throws ServeError INVALID_ARGUMENT when one calls an op that the
 * library does not have as a function.
 */
export function functionsOf(ops: Iterable<LibraryOp<FunctionOp>>, library: OpLibraryIndex): readonly OnnxFunction[] {
  const needed = new Set(ops);
  for (const { definition, module } of needed) {
    for (const node of definition.nodes) {
      if (node.domain === undefined || node.domain === '' || node.domain === 'ai.onnx') continue;
      const called = library.byDomain(node.domain, node.op);
      if (called !== undefined && isFunctionOp(called)) needed.add(called);
      else if (!RUNTIME_DOMAINS.has(node.domain)) {
        throw new ServeError(
          'INVALID_ARGUMENT',
          `${module.path}: op ${definition.name} calls ${node.domain}.${node.op}, which is no op of the form 'onnx' in the library`,
        );
      }
    }
  }
  return [...needed].map(({ definition, domain }) => ({
    domain,
    name: definition.name,
    inputs: definition.inputs,
    outputs: definition.results,
    defaults: definition.attributes ?? {},
    nodes: definition.nodes,
    opset: definition.opset ?? DEFAULT_OPSET,
  }));
}

/** The attributes that the function has, as ONNX writes them. */
function attributesOf({ attributes = {} }: FunctionOp, node: FlatNode): Record<string, OnnxAttribute> {
  const given: Record<string, OnnxAttribute> = {};
  for (const name of Object.keys(attributes)) {
    const value = node.attrs.get(name);
    if (value !== undefined) given[name] = onnxAttribute(name, value, node);
  }
  return given;
}

function onnxAttribute(name: string, value: AttrValue, node: FlatNode): OnnxAttribute {
  const refuse = (what: string) => new UntranslatableError(node, `its attribute ${name} is ${what}, which ONNX cannot carry`);
  switch (value.type) {
    case 'int':
      return value.value;
    case 'float':
      return { float: value.value };
    case 'bool':
      return value.value ? 1 : 0;
    case 'string':
      return Buffer.from(value.value).toString('utf8');
    case 'dtype': {
      const dtype = dtypeFromNumber(value.value);
      if (dtype === undefined) throw refuse(`the data type ${value.value}`);
      return ONNX_TYPE[dtype];
    }
    case 'shape':
      if (value.value === null) throw refuse('a shape of unknown rank');
      return value.value;
    case 'tensor':
      return { tensor: { name, ...value.value } };
    case 'list':
      return listAttribute(value.values, refuse);
    default:
      throw refuse(`a ${value.type}`);
  }
}

function listAttribute(values: readonly AttrValue[], refuse: (what: string) => UntranslatableError): OnnxAttribute {
  const ints = values.flatMap((one) => (one.type === 'int' ? [one.value] : []));
  if (ints.length === values.length) return ints;
  const floats = values.flatMap((one) => (one.type === 'float' ? [one.value] : []));
  if (floats.length === values.length) return { floats };
  const strings = values.flatMap((one) => (one.type === 'string' ? [Buffer.from(one.value).toString('utf8')] : []));
  if (strings.length === values.length) return { strings };
  throw refuse('a list that is neither of ints, floats nor strings');
}
