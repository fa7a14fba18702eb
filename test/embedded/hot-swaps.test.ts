import { mkdtempSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import { parseSettings } from '#mesh/config.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { EMBEDDED_SETTINGS } from '../../services/embedded/config.ts';
import { startEmbedded } from '../../services/embedded/index.ts';
import { freePort } from '../servers/server-process.ts';
import { askLine } from './line-client.ts';
import { putLineVersion } from './line-models.ts';

const SWAPS = 100;
const CLIENTS = 8;

test(`${SWAPS} version swaps under load give 0 errors, and every answer is of the version it names`, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-swaps-'));
  const base = join(folder, 'line');
  for (const version of [1, 2]) putLineVersion(base, version);
  const configOf = (version: number) =>
    `model_config_list { config { name: "line" base_path: "${base}" model_platform: "onnx" model_version_policy { specific { versions: ${version} } } } }`;
  const { values } = parseSettings(EMBEDDED_SETTINGS, {
    args: [
      `--port=${await freePort()}`,
      `--rest_api_port=${await freePort()}`,
      '--enable_batching',
      '--version_settle_ms=0',
      '--file_system_poll_wait_seconds=1',
    ],
    env: {},
  });
  const embedded = await startEmbedded({
    settings: values,
    telemetry: createSilentTelemetry(),
    clock: createSystemClock(),
    defaultConfigText: configOf(1),
  });
  const port = embedded.restPort ?? 0;
  const agent = new Agent({ keepAlive: true });
  let swapping = true;
  let answered = 0;
  const wrong: unknown[] = [];
  const versions = new Set<number>();

  const load = Array.from({ length: CLIENTS }, async (_, client) => {
    for (let index = 0; swapping; index++) {
      const x = client * 1000 + index;
      const answer = await askLine(agent, port, x);
      if (answer.value !== x / 2 + answer.version) wrong.push({ x, ...answer });
      versions.add(answer.version);
      answered++;
    }
  });
  const seen: number[] = [];
  try {
    for (let swap = 1; swap <= SWAPS; swap++) {
      const version = (swap % 2) + 1;
      await embedded.core.reload(configOf(version), 20_000);
      for (;;) {
        const { version: now } = await askLine(agent, port, 0);
        if (now === version) break;
      }
      seen.push(version);
    }
  } finally {
    swapping = false;
    await Promise.all(load);
    agent.destroy();
    await embedded[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  }
  expect(seen.length).toBe(SWAPS);
  expect(wrong).toEqual([]);
  expect([...versions].sort()).toEqual([1, 2]);
  expect(answered).toBeGreaterThan(SWAPS);
}, 300_000);
