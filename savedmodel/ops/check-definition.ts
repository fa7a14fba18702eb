/** Checks what a module exports before anything relies on it. Modules are written in JavaScript too, and types are erased in any case. */
import { ServeError } from '#mesh/errors.ts';
import { DTYPES } from '#mesh/tensor.ts';
import type { OpDefinition } from '../../extend/ops.ts';
import { RUNTIME_DOMAINS } from './runtime-domains.ts';

type Fields = Readonly<Record<string, unknown>>;
/** Throws what is wrong with an op. */
type Fail = (why: string) => never;

const NAME = /^[A-Za-z_][\w>.]*$/;
const DOMAIN = /^[\w.-]+$/;
const KERNEL_FIELDS = ['name', 'domain', 'outputs', 'batchable', 'form', 'run', 'shapes'];
const FUNCTION_FIELDS = ['name', 'domain', 'outputs', 'batchable', 'form', 'opset', 'inputs', 'results', 'attributes', 'nodes', 'shapes'];
/** The operator sets that onnxruntime has throughout. */
const OPSETS = { from: 13, to: 22 };

/** Checks an element of a module's list of ops. Throws ServeError INVALID_ARGUMENT that names file, op and field. */
export function checkDefinition(value: unknown, file: string, index: number): OpDefinition {
  if (!isObject(value)) throw wrong(file, `op ${index}`, `is ${kindOf(value)}, not an object`);
  const named = typeof value.name === 'string' ? `op ${value.name}` : `op ${index}`;
  const fail: Fail = (why) => {
    throw wrong(file, named, why);
  };
  const { name, domain, outputs, batchable, form, shapes } = value;
  if (typeof name !== 'string' || !NAME.test(name)) fail(`has no name: "name" is ${shown(name)}`);
  if (form !== 'kernel' && form !== 'onnx') fail(`"form" is ${shown(form)}, not 'kernel' or 'onnx'`);
  const known = form === 'kernel' ? KERNEL_FIELDS : FUNCTION_FIELDS;
  const stranger = Object.keys(value).find((key) => !known.includes(key));
  if (stranger !== undefined) fail(`"${stranger}" is not a field of the form '${form}'; ${known.join(', ')} are`);
  if (domain !== undefined && (typeof domain !== 'string' || !DOMAIN.test(domain))) fail(`"domain" is ${shown(domain)}, not a name`);
  if (typeof domain === 'string' && RUNTIME_DOMAINS.has(domain)) fail(`"domain" is ${domain}, which onnxruntime has itself`);
  if (batchable !== undefined && typeof batchable !== 'boolean') fail(`"batchable" is ${shown(batchable)}, not true or false`);
  if (shapes !== undefined && typeof shapes !== 'function') fail(`"shapes" is ${shown(shapes)}, not a function`);
  if (!Array.isArray(outputs) || outputs.length === 0) fail(`"outputs" is ${shown(outputs)}, not a list with one element for each output`);
  for (const [place, output] of (outputs as readonly unknown[]).entries()) checkOutput(output, place, fail);
  if (form === 'onnx') checkFunction(value, fail);
  else if (typeof value.run !== 'function') fail(`"run" is ${shown(value.run)}, not a function`);
  return value as unknown as OpDefinition;
}

function checkOutput(output: unknown, place: number, fail: Fail): void {
  const field = `outputs[${place}]`;
  if (!isObject(output)) fail(`"${field}" is ${shown(output)}, not an object with "dtype"`);
  const { dtype, name } = output;
  if (name !== undefined && typeof name !== 'string') fail(`"${field}.name" is ${shown(name)}, not a string`);
  if (typeof dtype === 'string') {
    if (!Object.hasOwn(DTYPES, dtype))
      fail(`"${field}.dtype" is ${shown(dtype)}, which is no dtype; ${Object.keys(DTYPES).join(', ')} are`);
    return;
  }
  const like = isObject(dtype) ? dtype.like : undefined;
  const attribute = isObject(dtype) ? dtype.attribute : undefined;
  const isLike = Number.isSafeInteger(like) && (like as number) >= 0;
  if (!isLike && typeof attribute !== 'string')
    fail(`"${field}.dtype" is ${shown(dtype)}, not a dtype, { like: INPUT } or { attribute: NAME }`);
}

function checkFunction(value: Fields, fail: Fail): void {
  const { opset, inputs, results, attributes, nodes, outputs } = value;
  if (opset !== undefined && !(Number.isSafeInteger(opset) && (opset as number) >= OPSETS.from && (opset as number) <= OPSETS.to)) {
    fail(`"opset" is ${shown(opset)}, not a whole number from ${OPSETS.from} to ${OPSETS.to}`);
  }
  if (!isNames(inputs) || new Set(inputs).size !== inputs.length) fail(`"inputs" is ${shown(inputs)}, not a list of different names`);
  if (!isNames(results)) fail(`"results" is ${shown(results)}, not a list of names`);
  const count = (outputs as readonly unknown[]).length;
  if (results.length !== count) fail(`"results" names ${results.length} values, "outputs" has ${count}`);
  if (attributes !== undefined && !isObject(attributes)) fail(`"attributes" is ${shown(attributes)}, not an object`);
  if (!Array.isArray(nodes) || nodes.length === 0) fail(`"nodes" is ${shown(nodes)}, not a list of nodes`);
  const given = new Set(inputs);
  const declared = new Set(Object.keys(isObject(attributes) ? attributes : {}));
  for (const [place, node] of (nodes as readonly unknown[]).entries()) checkNode(node, `nodes[${place}]`, given, declared, fail);
  const missing = results.find((name) => !given.has(name));
  if (missing !== undefined) fail(`"results" names ${missing}, which no node makes`);
}

function checkNode(node: unknown, field: string, given: Set<string>, declared: ReadonlySet<string>, fail: Fail): void {
  if (!isObject(node)) fail(`"${field}" is ${shown(node)}, not a node`);
  const { op, inputs, outputs, attributes } = node;
  if (typeof op !== 'string' || op === '') fail(`"${field}.op" is ${shown(op)}, not the name of an operator`);
  if (!isNames(inputs)) fail(`"${field}.inputs" is ${shown(inputs)}, not a list of names`);
  if (!isNames(outputs)) fail(`"${field}.outputs" is ${shown(outputs)}, not a list of names`);
  const unknown = inputs.find((name) => name !== '' && !given.has(name));
  if (unknown !== undefined) fail(`"${field}" (${op}) takes ${unknown}, which is no input and no node before it makes`);
  for (const name of outputs) {
    if (name !== '' && given.has(name)) fail(`"${field}" (${op}) makes ${name}, which is made before`);
    given.add(name);
  }
  for (const [name, attribute] of Object.entries(isObject(attributes) ? attributes : {})) {
    if (!isObject(attribute) || attribute.ref === undefined) continue;
    const { ref } = attribute;
    if (typeof ref !== 'string' || !declared.has(ref))
      fail(`"${field}.attributes.${name}" refers to ${shown(ref)}, which is not in "attributes"`);
  }
}

function wrong(file: string, op: string, why: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', `${file}: ${op} ${why.startsWith('"') ? `is wrong: ${why}` : why}`);
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}

/** A value for a message, cut short. */
function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'function') return 'a function';
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // What JSON cannot write is named by its kind.
  }
  if (text === undefined) return kindOf(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
