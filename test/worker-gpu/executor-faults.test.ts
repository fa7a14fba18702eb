import { afterEach, describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import type { Platform } from '../../services/worker-gpu/platforms.ts';
import { assigned, createModelFolder } from './models.ts';
import { errorOf, floatInput, floatsOf, outputsOf, startRig } from './worker-rig.ts';

const FAULTS: Platform = {
  name: 'faults',
  runtime: new URL('./fixtures/fault-runtime.ts', import.meta.url).href,
  recognises: (names) => names.includes('faults'),
};

const open: (AsyncDisposable | Disposable)[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await (Symbol.asyncDispose in one ? one[Symbol.asyncDispose]() : one[Symbol.dispose]());
});

async function rigWith(fault: string, options: Parameters<typeof startRig>[0] = {}) {
  const folder = createModelFolder();
  open.push(folder);
  const rig = await startRig({ platforms: [FAULTS], ...options });
  open.push(rig);
  const path = folder.version('m', { faults: '', ...(fault === '' ? {} : { fault }) });
  return { rig, folder, path };
}

describe.each([
  ['shared', []],
  ['dedicated', ['--shared_executor_max_bytes=0']],
])('a %s executor whose thread dies', (_kind, args) => {
  test('runs the other requests of the batch again, and fails the one that kills twice', async () => {
    const { rig, path } = await rigWith('', { args: ['--executors=1', '--instances=1', ...args] });
    await rig.serve(assigned('m', path));
    const answers = await rig.run(
      'm',
      [1, -1, 3].map((value) => rig.part([floatInput('x', [value])])),
    );
    expect(floatsOf(outputsOf(answers[0]).outputs[0])).toEqual([1]);
    expect(errorOf(answers[1])).toMatchObject({ code: 'INTERNAL' });
    expect(errorOf(answers[1]).message).toContain('left with code 9');
    expect(floatsOf(outputsOf(answers[2]).outputs[0])).toEqual([3]);
    expect(rig.held('m')).toMatchObject({ state: 'AVAILABLE', status: { code: 'OK' } });
  });

  test('runs a batch that only waited there as if nothing had happened', async () => {
    const { rig, path } = await rigWith('', { args: ['--executors=1', '--instances=1', ...args] });
    await rig.serve(assigned('m', path));
    const deadly = rig.part([floatInput('x', [-1])]);
    const patient = rig.part([floatInput('x', [5])]);
    const batches = [rig.send('m', [deadly]), rig.send('m', [patient])];
    await Promise.all(batches.map(rig.untilReady));
    expect(errorOf(rig.answerTo(deadly.requestId)).code).toBe('INTERNAL');
    expect(floatsOf(outputsOf(rig.answerTo(patient.requestId)).outputs[0])).toEqual([5]);
    expect(rig.logged.filter(({ msg }) => msg === 'executor died')).toHaveLength(2);
  });
});

