import { getEventListeners } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { createGuardedThread, type UserCall } from '../../services/registry/guarded-thread.ts';

const BODY = pathToFileURL(join(import.meta.dirname, '../../services/registry/guarded-body.ts')).href;
const CODE = `
import { answerCalls } from ${JSON.stringify(BODY)};
let count = 0;
const acts = {
  count: () => ++count,
  slow: () => new Promise((resolve) => setTimeout(() => resolve('slow, and done'), 100)),
  exit: () => process.exit(4),
  hang: () => { for (;;); },
  cancelled: (signal) => new Promise((resolve) => signal.addEventListener('abort', () => { console.log('heard of it'); resolve(1); })),
};
answerCalls((order, signal) => acts[order](signal));
`;

/** A thread that does what it is told, on a clock that stands still. */
function startThread() {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-thread-'));
  const file = join(folder, 'body.mjs');
  writeFileSync(file, CODE);
  const clock = createFakeClock();
  const losses: string[] = [];
  const outcomes: string[] = [];
  const lines: string[] = [];
  const thread = createGuardedThread({
    name: 'the code',
    body: pathToFileURL(file),
    data: null,
    clock,
    limits: { callMs: 1000, memoryBytes: 256 * 1024 * 1024 },
    onTold: () => {},
    onLost: (error) => losses.push(error.message),
    onCall: (doing, outcome) => outcomes.push(`${doing} ${outcome}`),
    onLine: (line) => lines.push(line),
  });
  return {
    clock,
    losses,
    outcomes,
    lines,
    thread,
    /** The answer, or the text of the error. */
    call: (act: string, more: Partial<UserCall> = {}) =>
      thread.call({ doing: act, subject: 'model m', order: act, ...more }).catch((error: Error) => error.message),
    async [Symbol.asyncDispose]() {
      await thread[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

describe('a guarded thread', () => {
  test('runs what was beside a call that ended the thread again, each alone, and blames the one that ends it again', async () => {
    await using rig = startThread();
    const answers = await Promise.all([rig.call('slow'), rig.call('exit'), rig.call('slow')]);
    expect(answers).toEqual(['slow, and done', 'the code ended its thread with exit code 4 in exit of model m', 'slow, and done']);
    expect(rig.outcomes.sort()).toEqual(['exit left', 'slow ok', 'slow ok']);
  });

  test('runs what was beside a call that broke the limit again', async () => {
    await using rig = startThread();
    const hung = rig.call('hang');
    await rig.clock.advance(500);
    const slow = rig.call('slow');
    await rig.clock.advance(500);
    expect(await hung).toBe('the code: hang of model m did not end within 1000 ms (--user_code_call_limit_ms)');
    expect(await slow).toBe('slow, and done');
  });

  test('that is lost again and again pauses, says why meanwhile, and serves who waits after it', async () => {
    await using rig = startThread();
    for (let times = 0; times < 3; times++) await rig.call('exit');
    const text = 'the code ended its thread with exit code 4 in exit of model m';
    expect(await rig.call('count')).toBe(text);
    const patient = rig.call('count', { patient: true });
    expect(rig.losses).toEqual([text, text, text]);
    await rig.clock.advance(999);
    expect(await rig.call('count')).toBe(text);
    await rig.clock.advance(1);
    expect(await patient).toBe(1);
    expect(await rig.call('count')).toBe(2);
  });

  test('tells the code that nobody waits any more, and holds it to the limit all the same', async () => {
    await using rig = startThread();
    const leaving = new AbortController();
    expect(await rig.call('count')).toBe(1);
    const call = rig.call('cancelled', { signal: leaving.signal });
    leaving.abort(new Error('gone'));
    expect(await call).toBe('gone');
    expect(await rig.call('slow')).toBe('slow, and done');
    expect(rig.lines).toEqual(['heard of it']);
  });

  test('leaves nothing behind on a signal that outlives its calls', async () => {
    await using rig = startThread();
    const { signal } = new AbortController();
    for (let times = 0; times < 3; times++) await rig.call('count', { signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('that was stopped starts anew with the next call', async () => {
    await using rig = startThread();
    expect([await rig.call('count'), await rig.call('count')]).toEqual([1, 2]);
    const pending = rig.call('slow');
    await rig.thread.stop();
    expect(await pending).toBe('the code was stopped');
    expect(await rig.call('count')).toBe(1);
    expect(rig.losses).toEqual([]);
  });
});
