import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { type MemberId, newMemberId } from '#mesh/ids.ts';
import { type MemberChange, type MemberKind, startPresence } from '#mesh/presence.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { makeReconnectable } from './reconnectable.ts';

/** These details are of no kind that the mesh has: what matters here is how they travel. */
const checkDetail = () => {};

function mesh() {
  const broker = createMemoryBroker();
  const clock = createFakeClock();
  const subjects = createSubjects('test');
  const start = async (kind: MemberKind, detail: unknown, id: MemberId = newMemberId(kind)) => {
    const { transport, reconnect } = makeReconnectable(broker.connect());
    const presence = await startPresence({ transport, subjects, clock, kind, id, detail, checkDetail });
    return { id, transport, presence, broker, reconnect };
  };
  return { clock, start };
}

describe('presence', () => {
  test('members see each other, whoever came first', async () => {
    const { clock, start } = mesh();
    const worker = await start('worker', { models: 1 });
    const batcher = await start('batcher', { draining: false });
    await clock.advance(300);
    expect(batcher.presence.members('worker')).toEqual([{ kind: 'worker', id: worker.id, detail: { models: 1 } }]);
    expect(worker.presence.members('batcher')).toEqual([{ kind: 'batcher', id: batcher.id, detail: { draining: false } }]);
  });

  test('a new announcement reaches the others at once', async () => {
    const { clock, start } = mesh();
    const worker = await start('worker', { models: 1 });
    const batcher = await start('batcher', {});
    await clock.advance(300);
    const changes: MemberChange['type'][] = [];
    batcher.presence.onChange((change) => changes.push(change.type));
    worker.presence.announce({ models: 2 });
    await clock.advance(0);
    expect(changes).toEqual(['changed']);
    expect(batcher.presence.members('worker')[0]?.detail).toEqual({ models: 2 });
  });

  test('a detail too large for a heartbeat is fetched', async () => {
    const { clock, start } = mesh();
    const batcher = await start('batcher', {});
    const worker = await start('worker', { names: Array.from({ length: 5000 }, (_, index) => `model-${index}`) });
    await clock.advance(300);
    const [seen] = batcher.presence.members<{ names: string[] }>('worker');
    expect(seen?.id).toBe(worker.id);
    expect(seen?.detail.names.length).toBe(5000);
  });

  test('a silent member is gone when its lease ends, not before', async () => {
    const { clock, start } = mesh();
    const batcher = await start('batcher', {});
    // A member with a clock of its own that never moves: it said hello once and then fell silent.
    const frozen = await startPresence({
      checkDetail,
      transport: batcher.broker.connect(),
      subjects: createSubjects('test'),
      clock: createFakeClock(),
      kind: 'worker',
      id: newMemberId('worker'),
      detail: {},
    });
    const gone: string[] = [];
    batcher.presence.onChange((change) => change.type === 'gone' && gone.push(change.member.kind));
    await clock.advance(1000);
    expect(gone).toEqual([]);
    await clock.advance(500);
    expect(gone).toEqual(['worker']);
    await frozen[Symbol.asyncDispose]();
  });

  test('a member that reconnected says so to those that knew it before, once, and nothing else of it changes', async () => {
    const { clock, start } = mesh();
    const worker = await start('worker', { models: 1 });
    const batcher = await start('batcher', {});
    await clock.advance(300);
    const changes: MemberChange[] = [];
    batcher.presence.onChange((change) => changes.push(change));
    worker.reconnect();
    await clock.advance(3000);
    expect(changes).toEqual([{ type: 'reconnected', member: { kind: 'worker', id: worker.id, detail: { models: 1 } } }]);
    const gateway = await start('gateway', {});
    const news: string[] = [];
    gateway.presence.onChange(({ type, member }) => news.push(`${type} ${member.kind}`));
    await clock.advance(3000);
    expect(gateway.presence.members('worker')).toHaveLength(1);
    expect(news).not.toContain('reconnected worker');
    worker.reconnect();
    await clock.advance(0);
    expect(news).toContain('reconnected worker');
  });

  test('a member that says good-bye is gone at once', async () => {
    const { clock, start } = mesh();
    const worker = await start('worker', {});
    const batcher = await start('batcher', {});
    await clock.advance(300);
    await worker.presence[Symbol.asyncDispose]();
    await clock.advance(0);
    expect(batcher.presence.members('worker')).toEqual([]);
  });

  test('a member that was itself paused blames nobody', async () => {
    const broker = createMemoryBroker();
    const subjects = createSubjects('test');
    let nowMs = 0;
    let tick = () => {};
    const stopped = {
      now: () => nowMs,
      wallNow: () => nowMs,
      sleep: async () => {},
      schedule(_: number, callback: () => void) {
        tick = callback;
        return { [Symbol.dispose]() {} };
      },
    };
    const paused = await startPresence({
      checkDetail,
      transport: broker.connect(),
      subjects,
      clock: stopped,
      kind: 'batcher',
      id: newMemberId('batcher'),
      detail: {},
    });
    const worker = await startPresence({
      checkDetail,
      transport: broker.connect(),
      subjects,
      clock: createFakeClock(),
      kind: 'worker',
      id: newMemberId('worker'),
      detail: {},
    });
    await createFakeClock().advance(0);
    expect(paused.members('worker').length).toBe(1);
    nowMs += 60_000;
    tick();
    expect(paused.members('worker').length).toBe(1);
    for (let round = 0; round < 5; round++) {
      await createFakeClock().advance(0);
      nowMs += 250;
      tick();
    }
    expect(paused.members('worker').length).toBe(0);
    await worker[Symbol.asyncDispose]();
  });
});

