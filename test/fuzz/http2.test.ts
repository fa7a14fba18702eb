/** Broken conversations with our HTTP/2 server: no crash, no hang, no memory that grows, and everybody else is served. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import { createHeadraceCarrier } from '../../services/gateway/grpc/headrace-carrier.ts';
import type { GrpcCarrier } from '../../services/gateway/grpc/port.ts';
import { callRaw, rawClient } from '../gateway/grpc/grpc-mesh.ts';
import { CHAT, createEchoService, ECHO, FAIL, HOLD, REPEAT } from '../gateway/http2/echo-service.ts';
import {
  callHeaders,
  FLAG,
  FRAME,
  frame,
  MORE,
  message,
  NO_BYTES,
  number31,
  openWire,
  PREFACE,
  settings,
  unaryCall,
} from '../gateway/http2/wire.ts';
import { createRandom, mutate, type Random, SEED } from './random.ts';

const CONVERSATIONS = 3000;
const CONNECTIONS = 200;
const PATHS = [ECHO, FAIL, HOLD, REPEAT, CHAT, '/nobody/Offers'];

/** One frame that a client could send, valid or nearly so. */
function anyFrame(random: Random, stream: number): Buffer {
  const bytes = Buffer.from(random.bytes(random.below(100)));
  const path = random.pick(PATHS);
  const block = callHeaders(path, random.chance(0.3) ? [['grpc-encoding', random.pick(['gzip', 'deflate', 'x'])]] : []);
  const half = random.below(block.length);
  switch (random.below(14)) {
    case 0:
    case 1:
    case 2:
      return unaryCall(stream, path, bytes);
    case 3:
      return frame(FRAME.headers, random.pick([0, 1, 4, 5, 0x24, 0xc]), stream, block);
    case 4:
      return Buffer.concat([
        frame(FRAME.headers, random.below(2), stream, block.subarray(0, half)),
        frame(MORE.continuation, FLAG.endHeaders, stream, block.subarray(half)),
      ]);
    case 5:
      return frame(
        FRAME.data,
        random.pick([0, 1, 8, 9]),
        stream,
        message(bytes, random.below(3), random.pick([bytes.length, 0, 5, 2 ** 32 - 1])),
      );
    case 6:
      return frame(FRAME.data, random.below(2), random.pick([stream, 1, 3]), bytes);
    case 7:
      return frame(FRAME.windowUpdate, 0, random.pick([0, stream, 1]), number31(random.pick([0, 1, 70_000, 2 ** 31 - 1])));
    case 8:
      return frame(FRAME.rstStream, 0, random.pick([stream, 1, 3]), number31(random.below(16)));
    case 9:
      return frame(FRAME.settings, random.below(2), 0, settings([[random.below(8), random.pick([0, 1, 16_384, 65_535, 2 ** 31])]]));
    case 10:
      return frame(FRAME.ping, random.below(2), 0, Buffer.from(random.bytes(8)));
    case 11:
      return frame(MORE.priority, 0, stream, Buffer.alloc(5));
    case 12:
      return frame(random.below(256), random.below(256), random.below(8), bytes);
    default:
      return frame(FRAME.goAway, 0, 0, Buffer.concat([Buffer.alloc(8), bytes]));
  }
}

/** A conversation that starts well: up to thirty frames, and in half of them a broken place. */
function conversation(random: Random): Buffer {
  const frames = [PREFACE, frame(FRAME.settings, 0, 0, random.chance(0.5) ? NO_BYTES : settings([[4, random.below(3000)]]))];
  let stream = 1;
  for (let count = random.below(30); count > 0; count--) {
    frames.push(anyFrame(random, stream));
    if (random.chance(0.8)) stream += 2;
  }
  const whole = Buffer.concat(frames);
  if (random.chance(0.5)) return whole;
  const greeting = random.chance(0.95) ? PREFACE.length + 9 : 0;
  return Buffer.concat([whole.subarray(0, greeting), mutate(whole.subarray(greeting), random)]);
}

function* chunksOf(bytes: Buffer, random: Random): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const length = random.chance(0.5) ? bytes.length : 1 + random.below(40);
    yield Buffer.from(bytes.subarray(at, at + length));
    at += length;
  }
}

describe(`broken conversations (FUZZ_SEED=${SEED})`, () => {
  test('end in an answer or in an error of the protocol, and leave nothing behind', async () => {
    const random = createRandom(SEED);
    const before = process.memoryUsage().arrayBuffers;
    for (let count = 0; count < CONVERSATIONS; count++) {
      const wire = openWire({ greet: false, limits: { stallMs: 1000 } });
      const bytes = conversation(random);
      // A bug would be thrown here.
      for (const chunk of chunksOf(bytes, random)) wire.connection.receive(chunk);
      wire.read();
      for (const call of wire.echo.held) call.reply(call.request, null);
      wire.read();
      if (count % 20 === 0) await wire.pass(2000, 250);
      expect(wire.goAway?.code).not.toBe(2);
      wire.connection.gone();
      expect(wire.connection.streamCount).toBe(0);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(200_000_000);
  }, 60_000);
});

describe(`hostile connections (FUZZ_SEED=${SEED})`, () => {
  const echo = createEchoService();
  const bugs: unknown[] = [];
  let carrier: GrpcCarrier;
  let port: number;
  beforeAll(async () => {
    const onBug = (caught: unknown) => bugs.push(caught);
    carrier = createHeadraceCarrier({ services: [echo.service], clock: createSystemClock(), tls: null, channelArguments: {}, onBug });
    port = await carrier.listen('127.0.0.1', 0);
  });
  afterAll(() => carrier.close(0));

  /** Says its bytes and goes, one way or another. */
  const hostile = (random: Random): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      const bytes = conversation(random);
      const rude = random.chance(0.3);
      if (random.chance(0.2)) socket.pause();
      else socket.resume();
      socket.on('error', () => {});
      socket.on('close', () => resolve());
      socket.setTimeout(100, () => socket.destroy());
      socket.on('connect', () => {
        for (const chunk of chunksOf(bytes, random)) socket.write(chunk);
        if (rude) socket.resetAndDestroy();
      });
    });

  test('disturb nobody', async () => {
    const random = createRandom(SEED + 1);
    const client = rawClient(`127.0.0.1:${port}`);
    for (let count = 0; count < CONNECTIONS; count += 20) {
      await Promise.all(Array.from({ length: 20 }, () => hostile(random)));
      echo.held.length = 0;
      expect(await callRaw(client, ECHO, Buffer.from('hello'))).toMatchObject({ code: 0 });
    }
    client.close();
    expect(bugs).toEqual([]);
  }, 60_000);
});
