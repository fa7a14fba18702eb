/**
 * Imports SavedModels and calls their signatures, in a child process under plain node: onnxruntime's native code does not belong in a test
 * runner's vm, and a crash of it must fail one test and not the runner.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { deserialize, serialize } from 'node:v8';
import { type Signatures, withDefaults } from '#mesh/signature.ts';
import type { NamedTensors, Tensor } from '#mesh/tensor.ts';
import { importSavedModel } from '../../../savedmodel/import-saved-model.ts';
import { createRuntime } from '../../../services/worker-gpu/runtimes/tensorflow.ts';

/** A model and calls to make in order, once it is loaded. */
export interface ModelCalls {
  readonly folder: string;
  readonly tags: readonly string[];
  readonly calls: readonly { readonly signature: string; readonly inputs: NamedTensors; readonly outputs: readonly string[] }[];
}

/** What a call gave. */
export type CallAnswer =
  | { readonly type: 'outputs'; readonly outputs: NamedTensors }
  | { readonly type: 'error'; readonly code: string; readonly message: string };

/** What became of a model. */
export type ModelAnswers =
  | { readonly type: 'loaded'; readonly stateful: boolean; readonly signatures: Signatures; readonly answers: readonly CallAnswer[] }
  | { readonly type: 'refused'; readonly code: string; readonly message: string };

/** Answers of several models, in order, from one child process. Rejects when the child dies. */
export async function answerCalls(models: readonly ModelCalls[]): Promise<readonly ModelAnswers[]> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', import.meta.filename], {
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  child.stdin.end(serialize(models));
  const ended = new Promise<string>((resolve) => child.on('close', (code, signal) => resolve(String(signal ?? code))));
  const [out, errors, how] = await Promise.all([buffer(child.stdout), text(child.stderr), ended]);
  if (how === '0') return deserialize(out) as readonly ModelAnswers[];
  throw new Error(`the child ended with ${how}: ${errors.split('\n').slice(-6).join('\n')}`);
}

async function answersOf({ folder, tags, calls }: ModelCalls): Promise<ModelAnswers> {
  const into = await mkdtemp(join(tmpdir(), 'headrace-plan-'));
  try {
    await importSavedModel({ folder, tags, into });
    const request = { path: folder, preparedFolder: into, intraOpThreads: 1, interOpThreads: 1, executionProviders: ['cpu'] };
    const model = await createRuntime().load(request);
    const { signatures, stateful } = model.description;
    const answers: CallAnswer[] = [];
    for (const { signature, inputs, outputs } of calls) {
      try {
        const declared = signatures[signature];
        const given = await model.run(signature, outputs, declared === undefined ? inputs : withDefaults(declared, inputs));
        answers.push({ type: 'outputs', outputs: new Map(outputs.map((name, index) => [name, copied(given[index])])) });
      } catch (caught) {
        answers.push({ type: 'error', ...errorOf(caught) });
      }
    }
    await model.close();
    return { type: 'loaded', stateful, signatures, answers };
  } catch (caught) {
    return { type: 'refused', ...errorOf(caught) };
  } finally {
    await rm(into, { recursive: true, force: true });
  }
}

function copied(tensor: Tensor | undefined): Tensor {
  if (tensor === undefined) throw new TypeError('the runtime gave fewer tensors than were asked for');
  return { ...tensor, bytes: tensor.bytes.slice() };
}

function errorOf(caught: unknown): { readonly code: string; readonly message: string } {
  if (!(caught instanceof Error)) return { code: 'thrown', message: String(caught) };
  const code = 'code' in caught ? String(caught.code) : `${caught.stack}`;
  return { code, message: caught.message };
}

if (process.argv[1] === import.meta.filename) {
  const models = deserialize(await buffer(process.stdin)) as readonly ModelCalls[];
  const answers: ModelAnswers[] = [];
  for (const model of models) answers.push(await answersOf(model));
  process.stdout.write(serialize(answers));
}