describe('faults of an executor', () => {
  test('a servable whose runtime fails to let go is unloaded all the same, and can be loaded again', async () => {
    const { rig, path } = await rigWith('close', { args: ['--executors=1'] });
    await rig.serve(assigned('m', path));
    rig.assign([]);
    await rig.untilLogged('a servable could not be unloaded cleanly', 1);
    await rig.until(() => (rig.worker.detail().servables.length === 0 ? true : undefined));
    await rig.serve(assigned('m', path));
    expect(floatsOf(outputsOf(await rig.ask('m', [floatInput('x', [4])])).outputs[0])).toEqual([4]);
  });

  test('other servables of a shared executor are loaded again after its death', async () => {
    const { rig, folder, path } = await rigWith('', { args: ['--executors=1'] });
    await rig.serve(assigned('m', path), assigned('other', folder.version('other', { faults: '' })));
    await rig.run('m', [rig.part([floatInput('x', [-1])])]);
    const [answer] = await rig.run('other', [rig.part([floatInput('x', [8])])]);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([8]);
  });

  test('a servable with state is never executed twice', async () => {
    const { rig, path } = await rigWith('stateful', { args: ['--executors=1'] });
    await rig.serve(assigned('m', path));
    expect(rig.held('m')).toMatchObject({ stateful: true });
    const answers = await rig.run(
      'm',
      [1, -1].map((value) => rig.part([floatInput('x', [value])])),
    );
    expect(answers.map((answer) => errorOf(answer).code)).toEqual(['INTERNAL', 'INTERNAL']);
    expect(rig.logged.filter(({ msg }) => msg === 'executor died')).toHaveLength(1);
  });

  test('a failed run is answered with its error when the request is alone', async () => {
    const { rig, path } = await rigWith('');
    await rig.serve(assigned('m', path));
    const [answer] = await rig.run('m', [rig.part([floatInput('x', [-3])])]);
    expect(errorOf(answer)).toEqual({ code: 'INTERNAL', message: 'x asks for a failed run' });
  });

  test('a batch that hangs costs its executor, and the next one runs on another thread', async () => {
    const clock = createFakeClock();
    const { rig, path } = await rigWith('', { clock, args: ['--executors=1', '--executor_hang_ms=1000'] });
    await rig.serve(assigned('m', path));
    const hanging = rig.part([floatInput('x', [-2])]);
    const waiting = rig.part([floatInput('x', [4])]);
    const batches = [rig.send('m', [hanging]), rig.send('m', [waiting])];
    // It hangs together with the other, and once more on the next thread. Time moves only while it hangs.
    for (const times of [1, 2]) {
      await clock.advance(1000);
      await rig.untilLogged('servable loaded again after a death', times);
    }
    await Promise.all(batches.map(rig.untilReady));
    expect(floatsOf(outputsOf(rig.answerTo(waiting.requestId)).outputs[0])).toEqual([4]);
    expect(errorOf(rig.answerTo(hanging.requestId)).message).toContain('did not finish a batch within 1000 ms');
  });

  test('a servable whose load ends the thread fails, and those beside it go on', async () => {
    const { rig, folder, path } = await rigWith('die', { args: ['--executors=1'] });
    const good = assigned('good', folder.version('good', { faults: '' }));
    await rig.serve(good);
    rig.assign([good, assigned('m', path)]);
    const held = await rig.untilHeld('m', ({ state }) => state === 'END');
    expect(held.status).toMatchObject({ code: 'INTERNAL', message: "the executor's thread left with code 7" });
    const [answer] = await rig.run('good', [rig.part([floatInput('x', [2])])]);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([2]);
  });

  test('a servable that cannot be loaded again after a death is reported lost', async () => {
    const { rig, folder, path } = await rigWith('', { args: ['--executors=1'] });
    await rig.serve(assigned('m', path));
    folder.version('m', { fault: 'fail' });
    const batch = rig.send('m', [rig.part([floatInput('x', [-1])])]);
    await rig.untilReady(batch);
    const held = await rig.untilHeld('m', ({ state }) => state === 'END');
    expect(held.status.code).toBe('DATA_LOSS');
    expect(rig.answers[0]).toMatchObject({ type: 'error', code: 'UNAVAILABLE', resend: true });
  });

  test('a servable that keeps killing its executors is quarantined and says so', async () => {
    const { rig, folder, path } = await rigWith('', { args: ['--executors=1', '--quarantine_after_deaths=3'] });
    const other = assigned('other', folder.version('other', { faults: '' }));
    await rig.serve(assigned('m', path), other);
    const deadly = () => rig.part([floatInput('x', [-1])]);
    const [first] = await rig.run('m', [deadly()]);
    expect(errorOf(first).code).toBe('INTERNAL');
    await rig.run('m', [deadly()]);
    const held = await rig.untilHeld('m', ({ state }) => state === 'END');
    expect(held.status.message).toMatch(/^m@1 is quarantined: executors that ran it died 3 times within 60 s/);
    const [answer] = await rig.run('other', [rig.part([floatInput('x', [2])])]);
    expect(floatsOf(outputsOf(answer).outputs[0])).toEqual([2]);
    rig.assign([other, assigned('m', path, { generation: 2 })]);
    expect(await rig.untilHeld('m', ({ state }) => state === 'AVAILABLE')).toMatchObject({ generation: 2 });
  });
});
