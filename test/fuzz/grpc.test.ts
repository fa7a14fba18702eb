import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from 'node:http2';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import type { ServeError } from '#mesh/errors.ts';
import { decodeInput } from '#proto/input.ts';
import { WireReader, WireWriter } from '#proto/wire.ts';
import type { GatewayCore } from '../../services/gateway/core.ts';
import { createHealthService } from '../../services/gateway/grpc/health-service.ts';
import type { BidiStream } from '../../services/gateway/grpc/port.ts';
import { createReflectionServices } from '../../services/gateway/grpc/reflection-service.ts';
import { createUnary } from '../../services/gateway/grpc/unary.ts';
import { callRaw, rawClient } from '../gateway/grpc/grpc-mesh.ts';
import { type Doors, startDoors } from './doors.ts';
import { createRandom, mutate, type Random, SEED } from './random.ts';

const CALLS = 40;
const ROUNDS = 10;
let doors: Doors;
beforeAll(async () => {
  doors = await startDoors();
});
afterAll(async () => doors[Symbol.asyncDispose]());

function message(build: (writer: WireWriter) => void): Uint8Array {
  const writer = new WireWriter();
  build(writer);
  return writer.finish();
}
const spec = (writer: WireWriter, name: string, signature = '') =>
  void writer.delimited(1, () => void writer.stringField(1, name).stringField(3, signature));
const float = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);
const example = message((writer) =>
  writer.delimited(1, () =>
    writer.delimited(1, () => {
      writer.stringField(1, 'x').delimited(2, () => writer.delimited(2, () => writer.floatField(1, 2.5)));
    }),
  ),
);
const predict = message((writer) => {
  spec(writer, 'half_plus_two');
  writer.delimited(2, () => {
    writer.stringField(1, 'x').delimited(2, () => {
      writer.varintField(1, 1).delimited(2, () => writer.delimited(2, () => writer.varintField(1, 3)));
      writer.bytesField(4, float([1, 2, 5]));
    });
  });
});
const examples = (signature: string, kind: 1 | 2) =>
  message((writer) => {
    spec(writer, 'half_plus_two', signature);
    writer.delimited(2, () => writer.delimited(kind, () => writer.bytesField(1, example).bytesField(kind, example)));
  });
const SERVING = '/tensorflow.serving.PredictionService/';
const SAMPLES: Readonly<Record<string, Uint8Array>> = {
  [`${SERVING}Predict`]: predict,
  [`${SERVING}Classify`]: examples('classify_x_to_y', 1),
  [`${SERVING}Regress`]: examples('regress_x_to_y', 2),
  [`${SERVING}MultiInference`]: message((writer) => {
    writer.delimited(1, () => {
      spec(writer, 'half_plus_two', 'regress_x_to_y');
      writer.stringField(2, 'tensorflow/serving/regress');
    });
    writer.delimited(2, () => writer.delimited(1, () => writer.bytesField(1, example)));
  }),
  [`${SERVING}GetModelMetadata`]: message((writer) => {
    spec(writer, 'half_plus_two');
    writer.stringField(2, 'signature_def');
  }),
  '/tensorflow.serving.ModelService/GetModelStatus': message((writer) => spec(writer, 'half_plus_two')),
  '/tensorflow.serving.ModelService/HandleReloadConfigRequest': Uint8Array.of(10),
  '/grpc.health.v1.Health/Check': Uint8Array.of(10, 0),
  '/grpc.health.v1.Health/Watch': Uint8Array.of(10, 0),
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': message((writer) =>
    writer.stringField(4, 'tensorflow.serving.PredictionService'),
  ),
  '/nobody/Offers': predict,
};

function framed(bytes: Uint8Array, flag = 0, length = bytes.byteLength): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}

function dataOf(bytes: Uint8Array, random: Random): Buffer {
  const kind = random.below(12);
  if (kind === 0) return framed(bytes, 1);
  if (kind === 1) return framed(bytes, 0, 0xffffffff);
  if (kind === 2) return framed(bytes, 0, bytes.byteLength + 5);
  if (kind === 3) return framed(bytes, 255);
  if (kind === 4) return Buffer.from(bytes);
  if (kind === 5) return Buffer.concat([framed(bytes), framed(bytes)]);
  return framed(bytes);
}

