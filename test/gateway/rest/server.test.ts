import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import { type RestHarness, startHarness } from './rest-harness.ts';

let harness: RestHarness | undefined;
afterEach(async () => {
  await harness?.[Symbol.asyncDispose]();
  harness = undefined;
});
async function start(...options: Parameters<typeof startHarness>): Promise<RestHarness> {
  harness = await startHarness(...options);
  return harness;
}

const PREDICT = '/v1/models/half_plus_two:predict';
const BODY = '{"instances":[1.0,2.0]}';
const ANSWER = '{\n    "predictions": [2.5, 3.0\n    ]\n}';

/** A connection on which a test writes what it likes. */
async function open(port: number): Promise<{
  readonly socket: Socket;
  readonly received: () => string;
  readonly closed: Promise<void>;
  until(pattern: RegExp): Promise<string>;
}> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  let check: () => void = () => {};
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    check();
  });
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
  return {
    socket,
    received: () => text,
    closed,
    until: (pattern) =>
      new Promise((resolve) => {
        check = () => {
          if (pattern.test(text)) resolve(text);
        };
        check();
      }),
  };
}

/** Resolves once the condition holds; checked after every turn. */
async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('the REST server', () => {
  test('answers predictions with the version that served them', async () => {
    const { ask, core, finished } = await start();
    const answer = await ask('POST', PREDICT, BODY, { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' });
    expect(answer.text).toBe(ANSWER);
    expect(answer.headers['x-headrace-model-version']).toBe('123');
    expect(core.requests[0]?.traceparent).toBe('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    expect(finished).toMatchObject([{ model: 'half_plus_two', method: 'predict', code: 'OK' }]);
  });

  test('gives each inference the REST timeout as its deadline', async () => {
    const { ask, core } = await start({ timeoutMs: 1234 }, createFakeClock());
    await ask('POST', PREDICT, BODY);
    expect(core.requests[0]?.deadlineMs).toBe(1234);
  });

  test('keeps a connection for the next request', async () => {
    const { server } = await start();
    const { socket, until } = await open(server.port);
    const request = `POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;
    socket.write(request + request);
    expect((await until(/\}[\s\S]*200 OK[\s\S]*\}$/)).match(/200 OK/g)).toHaveLength(2);
    socket.destroy();
  });

  test('takes a body in pieces, chunked or declared', async () => {
    const { server } = await start();
    for (const head of ['Transfer-Encoding: chunked', `Content-Length: ${BODY.length}`]) {
      const chunked = head.startsWith('T');
      const { socket, until } = await open(server.port);
      socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n`);
      for (const letter of BODY) socket.write(chunked ? `1\r\n${letter}\r\n` : letter);
      if (chunked) socket.write('0\r\n\r\n');
      expect(await until(/\]\n\}$/)).toContain(ANSWER);
      socket.destroy();
    }
  });

  test('counts unknown models under no name, and tells CORS headers only when asked to', async () => {
    const { ask, finished } = await start({ enableCors: true });
    const answer = await ask('POST', '/v1/models/made-up-1:predict', BODY);
    expect(answer.status).toBe(404);
    expect(answer.headers['access-control-allow-methods']).toBe('POST, GET');
    expect(finished).toMatchObject([{ model: null, method: 'predict', code: 'NOT_FOUND' }]);
  });

  test('closes a client that stalls in its body with 408', async () => {
    const clock = createFakeClock();
    const { server, finished } = await start({ bodyTimeoutMs: 1000 }, clock);
    const { socket, received, closed } = await open(server.port);
    socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"inst`);
    // One looks at connections that wait, the other at the body.
    await eventually(() => clock.sleepers > 1);
    await clock.advance(2000);
    await closed;
    expect(received()).toMatch(/^HTTP\/1\.1 408 [\s\S]*Connection: close[\s\S]*rest_api_body_timeout_in_ms/);
    expect(finished).toMatchObject([{ code: 'DEADLINE_EXCEEDED' }]);
  });

  test('does not close a client that is slow but moves', async () => {
    const clock = createFakeClock();
    const { server } = await start({ bodyTimeoutMs: 1000 }, clock);
    const { socket, until } = await open(server.port);
    socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: ${BODY.length}\r\n\r\n`);
    // One looks at connections that wait, the other at the body.
    await eventually(() => clock.sleepers > 1);
    for (const letter of BODY) {
      socket.write(letter);
      await new Promise((resolve) => setImmediate(resolve));
      await clock.advance(300);
    }
    expect(await until(/\]\n\}$/)).toContain(ANSWER);
    socket.destroy();
  });

  test('cancels the inference of a client that has gone', async () => {
    const { server, core, finished } = await start();
    core.hold = true;
    const { socket } = await open(server.port);
    socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`);
    await eventually(() => core.requests.length === 1);
    socket.destroy();
    await eventually(() => finished.length === 1);
    expect(core.cancelled).toHaveLength(1);
    expect(finished).toMatchObject([{ code: 'CANCELLED' }]);
  });

  test('forgets a client that goes in the middle of its body', async () => {
    const { server, core, finished, ask } = await start();
    const { socket } = await open(server.port);
    socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"inst`);
    socket.destroySoon();
    await eventually(() => finished.length === 1);
    expect(core.requests).toHaveLength(0);
    expect((await ask('POST', PREDICT, BODY)).status).toBe(200);
  });

  test('refuses a body that is too large, declared or not, and lives on', async () => {
    const { server, ask, core } = await start({ maxBodyBytes: 100_000 });
    const large = await ask('POST', PREDICT, Buffer.alloc(1_000_000, 0x20));
    expect(large.status).toBe(413);
    expect(JSON.parse(large.text).error).toContain('rest_api_max_body_bytes');
    const { socket, until } = await open(server.port);
    socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
    for (let index = 0; index < 8; index++) socket.write(`4000\r\n${' '.repeat(0x4000)}\r\n`);
    expect(await until(/\}$/)).toMatch(/^HTTP\/1\.1 413/);
    socket.destroy();
    expect(core.requests).toHaveLength(0);
    expect((await ask('POST', PREDICT, BODY)).text).toBe(ANSWER);
  });

  test('inflates gzip bodies, and takes bombs and broken ones as empty', async () => {
    const { ask } = await start();
    const zipped = { 'content-encoding': 'gzip' };
    expect((await ask('POST', PREDICT, gzipSync(BODY), zipped)).text).toBe(ANSWER);
    const empty = '{\n    "error": "JSON Parse error: The document is empty"\n}';
    expect((await ask('POST', PREDICT, Buffer.from('no gzip'), zipped)).text).toBe(empty);
    expect((await ask('POST', PREDICT, gzipSync(Buffer.alloc(101 * 1024 * 1024, 0x20)), zipped)).text).toBe(empty);
  });

  test('answers 500,000 levels of nesting and goes on', async () => {
    const { ask } = await start();
    expect((await ask('POST', PREDICT, `{"instances":${'['.repeat(500_000)}${']'.repeat(500_000)}}`)).status).toBe(400);
    expect((await ask('POST', PREDICT, `{"instances":${'[{"a":'.repeat(500_000)}`)).status).toBe(400);
    expect((await ask('POST', PREDICT, BODY)).text).toBe(ANSWER);
  });

  test('takes and gives raw bytes', async () => {
    const { ask } = await start();
    const tensors = JSON.stringify({ inputs: [{ name: 'x', dtype: 'DT_FLOAT', shape: [2, 1] }] });
    const body = new Uint8Array(Float32Array.of(1, 5).buffer);
    const headers = { 'content-type': 'application/octet-stream', 'x-headrace-tensors': tensors };
    const raw = await ask('POST', PREDICT, body, { ...headers, accept: 'application/octet-stream' });
    expect(JSON.parse(String(raw.headers['x-headrace-tensors']))).toEqual({ outputs: [{ name: 'y', dtype: 'DT_FLOAT', shape: [2, 1] }] });
    expect([raw.bytes.readFloatLE(0), raw.bytes.readFloatLE(4), raw.bytes.byteLength]).toEqual([2.5, 4.5, 8]);
    expect(JSON.parse((await ask('POST', PREDICT, body, headers)).text)).toEqual({ outputs: [[2.5], [4.5]] });
    const short = await ask('POST', PREDICT, body.subarray(1), headers);
    expect([short.status, short.text.includes('does not fit the 7 bytes')]).toEqual([400, true]);
  });

  test('answers versions beyond 2^53 as not found, and beyond int64 with an empty 400', async () => {
    const { ask } = await start();
    const far = await ask('POST', '/v1/models/half_plus_two/versions/9223372036854775807:predict', BODY);
    expect([far.status, JSON.parse(far.text).error]).toEqual([
      404,
      'Servable not found for request: Specific(half_plus_two, 9223372036854775807)',
    ]);
    const beyond = await ask('GET', '/v1/models/half_plus_two/versions/9223372036854775808');
    expect([beyond.status, beyond.text, beyond.headers['content-type']]).toEqual([400, '', 'application/json']);
  });

  test('takes the query string as part of the name, and percent escapes as TensorFlow Serving does', async () => {
    const { ask } = await start();
    expect((await ask('GET', '/v1/models/half_plus_two?x=1')).text).toContain('Could not find any versions of model half_plus_two?x=1');
    expect((await ask('GET', '/v1/models/half%5Fplus_two')).status).toBe(200);
    expect((await ask('GET', '/v1/models/a%2Fb+c')).text).toContain('model a/b+c');
    expect((await ask('POST', '/v1/models/half_plus_two:PREDICT', BODY)).text).toContain(
      'Malformed request: POST /v1/models/half_plus_two:PREDICT',
    );
  });

  test('lists models, and tells liveness and readiness', async () => {
    const { ask } = await start();
    expect(JSON.parse((await ask('GET', '/v1/models')).text).models).toContainEqual({
      name: 'ident',
      versions: [
        { version: '3', state: 'AVAILABLE' },
        { version: '1', state: 'AVAILABLE' },
      ],
      labels: { stable: '1', canary: '3' },
    });
    const statuses = await Promise.all(
      ['/healthz', '/readyz', '/v1/models/ident/ready', '/v1/models/nope/ready'].map(async (path) => (await ask('GET', path)).status),
    );
    expect(statuses).toEqual([200, 200, 200, 404]);
  });

  test('serves metrics only at their path and only when enabled', async () => {
    const { ask } = await start({ metricsPath: '/monitoring/prometheus/metrics' });
    const page = await ask('GET', '/monitoring/prometheus/metrics');
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/plain']);
    const wrong = await ask('GET', '/monitoring/prometheus/metrics?x');
    expect([wrong.status, wrong.text]).toEqual([
      400,
      'Unexpected path: /monitoring/prometheus/metrics?x. Should be /monitoring/prometheus/metrics',
    ]);
    await harness?.[Symbol.asyncDispose]();
    expect((await (await start()).ask('GET', '/monitoring/prometheus/metrics')).status).toBe(404);
  });

  test('changes the configuration under a revision', async () => {
    const { ask } = await start();
    const reloaded = await ask('POST', '/v1/config:reload', 'model_config_list {}\n');
    expect([reloaded.status, reloaded.headers.etag, reloaded.text]).toEqual([200, '"2"', 'model_config_list {}\n']);
    const put = await ask('PUT', '/v1/config/models/m', 'name: "m" base_path: "/m"', { 'if-match': '"2"' });
    expect([put.status, put.headers.etag]).toEqual([200, '"3"']);
    expect((await ask('PUT', '/v1/config/models/m', 'name: "m"', { 'if-match': '"2"' })).status).toBe(412);
    expect((await ask('PUT', '/v1/config/models/m', 'name: "other"')).status).toBe(400);
    expect((await ask('DELETE', '/v1/config/models/m')).headers.etag).toBe('"4"');
    expect((await ask('GET', '/v1/config')).text).toBe('# without m\n');
  });

  test.each<[string, string, RegExp]>([
    ['names another model', 'name: "other" base_path: "/m"', /names \\"other\\", the path names \\"m\\"/],
    ['names no model', 'base_path: "name: \\"m\\""', /names no model, the path names \\"m\\"/],
    ['has a field that ModelConfig lacks', 'name: "m"\nbase_pth: "/m"', /2.*base_pth/],
    ['does not end', 'name: "m', /1/],
  ])('refuses a ModelConfig that %s, and says so', async (_, text, message) => {
    const { ask } = await start();
    const put = await ask('PUT', '/v1/config/models/m', text);
    expect(put.status).toBe(400);
    expect(put.text).toMatch(message);
    expect((await ask('GET', '/v1/config')).headers.etag).toBe('"1"');
  });

  test('takes a ModelConfig with its name in any place and form that the text format allows', async () => {
    const { ask } = await start();
    for (const text of ["base_path: 'name: \"x\"', name: 'm'", 'base_path: "/m" # name: "x"\nname: "\\155"']) {
      expect((await ask('PUT', '/v1/config/models/m', text)).status).toBe(200);
    }
  });

  test('finishes what is in flight before it stops, and accepts nothing new', async () => {
    const { server, core } = await start();
    core.hold = true;
    const { socket, until } = await open(server.port);
    socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`);
    await eventually(() => core.requests.length === 1);
    const stopped = server[Symbol.asyncDispose]();
    const late = connect(server.port, '127.0.0.1');
    await new Promise<void>((resolve) => late.once('error', () => resolve()));
    core.release();
    expect(await until(/\]\n\}$/)).toMatch(/200 OK[\s\S]*Connection: close/);
    await stopped;
  });

  test('gives up on what is in flight after ten seconds', async () => {
    const clock = createFakeClock();
    const { server, core } = await start({}, clock);
    core.hold = true;
    const { socket, closed } = await open(server.port);
    socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`);
    await eventually(() => core.requests.length === 1);
    const stopped = server[Symbol.asyncDispose]();
    await clock.advance(10_000);
    await stopped;
    await closed;
  });
});
