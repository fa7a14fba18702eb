import type { Signature, TensorSpec } from '#mesh/signature.ts';
import { DTYPES } from '#mesh/tensor.ts';

/** A signature in protobuf's text form (a `tensorflow.SignatureDef`), as TensorFlow Serving prints it inside error texts. */
export function signatureText({ inputs, outputs, method }: Signature): string {
  return `${entries('inputs', inputs)}${entries('outputs', outputs)}method_name: ${JSON.stringify(method)}\n`;
}

function entries(field: string, specs: Readonly<Record<string, TensorSpec>>): string {
  let text = '';
  for (const alias of Object.keys(specs).sort()) {
    const spec = specs[alias];
    if (spec !== undefined) text += `${field} {\n  key: ${JSON.stringify(alias)}\n  value {\n${tensorInfo(spec)}  }\n}\n`;
  }
  return text;
}

function tensorInfo({ tensorName, dtype, shape }: TensorSpec): string {
  const dims =
    shape === null ? '      unknown_rank: true\n' : shape.map((size) => `      dim {\n        size: ${size}\n      }\n`).join('');
  return `    name: ${JSON.stringify(tensorName)}\n    dtype: ${DTYPES[dtype].protoName}\n    tensor_shape {\n${dims}    }\n`;
}
