import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError, type StatusCode } from '#mesh/errors.ts';
import type { RunningJob } from '#mesh/job-queue.ts';
import { fingerprintOf, listFolder } from './fingerprint.ts';
import { outlineOnnxFile } from './onnx-file.ts';

/** The queue of jobs that read a version folder before it is loaded. Registries add these jobs and work on them. */
export const CHECK_MODEL_QUEUE = 'check-model';

/** One state of one version folder; its fields together make the job's id, so that each state is checked once. */
export interface CheckModelPayload {
  readonly name: string;
  readonly version: number;
  readonly path: string;
  /** What the files looked like when the job was added; they must look the same when it ends. */
  readonly fingerprint: string;
}

/** What a check found. A finding is a result, not a failed job: only what another attempt may mend (a read error) fails the job. */
export type CheckModelResult =
  | {
      readonly type: 'good';
      readonly platform: string;
      /** Of all files. */
      readonly totalBytes: number;
      /** SHA-256 over paths and contents: equal for equal models, wherever they lie. */
      readonly digest: string;
    }
  | { readonly type: 'bad'; readonly code: StatusCode; readonly message: string };

/** The id of the job for one state of a version folder. */
export function checkModelJobId({ name, version, path, fingerprint }: CheckModelPayload): string {
  return `${name}@${version} ${path} ${fingerprint}`;
}

/** Runs one check. Reads every byte of the folder once, in chunks. */
export async function checkModel(job: RunningJob): Promise<CheckModelResult> {
  const payload = job.payload as CheckModelPayload;
  const { path } = payload;
  try {
    job.progress(0, 'listing');
    const files = await listFolder(path);
    const names = files.map((file) => file.path);
    const platform = recognise(path, names);
    job.progress(5, 'checking signatures.json');
    const models = await modelFilesOf(path, names);
    for (const model of models) {
      if (!names.includes(model)) {
        throw new ServeError('NOT_FOUND', `${join(path, 'signatures.json')} names the model file ${model}, which is not in the folder`);
      }
      if (model.endsWith('.onnx')) await outlineOnnxFile(join(path, model));
    }
    const totalBytes = files.reduce((sum, file) => sum + file.byteLength, 0);
    const hash = createHash('sha256');
    let doneBytes = 0;
    for (const file of files) {
      hash.update(`${file.path}\0${file.byteLength}\n`);
      for await (const chunk of createReadStream(join(path, file.path), { highWaterMark: 1 << 20, signal: job.signal })) {
        hash.update(chunk as Uint8Array);
      }
      doneBytes += file.byteLength;
      job.progress(10 + Math.floor((89 * doneBytes) / Math.max(1, totalBytes)), 'reading');
    }
    const after = fingerprintOf(await listFolder(path));
    if (after !== payload.fingerprint) throw new ServeError('ABORTED', `${path} changed while it was checked`);
    return { type: 'good', platform, totalBytes, digest: hash.digest('hex') };
  } catch (caught) {
    if (!(caught instanceof ServeError) || job.signal.aborted) throw caught;
    return { type: 'bad', code: caught.code, message: caught.message };
  }
}

function recognise(path: string, files: readonly string[]): string {
  const top = files.filter((file) => !file.includes('/'));
  if (top.some((file) => file === 'signatures.json' || /\.(onnx|ort)$/.test(file))) return 'onnx';
  if (top.includes('saved_model.pb') || top.includes('saved_model.pbtxt')) {
    throw new ServeError(
      'UNIMPLEMENTED',
      `${path} holds a SavedModel: importing SavedModels is not in this release; convert it to model.onnx`,
    );
  }
  // TF Serving's words, with ours for what else could have been there.
  throw new ServeError(
    'NOT_FOUND',
    `Could not find SavedModel .pb or .pbtxt at supplied export directory path: ${path}. Check that the directory exists and that you have the right permissions for accessing it. (No model.onnx is there either; found ${describeFiles(files)}.)`,
  );
}

/** The ONNX files that the signatures use; without signatures all that lie in the folder itself. */
async function modelFilesOf(path: string, files: readonly string[]): Promise<readonly string[]> {
  if (!files.includes('signatures.json')) return files.filter((name) => !name.includes('/') && name.endsWith('.onnx'));
  const file = join(path, 'signatures.json');
  const text = await readFile(file, 'utf8');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (caught) {
    throw new ServeError('INVALID_ARGUMENT', `${file} is not JSON: ${caught instanceof Error ? caught.message : caught}`, {
      cause: caught,
    });
  }
  const signatures = isObject(parsed) ? parsed.signatures : undefined;
  if (!isObject(signatures)) throw new ServeError('INVALID_ARGUMENT', `${file} has no object "signatures"`);
  const models = new Set<string>();
  for (const [key, signature] of Object.entries(signatures)) {
    if (!isObject(signature)) throw new ServeError('INVALID_ARGUMENT', `${file}: signature "${key}" is not an object`);
    const { model = 'model.onnx' } = signature;
    if (typeof model !== 'string') throw new ServeError('INVALID_ARGUMENT', `${file}: "model" of signature "${key}" is not a string`);
    // A signature of host operations alone (`"host"` on every output) needs no file.
    const outputs = isObject(signature.outputs) ? Object.values(signature.outputs) : [];
    if (outputs.length === 0 || !outputs.every((output) => isObject(output) && 'host' in output)) models.add(model);
  }
  return [...models];
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describeFiles(files: readonly string[]): string {
  if (files.length === 0) return 'no files';
  return files.length > 5 ? `${files.slice(0, 5).join(', ')} and ${files.length - 5} more` : files.join(', ');
}
