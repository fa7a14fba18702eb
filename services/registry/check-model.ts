import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImportSource } from '#mesh/control.ts';
import { ServeError, type StatusCode } from '#mesh/errors.ts';
import type { JobHandler, RunningJob } from '#mesh/job-queue.ts';
import { digestFiles, holdsSavedModel } from '../../savedmodel/cache/imported-files.ts';
import type { PlanStore } from '../../savedmodel/cache/plan-store.ts';
import { readPlan } from '../../savedmodel/plan/run/read-plan.ts';
import { type FolderFile, fingerprintOf, listFolder } from './fingerprint.ts';
import { outlineOnnxFile } from './onnx-file.ts';

/** The queue of jobs that read a version folder, and import it if it is a SavedModel, before it is loaded. Registries add these jobs and work on them. */
export const CHECK_MODEL_QUEUE = 'check-model';

/** One state of one version folder; its fields together make the job's id, so that each state is checked once. */
export interface CheckModelPayload {
  readonly name: string;
  readonly version: number;
  readonly path: string;
  /** `model_platform` of its configuration: which kind it is when the folder holds several. */
  readonly platform: string;
  /** Tags of the MetaGraph to import, of a SavedModel. */
  readonly tags: readonly string[];
  /** What the files looked like when the job was added; they must look the same when it ends. */
  readonly fingerprint: string;
}

/** What a check found. A finding is a result, not a failed job: only what another attempt may mend (a read error) fails the job. */
export type CheckModelResult =
  | {
      readonly type: 'good';
      readonly platform: string;
      /** Of the files that are loaded: the folder's, or those of what was imported from it. */
      readonly totalBytes: number;
      /** SHA-256 over paths and contents: equal for equal models, wherever they lie. */
      readonly digest: string;
      /** It keeps state between requests. */
      readonly stateful: boolean;
      /** What a SavedModel was imported from; null for every other kind. */
      readonly imported: ImportSource | null;
    }
  | { readonly type: 'bad'; readonly code: StatusCode; readonly message: string };

/** The id of the job for one state of a version folder. */
export function checkModelJobId({ name, version, path, platform, tags, fingerprint }: CheckModelPayload): string {
  return [`${name}@${version}`, path, platform, tags.join(','), fingerprint].join(' ');
}

/** Makes the handler of the queue. It reads every byte that is loaded once, in chunks; imports run in threads of their own. */
export function createCheckModel(plans: PlanStore): JobHandler {
  return async (job): Promise<CheckModelResult> => {
    const payload = job.payload as CheckModelPayload;
    const { path } = payload;
    try {
      job.progress(0, 'listing');
      const files = await listFolder(path);
      const platform = recognise(path, files, payload.platform);
      const checked = platform === 'tensorflow' ? await checkSavedModel(plans, job) : await checkFiles(job, platform, files);
      const after = fingerprintOf(await listFolder(path));
      if (after !== payload.fingerprint) throw new ServeError('ABORTED', `${path} changed while it was checked`);
      return { type: 'good', platform, ...checked };
    } catch (caught) {
      if (!(caught instanceof ServeError) || job.signal.aborted) throw caught;
      return { type: 'bad', code: caught.code, message: caught.message };
    }
  };
}

type Checked = Omit<Extract<CheckModelResult, { readonly type: 'good' }>, 'type' | 'platform'>;

async function checkSavedModel(plans: PlanStore, job: RunningJob): Promise<Checked> {
  const { path, tags } = job.payload as CheckModelPayload;
  const onProgress = (percent: number, doing: string) => job.progress(Math.min(99, percent), doing);
  using held = await plans.obtain({ folder: path, digest: '', tags }, { signal: job.signal, onProgress });
  const { digest } = held;
  const plan = await readPlan(held.folder);
  const stateful = Object.values(plan.signatures).some((signature) => signature.stateful);
  return { totalBytes: held.byteLength, digest, stateful, imported: { digest, tags } };
}

async function checkFiles(job: RunningJob, platform: string, files: readonly FolderFile[]): Promise<Checked> {
  const { path } = job.payload as CheckModelPayload;
  const names = files.map((file) => file.path);
  let stateful = false;
  if (platform === 'onnx') {
    job.progress(5, 'checking signatures.json');
    const described = await readSignatures(path, names);
    for (const model of described.models) {
      if (!names.includes(model)) {
        throw new ServeError('NOT_FOUND', `${join(path, 'signatures.json')} names the model file ${model}, which is not in the folder`);
      }
      if (model.endsWith('.onnx')) await outlineOnnxFile(join(path, model));
    }
    stateful = described.stateful;
  }
  const totalBytes = files.reduce((sum, file) => sum + file.byteLength, 0);
  let said = 0;
  const onRead = (doneBytes: number) => {
    const percent = Math.floor((99 * doneBytes) / Math.max(1, totalBytes));
    if (percent > said) job.progress(percent, 'reading');
    said = Math.max(said, percent);
  };
  return { totalBytes, digest: await digestFiles(path, files, { signal: job.signal, onRead }), stateful, imported: null };
}

/** Kinds that a registry knows; any other is for the workers that have a platform of that name. */
const KNOWN_PLATFORMS: readonly string[] = ['', 'onnx', 'tensorflow'];

function recognise(path: string, files: readonly FolderFile[], wanted: string): string {
  if (!KNOWN_PLATFORMS.includes(wanted)) return wanted;
  const top = files.map((file) => file.path).filter((file) => !file.includes('/'));
  const isSavedModel = holdsSavedModel(top);
  const isOnnx = top.some((file) => file === 'signatures.json' || /\.(onnx|ort)$/.test(file));
  if (isOnnx && !(isSavedModel && wanted === 'tensorflow')) return 'onnx';
  if (isSavedModel) return 'tensorflow';
  // TF Serving's words, with ours for what else could have been there.
  throw new ServeError(
    'NOT_FOUND',
    `Could not find SavedModel .pb or .pbtxt at supplied export directory path: ${path}. Check that the directory exists and that you have the right permissions for accessing it. (No model.onnx is there either; found ${describeFiles(files.map((file) => file.path))}.)`,
  );
}

/** The ONNX files that the signatures use; without signatures all that lie in the folder itself. */
async function readSignatures(
  path: string,
  files: readonly string[],
): Promise<{ readonly models: readonly string[]; readonly stateful: boolean }> {
  if (!files.includes('signatures.json')) {
    return { models: files.filter((name) => !name.includes('/') && name.endsWith('.onnx')), stateful: false };
  }
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
  return { models: [...models], stateful: isObject(parsed) && parsed.stateful === true };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describeFiles(files: readonly string[]): string {
  if (files.length === 0) return 'no files';
  return files.length > 5 ? `${files.slice(0, 5).join(', ')} and ${files.length - 5} more` : files.join(', ');
}
