import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ASK } from './fixtures/bad-servable.ts';
import { FIXTURES, putVersion, type ServableMesh, startServableMesh } from './servable-mesh.ts';

const CALL_LIMIT_MS = 4000;
const MEMORY_LIMIT_BYTES = 64 * 2 ** 20;

/** What a servable does, what its number asks for, and the text. */
type Fault = readonly [string, number, string];

const FAULTS: readonly Fault[] = [
  ['loops forever', ASK.loop, `did not finish a call within ${CALL_LIMIT_MS} ms (--user_code_call_limit_ms)`],
  ['never settles', ASK.neverSettle, `did not finish a call within ${CALL_LIMIT_MS} ms (--user_code_call_limit_ms)`],
  ['leaves a rejection to nobody', ASK.rejectUnhandled, 'threw outside of a call: Error: forgotten'],
  ['exits the process', ASK.exit, 'ended its process with code 3'],
];
const FAULTS_OF_MEMORY: readonly Fault[] = [
  [
    'allocates without end',
    ASK.fillBuffers,
    `took more memory than ${MEMORY_LIMIT_BYTES} bytes beyond its estimate (--user_code_memory_limit_bytes)`,
  ],
];

describe.each<readonly [string, number, readonly Fault[]]>([
  ['a servable module in a whole mesh', CALL_LIMIT_MS, FAULTS],
  // Time enough to break the other limit first, on a machine that does much else.
  ['a servable module in a whole mesh that gives it time', 25_000, FAULTS_OF_MEMORY],
])('%s', (_title, callLimitMs, faults) => {
  let running: ServableMesh;
  beforeAll(async () => {
    running = await startServableMesh({
      modules: () => [`bad=${FIXTURES}/bad-servable.ts`, `probe=${FIXTURES}/probe.ts`],
      models: { bad: { platform: 'bad' }, brother: { platform: 'bad' }, probe: { platform: 'probe' } },
      flags: [
        '--instances=1',
        '--max_num_load_retries=0',
        '--quarantine_after_deaths=100',
        `--user_code_call_limit_ms=${callLimitMs}`,
        '--user_code_load_limit_ms=6000',
        `--user_code_memory_limit_bytes=${MEMORY_LIMIT_BYTES}`,
      ],
      prepare(folder) {
        for (const name of ['bad', 'brother', 'probe']) putVersion(join(folder, name), 1, {});
      },
    });
  }, 60_000);
  afterAll(async () => running[Symbol.asyncDispose]());

  const ask = (model: string, x: number) => running.ask(`${model}:predict`, { instances: [x] });

  test.each(faults)(
    'that %s fails its own request; those of its batch, of its module and of others succeed',
    async (_name, wrong, message) => {
      const good = Array.from({ length: 8 }, (_, index) => index);
      const [bad, ...others] = await Promise.all([
        ask('bad', wrong),
        ...good.map((x) => ask('bad', x)),
        ...good.map((x) => ask('brother', x)),
        ...good.map((x) => ask('probe', x)),
      ]);
      expect(bad).toEqual({ status: 500, json: { error: `servable module bad ${message}` } });
      const plusOne = good.map((x) => ({ status: 200, json: { predictions: [x + 1] } }));
      const probed = good.map((x) => ({ status: 200, json: { predictions: [2 * x + 1] } }));
      expect(others).toEqual([...plusOne, ...plusOne, ...probed]);
    },
    60_000,
  );

  test('whose new version wedges while it loads goes on with the one before, and says why', async () => {
    putVersion(join(running.folder, 'bad'), 2, { wedge: '' });
    let asked = 0;
    const statusOf = async () => (await running.mesh.send('GET', '/v1/models/bad/versions/2')).text;
    await running.until(async () => {
      const answers = await Promise.all([ask('bad', ++asked), ask('brother', asked)]);
      expect(answers).toEqual(Array(2).fill({ status: 200, json: { predictions: [asked + 1] } }));
      return (await statusOf()).includes('END');
    });
    expect(await statusOf()).toContain('servable module bad did not finish loading within 6000 ms (--user_code_load_limit_ms)');
    expect(await ask('bad', 1)).toEqual({ status: 200, json: { predictions: [2] } });
  }, 60_000);
});
