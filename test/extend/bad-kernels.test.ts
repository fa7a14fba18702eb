import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createTelemetry, type Telemetry } from '#mesh/telemetry.ts';
import { customOpModels } from '../../examples/custom-ops/make-models.ts';
import { type RunningMesh, startRunningMesh } from '../embedded/running-mesh.ts';
import { ASK } from './fixtures/bad-zero-out.ts';

const HALF_PLUS_TWO = join(import.meta.dirname, '../../examples/models/half_plus_two');
const CALL_LIMIT_MS = 4000;
const MEMORY_LIMIT_BYTES = 64 * 2 ** 20;
const TOO_MUCH_MEMORY = `op ZeroOut took more memory than ${MEMORY_LIMIT_BYTES} bytes beyond its estimate (--user_code_memory_limit_bytes)`;

/** What a kernel does, what its row asks for, the status of its request where that is not the kernel's to say, and the text. */
type Fault = readonly [string, number, number | undefined, string];

const FAULTS: readonly Fault[] = [
  ['loops forever', ASK.loop, 500, `op ZeroOut did not finish a call within ${CALL_LIMIT_MS} ms (--user_code_call_limit_ms)`],
  ['throws', ASK.throw, undefined, 'the row asks for an error'],
  ['exits the process', ASK.exit, 500, 'op ZeroOut ended its process with code 3'],
  ['aborts the process', ASK.abort, 500, 'op ZeroOut ended its process with SIGABRT'],
  ['gives the wrong shape', ASK.wrongShape, undefined, 'ZeroOut'],
];
const FAULTS_OF_MEMORY: readonly Fault[] = [
  ['fills the heap without end', ASK.fillHeap, 500, TOO_MUCH_MEMORY],
  ['allocates buffers without end', ASK.fillBuffers, 500, TOO_MUCH_MEMORY],
];

describe.each<readonly [string, number, readonly Fault[], readonly string[]]>([
  ['a kernel in a whole mesh', CALL_LIMIT_MS, FAULTS, ['time', 'end']],
  // Time enough to break the other limit first, on a machine that does much else.
  ['a kernel in a whole mesh that gives it time', 25_000, FAULTS_OF_MEMORY, ['memory']],
])('%s', (_title, callLimitMs, faults, breaches) => {
  let mesh: RunningMesh;
  let telemetry: Telemetry;
  let pressing = true;
  const pressed = { answered: 0, wrong: [] as string[] };
  let pressure: Promise<unknown>;

  beforeAll(async () => {
    telemetry = createTelemetry({ service: 'test', logLevel: 'silent', otlpEndpoint: '' });
    mesh = await startRunningMesh({
      telemetry,
      prepare(folder) {
        cpSync(HALF_PLUS_TWO, join(folder, 'half_plus_two'), { recursive: true });
        const model = customOpModels().get('zero_out/1/saved_model.pb');
        if (model === undefined) throw new Error('the example has gone');
        const onnx = customOpModels().get('zero_out_onnx/1/model.onnx');
        if (onnx === undefined) throw new Error('the example has gone');
        mkdirSync(join(folder, 'bad_onnx', '1'), { recursive: true });
        writeFileSync(join(folder, 'bad_onnx', '1', 'model.onnx'), onnx);
        for (const name of ['bad', 'beside']) {
          mkdirSync(join(folder, name, '1'), { recursive: true });
          writeFileSync(join(folder, name, '1', 'saved_model.pb'), model);
        }
      },
      config: (folder) =>
        `model_config_list { ${['half_plus_two', 'bad', 'bad_onnx', 'beside']
          .map((name) => `config { name: "${name}" base_path: "${join(folder, name)}" }`)
          .join(' ')} }`,
      flags: (folder) => [
        '--enable_batching',
        '--instances=1',
        `--import_cache_dir=${join(folder, 'cache')}`,
        `--op_library=${join(import.meta.dirname, 'fixtures/bad-zero-out.ts')}`,
        `--user_code_call_limit_ms=${callLimitMs}`,
        `--user_code_memory_limit_bytes=${MEMORY_LIMIT_BYTES}`,
        '--quarantine_after_deaths=100',
      ],
    });
    // A steady load on a model that has no part in any of it.
    pressure = Promise.all(
      Array.from({ length: 4 }, async (_, client) => {
        for (let index = 0; pressing; index++) {
          const x = client * 1000 + index;
          const { status, text } = await mesh.send('POST', '/v1/models/half_plus_two:predict', `{"instances":[${x}]}`);
          const [y] = status === 200 ? (JSON.parse(text) as { predictions: number[] }).predictions : [];
          if (y === x / 2 + 2) pressed.answered++;
          else pressed.wrong.push(`${x}: ${status} ${text}`);
        }
      }),
    );
  }, 60_000);

  afterAll(async () => {
    pressing = false;
    await pressure;
    await mesh[Symbol.asyncDispose]();
    await telemetry[Symbol.asyncDispose]();
  });

  async function zeroOut(model: string, first: number) {
    const { status, text } = await mesh.send('POST', `/v1/models/${model}:predict`, `{"inputs":[[${first},7]]}`);
    return { status, json: JSON.parse(text) as { readonly outputs?: unknown; readonly error?: string } };
  }

  test.each(faults)(
    'that %s fails its own request by name, and the requests of all neighbours succeed',
    async (_name, ask, status, message) => {
      const before = pressed.answered;
      const good = Array.from({ length: 12 }, (_, index) => index + 1);
      const [bad, ...others] = await Promise.all([
        zeroOut('bad', ask),
        ...good.map((first) => zeroOut('bad', first)),
        ...good.map((first) => zeroOut('beside', first)),
      ]);
      expect(bad.json.error).toContain(message);
      expect(bad.json.error).toContain('ZeroOut');
      if (status !== undefined) expect(bad.status).toBe(status);
      expect(others).toEqual([...good, ...good].map((first) => ({ status: 200, json: { outputs: [[first, 0]] } })));
      expect(await zeroOut('bad', 5)).toEqual({ status: 200, json: { outputs: [[5, 0]] } });
      expect(pressed.wrong).toEqual([]);
      expect(pressed.answered).toBeGreaterThan(before);
    },
    60_000,
  );

  test('that breaks its executor in an ONNX model fails its own request alone, too', async () => {
    const good = [1, 2, 3, 4];
    // The model is ZeroOut(2 x) + 1.
    const [bad, ...others] = await Promise.all([ASK.exit / 2, ...good].map((first) => zeroOut('bad_onnx', first)));
    expect(bad).toEqual({ status: 500, json: { error: 'op ZeroOut ended its process with code 3' } });
    expect(others).toEqual(good.map((first) => ({ status: 200, json: { outputs: [[2 * first + 1, 1]] } })));
    expect(pressed.wrong).toEqual([]);
  });

  test('is counted by the name of its op, and so is what it broke', async () => {
    const metrics = (await telemetry.metrics.metrics()).replace(/^(?!headrace_worker_user_code).*\n/gm, '');
    expect(metrics).toMatch(/^headrace_worker_user_code_calls_total\{name="op ZeroOut"\} [1-9]/m);
    for (const breach of breaches) {
      expect(metrics).toMatch(new RegExp(`^headrace_worker_user_code_breaches_total\\{name="op ZeroOut",breach="${breach}"\\} [1-9]`, 'm'));
    }
  });
});
