import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createFakeClock } from '#mesh/clock.ts';
import { type RestHarness, startHarness } from './rest-harness.ts';

let harness: RestHarness | undefined;
let sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  await harness?.[Symbol.asyncDispose]();
  harness = undefined;
});

async function start(...options: Parameters<typeof startHarness>): Promise<RestHarness> {
  harness = await startHarness(...options);
  return harness;
}

/** A connection, and what has come back on it. */
async function open(port: number): Promise<{ readonly socket: Socket; readonly text: () => string; readonly closed: Promise<unknown> }> {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  return { socket, text: () => text, closed };
}

async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const PREDICT = '/v1/models/half_plus_two:predict';

function post(x: number, ...headers: readonly string[]): string {
  const body = `{"instances":[${x}]}`;
  return [`POST ${PREDICT} HTTP/1.1`, 'Host: x', `Content-Length: ${body.length}`, ...headers, '', body].join('\r\n');
}

/** The same request in forms that node:http has to read. */
function chunked(x: number): string {
  const body = `{"instances":[${x}]}`;
  const head = [`POST ${PREDICT} HTTP/1.1`, 'Host: x', 'Transfer-Encoding: chunked', '', ''].join('\r\n');
  return `${head}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
}

/** The answers in a stream of responses: status and body of each that has come whole. */
function answers(text: string): string[] {
  const found: string[] = [];
  let rest = text;
  for (;;) {
    const head = /^HTTP\/1\.1 (\d+) [\s\S]*?Content-Length: (\d+)\r\n[\s\S]*?\r\n\r\n/i.exec(rest);
    if (head === null) return found;
    const end = head[0].length + Number(head[2]);
    if (rest.length < end) return found;
    found.push(`${head[1]} ${rest.slice(head[0].length, end).replace(/\s+/g, '')}`);
    rest = rest.slice(end);
  }
}

function answer(x: number): string {
  return `200 {"predictions":[${(x / 2 + 2).toFixed(1)}]}`;
}

describe('plain connections', () => {
  test('answer with the head that node:http would write', async () => {
    const { server } = await start({ enableCors: true });
    const plain = await open(server.port);
    plain.socket.write(post(1));
    await eventually(() => answers(plain.text()).length === 1);
    const other = await open(server.port);
    other.socket.write(chunked(1));
    await eventually(() => answers(other.text()).length === 1);
    const lines = (text: string) =>
      text
        .replace(/Date: [^\r]+/, 'Date: now')
        .split('\r\n')
        .sort();
    expect(lines(plain.text())).toEqual(lines(other.text()));
    expect(plain.text()).toMatch(/\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/);
  });

  test('give the same answers in order, however their bytes are cut and whoever has to read them', async () => {
    const { server } = await start();
    const kind = fc.constantFrom('plain', 'chunked', 'error', 'status');
    await fc.assert(
      fc.asyncProperty(fc.array(kind, { minLength: 1, maxLength: 6 }), fc.array(fc.nat(600), { maxLength: 6 }), async (kinds, cuts) => {
        const texts = kinds.map((one, index) => {
          if (one === 'plain') return post(index);
          if (one === 'chunked') return chunked(index);
          if (one === 'error') return post(Number.NaN);
          return 'GET /v1/models/half_plus_two HTTP/1.1\r\nHost: x\r\n\r\n';
        });
        const bytes = texts.join('');
        const { socket, text } = await open(server.port);
        socket.setNoDelay(true);
        let from = 0;
        for (const cut of [...new Set(cuts)].sort((a, b) => a - b)) {
          if (cut <= from || cut >= bytes.length) continue;
          socket.write(bytes.slice(from, cut));
          from = cut;
          await turn();
        }
        socket.write(bytes.slice(from));
        await eventually(() => answers(text()).length === kinds.length);
        const got = answers(text());
        for (const [index, one] of kinds.entries()) {
          if (one === 'plain' || one === 'chunked') expect(got[index]).toBe(answer(index));
          else expect(got[index]).toMatch(one === 'error' ? /^200 \{"predictions":\[NaN\]\}|^400 / : /^200 \{"model_version_status"/);
        }
        socket.destroy();
      }),
      { numRuns: 60 },
    );
  });

  test('wait with the next request until the one before is answered', async () => {
    const { server, core } = await start();
    core.hold = true;
    const { socket, text } = await open(server.port);
    socket.write(post(1) + post(2) + chunked(3) + post(4));
    await eventually(() => core.requests.length === 1);
    for (let index = 0; index < 20; index++) await turn();
    expect(core.requests).toHaveLength(1);
    core.hold = false;
    core.release();
    await eventually(() => answers(text()).length === 4);
    expect(answers(text())).toEqual([answer(1), answer(2), answer(3), answer(4)]);
  });

  test('read no further while a client owes them nothing, however much it sends', async () => {
    const { server, core } = await start();
    core.hold = true;
    const { socket } = await open(server.port);
    const many = post(1).repeat(20_000);
    let flushed = false;
    socket.write(many.repeat(20), () => {
      flushed = true;
    });
    await eventually(() => core.requests.length === 1);
    for (let index = 0; index < 200; index++) await turn();
    // 40 MB do not fit the buffers of two sockets: the server has stopped reading.
    expect(flushed).toBe(false);
    expect(core.requests).toHaveLength(1);
  });

  test('answer what contradicts itself as node:http does, and close', async () => {
    const { server, core } = await start();
    for (const header of ['Content-Length: 5', 'Transfer-Encoding: chunked', 'A: b\nTransfer-Encoding: chunked', 'Bad Name: x']) {
      const { socket, text, closed } = await open(server.port);
      socket.write(post(1, header));
      await closed;
      expect(text()).toMatch(/^HTTP\/1\.1 400 /);
    }
    expect(core.requests).toHaveLength(0);
  });

  test('end when they send nothing at all, or no next request', async () => {
    const clock = createFakeClock();
    const { server } = await start({ bodyTimeoutMs: 1000 }, clock);
    const silent = await open(server.port);
    const used = await open(server.port);
    used.socket.write(post(1));
    await eventually(() => answers(used.text()).length === 1);
    await clock.advance(2000);
    await silent.closed;
    expect(silent.text()).toMatch(/^HTTP\/1\.1 408 /);
    await clock.advance(50_000);
    used.socket.write(post(2));
    await eventually(() => answers(used.text()).length === 2);
    await clock.advance(50_000);
    expect(used.socket.closed).toBe(false);
    await clock.advance(20_000);
    await used.closed;
  });

  /** Sends requests with answers of 200 KB, and reads none of them, until the server waits for that. */
  async function fill({ server, core }: RestHarness) {
    const client = await open(server.port);
    client.socket.pause();
    const body = JSON.stringify({ instances: Array.from({ length: 25_000 }, (_, index) => index + 0.5) });
    const request = `POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    for (let index = 0; index < 100; index++) client.socket.write(request);
    let before = -1;
    while (core.requests.length !== before) {
      before = core.requests.length;
      for (let index = 0; index < 300; index++) await turn();
    }
    // The answers fill the buffers of two sockets, so the requests behind them wait.
    expect(core.requests.length).toBeGreaterThan(0);
    expect(core.requests.length).toBeLessThan(100);
    return client;
  }

  test('end when their client takes nothing of its answers', async () => {
    const clock = createFakeClock();
    const { socket, closed } = await fill(await start({ bodyTimeoutMs: 1000 }, clock));
    await clock.advance(3000);
    socket.resume();
    await closed;
  });

  test('give a slow client what it is owed before a drain ends', async () => {
    const running = await start();
    const { socket, text, closed } = await fill(running);
    const stopped = running.server[Symbol.asyncDispose]();
    for (let index = 0; index < 10; index++) await turn();
    // What the server has not read by its end would reset the connection, and the reset would take the answers in the kernel's buffers along.
    socket.on('data', () => {
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    });
    socket.resume();
    await closed;
    await stopped;
    expect(answers(text())).toHaveLength(running.core.requests.length);
    expect(text().endsWith('}')).toBe(true);
  });

  test('that have ended are closed, though their client stays and says nothing more', async () => {
    const clock = createFakeClock();
    const { server } = await start({ bodyTimeoutMs: 1000 }, clock);
    const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.push(socket);
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const ended = once(socket, 'end');
    // Half a body, and then nothing: that is answered, and the connection ends.
    await once(socket, 'connect');
    socket.write(post(1).slice(0, -3));
    for (let index = 0; index < 50; index++) await turn();
    await clock.advance(1500);
    await ended;
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    await clock.advance(3000);
    // Nobody is there any more: the first byte is answered by a reset, the next one fails.
    const asking = setInterval(() => socket.write('x'), 5);
    await closed;
    clearInterval(asking);
  });

  test('end with a drain: at once when they wait, with the answer when it is owed', async () => {
    const { server, core } = await start();
    const idle = await open(server.port);
    idle.socket.write(post(1));
    await eventually(() => answers(idle.text()).length === 1);
    core.hold = true;
    const busy = await open(server.port);
    busy.socket.write(post(2));
    await eventually(() => core.requests.length === 2);
    const stopped = server[Symbol.asyncDispose]();
    await idle.closed;
    core.release();
    await busy.closed;
    await stopped;
    expect(answers(busy.text())).toEqual([answer(2)]);
    expect(busy.text()).toContain('Connection: close');
  });

  test('leave a large body that is not here yet to node:http', async () => {
    const { server } = await start();
    const { socket, text } = await open(server.port);
    const body = `{"instances":[${' '.repeat(2_000_000)}1]}`;
    socket.write(post(0));
    await eventually(() => answers(text()).length === 1);
    socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}${post(3)}`);
    await eventually(() => answers(text()).length === 3);
    expect(answers(text())).toEqual([answer(0), answer(1), answer(3)]);
  });
});
