import { createConnection, type Socket } from 'node:net';
import type { Ports } from './clients.ts';
import { pause } from './waiting.ts';

/** What strange clients did, and what was not as it should be. */
export interface StrangeReport {
  readonly visits: number;
  readonly problems: readonly string[];
}

/** Requests that are wrong, and the status that they deserve. */
const BAD_REQUESTS: readonly (readonly [what: string, path: string, body: string, status: number])[] = [
  ['broken JSON', '/v1/models/line:predict', '{"instances": [1,', 400],
  ['no instances', '/v1/models/line:predict', '{"rows": [1]}', 400],
  ['text for numbers', '/v1/models/line:predict', '{"instances": ["one"]}', 400],
  ['a wrong shape', '/v1/models/turns:predict', '{"instances": [[1, 2]]}', 400],
  ['an unknown model', '/v1/models/nobody:predict', '{"instances": [1]}', 404],
  ['an unknown version', '/v1/models/line/versions/77:predict', '{"instances": [1]}', 404],
  ['nesting without end', '/v1/models/line:predict', '['.repeat(20_000), 400],
];

/** Lets clients misbehave at a gateway for a while: slow bodies, bodies that never end, answers that nobody reads, requests that are wrong. */
export async function visitStrangely(gateway: Ports, forMs: number): Promise<StrangeReport> {
  const endMs = performance.now() + forMs;
  const problems: string[] = [];
  let visits = 0;
  const expect = (what: string, reply: string, status: number) => {
    if (!reply.startsWith(`HTTP/1.1 ${status} `)) problems.push(`${what}: ${reply.slice(0, 120) || 'no answer'}`);
  };
  const loops = [
    async () => {
      const body = '{"instances":[4]}';
      const socket = await open(gateway.restPort);
      socket.write(head('/v1/models/line:predict', body));
      for (const character of body) {
        socket.write(character);
        await pause(40);
      }
      const reply = await replyOf(socket);
      expect('a slow body', reply, 200);
    },
    async () => {
      const socket = await open(gateway.restPort);
      socket.write(`${head('/v1/models/line:predict', 'x'.repeat(100))}half`);
      await pause(20);
      socket.destroy();
    },
    async () => {
      const body = '{"instances":[4]}';
      const socket = await open(gateway.restPort);
      socket.write(head('/v1/models/turns:predict', body) + body);
      socket.resetAndDestroy();
    },
    async () => {
      const body = `{"instances":[${Array.from({ length: 2000 }, (_, index) => index / 8).join(',')}]}`;
      const socket = await open(gateway.restPort);
      socket.pause();
      for (let index = 0; index < 5; index++) socket.write(head('/v1/models/half_plus_two:predict', body) + body);
      await pause(300);
      socket.destroy();
    },
    async () => {
      const [what, path, body, status] = BAD_REQUESTS[visits % BAD_REQUESTS.length] ?? ['', '', '', 0];
      const socket = await open(gateway.restPort);
      socket.write(head(path, body) + body);
      expect(what, await replyOf(socket), status);
    },
    async () => {
      const socket = await open(gateway.grpcPort);
      socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
      socket.write(Buffer.from('ffffffffffffffffffffffff', 'hex'));
      await pause(100);
      socket.destroy();
    },
  ];
  await Promise.all(
    loops.map(async (visit) => {
      while (performance.now() < endMs) {
        visits++;
        await visit();
        await pause(20);
      }
    }),
  );
  return { visits, problems };
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.off('error', reject);
      // What a server does to a connection that misbehaves is its own business.
      socket.on('error', () => {});
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

function head(path: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
}

/** What comes first on the connection; empty when nothing came in 10 s. */
function replyOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    const finish = (text: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(text);
    };
    const timer = setTimeout(() => finish(''), 10_000);
    socket.once('data', (bytes) => finish(bytes.toString('latin1')));
    socket.once('close', () => finish(''));
  });
}
