/** Looks at a version folder of ONNX files: their inputs and outputs, and the signatures that `signatures.json` offers. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import { DTYPES } from '#mesh/tensor.ts';
import { type OnnxPort, readOnnxHeaderFile } from '#proto/onnx-header.ts';
import { shapeText } from './plan-text.ts';

/** One ONNX file. */
export interface OnnxFileInspection {
  readonly file: string;
  readonly irVersion: number;
  /** Versions of operator sets by domain; `ai.onnx` is ONNX's own. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly weightBytes: number;
  readonly inputs: readonly OnnxPort[];
  readonly outputs: readonly OnnxPort[];
}

/** The folder. */
export interface OnnxFolderInspection {
  readonly files: readonly OnnxFileInspection[];
  /** `signatures.json` as it is written; null without it: then each file offers its graph as `serving_default`. */
  readonly signatures: Readonly<Record<string, unknown>> | null;
}

/** Reads headers only: weights stay on disk. Throws DATA_LOSS for a file that is not ONNX, INVALID_ARGUMENT for a `signatures.json` that is no JSON. */
export async function inspectOnnxFolder(folder: string, signature?: string): Promise<OnnxFolderInspection> {
  const names = (await readdir(folder)).sort();
  const files = names.filter((name) => name.endsWith('.onnx')).map((name) => inspectFile(folder, name));
  const all = names.includes('signatures.json') ? await readSignatures(join(folder, 'signatures.json')) : null;
  if (signature === undefined || all === null) return { files, signatures: all };
  if (!Object.hasOwn(all, signature)) throw new ServeError('NOT_FOUND', `${folder} has no signature "${signature}"`);
  return { files, signatures: { [signature]: all[signature] } };
}

/** The same as text. */
export function onnxFolderText({ files, signatures }: OnnxFolderInspection): string {
  const lines = files.flatMap(({ file, irVersion, opsets, weightBytes, inputs, outputs }) => [
    '',
    `${file}: ONNX IR ${irVersion}, operators ${pairs(opsets)}, ${weightBytes} bytes of weights`,
    ...inputs.map((port) => `  takes ${portText(port)}`),
    ...outputs.map((port) => `  gives ${portText(port)}`),
  ]);
  if (signatures === null) lines.push('', 'No signatures.json: the graph is offered as it is, as serving_default.');
  for (const [name, value] of Object.entries(signatures ?? {})) lines.push('', `signature_def['${name}']:`, ...offered(value));
  return `${lines.join('\n')}\n`;
}

function inspectFile(folder: string, file: string): OnnxFileInspection {
  const { irVersion, opsets, initializerBytes, inputs, outputs } = readOnnxHeaderFile(join(folder, file));
  const named = Object.fromEntries([...opsets].map(([domain, version]) => [domain === '' ? 'ai.onnx' : domain, version]));
  return { file, irVersion, opsets: named, weightBytes: initializerBytes, inputs, outputs };
}

async function readSignatures(file: string): Promise<Readonly<Record<string, unknown>>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new ServeError('INVALID_ARGUMENT', `${file} is not JSON`, { cause });
  }
  const signatures = isObject(parsed) ? parsed.signatures : undefined;
  if (!isObject(signatures)) throw new ServeError('INVALID_ARGUMENT', `${file} has no object "signatures"`);
  return signatures;
}

/** A signature's inputs and outputs in `saved_model_cli`'s form, as far as the file has them. Whether they fit the graph is the worker's to check. */
function offered(signature: unknown): readonly string[] {
  if (!isObject(signature)) return ['  is not an object'];
  const lines: string[] = [];
  for (const [kind, title] of [
    ['inputs', 'input(s)'],
    ['outputs', 'output(s)'],
  ] as const) {
    const entries = signature[kind];
    lines.push(`  ${title}:`);
    for (const [alias, entry] of Object.entries(isObject(entries) ? entries : {})) {
      lines.push(`    ${kind}['${alias}']: ${isObject(entry) ? `${entry.dtype}, shape ${entryShape(entry.shape)}` : 'is not an object'}`);
    }
  }
  return [...lines, `  Method name is: ${typeof signature.method === 'string' ? signature.method : 'predict'}`];
}

function entryShape(shape: unknown): string {
  return Array.isArray(shape) ? shapeText(shape.map(Number)) : shapeText(null);
}

function portText({ name, dtype, elementType, shape }: OnnxPort): string {
  return `${name}: ${dtype === null ? `a value of ONNX type ${elementType}, which clients cannot send or receive` : DTYPES[dtype].protoName}, shape ${shapeText(shape)}`;
}

function pairs(record: Readonly<Record<string, number>>): string {
  return Object.entries(record)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
