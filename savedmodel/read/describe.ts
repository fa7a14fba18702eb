/** Says what a SavedModel offers, in the form of `saved_model_cli show --all`. */
import { utf8 } from '#mesh/bytes.ts';
import type { StoredSignature, StoredTensorInfo } from '../graph.ts';
import { dataTypeName } from './data-types.ts';
import { INIT_OP_SIGNATURE } from './meta-graph.ts';
import type { SavedModelSource } from './saved-model.ts';

/** The signatures of the MetaGraph that was read, in the order of their names: inputs and outputs with dtype, shape and tensor, and the method. */
export function describeSavedModel({ metaGraph, initSignature }: SavedModelSource): string {
  const signatures = new Map(metaGraph.signatures);
  if (initSignature !== null) signatures.set(INIT_OP_SIGNATURE, initSignature);
  const lines = ['', `MetaGraphDef with tag-set: '${metaGraph.tags.join(', ')}' contains the following SignatureDefs:`];
  for (const [name, signature] of sorted(signatures)) lines.push('', `signature_def['${name}']:`, ...describeSignature(signature));
  return `${lines.join('\n')}\n`;
}

function describeSignature({ inputs, outputs, methodName, defaults }: StoredSignature): readonly string[] {
  const lines = ['  The given SavedModel SignatureDef contains the following input(s):'];
  for (const [name, info] of sorted(inputs)) {
    lines.push(`    inputs['${name}'] tensor_info:`, ...describeTensor(info));
    if (defaults.has(name)) lines.push('        may be left out: has a default');
  }
  lines.push('  The given SavedModel SignatureDef contains the following output(s):');
  for (const [name, info] of sorted(outputs)) lines.push(`    outputs['${name}'] tensor_info:`, ...describeTensor(info));
  lines.push(`  Method name is: ${methodName}`);
  return lines;
}

function describeTensor({ dtype, shape, tensorName, sparse }: StoredTensorInfo): readonly string[] {
  const names =
    sparse === undefined
      ? [`name: ${tensorName}`]
      : [`values: ${sparse.values}`, `indices: ${sparse.indices}`, `dense_shape: ${sparse.denseShape}`];
  const lines = [`dtype: ${dataTypeName(dtype)}`, `shape: ${shape === null ? 'unknown_rank' : `(${shape.join(', ')})`}`, ...names];
  return lines.map((line) => `        ${line}`);
}

/** By the bytes of the names, as Python sorts them. */
function sorted<T>(map: ReadonlyMap<string, T>): readonly (readonly [string, T])[] {
  return [...map].sort(([one], [other]) => Buffer.compare(utf8(one), utf8(other)));
}
