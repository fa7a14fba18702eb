import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Doors, startDoors } from './doors.ts';
import { createRandom, mutate, type Random, SEED } from './random.ts';

const CONNECTIONS = 12;
const ROUNDS = 8;
let doors: Doors;
beforeAll(async () => {
  doors = await startDoors();
});
afterAll(async () => doors[Symbol.asyncDispose]());

const BODIES = [
  '{"instances": [1.0, 2.0, 5.0]}',
  '{"inputs": {"x": [1, 2]}}',
  '{"signature_name":"classify_x_to_y","examples":[{"x":1.0},{"x":2.5}]}',
  '{"signature_name":"i32","instances":[[1,2],[3,4]]}',
  '{"signature_name":"str","instances":[{"b64":"aGVsbG8="},"text \\ud83d\\ude00"]}',
  '{"context":{"x":[1.0]},"examples":[{"x":{"b64":"AAA="}}]}',
];
const VALUES = [
  ...['1e400', '-1e400', '1e-400', '9'.repeat(5000), '0x10', 'NaN', '-Infinity', '"\\ud800"', '"\\u0000"', '\u0000', '[[[[', '{"a":{"a":'],
  ...['"', '\\', '18446744073709551616', 'null', '{}', '[]', '[[],[1]]', '{"b64":"!!"}', '{"b64":1,"c":2}', '['.repeat(100_000)],
];
const PATHS = [
  ...[
    'half_plus_two:predict',
    'half_plus_two/versions/123:predict',
    'ident:predict',
    'ident/labels/canary:predict',
    'half_plus_two:classify',
  ],
  ...[
    'half_plus_two:regress',
    'half_plus_two',
    'half_plus_two/metadata',
    '',
    'half_plus_two/ready',
    '%zz:predict',
    '%00',
    'a'.repeat(8000),
  ],
  ...['half_plus_two/versions/99999999999999999999', 'ident/labels/%ff:predict', '__proto__:predict', 'constructor', '/:predict'],
].map((name) => `/v1/models/${name}`);
const OTHER_PATHS = ['/v1/config', '/v1/config/x', '/metrics', '/', '*', 'http://a/v1/models/x', '//'];
const METHODS = ['GET', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT', 'BREW', 'get'];
const tensors = (inputs: unknown) => `x-headrace-tensors: ${JSON.stringify({ inputs })}`;
const one = (dtype: string, shape: unknown) => tensors([{ name: 'x', dtype, shape }]);
const HEADERS = [
  ...['gzip', 'gzip, gzip', 'br', 'identity'].map((encoding) => `Content-Encoding: ${encoding}`),
  ...['"1"', '*', 'W/"x"', '9'.repeat(400)].map((tag) => `If-Match: ${tag}`),
  ...['Expect: 100-continue', 'Expect: 200-ok', 'Upgrade: h2c', 'Connection: Upgrade', 'Transfer-Encoding: chunked'],
  ...['5', '-1', '99999999999999999999', '1e3', '0x10'].map((length) => `Content-Length: ${length}`),
  ...['Accept: application/octet-stream', `traceparent: 00-${'z'.repeat(60)}`, 'Host: b', `X: ${'y'.repeat(20_000)}`],
  ...[[1], [4294967296, 4294967296, 0], [-1], [1e308], [0, 2 ** 53 - 1], Array(300).fill(1), 'x'].map((shape) => one('DT_FLOAT', shape)),
  ...[one('DT_STRING', [4e9]), one('__proto__', [1]), tensors([null]), tensors({}), 'x-headrace-tensors: [', 'x-headrace-tensors: null'],
  tensors([0, 1].map(() => ({ name: 'x', dtype: 'DT_FLOAT', shape: [0] }))),
];

function bodyOf(random: Random): Uint8Array {
  const text = random.pick(BODIES);
  const kind = random.below(8);
  if (kind === 0) return mutate(Buffer.from(text), random);
  if (kind === 1) return Buffer.from(text.replace(/[0-9.]+/, () => random.pick(VALUES)));
  if (kind === 2) return Buffer.from(`${text.slice(0, -1)},${text.slice(1)}`);
  if (kind === 3) return Buffer.from(random.pick(VALUES));
  return Buffer.from(text);
}

function requestOf(random: Random): Uint8Array {
  const body = bodyOf(random);
  const method = random.chance(0.8) ? 'POST' : random.pick(METHODS);
  const path = random.chance(0.6) ? random.pick(PATHS.slice(0, 6)) : random.pick([...PATHS, ...OTHER_PATHS]);
  const lines = [`${method} ${path} HTTP/${random.chance(0.9) ? '1.1' : random.pick(['1.0', '2.0', '0.9'])}`, 'Host: a'];
  if (random.chance(0.4)) for (let more = 1 + random.below(2); more > 0; more--) lines.push(random.pick(HEADERS));
  const chunked = lines.some((line) => line.includes('chunked'));
  if (!chunked && random.chance(0.95))
    lines.push(`Content-Length: ${body.byteLength + (random.chance(0.1) ? random.pick([-1, 1, 1000]) : 0)}`);
  const trailer = random.pick(['', 'Trailer: x\r\n', 'Content-Length: 5\r\n', `T: ${'x'.repeat(30_000)}\r\n`]);
  const payload = chunked ? [`${body.byteLength.toString(16)}\r\n`, body, `\r\n0\r\n${trailer}\r\n`] : [body];
  const whole = Buffer.concat([
    Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'),
    ...payload.map((part) => Buffer.from(part as string)),
  ]);
  return random.chance(0.05) ? mutate(whole, random) : whole;
}

const good = () => doors.mesh.send('POST', '/v1/models/half_plus_two:predict', '{"instances": [1.0, 2.0, 5.0]}');

async function untilIdle(): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    if ((await doors.inFlight()) === 0) return 0;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return doors.inFlight();
}

