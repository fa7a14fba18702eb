import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunningMesh } from '../embedded/running-mesh.ts';
import { startExampleMesh } from './example-models.ts';

const ROOT = join(import.meta.dirname, '../..');
const COMMANDS = [
  'half_plus_two 1 2 5',
  'mnist examples/images/three.png examples/images/seven.png',
  'classify examples/images/three.png examples/images/seven.png',
  'segmentation examples/images/shapes.png',
  'digit_detector examples/images/digits.png',
];
const NODE = { program: process.execPath, client: 'examples/clients/node/main.ts' };
const PYTHON = { program: 'python3', client: 'examples/clients/python/main.py' };

const document = readFileSync(join(ROOT, 'docs/examples.md'), 'utf8');
const hasPython = spawnSync(PYTHON.program, ['-c', 'import grpc_tools, numpy, PIL'], { timeout: 20_000 }).status === 0;

describe('the clients of docs/examples.md', () => {
  let mesh: RunningMesh;
  beforeAll(async () => {
    mesh = await startExampleMesh();
  }, 120_000);
  afterAll(async () => {
    await mesh[Symbol.asyncDispose]();
  });

  /** What a client prints. It runs beside this process, which serves it. */
  async function printed({ program, client }: { readonly program: string; readonly client: string }, command: string): Promise<string> {
    const words = [client, '--server', `127.0.0.1:${mesh.grpcPort}`, ...command.split(' ')];
    return (await promisify(execFile)(program, words, { cwd: ROOT, timeout: 50_000 })).stdout;
  }

  test.each(COMMANDS)('the Node client prints what is shown for %s', async (command) => {
    expect(document).toContain(`node ${NODE.client} ${command}\n`);
    expect(document).toContain(`\`\`\`\n${await printed(NODE, command)}\`\`\`\n`);
  });

  (hasPython ? test : test.skip).each(COMMANDS)(
    'the Python client prints what is shown for %s (skipped where python3 has no grpcio-tools, numpy and pillow)',
    async (command) => {
      expect(document).toContain(`python3 ${PYTHON.client} ${command}\n`);
      expect(document).toContain(`\`\`\`\n${await printed(PYTHON, command)}\`\`\`\n`);
    },
  );

  test('a refusal of the server is told in its own words', async () => {
    const refused = printed(NODE, 'mnist examples/requests/mnist.json');
    await expect(refused).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('INVALID_ARGUMENT') });
  });
});
