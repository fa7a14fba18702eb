import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from '@jest/globals';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import type { Platform, UserCode } from '../../services/worker-gpu/platforms.ts';
import { ASK } from './fixtures/user-code-runtime.ts';
import { assigned, createModelFolder } from './models.ts';
import { errorOf, floatInput, floatsOf, outputsOf, startRig } from './worker-rig.ts';

const MIB = 2 ** 20;

const open: (AsyncDisposable | Disposable)[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await (Symbol.asyncDispose in one ? one[Symbol.asyncDispose]() : one[Symbol.dispose]());
});

/** A worker with two platforms: `user` runs code of users, `plain` does not. */
async function rigWith(options: { readonly userCode?: UserCode; readonly args?: readonly string[] } & Parameters<typeof startRig>[0] = {}) {
  const { userCode = { names: ['op Bad'] }, args = [], ...more } = options;
  const user: Platform = {
    name: 'user',
    runtime: new URL('./fixtures/user-code-runtime.ts', import.meta.url).href,
    recognises: (names) => names.includes('user'),
    userCode: async () => userCode,
  };
  const plain: Platform = {
    name: 'plain',
    runtime: new URL('./fixtures/fault-runtime.ts', import.meta.url).href,
    recognises: (names) => names.includes('faults'),
  };
  const folder = createModelFolder();
  open.push(folder);
  const rig = await startRig({ platforms: [user, plain], args: ['--executors=1', '--instances=1', ...args], ...more });
  open.push(rig);
  return {
    rig,
    userModel: (name: string, fault = '') => assigned(name, folder.version(name, { user: '', ...(fault === '' ? {} : { fault }) })),
    plainModel: (name: string) => assigned(name, folder.version(name, { faults: '' })),
  };
}

type Rig = Awaited<ReturnType<typeof startRig>>;

const part = (rig: Rig, value: number) => rig.part([floatInput('x', [value])]);

/** The answer to one request that asks for y = x. */
async function echo(rig: Rig, model: string, value: number) {
  const [answer] = await rig.run(model, [part(rig, value)]);
  return floatsOf(outputsOf(answer).outputs[0])[0];
}

async function metric(rig: Rig, name: string): Promise<string[]> {
  return (await rig.telemetry.metrics.metrics()).split('\n').filter((line) => line.startsWith(`${name}{`));
}

