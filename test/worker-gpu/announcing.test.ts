import { expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { assigned } from './models.ts';
import { startRig } from './worker-rig.ts';

const SERVABLES = 500;

test(`a worker that takes up ${SERVABLES} servables at once says so in a few announcements, and everybody learns of all`, async () => {
  const clock = createFakeClock();
  await using rig = await startRig({ clock });
  let heartbeats = 0;
  rig.transport.subscribe(rig.subjects.presence, ({ data }) => {
    if (Buffer.from(data).includes(rig.worker.id)) heartbeats++;
  });
  rig.assign(Array.from({ length: SERVABLES }, (_, index) => assigned(`m${index}`, `/nowhere/m${index}`)));
  await clock.advance(0);
  expect(heartbeats).toBeLessThan(SERVABLES / 5);
  await clock.advance(100);
  await rig.until(() => rig.announced.at(-1)?.servables.length === SERVABLES || undefined);
});

test('with a few servables every change is announced at once', async () => {
  const clock = createFakeClock();
  await using rig = await startRig({ clock });
  rig.assign([assigned('a', '/nowhere/a'), assigned('b', '/nowhere/b')]);
  await clock.advance(0);
  expect(rig.announced.at(-1)?.servables.map(({ id }) => id.name)).toEqual(['a', 'b']);
});
