import { createServer } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { createSystemClock } from '#mesh/clock.ts';
import type { SettingsOf } from '#mesh/config.ts';
import { createSilentTelemetry, createTelemetry } from '#mesh/telemetry.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { decodePredictResponse, encodePredictRequest } from '#proto/predict.ts';
import { GATEWAY_SETTINGS, type GatewaySettings } from '../../services/gateway/config.ts';
import { startGateway } from '../../services/gateway/index.ts';
import { callRaw, rawClient } from './grpc/grpc-mesh.ts';
import { type Fault, floats, readFloats, startTestBatcher, subjects } from './half-mesh.ts';
import { routedModel, routedVersion, startTestRegistry } from './test-registry.ts';

function defaults(): GatewaySettings {
  return Object.fromEntries(Object.entries(GATEWAY_SETTINGS).map(([key, setting]) => [key, setting.default])) as SettingsOf<
    typeof GATEWAY_SETTINGS
  >;
}

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return address !== null && typeof address === 'object' ? address.port : 0;
}

/** A mesh with a registry and a batcher; the gateway is the test's. */
async function startMesh(fault?: Fault) {
  const clock = createSystemClock();
  const broker = createMemoryBroker();
  const stack = new AsyncDisposableStack();
  stack.use(startTestRegistry(broker.connect(), [routedModel('half', [routedVersion(1)])]));
  const batcher = stack.use(await startTestBatcher({ transport: broker.connect(), clock, ...(fault === undefined ? {} : { fault }) }));
  const deps = (settings: Partial<GatewaySettings>) => ({
    transport: broker.connect(),
    subjects,
    clock,
    telemetry: createSilentTelemetry(),
    settings: { ...defaults(), ...settings },
  });
  return { clock, batcher, deps, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function predict(port: number) {
  const client = rawClient(`127.0.0.1:${port}`);
  const request = encodePredictRequest({ name: 'half', version: null, label: null, signatureName: '' }, new Map([['x', floats([1])]]));
  const outcome = await callRaw(client, '/tensorflow.serving.PredictionService/Predict', request);
  client.close();
  return outcome;
}

describe('gateway', () => {
  test('serves REST and gRPC from one core', async () => {
    await using mesh = await startMesh();
    const [port, restApiPort] = [await freePort(), await freePort()];
    await using gateway = await startGateway(mesh.deps({ port, restApiPort }));
    expect([gateway.grpcPort, gateway.restPort]).toEqual([port, restApiPort]);
    const { response } = await predict(port);
    expect(readFloats(decodePredictResponse(response ?? new Uint8Array(0)).outputs.get('y') as never)).toEqual([2.5]);
    const rest = await fetch(`http://127.0.0.1:${restApiPort}/v1/models/half:predict`, {
      method: 'POST',
      body: '{"instances": [1.0, 2.0]}',
    });
    expect(await rest.json()).toEqual({ predictions: [2.5, 3] });
    const wrong = await fetch(`http://127.0.0.1:${restApiPort}/v1/models/nope:predict`, { method: 'POST', body: '{"instances": [1.0]}' });
    expect(wrong.status).toBe(404);
    expect(await wrong.json()).toEqual({ error: 'Servable not found for request: Latest(nope)' });
  });

  test('opens no port before the initial load is over', async () => {
    await using mesh = await startMesh();
    const port = await freePort();
    const { promise, resolve } = Promise.withResolvers<void>();
    const starting = startGateway({ ...mesh.deps({ port }), openPortsAfter: promise });
    const early = await predict(port);
    expect(early.code).toBe(14);
    resolve();
    await using gateway = await starting;
    expect(gateway.grpcPort).toBe(port);
    expect((await predict(port)).code).toBe(0);
  });

  test('an initial load that fails is the failure of the start', async () => {
    await using mesh = await startMesh();
    const port = await freePort();
    await expect(
      startGateway({ ...mesh.deps({ port }), openPortsAfter: Promise.reject(new Error('1 model(s) did not become available')) }),
    ).rejects.toThrow('1 model(s) did not become available');
  });

  test('equal ports cost REST, with an error in the log', async () => {
    await using mesh = await startMesh();
    const port = await freePort();
    const lines: string[] = [];
    const telemetry = createTelemetry({
      service: 'gateway',
      logLevel: 'error',
      otlpEndpoint: '',
      logTo: { write: (line) => void lines.push(line) },
    });
    await using gateway = await startGateway({ ...mesh.deps({ port, restApiPort: port }), telemetry });
    expect(gateway.restPort).toBeNull();
    expect((await predict(port)).code).toBe(0);
    expect(lines.join()).toContain('rest_api_port must differ from port');
  });

  test('a port that is taken stops the start and leaves nothing behind', async () => {
    await using mesh = await startMesh();
    const port = await freePort();
    await using first = await startGateway(mesh.deps({ port }));
    await expect(startGateway(mesh.deps({ port }))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(first.grpcPort).toBe(port);
    expect((await predict(port)).code).toBe(0);
  });

  test('a drain lets a request end, and takes no new one', async () => {
    await using mesh = await startMesh(() => null);
    const port = await freePort();
    const gateway = await startGateway(mesh.deps({ port }));
    const held = predict(port);
    await new Promise<void>((resolve) => {
      const watch = setInterval(() => {
        if (mesh.batcher.received.length === 0) return;
        clearInterval(watch);
        resolve();
      }, 1);
    });
    const closed = gateway[Symbol.asyncDispose]();
    expect(gateway.core.ready()).toBe(false);
    expect((await predict(port)).code).toBe(14);
    const requestId = mesh.batcher.received[0]?.requestId ?? (0 as never);
    mesh.batcher.answer([{ type: 'error', requestId, code: 'OUT_OF_RANGE', message: 'the end', resend: false }]);
    expect(await held).toMatchObject({ code: 11, details: 'the end' });
    await closed;
  });
});
