import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import type { AssignedServable, Assignment, WorkerDetail } from '#mesh/control.ts';
import { readAssignment } from '#mesh/control-reader.ts';
import { newMemberId } from '#mesh/ids.ts';
import { createSubjects } from '#mesh/subjects.ts';
import type { Transport } from '#mesh/transport.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { createAssigner } from '../../services/registry/assigner.ts';
import { createAssignmentParts } from '../../services/worker-gpu/assignment-parts.ts';
import { assigned } from '../worker-gpu/models.ts';

const TOKEN = 3;

/** A worker that follows or not, and an assigner over as many models as the test says. */
function rig(modelCount: number, maxPayloadBytes = 1 << 20) {
  const clock = createFakeClock();
  const subjects = createSubjects('test');
  const broker = createMemoryBroker();
  const id = newMemberId('worker');
  const messages: Assignment[] = [];
  const sizes: number[] = [];
  broker.connect().subscribe(subjects.assign(id), ({ data }) => {
    sizes.push(data.byteLength);
    messages.push(readAssignment(data));
  });
  const versions = new Map<string, number>(Array.from({ length: modelCount }, (_, index) => [`m${index}`, 1]));
  const servablesOf = (_: unknown, name: string): readonly AssignedServable[] => {
    const version = versions.get(name);
    return version === undefined ? [] : [assigned(name, `/models/${name}/${version}`, { version })];
  };
  const transport: Transport = Object.create(broker.connect(), { maxPayloadBytes: { value: maxPayloadBytes } });
  const assigner = createAssigner(transport, subjects, clock, TOKEN);
  let followed = 0;
  return {
    clock,
    messages,
    sizes,
    versions,
    follow() {
      followed = messages.at(-1)?.revision ?? 0;
    },
    async assign(changed: readonly string[]) {
      const detail: WorkerDetail = {
        fencingToken: TOKEN,
        assignmentRevision: followed,
        memoryLimitBytes: 0,
        servables: [],
        draining: false,
      };
      assigner.assign([{ kind: 'worker', id, detail }], { models: () => versions.keys(), changed, servablesOf });
      await clock.advance(0);
    },
  };
}

describe('what a worker is told', () => {
  test('a short list always comes whole', async () => {
    const { assign, follow, messages, versions } = rig(2);
    await assign([]);
    follow();
    versions.set('m1', 2);
    await assign(['m1']);
    expect(messages.map(({ since, servables }) => [since, servables.length])).toEqual([
      [undefined, 2],
      [undefined, 2],
    ]);
  });

  test('of a thousand models one that changes costs one message of less than 2 KB', async () => {
    const { assign, follow, messages, sizes, versions } = rig(1000);
    await assign([]);
    follow();
    versions.set('m7', 2);
    await assign(['m7', 'm8']);
    expect(messages[1]).toMatchObject({ since: messages[0]?.revision, removed: [{ name: 'm7', version: 1 }] });
    expect(messages[1]?.servables.map(({ id }) => id)).toEqual([{ name: 'm7', version: 2 }]);
    expect(sizes[1]).toBeLessThan(2048);
    expect(messages.length).toBe(2);
  });

  test('a model that goes is told by its name', async () => {
    const { assign, follow, messages, versions } = rig(1000);
    await assign([]);
    follow();
    versions.delete('m5');
    await assign(['m5']);
    expect(messages[1]).toMatchObject({ servables: [], removed: [{ name: 'm5', version: 1 }] });
  });

  test('a list that is larger than a message comes in parts that make it whole', async () => {
    const { assign, messages, sizes } = rig(1000, 64 * 1024);
    await assign([]);
    expect(messages.length).toBeGreaterThan(2);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(64 * 1024);
    const parts = createAssignmentParts();
    const whole = messages.map((message) => parts.take(message)).filter((one) => one !== undefined);
    expect(whole.length).toBe(1);
    expect(new Set(whole[0]?.servables.map(({ id }) => id.name)).size).toBe(1000);
  });

  test('a worker that missed a change is told everything, though more changes come all the time', async () => {
    const { assign, clock, follow, messages, versions } = rig(1000);
    await assign([]);
    follow();
    for (let version = 2; version < 30; version++) {
      versions.set('m3', version);
      await assign(['m3']);
      await clock.advance(100);
    }
    const full = messages.slice(1).filter(({ since }) => since === undefined);
    expect(full.map(({ servables }) => servables.length)).toEqual([1000, 1000]);
  });
});

describe('an assignment in parts', () => {
  const part = (revision: number, index: number, count: number): Assignment => ({
    fencingToken: 1,
    revision,
    servables: [assigned(`m${index}`, '/m')],
    part: { index, count },
  });
  const names = (assignment: Assignment | undefined) => assignment?.servables.map(({ id }) => id.name);

  test('is whole with its last part, in whatever order they come, and once', () => {
    const parts = createAssignmentParts();
    expect(names(parts.take(part(1, 2, 3)))).toBeUndefined();
    expect(names(parts.take(part(1, 0, 3)))).toBeUndefined();
    expect(names(parts.take(part(1, 0, 3)))).toBeUndefined();
    expect(names(parts.take(part(1, 1, 3)))).toEqual(['m0', 'm1', 'm2']);
    expect(names(parts.take(part(1, 1, 3)))).toBeUndefined();
  });

  test('never mixes revisions', () => {
    const parts = createAssignmentParts();
    parts.take(part(1, 0, 2));
    expect(names(parts.take(part(2, 1, 2)))).toBeUndefined();
    expect(names(parts.take(part(2, 0, 2)))).toEqual(['m0', 'm1']);
  });

  test('that came in one piece is given on as it is', () => {
    const whole: Assignment = { fencingToken: 1, revision: 1, servables: [] };
    expect(createAssignmentParts().take(whole)).toEqual(whole);
  });
});