describe('while a member does not hear itself', () => {
  /** Batcher and workers on one broker; `silence` says whose messages the broker holds back, and lets them through in order afterwards. */
  async function faltering() {
    const { clock, start } = mesh();
    const batcher = await start('batcher', {});
    const held: (() => void)[] = [];
    const state = { still: false, cut: new Set<string>() };
    const through = (name: string) => {
      const transport = batcher.broker.connect();
      return {
        ...transport,
        connected: true,
        publish(...message: Parameters<typeof transport.publish>) {
          if (state.cut.has(name)) return;
          if (state.still) held.push(() => transport.publish(...message));
          else transport.publish(...message);
        },
      };
    };
    const member = (kind: MemberKind, name: string) =>
      startPresence({
        transport: through(name),
        subjects: createSubjects('test'),
        clock,
        kind,
        id: name as MemberId,
        detail: {},
        checkDetail,
      });
    const watcher = await member('batcher', 'watcher');
    for (const name of ['worker-a', 'worker-b', 'worker-c']) await member('worker', name);
    const gone: MemberChange[] = [];
    watcher.onChange((change) => change.type === 'gone' && gone.push(change));
    await clock.advance(600);
    return {
      clock,
      watcher,
      gone,
      cut: (name: string) => void state.cut.add(name),
      stand: () => {
        state.still = true;
      },
      /** What was held back comes again, the watcher's own messages first. */
      async goOn() {
        state.still = false;
        for (const send of held.splice(0)) send();
        await clock.advance(0);
      },
    };
  }

  test('nobody is gone, however long the broker stands still, and everybody has a whole lease when it goes on', async () => {
    const { clock, watcher, gone, stand, goOn, cut } = await faltering();
    stand();
    expect(watcher.hearsItself).toBe(true);
    await clock.advance(30_000);
    expect(gone).toEqual([]);
    expect(watcher.hearsItself).toBe(false);
    for (const name of ['worker-a', 'worker-b', 'worker-c']) cut(name);
    await goOn();
    expect(watcher.hearsItself).toBe(true);
    await clock.advance(1000);
    expect(gone).toEqual([]);
    await clock.advance(500);
    expect(gone.map(({ member }) => member.id)).toEqual(['worker-a', 'worker-b', 'worker-c']);
  });

  test('a silence of the broker shorter than a lease counts for nobody either', async () => {
    const { clock, gone, stand, goOn, cut } = await faltering();
    cut('worker-a');
    await clock.advance(500);
    stand();
    await clock.advance(750);
    await goOn();
    expect(gone).toEqual([]);
    await clock.advance(250);
    expect(gone).toEqual([]);
    await clock.advance(500);
    expect(gone.map(({ member }) => member.id)).toEqual(['worker-a']);
  });

  test('one that is cut off alone is gone within a lease and two heartbeats, and it is told since when it is silent', async () => {
    const { clock, gone, cut } = await faltering();
    cut('worker-b');
    await clock.advance(1500);
    expect(gone.map(({ member, silence }) => [member.id, silence])).toEqual([['worker-b', { sinceMs: 500, shared: false }]]);
  });

  test('leases that end one after the other show which members fell silent together', async () => {
    const { clock, gone, cut } = await faltering();
    cut('worker-a');
    await clock.advance(250);
    cut('worker-b');
    await clock.advance(600);
    cut('worker-c');
    await clock.advance(3000);
    expect(gone.map(({ member, silence }) => [member.id, silence?.shared])).toEqual([
      ['worker-a', true],
      ['worker-b', false],
      ['worker-c', false],
    ]);
  });

  test('one that is itself cut off judges nobody', async () => {
    const { clock, watcher, gone, cut } = await faltering();
    cut('watcher');
    for (const name of ['worker-a', 'worker-b']) cut(name);
    await clock.advance(60_000);
    expect(gone).toEqual([]);
    expect(watcher.members('worker')).toHaveLength(3);
  });
});
