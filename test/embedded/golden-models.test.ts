/** Every SavedModel of `../shared/models` through a whole mesh, batching on: import, cache, executors, shared memory, batcher. */
import { cpSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toServeError } from '#mesh/errors.ts';
import type { NamedTensors } from '#mesh/tensor.ts';
import { loadPatternGolden, type PatternCall } from '../savedmodel/goldens/goldens.ts';
import { difference } from '../savedmodel/models/difference.ts';
import { type RunningMesh, startRunningMesh } from './running-mesh.ts';

const SHARED = join(import.meta.dirname, '../../../shared/models');
/** It needs an op of its own: `saved-models.test.ts` says how it is refused. */
const REFUSED = 'zero_out';
/** Its output has no rows, whatever comes in; TensorFlow Serving, too, cannot batch it. */
const UNBATCHABLE: ReadonlyMap<string, RegExp> = new Map([
  ['java_variables', /^FAILED_PRECONDITION: Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes/],
]);
const names = existsSync(SHARED)
  ? readdirSync(SHARED).filter((name) => name !== REFUSED && existsSync(join(SHARED, name, 'golden.json')))
  : [];

function startMesh(models: readonly string[], ...flags: readonly string[]): Promise<RunningMesh> {
  const config = (folder: string, name: string) =>
    `config { name: "${name}" base_path: "${join(folder, 'models', name)}" model_platform: "tensorflow" }`;
  return startRunningMesh({
    prepare(folder) {
      for (const name of models) cpSync(join(SHARED, name), join(folder, 'models', name), { recursive: true });
    },
    config: (folder) => `model_config_list { ${models.map((name) => config(folder, name)).join(' ')} }`,
    flags: (folder) => [`--import_cache_dir=${join(folder, 'cache')}`, '--enable_batching=true', ...flags],
  });
}

async function answer(mesh: RunningMesh, name: string, call: PatternCall): Promise<NamedTensors | string> {
  const { signature: signatureName, inputs, answer: wanted } = call;
  try {
    const servable = mesh.embedded.core.resolve(name, { type: 'latest' });
    const signature = servable.signatures[signatureName];
    if (signature === undefined) return `NOT_FOUND: ${signatureName}`;
    const outputs = wanted.type === 'outputs' ? [...wanted.outputs.keys()] : Object.keys(signature.outputs);
    const request = { servable, signatureName, signature, inputs, outputs, deadlineMs: Number.POSITIVE_INFINITY, traceparent: '' };
    return (await mesh.embedded.core.infer(request).answer).outputs;
  } catch (caught) {
    const { code, message } = toServeError(caught);
    return `${code}: ${message}`;
  }
}

async function problemsOf(mesh: RunningMesh, name: string, call: PatternCall): Promise<readonly string[]> {
  const given = await answer(mesh, name, call);
  const unbatchable = UNBATCHABLE.get(name);
  if (unbatchable !== undefined && typeof given === 'string') return unbatchable.test(given) ? [] : [given];
  if (call.answer.type === 'error') {
    return typeof given === 'string' ? [] : [`${call.signature}: TensorFlow refuses it (${call.answer.message.slice(0, 200)})`];
  }
  return [...call.answer.outputs].flatMap(([alias, wanted]) => {
    const wrong = typeof given === 'string' ? given : difference(given.get(alias), wanted, call);
    return wrong === null ? [] : [`${call.signature}.${alias}: ${wrong}`];
  });
}

(names.length > 0 ? describe : describe.skip)('all goldens through an embedded mesh (skipped without ../shared)', () => {
  let mesh: RunningMesh;
  beforeAll(async () => {
    mesh = await startMesh(names);
  }, 120_000);
  afterAll(async () => {
    await mesh[Symbol.asyncDispose]();
  });

  test.each(names)('%s answers as TensorFlow, one request after the other', async (name) => {
    const problems: string[] = [];
    for (const call of loadPatternGolden(join(SHARED, name)).calls) problems.push(...(await problemsOf(mesh, name, call)));
    expect(problems).toEqual([]);
  });

  test('and all at once, in batches of several, unless they keep state', async () => {
    const { core } = mesh.embedded;
    const stateless = names.filter((name) => !core.resolve(name, { type: 'latest' }).stateful);
    const calls = stateless.flatMap((name) => loadPatternGolden(join(SHARED, name)).calls.map((call) => ({ name, call })));
    const asked = [...calls, ...calls, ...calls].map(async ({ name, call }) =>
      (await problemsOf(mesh, name, call)).map((problem) => `${name}: ${problem}`),
    );
    expect((await Promise.all(asked)).flat()).toEqual([]);
  });

  test('the other MetaGraph of a SavedModel answers when its tags are asked for', async () => {
    const tags = ['serve', 'gpu'];
    await using other = await startMesh(['multi_tag'], `--saved_model_tags=${tags}`);
    const problems: string[] = [];
    for (const call of loadPatternGolden(join(SHARED, 'multi_tag'), tags).calls)
      problems.push(...(await problemsOf(other, 'multi_tag', call)));
    expect(problems).toEqual([]);
  });
});
