import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readAssignment } from '#mesh/control-reader.ts';
import { createRandom, mutate, SEED } from './random.ts';
import { startTappedMesh, type TappedMesh } from './tapped-mesh.ts';

const MESSAGES = 6000;
const BATCH = 500;
let mesh: TappedMesh;
const rejections: unknown[] = [];
const onRejection = (reason: unknown) => void rejections.push(reason);

beforeAll(async () => {
  process.on('unhandledRejection', onRejection);
  mesh = await startTappedMesh();
  // So that there is one of every kind of message: inline and claimed tensors, both ways.
  for (const rows of [1, 3, 200]) await mesh.ask(rows);
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  process.off('unhandledRejection', onRejection);
});

function isAssignment(bytes: Uint8Array): boolean {
  try {
    readAssignment(bytes);
    return true;
  } catch {
    return false;
  }
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('broken mesh messages', () => {
  test(`no handler throws, whatever comes on whatever subject, and the mesh goes on answering (FUZZ_SEED=${SEED})`, async () => {
    const random = createRandom(SEED);
    const subjects = [...mesh.subscribed].filter((subject) => subject.startsWith('fuzz.') && !subject.includes('.undelivered.'));
    const samples = [...mesh.seen.values()].flat();
    for (let sent = 0; sent < MESSAGES; sent++) {
      const subject = random.pick(subjects);
      const own = mesh.seen.get(subject);
      const broken = mutate(own && random.chance(0.7) ? random.pick(own) : random.pick(samples), random);
      // One that still reads as an assignment is an order, to load another folder say: no reader can know better.
      if (!(subject.endsWith('.assign') && isAssignment(broken)))
        mesh.line.publish(subject, broken, random.chance(0.5) ? { replyTo: 'fuzz.nobody' } : {});
      if (sent % BATCH < BATCH - 1) continue;
      await settle();
      expect(mesh.thrown).toEqual([]);
      expect(rejections).toEqual([]);
    }
    await mesh.askUntilAnswered(15_000);
    expect(mesh.batcher.heldRequests).toBeLessThan(MESSAGES);
  }, 40_000);
});
