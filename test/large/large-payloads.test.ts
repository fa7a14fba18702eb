import { describe, expect, test } from '@jest/globals';
import { hasNatsServer } from '../servers/nats-server.ts';
import { hasRedisServer } from '../servers/redis-server.ts';
import { type LargeAnswer, largeInput, predictGrpc, predictJson, predictRaw } from './large-model.ts';
import { type LargeServer, memoryOf, startLargeEmbedded, startLargeMesh } from './large-servers.ts';

/**
 * HEADRACE_LARGE=1 sends tensors of 100 MB ten times each way; without it a third of that, to be done in seconds. JSON has a tenth of the floats:
 * its text is twice and more what they are, and takes most of a second to write for the client alone.
 */
const isLong = process.env.HEADRACE_LARGE === '1';
const FLOATS = isLong ? 25_000_000 : 8_000_000;
const ROUNDS = isLong ? 10 : 5;
const SECONDS = isLong ? 900 : 120;

/** The most that a process may have in memory beyond what it started with, in payloads; twice and more of what was measured. */
const MOST_PAYLOADS: Readonly<Record<string, number>> = { embedded: 14, gateway: 8, worker: 12 };
/** What else may come and go: compiled code, heaps that grow once. */
const SLACK_BYTES = 200e6;

const servers = [
  { name: 'in one process', start: startLargeEmbedded, isMesh: false },
  { name: 'in a mesh of processes', start: startLargeMesh, isMesh: true },
];
const canMesh = hasNatsServer && hasRedisServer;

for (const { name, start, isMesh } of servers) {
  (isMesh && !canMesh ? describe.skip : describe)(`large tensors ${name}`, () => {
    test(
      'come back as they went, over every protocol, and memory stays flat',
      async () => {
        await using server = await start();
        const before = server.processes.map(memoryOf);
        const ways = [
          { send: (input: Uint8Array) => predictRaw(server.restPort, input), floats: FLOATS, rounds: ROUNDS },
          { send: (input: Uint8Array) => predictGrpc(server.grpcPort, input), floats: FLOATS, rounds: ROUNDS },
          { send: (input: Uint8Array) => predictJson(server.restPort, input), floats: FLOATS / 10, rounds: 2 },
        ];
        for (const { send, floats, rounds } of ways) {
          const seen: number[][] = server.processes.map(() => []);
          for (let round = 0; round < rounds; round++) {
            const input = largeInput(floats, round);
            const answer = await send(input);
            expect(answer.status).toBe(200);
            expect(Buffer.compare(answer.bytes, input)).toBe(0);
            for (const [index, process] of server.processes.entries()) seen[index]?.push(memoryOf(process).nowBytes);
          }
          for (const [index, { name: process }] of server.processes.entries()) {
            const [last = 0, middle = 0] = [seen[index]?.at(-1), seen[index]?.at(Math.floor(rounds / 2) - 1)];
            // Flat: what later rounds add is no more than garbage of one or two that waits to be collected.
            if (last - middle >= 2.5 * 4 * FLOATS) throw new Error(`${process} grew from ${middle} to ${last} bytes in ${rounds} rounds`);
          }
        }
        for (const [index, process] of server.processes.entries()) {
          const most = (before[index]?.nowBytes ?? 0) + (MOST_PAYLOADS[process.name] ?? 0) * 4 * FLOATS + SLACK_BYTES;
          expect(memoryOf(process).peakBytes).toBeLessThan(most);
        }
        if (isMesh) {
          const [direct, mesh] = [await server.fetchedBytes('direct'), await server.fetchedBytes('mesh')];
          // Only the first fetch of each side goes over the mesh, and of it only what came before there was a connection.
          expect(direct).toBeGreaterThan(5 * mesh);
        }
      },
      SECONDS * 1000,
    );
  });
}

(canMesh ? describe : describe.skip)('large tensors without direct connections', () => {
  test('come over NATS alone when no process has a port for them', async () => {
    await using server = await startLargeMesh(['--tensor_port=-1']);
    const input = largeInput(FLOATS, 1);
    const answer = await predictRaw(server.restPort, input);
    expect(answer.status).toBe(200);
    expect(Buffer.compare(answer.bytes, input)).toBe(0);
    expect(await server.fetchedBytes('direct')).toBe(0);
  }, 120_000);
});

describe('more large tensors at once than there is room for', () => {
  const CLIENTS = 8;
  const LIMIT_BYTES = 80_000_000;
  const INPUT = largeInput(6_000_000, 5);

  async function flood(server: LargeServer, send: (index: number) => Promise<LargeAnswer>): Promise<readonly LargeAnswer[]> {
    const before = server.processes.map(memoryOf);
    const answers = await Promise.all(Array.from({ length: CLIENTS }, (_, index) => send(index)));
    for (const [index, process] of server.processes.entries()) {
      const most = (before[index]?.nowBytes ?? 0) + (MOST_PAYLOADS[process.name] ?? 0) * LIMIT_BYTES + SLACK_BYTES;
      expect(memoryOf(process).peakBytes).toBeLessThan(most);
    }
    return answers;
  }

  const check = (answers: readonly LargeAnswer[]) => {
    const answered = answers.filter(({ status }) => status === 200);
    const refused = answers.filter(({ status }) => status === 429);
    expect(answered.length + refused.length).toBe(CLIENTS);
    expect(answered.length).toBeGreaterThan(0);
    for (const { bytes } of answered) expect(Buffer.compare(bytes, INPUT)).toBe(0);
    for (const { bytes } of refused) expect(Buffer.from(bytes).toString()).toContain('max_in_flight_bytes');
    return refused;
  };

  test('are refused beyond the limit, at once and with a hint when to come back, and the others are answered', async () => {
    await using server = await startLargeEmbedded([`--max_in_flight_bytes=${LIMIT_BYTES}`]);
    const refused = check(await flood(server, () => predictRaw(server.restPort, INPUT)));
    expect(refused.length).toBeGreaterThan(0);
    for (const { retryAfter } of refused) expect(retryAfter).toBe('1');
    check(await flood(server, () => predictGrpc(server.grpcPort, INPUT)));
    // Nothing is left behind that would keep the next one out, and a small request never had to wait.
    for (const count of [6_000_000, 1000]) {
      const input = largeInput(count, 9);
      const answer = await predictRaw(server.restPort, input);
      expect([answer.status, Buffer.compare(answer.bytes, input)]).toEqual([200, 0]);
    }
  }, 120_000);

  test('are sent back by a worker that has no room, and answered when it has', async () => {
    await using server = await startLargeEmbedded(['--held_input_bytes=1']);
    const input = largeInput(500_000, 2);
    const answers = await Promise.all(Array.from({ length: 3 }, () => predictRaw(server.restPort, input)));
    expect(answers.map(({ status, bytes }) => [status, Buffer.compare(bytes, input)])).toEqual(Array(3).fill([200, 0]));
  }, 120_000);
});
