import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { ServeError } from '#mesh/errors.ts';
import { PLAN_FILE, PLAN_VERSION } from '../../savedmodel/plan/plan.ts';
import type { Platform } from '../../services/worker-gpu/platforms.ts';
import { assigned, createModelFolder, halfPlusTwo } from './models.ts';
import { floatInput, floatsOf, outputsOf, startRig } from './worker-rig.ts';

const open: (AsyncDisposable | Disposable)[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await (Symbol.asyncDispose in one ? one[Symbol.asyncDispose]() : one[Symbol.dispose]());
});

/** A worker with a platform that prepares; its runtime is the ONNX one, over the version's folder. */
async function rigWith(prepare: NonNullable<Platform['prepare']>) {
  const folder = createModelFolder();
  open.push(folder);
  const runtime = new URL('../../services/worker-gpu/runtimes/onnx.ts', import.meta.url).href;
  const platform: Platform = { name: 'prepared', runtime, recognises: (names) => names.includes('recipe'), prepare };
  const rig = await startRig({ args: ['--executors=2'], platforms: [platform] });
  open.push(rig);
  const version = (name: string) => folder.version(name, { recipe: '', 'model.onnx': halfPlusTwo() });
  return { rig, version };
}

/** A folder with a plan of no model: the ONNX runtime then loads what is in the version's folder. */
function emptyPlan(): string {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-prepared-'));
  open.push({ [Symbol.dispose]: () => rmSync(folder, { recursive: true }) });
  const nothing = { segments: [], constants: [], tables: [], variables: [], remarks: [] };
  writeFileSync(join(folder, PLAN_FILE), JSON.stringify({ version: PLAN_VERSION, signatures: {}, ...nothing }));
  return folder;
}

describe('a platform that prepares', () => {
  test('is asked before the load; what it prepared decides memory and instances, and is kept until the unload', async () => {
    let held = 0;
    const prepared = emptyPlan();
    const { rig, version } = await rigWith(async () => {
      held++;
      return { folder: prepared, byteLength: 1000, stateful: true, [Symbol.dispose]: () => void held-- };
    });
    await rig.serve(assigned('m', version('m')));
    expect(rig.held('m')).toMatchObject({ estimatedBytes: 1200, tokens: 2 });
    expect(floatsOf(outputsOf(await rig.ask('m', [floatInput('x', [2])])).outputs[0])).toEqual([3]);
    expect(held).toBe(1);
    rig.assign([]);
    await rig.untilLogged('servable unloaded', 1);
    expect(held).toBe(0);
  });

  test('is told to stop when the servable is taken away meanwhile', async () => {
    const preparing = Promise.withResolvers<AbortSignal>();
    const { rig, version } = await rigWith((_, signal) => {
      preparing.resolve(signal);
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    });
    rig.assign([assigned('m', version('m'))]);
    const signal = await preparing.promise;
    rig.assign([]);
    await rig.until(() => (rig.announced.at(-1)?.servables.length === 0 ? true : undefined));
    expect(signal.aborted).toBe(true);
  });

  test('whose preparation fails fails the load with its words, and other servables go on', async () => {
    const { rig, version } = await rigWith(async () => {
      throw new ServeError('UNIMPLEMENTED', 'op Foo of node bar');
    });
    const plain = assigned('plain', version('plain'), { platform: 'onnx' });
    rig.assign([plain, assigned('m', version('m'), { platform: 'prepared', run: { maxLoadRetries: 0 } })]);
    const failed = await rig.untilHeld('m', ({ state }) => state === 'END');
    expect(failed.status).toEqual({ code: 'UNIMPLEMENTED', message: 'op Foo of node bar' });
    expect((await rig.untilHeld('plain', ({ state }) => state === 'AVAILABLE')).status.code).toBe('OK');
  });
});