/** The most resident memory that any process started by this one had while `work` ran, in bytes. */
async function peakOfChildren(work: Promise<unknown>): Promise<number> {
  let peak = 0;
  const look = setInterval(() => {
    for (const child of childIds()) {
      const [, kibibytes = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(readIfThere(`/proc/${child}/status`)) ?? [];
      peak = Math.max(peak, Number(kibibytes) * 1024);
    }
  }, 5);
  try {
    await work;
  } finally {
    clearInterval(look);
  }
  return peak;
}

describe('code of users that breaks its executor', () => {
  test.each([
    ['loops forever', ASK.loop, 'op Bad did not finish a call within 1000 ms (--user_code_call_limit_ms)', 'time'],
    ['never settles', ASK.neverSettle, 'op Bad did not finish a call within 1000 ms (--user_code_call_limit_ms)', 'time'],
    ['leaves a rejection to nobody', ASK.rejectUnhandled, 'op Bad threw outside of a call: RangeError: nobody waits for this', 'end'],
    ['throws in a timer', ASK.throwInTimer, 'op Bad threw outside of a call: RangeError: thrown by a timer', 'end'],
    ['exits', ASK.exit, 'op Bad ended its process with code 9', 'end'],
    ['aborts', ASK.abort, 'op Bad ended its process with SIGABRT', 'end'],
    ['kills its process', ASK.killItself, 'op Bad ended its process with SIGKILL', 'end'],
    ['cuts its connection', ASK.disconnect, 'op Bad ended its process with SIGKILL', 'end'],
  ])(
    'that %s fails its own request, and the others of the batch, of the lane and of other models succeed',
    async (_name, ask, message, breach) => {
      const { rig, userModel, plainModel } = await rigWith({ args: ['--user_code_call_limit_ms=1000'] });
      await rig.serve(userModel('m'), plainModel('plain'));
      const [before, bad, after] = [1, ask, 3].map((value) => part(rig, value));
      const behind = part(rig, 4);
      const elsewhere = part(rig, 5);
      const batches = [
        rig.send(
          'm',
          [before, bad, after].flatMap((one) => one ?? []),
        ),
        rig.send('m', [behind]),
        rig.send('plain', [elsewhere]),
      ];
      await Promise.all(batches.map(rig.untilReady));
      for (const [one, value] of [
        [before, 1],
        [after, 3],
        [behind, 4],
        [elsewhere, 5],
      ] as const) {
        if (one) expect(floatsOf(outputsOf(rig.answerTo(one.requestId)).outputs[0])).toEqual([value]);
      }
      if (bad) expect(errorOf(rig.answerTo(bad.requestId))).toEqual({ code: 'INTERNAL', message });
      expect(await echo(rig, 'm', 6)).toBe(6);
      expect(rig.held('m')).toMatchObject({ state: 'AVAILABLE', status: { code: 'OK' } });
      expect(await metric(rig, 'headrace_worker_user_code_breaches_total')).toEqual([
        expect.stringMatching(new RegExp(`name="op Bad",breach="${breach}"\\} 2$`)),
      ]);
    },
  );

  test.each([
    ['objects', ASK.fillHeap],
    ['arrays, in a loop that no engine can interrupt', ASK.fillHeapWithoutInterrupts],
    ['ArrayBuffers', ASK.fillArrayBuffers],
    ['memory of WebAssembly', ASK.fillWebAssembly],
  ])('that allocates %s without end fails its own request within its memory limit', async (_name, ask) => {
    const { rig, userModel, plainModel } = await rigWith({
      args: [`--user_code_memory_limit_bytes=${128 * MIB}`, '--user_code_call_limit_ms=50000'],
    });
    await rig.serve(userModel('m'), plainModel('plain'));
    const ownBytes = process.memoryUsage.rss();
    const [bad, good] = [part(rig, ask), part(rig, 2)];
    const batches = [rig.send('m', [bad, good])];
    const peakBytes = await peakOfChildren(Promise.all(batches.map(rig.untilReady)));
    expect(errorOf(rig.answerTo(bad.requestId))).toEqual({
      code: 'INTERNAL',
      message: `op Bad took more memory than ${128 * MIB} bytes beyond its estimate (--user_code_memory_limit_bytes)`,
    });
    expect(floatsOf(outputsOf(rig.answerTo(good.requestId)).outputs[0])).toEqual([2]);
    expect(await echo(rig, 'm', 6)).toBe(6);
    expect(await echo(rig, 'plain', 7)).toBe(7);
    // 192 MiB for the engine itself, the limit, and what can be taken between two looks, which on a busy machine may be late.
    expect(peakBytes).toBeLessThan((192 + 128 + 512) * MIB);
    expect(process.memoryUsage.rss() - ownBytes).toBeLessThan(128 * MIB);
  });

  test('costs only the callers whose requests do it, wherever they stand in a batch of many', async () => {
    const { rig, userModel } = await rigWith({ args: ['--user_code_call_limit_ms=1000'] });
    await rig.serve(userModel('m'));
    const values = Array.from({ length: 24 }, (_, index) => (index === 5 || index === 17 ? ASK.loop : index));
    const answers = await rig.run(
      'm',
      values.map((value) => part(rig, value)),
    );
    const got = answers.map((answer) => (answer.type === 'outputs' ? floatsOf(answer.outputs[0])[0] : answer.type));
    expect(got).toEqual(values.map((value) => (value === ASK.loop ? 'error' : value)));
  });

  test('is not asked twice when its servable keeps state', async () => {
    const { rig, userModel } = await rigWith({ args: ['--user_code_call_limit_ms=1000'] });
    await rig.serve(userModel('m', 'stateful'));
    const answers = await rig.run(
      'm',
      [1, ASK.exit].map((value) => part(rig, value)),
    );
    expect(answers.map((answer) => errorOf(answer).message)).toEqual(Array(2).fill('op Bad ended its process with code 9'));
    expect(rig.logged.filter(({ msg }) => msg === 'executor died')).toHaveLength(1);
  });

  test('again and again is quarantined, and its status says so by name', async () => {
    const { rig, userModel, plainModel } = await rigWith({ args: ['--quarantine_after_deaths=3'] });
    const plain = plainModel('plain');
    const model = userModel('m');
    await rig.serve(model, plain);
    await rig.run('m', [part(rig, ASK.exit)]);
    await rig.run('m', [part(rig, ASK.exit)]);
    const held = await rig.untilHeld('m', ({ state }) => state === 'END');
    expect(held.status).toMatchObject({ code: 'INTERNAL' });
    expect(held.status.message).toMatch(
      /^m@1 is quarantined: executors that ran it died 3 times .*; the last time, op Bad ended its process with code 9$/,
    );
    expect(await echo(rig, 'plain', 7)).toBe(7);
    rig.assign([plain, { ...model, generation: 2 }]);
    await rig.untilHeld('m', ({ state }) => state === 'AVAILABLE');
    expect(await echo(rig, 'm', 8)).toBe(8);
  });

  test('between calls is put down to it, and ends in quarantine', async () => {
    const { rig, userModel } = await rigWith({ args: ['--quarantine_after_deaths=3'] });
    await rig.serve(userModel('m', 'exit between calls'));
    const held = await rig.untilHeld('m', ({ state }) => state === 'END');
    expect(held.status.message).toMatch(/^m@1 is quarantined: .*op Bad ended its process with code 5$/);
  });
});

describe('code of users while it loads or unloads', () => {
  test.each([
    ['loops', 'loop in load', 'op Bad did not finish loading within 4000 ms (--user_code_load_limit_ms)'],
    ['never settles', 'never load', 'op Bad did not finish loading within 4000 ms (--user_code_load_limit_ms)'],
    ['exits', 'exit in load', 'op Bad ended its process with code 7'],
  ])('that %s fails the load alone', async (_name, fault, message) => {
    const { rig, userModel, plainModel } = await rigWith({ args: ['--user_code_load_limit_ms=4000'] });
    const plain = plainModel('plain');
    await rig.serve(plain);
    rig.assign([plain, userModel('m', fault)]);
    const held = await rig.untilHeld('m', ({ state }) => state === 'END');
    expect(held.status).toEqual({ code: 'INTERNAL', message });
    expect(await echo(rig, 'plain', 7)).toBe(7);
  });

  test('that loops does not keep those of its group from serving', async () => {
    const { rig, userModel } = await rigWith({ userCode: { group: 'g', names: ['op Bad'] }, args: ['--user_code_load_limit_ms=4000'] });
    const good = userModel('good');
    await rig.serve(good);
    rig.assign([good, userModel('m', 'loop in load')]);
    await rig.untilLogged('executor died', 1);
    expect(await echo(rig, 'good', 7)).toBe(7);
    expect((await rig.untilHeld('m', ({ state }) => state === 'END')).status.code).toBe('INTERNAL');
  });

  test('that loops on one executor of its group leaves the others to those that serve', async () => {
    const { rig, userModel } = await rigWith({
      userCode: { group: 'g', names: ['op Bad'] },
      args: ['--instances=2', '--user_code_load_limit_ms=4000'],
    });
    const good = userModel('good');
    await rig.serve(good);
    rig.assign([good, userModel('m', 'loop in load')]);
    await rig.untilHeld('m', ({ state }) => state === 'LOADING');
    // More than the free executor takes at once.
    const values = [1, 2, 3, 4, 5, 6];
    const answers = await Promise.all(values.map((value) => echo(rig, 'good', value)));
    expect(answers).toEqual(values);
    expect(rig.held('m')?.state).toBe('LOADING');
    await rig.untilHeld('m', ({ state }) => state === 'END');
    expect(await echo(rig, 'good', 7)).toBe(7);
  });

  test.each([['loop in unload'], ['fail unload']])('is rid of when it has to %s, and can be loaded again', async (fault) => {
    const { rig, userModel } = await rigWith({
      userCode: { group: 'g', names: ['op Bad'] },
      args: ['--user_code_call_limit_ms=1000'],
    });
    const [good, bad] = [userModel('good'), userModel('m', fault)];
    await rig.serve(good, bad);
    rig.assign([good]);
    await rig.until(() => (rig.worker.detail().servables.length === 1 ? true : undefined));
    const deaths = rig.logged.filter(({ msg }) => msg === 'executor died');
    expect(deaths.map(({ userCode, breach }) => [userCode, breach])).toEqual(fault === 'loop in unload' ? [['op Bad', 'time']] : []);
    expect(await echo(rig, 'good', 1)).toBe(1);
    await rig.serve(good, bad);
    expect(await echo(rig, 'm', 4)).toBe(4);
  });
});

describe('guarded executors', () => {
  test('are shared within a group and by nobody else', async () => {
    const loadsSeen = async (userCode: UserCode) => {
      const { rig, userModel } = await rigWith({ userCode });
      await rig.serve(userModel('a'), userModel('b'));
      return floatsOf(outputsOf(await rig.ask('a', [floatInput('x', [0])], { signature: 'loads' })).outputs[0]);
    };
    expect(await loadsSeen({ group: 'g', names: ['op Bad'] })).toEqual([2]);
    expect(await loadsSeen({ names: ['op Bad'] })).toEqual([1]);
  });

  test('answer with what the code throws, as it throws it', async () => {
    const { rig, userModel } = await rigWith();
    await rig.serve(userModel('m'));
    const answers = await rig.run(
      'm',
      [ASK.throw, ASK.reject, 3].map((value) => part(rig, value)),
    );
    expect(answers.slice(0, 2).map(errorOf)).toEqual([
      { code: 'INTERNAL', message: 'x asks for a failed run' },
      { code: 'INVALID_ARGUMENT', message: 'x is not what it should be' },
    ]);
    expect(floatsOf(outputsOf(answers[2]).outputs[0])).toEqual([3]);
    expect(rig.logged.filter(({ msg }) => msg === 'executor died')).toEqual([]);
  });

  test('let code wait while the event loop turns', async () => {
    const { rig, userModel } = await rigWith();
    await rig.serve(userModel('m'));
    expect(await echo(rig, 'm', ASK.wait)).toBe(ASK.wait);
  });

  test('carry large tensors both ways, in order with small ones', async () => {
    const { rig, userModel } = await rigWith();
    await rig.serve(userModel('m'));
    const values = Float32Array.from({ length: 300_000 }, (_, index) => index % 977);
    const bytes = new Uint8Array(values.buffer);
    const claim = rig.blobs.hold(bytes);
    const large = rig.part([{ name: 'x', dtype: 'float', shape: [values.length], payload: { type: 'claim', ...claim } }]);
    const parts = [part(rig, 1), large, part(rig, 2), part(rig, 3)];
    await Promise.all(parts.map((one) => rig.untilReady(rig.send('m', [one]))));
    const [first, answer, ...others] = parts.map(({ requestId }) => outputsOf(rig.answerTo(requestId)));
    expect([first, ...others].map((one) => floatsOf(one?.outputs[0]))).toEqual([[1], [2], [3]]);
    const payload = answer?.outputs[0]?.payload;
    if (payload?.type !== 'claim') throw new Error('the output is sent inline');
    const fetched = await rig.blobs.fetch(payload, { signal: new AbortController().signal, timeoutMs: 5000 });
    expect(Buffer.compare(fetched, bytes)).toBe(0);
  });

  test('count calls, time, failures and breaches by the name of what ran', async () => {
    const { rig, userModel } = await rigWith({
      userCode: { names: ['op Good', 'op Bad'] },
      args: ['--user_code_call_limit_ms=1000'],
    });
    await rig.serve(userModel('m'));
    for (const value of [1, 2, ASK.throw, ASK.loop]) await rig.run('m', [part(rig, value)]);
    expect(await metric(rig, 'headrace_worker_user_code_calls_total')).toEqual([
      'headrace_worker_user_code_calls_total{name="op Good"} 2',
      'headrace_worker_user_code_calls_total{name="op Bad"} 1',
    ]);
    expect(await metric(rig, 'headrace_worker_user_code_failures_total')).toEqual([
      'headrace_worker_user_code_failures_total{name="op Bad",code="INTERNAL"} 1',
    ]);
    expect(await metric(rig, 'headrace_worker_user_code_breaches_total')).toEqual([
      'headrace_worker_user_code_breaches_total{name="op Bad",breach="time"} 1',
    ]);
    expect(errorOf(rig.answers.at(-1)).message).toMatch(/^op Bad did not finish a call/);
    expect(await metric(rig, 'headrace_worker_user_code_seconds_total')).toHaveLength(2);
  });

  test('put the names into spans, with what broke them', async () => {
    const exporter = new InMemorySpanExporter();
    const { rig, userModel } = await rigWith({ spanProcessor: new SimpleSpanProcessor(exporter) });
    await rig.serve(userModel('m'));
    await rig.run('m', [part(rig, ASK.exit)]);
    const [span] = exporter.getFinishedSpans();
    expect(span?.attributes).toMatchObject({ 'headrace.user_code': 'op Bad', 'headrace.code': 'INTERNAL' });
    expect(span?.events.map(({ attributes }) => attributes?.['headrace.reason'])).toEqual(
      Array(2).fill('op Bad ended its process with code 9'),
    );
  });

  test('stay when the whole group of processes is told to stop, which is for the worker to act upon', async () => {
    const { rig, userModel } = await rigWith();
    await rig.serve(userModel('m'));
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      for (const child of childIds()) process.kill(child, signal);
      expect(await echo(rig, 'm', 1)).toBe(1);
    }
    expect(rig.logged.filter(({ msg }) => msg === 'executor died')).toEqual([]);
  });

  test("write what the code prints to the worker's log", async () => {
    const { rig, userModel } = await rigWith();
    await rig.serve(userModel('m'));
    await echo(rig, 'm', ASK.print);
    await rig.untilLogged('user code wrote', 1);
    expect(rig.logged.find(({ msg }) => msg === 'user code wrote')).toMatchObject({ text: 'said by user code' });
  });

  test('load beside each other and end with their servables', async () => {
    const { rig, userModel } = await rigWith();
    await rig.serve(userModel('a'), userModel('b'));
    expect(childIds()).toHaveLength(2);
    rig.assign([]);
    await rig.until(() => (rig.worker.detail().servables.length === 0 ? true : undefined));
    expect(childIds()).toEqual([]);
  });
});

/** The processes for code of users that this one started. */
function childIds(): number[] {
  const lines = readdirSync('/proc/self/task').map((task) => readFileSync(`/proc/self/task/${task}/children`, 'utf8'));
  const ids = lines.flatMap((line) => line.split(' ').filter(Boolean).map(Number));
  return ids.filter((id) => readIfThere(`/proc/${id}/cmdline`).includes('user-code-process'));
}

/** The text of a process's file; empty once the process has ended. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