/** Makes one call as a broken client would. Resolves with its gRPC status, or how else it ended. */
function hostileCall(session: ClientHttp2Session, random: Random): Promise<string> {
  const [path, sample] = random.pick(Object.entries(SAMPLES));
  const data = dataOf(random.chance(0.7) ? mutate(sample, random) : sample, random);
  const headers: OutgoingHttpHeaders = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  if (random.chance(0.2)) headers['grpc-timeout'] = random.pick(['0m', '1n', '99999999H', '-1S', 'zz', '', '5u']);
  if (random.chance(0.1)) headers['grpc-encoding'] = random.pick(['gzip', 'snappy', 'identity', '']);
  if (random.chance(0.1)) headers['x-bin'] = 'not base64 !!';
  if (random.chance(0.1)) headers.traceparent = random.pick(['00-0', 'x'.repeat(4000)]);
  if (random.chance(0.05)) for (let count = 0; count < 60; count++) headers[`h${count}`] = 'v'.repeat(200);
  const cut = random.below(data.byteLength + 1);
  const cancelAfterMs = random.chance(0.1) ? random.below(5) : 2000;
  return new Promise((resolve) => {
    const stream = session.request(headers);
    let ended = 'no status';
    const timer = setTimeout(() => stream.close(8), path.endsWith('Watch') ? 50 : cancelAfterMs);
    stream.on('response', (head) => {
      if (head['grpc-status'] !== undefined) ended = `${head['grpc-status']} ${head['grpc-message'] ?? ''}`;
    });
    stream.on('trailers', (trailers) => {
      ended = `${trailers['grpc-status']} ${trailers['grpc-message'] ?? ''}`;
    });
    stream.on('error', () => {});
    stream.on('close', () => {
      clearTimeout(timer);
      resolve(ended);
    });
    stream.resume();
    stream.write(data.subarray(0, cut));
    stream.end(data.subarray(cut));
  });
}

describe('hostile gRPC clients', () => {
  test(`get a status of their own making, and everybody else is served (FUZZ_SEED=${SEED})`, async () => {
    const random = createRandom(SEED);
    const client = rawClient(`127.0.0.1:${doors.mesh.grpcPort}`);
    for (let round = 0; round < ROUNDS; round++) {
      const session = connect(`http://127.0.0.1:${doors.mesh.grpcPort}`);
      session.on('error', () => {});
      const ended = await Promise.all(Array.from({ length: CALLS }, () => hostileCall(session, random)));
      session.destroy();
      // INTERNAL is grpc-js's word for a broken stream; nothing of ours may be UNKNOWN or INTERNAL.
      const ours = ended.filter((text) => /^(2|13) /.test(text) && !/decompress|grpc-timeout|Invalid|half-closed/i.test(text));
      expect(ours).toEqual([]);
      expect((await callRaw(client, `${SERVING}Predict`, predict)).code).toBe(0);
    }
    client.close();
    for (let tries = 0; tries < 200 && (await doors.inFlight()) > 0; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await doors.inFlight()).toBe(0);
    expect(doors.faults).toEqual([]);
  }, 40_000);

  test('an error text that is cut in the middle of a character keeps its code', async () => {
    const client = rawClient(`127.0.0.1:${doors.mesh.grpcPort}`);
    for (const before of ['', 'x']) {
      const name = before + '\u{1f600}'.repeat(1000);
      const { code, details } = await callRaw(
        client,
        `${SERVING}Predict`,
        message((writer) => spec(writer, name)),
      );
      expect(code).toBe(5);
      expect(details).toMatch(/^Servable not found.*TRUNCATED$/su);
    }
    client.close();
  });

  test('a context that would be copied into gigabytes is refused', () => {
    const input = message((writer) => {
      writer.delimited(2, () => {
        for (let count = 0; count < 20_000; count++) writer.bytesField(1, example);
        writer.bytesField(2, new Uint8Array(300_000));
      });
    });
    expect(() => decodeInput(new WireReader(input))).toThrow(/for 20000 examples takes 6000000000 bytes/);
  });
});

class FakeStream implements BidiStream {
  written = 0;
  paused = false;
  readonly failures: ServeError[] = [];
  write(): boolean {
    this.written++;
    return false;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  end(): void {}
  fail(error: ServeError): void {
    this.failures.push(error);
  }
}

describe('streams that are opened and dropped', () => {
  const clock = createFakeClock();
  const core = { ready: () => true, models: () => [], onRoutingChange: () => ({ [Symbol.dispose]() {} }) } as unknown as GatewayCore;
  const reflect = (call: FakeStream) => {
    const method = createReflectionServices([])[0]?.methods.ServerReflectionInfo;
    if (method?.streaming !== 'both') throw new Error('reflection is not a stream both ways');
    return method.handle(call);
  };

  test('a thousand health watches leave one timer, and none once nobody watches', async () => {
    using health = createHealthService({ core, clock, unary: createUnary({ clock, events: { requestFinished: () => {} } }) });
    const watch = health.methods.Watch;
    if (watch?.streaming !== 'server') throw new Error('Watch is not a stream');
    for (let count = 0; count < 1000; count++) watch.handle(Buffer.alloc(0), new FakeStream()).cancelled();
    expect(clock.sleepers).toBe(1);
    await clock.advance(600);
    expect(clock.sleepers).toBe(0);
  });

  test('a reflection client that does not read is not listened to until it does', () => {
    const call = new FakeStream();
    const listener = reflect(call);
    listener.message(message((writer) => writer.stringField(7, '')));
    expect([call.written, call.paused]).toEqual([1, true]);
    listener.drained();
    expect(call.paused).toBe(false);
  });

  test('a broken question to reflection is answered with nothing but its status', () => {
    const call = new FakeStream();
    const listener = reflect(call);
    expect(() => listener.message(Buffer.of(0xff))).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(call.written).toBe(0);
  });
});