describe('hostile REST clients', () => {
  test(`get a status of their own making, and everybody else is served (FUZZ_SEED=${SEED})`, async () => {
    const random = createRandom(SEED);
    for (let round = 0; round < ROUNDS; round++) {
      const asked = Array.from({ length: CONNECTIONS }, () => Array.from({ length: 1 + random.below(4) }, () => requestOf(random)));
      const answers = await Promise.all(asked.map((requests) => doors.raw(requests, { idleMs: 150, abort: random.chance(0.1) })));
      const own = answers.flatMap((answer, index) =>
        [...answer.toString('latin1').matchAll(/HTTP\/1\.1 (5\d\d)[\s\S]{0,600}/g)]
          .filter(([, status]) => status !== '501')
          .map(([text]) => `${asked[index]?.map((bytes) => Buffer.from(bytes).toString('latin1').slice(0, 300)).join(' || ')} => ${text}`),
      );
      expect(own).toEqual([]);
      expect(JSON.parse((await good()).text)).toEqual({ predictions: [2.5, 3, 4.5] });
    }
    expect(await untilIdle()).toBe(0);
    expect(doors.faults).toEqual([]);
  }, 40_000);

  test('a context that would be copied into gigabytes is refused with the numbers', async () => {
    const context = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`f${index}`, [1.5]]));
    const body = JSON.stringify({ signature_name: 'classify_x_to_y', context, examples: Array(20_000).fill({ x: 1.5 }) });
    const { status, text } = await doors.mesh.send('POST', '/v1/models/half_plus_two:classify', body);
    expect(status).toBe(400);
    expect(text).toContain('for 20000 examples takes');
    expect((await good()).status).toBe(200);
  });

  test('a body that inflates beyond every bound is refused, not held', async () => {
    const bomb = gzipSync(Buffer.alloc(200_000_000, 32));
    const { status } = await doors.mesh.send('POST', '/v1/models/half_plus_two:predict', bomb, { 'content-encoding': 'gzip' });
    expect(status).toBe(400);
    expect((await good()).status).toBe(200);
  });

  test.each<[string, string]>([
    ['a million keys', `{"instances":[{${Array.from({ length: 1e6 }, (_, index) => `"k${index}":1`).join(',')}}]}`],
    ['one key a million times', `{"instances":[{${Array(1e6).fill('"x":1').join(',')}}]}`],
    ['a million brackets', `{"instances":${'['.repeat(1e6)}`],
    ['a number of ten million digits', `{"instances":[${'1'.repeat(1e7)}]}`],
  ])(
    '%s are refused in seconds',
    async (_, body) => {
      const { status } = await doors.mesh.send('POST', '/v1/models/half_plus_two:predict', body);
      expect(status).toBe(400);
      expect((await good()).status).toBe(200);
    },
    10_000,
  );
});
