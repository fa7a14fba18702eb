import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { checkEach, type KnownModel, startAnswerCheck, whileChecking } from '../../bench/load/answer-check.ts';
import { hasWrk, runWrk } from '../../bench/load/wrk.ts';
import { lineTruth } from '../../bench/models/line-models.ts';

const MODELS = Array.from({ length: 40 }, (_, index): KnownModel => ({ name: `m${index}`, truth: (x) => lineTruth(index, x) }));
const withWrk = hasWrk() ? test : test.skip;

describe('answers under load', () => {
  test('of every model are looked at, once each', async () => {
    const asked: string[] = [];
    await using server = await serve((path, x) => {
      asked.push(path);
      return lineTruth(modelOf(path), x);
    });
    await checkEach(server.port, MODELS);
    expect(asked.sort()).toEqual(MODELS.map(({ name }) => `/v1/models/${name}:predict`).sort());
  });

  test('that come from another model, or for another number, or as an error are noticed', async () => {
    await using neighbour = await serve((path, x) => lineTruth(modelOf(path) === 7 ? 8 : modelOf(path), x));
    await expect(checkEach(neighbour.port, MODELS)).rejects.toThrow('m7 answered {"predictions":[8.4375]} for 0.875, expected 7.4375');
    await using refusing = await serve((path, x) => (modelOf(path) === 9 ? undefined : lineTruth(modelOf(path), x)));
    await expect(checkEach(refusing.port, MODELS)).rejects.toThrow('m9 answered 503');
  });

  test('are looked at until the load ends, each for a number of its own', async () => {
    const numbers: number[] = [];
    let enough = (): void => {};
    const load = new Promise<string>((resolve) => {
      enough = () => resolve('done');
    });
    await using server = await serve((path, x) => {
      if (numbers.push(x) === 5) enough();
      return lineTruth(modelOf(path), x);
    });
    expect(await whileChecking(server.port, MODELS.slice(0, 2), () => load)).toBe('done');
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test('make the load worthless when one is wrong, or none was looked at', async () => {
    let enough = (): void => {};
    const load = new Promise<void>((resolve) => {
      enough = resolve;
    });
    await using server = await serve((path, x) => {
      enough();
      return lineTruth(modelOf(path), x) + 0.0625;
    });
    await expect(whileChecking(server.port, MODELS.slice(0, 1), () => load)).rejects.toThrow('m0 answered');
    await expect(startAnswerCheck(server.port, MODELS).stop()).rejects.toThrow('no answer was looked at');
  });

  withWrk('are asked of all paths alike when they take turns', async () => {
    const counts = new Map<string, number>();
    await using server = await serve((path, x) => {
      counts.set(path, (counts.get(path) ?? 0) + 1);
      return x;
    });
    const paths = MODELS.map(({ name }) => `/v1/models/${name}:predict`);
    const url = `http://127.0.0.1:${server.port}/`;
    const { errors } = await runWrk({ url, paths, body: '{"instances": [1]}', connections: 3, seconds: 1 });
    expect(errors).toBe(0);
    expect([...counts.keys()].sort()).toEqual([...paths].sort());
    const times = [...counts.values()];
    // Only what was on its way at the ends differs.
    expect(Math.max(...times) - Math.min(...times)).toBeLessThanOrEqual(3);
  });
});

function modelOf(path: string): number {
  return Number(/m(\d+):/.exec(path)?.[1]);
}

/** A server that predicts with a function; undefined is refused with 503. */
async function serve(answer: (path: string, x: number) => number | undefined): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = createServer(async (request, response) => {
    const { instances } = JSON.parse(await bodyOf(request)) as { readonly instances: readonly number[] };
    const predictions = instances.map((x) => answer(request.url ?? '', x));
    if (predictions.includes(undefined)) response.writeHead(503).end('{"error": "not now"}');
    else response.end(JSON.stringify({ predictions }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
