import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { checkFoundVersions, connectSourceToTarget } from '../../extend/connect.ts';
import type { AspiredVersionsCallback, FoundVersion, Source } from '../../extend/sources.ts';

/** A target that writes down what it hears. */
function listeningTarget() {
  const heard: string[] = [];
  return {
    heard,
    aspire: (versions: readonly FoundVersion[]) => void heard.push(versions.map(({ version }) => version).join(',')),
    failed: (error: Error) => void heard.push(error.message),
  };
}

const at = (version: number): FoundVersion => ({ version, path: `/models/${version}` });

describe('connectSourceToTarget', () => {
  test('asks a polled source at once and then every so often, until it is disposed', async () => {
    const clock = createFakeClock();
    const target = listeningTarget();
    let asked = 0;
    let stopped = 0;
    const source: Source = { find: () => [at(++asked)], stop: () => void stopped++ };
    const connection = connectSourceToTarget(source, target, { everyMs: 100, schedule: clock.schedule });
    await clock.advance(250);
    expect(target.heard).toEqual(['1', '2', '3']);
    await connection[Symbol.asyncDispose]();
    await connection[Symbol.asyncDispose]();
    await clock.advance(1000);
    expect({ asked, stopped }).toEqual({ asked: 3, stopped: 1 });
  });

  test('goes on asking a source that fails, and never asks twice at once', async () => {
    const clock = createFakeClock();
    const target = listeningTarget();
    const answers = [Promise.withResolvers<readonly FoundVersion[]>(), Promise.withResolvers<readonly FoundVersion[]>()];
    let asked = 0;
    const connection = connectSourceToTarget({ find: () => answers[asked++]?.promise ?? [] }, target, {
      everyMs: 10,
      schedule: clock.schedule,
    });
    await clock.advance(1000);
    expect(asked).toBe(1);
    const polled = connection.poll();
    answers[0]?.reject(new Error('no answer'));
    await polled;
    await clock.advance(10);
    answers[1]?.resolve([at(4)]);
    await clock.advance(0);
    expect(target.heard).toEqual(['no answer', '4']);
    await connection[Symbol.asyncDispose]();
  });

  test.each([
    [0, 1],
    [-1, 0],
  ])('with %d ms between questions asks %d times by itself', async (everyMs, times) => {
    const clock = createFakeClock();
    let asked = 0;
    await using connection = connectSourceToTarget({ find: () => [at(++asked)] }, listeningTarget(), { everyMs, schedule: clock.schedule });
    await clock.advance(10_000);
    expect(asked).toBe(times);
    await connection.poll();
    expect(asked).toBe(times + 1);
  });

  test('hands over what a source pushes, what is wrong with it, and nothing after it was stopped', async () => {
    const target = listeningTarget();
    let push: AspiredVersionsCallback = () => {};
    const source: Source = {
      start(aspire, failed) {
        push = aspire;
        aspire([at(1)]);
        failed(new Error('the watch broke'));
        throw new Error('start threw');
      },
    };
    const connection = connectSourceToTarget(source, target);
    await connection.poll();
    await Promise.resolve();
    push([at(2), at(3)]);
    expect(() => push([at(2), at(2)])).toThrow('version 2 is in the list twice');
    await connection[Symbol.asyncDispose]();
    push([at(9)]);
    expect(target.heard).toEqual(['1', 'the watch broke', 'start threw', '2,3']);
  });
});

describe('a list of versions', () => {
  test.each<[unknown, string]>([
    [undefined, 'expected a list of versions, found undefined'],
    [{ versions: [] }, 'expected a list of versions, found {"versions":[]}'],
    [[7], 'expected {version, path}, found 7'],
    [[{ version: '1', path: '/a' }], 'expected a version that is a whole number from 0 on, found "1"'],
    [[{ version: -1, path: '/a' }], 'expected a version that is a whole number from 0 on, found -1'],
    [[{ version: 1.5, path: '/a' }], 'expected a version that is a whole number from 0 on, found 1.5'],
    [[{ version: 2 ** 53, path: '/a' }], 'expected a version that is a whole number from 0 on, found 9007199254740992'],
    [[{ version: 1, path: 'a/1' }], 'expected version 1 to have an absolute path, found "a/1"'],
    [[{ version: 1 }], 'expected version 1 to have an absolute path, found undefined'],
    [[at(1), at(2), { version: 1, path: '/other' }], 'version 1 is in the list twice'],
  ])('%j is refused: %s', (list, message) => {
    expect(() => checkFoundVersions(list)).toThrow(message);
  });

  test('that is right is taken, without what else was in it', () => {
    expect(checkFoundVersions([{ version: 0, path: '/a', extra: 1 }])).toEqual([{ version: 0, path: '/a' }]);
    expect(checkFoundVersions([])).toEqual([]);
  });
});
