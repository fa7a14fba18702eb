import { expect, test } from '@jest/globals';
import { startBlobStore } from '#mesh/blobs.ts';
import { startMemberBlobs } from '#mesh/blobs-direct.ts';
import { createSystemClock } from '#mesh/clock.ts';
import { newMemberId } from '#mesh/ids.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import type { Transport } from '#mesh/transport.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import { connectNats } from '#mesh/transport-nats.ts';
import { hasNatsServer, startNatsServer } from '../servers/nats-server.ts';
import { type BlobPair, blobsContract } from './blobs.contract.ts';

const subjects = createSubjects('test');
const settledOver = (there: Transport, here: Transport) => async () => {
  for (const transport of [here, there, here]) await transport.flush();
};

async function natsPair(start: (here: Transport, there: Transport, stack: AsyncDisposableStack) => Promise<Omit<BlobPair, 'settled'>>) {
  // A connection left open when something fails here would keep the test process alive.
  await using starting = new AsyncDisposableStack();
  const server = starting.use(await startNatsServer());
  const connectTo = async (name: string) => starting.use(await connectNats({ servers: [server.url], name, onTrouble: () => {} }, 5000));
  const here = await connectTo('here');
  const there = await connectTo('there');
  const pair = await start(here, there, starting);
  await settledOver(there, here)();
  const running = starting.move();
  return { ...pair, settled: settledOver(there, here), [Symbol.asyncDispose]: () => running.disposeAsync() };
}

blobsContract('memory', async () => {
  const broker = createMemoryBroker();
  const stack = new AsyncDisposableStack();
  const [here, there] = [broker.connect(), broker.connect()];
  const make = (transport: Transport) => stack.use(startBlobStore({ transport, subjects, id: newMemberId('member') }));
  const [holder, fetcher] = [make(here), make(there)];
  return { holder, fetcher, settled: settledOver(there, here), [Symbol.asyncDispose]: () => stack.disposeAsync() };
});

if (hasNatsServer) {
  blobsContract('NATS', () =>
    natsPair(async (here, there, stack) => {
      const make = (transport: Transport) => stack.use(startBlobStore({ transport, subjects, id: newMemberId('member') }));
      return { holder: make(here), fetcher: make(there), [Symbol.asyncDispose]: async () => {} };
    }),
  );

  blobsContract('direct connections, with NATS to say where', () =>
    natsPair(async (here, there, stack) => {
      const clock = createSystemClock();
      const telemetry = createSilentTelemetry();
      const make = async (transport: Transport, report = telemetry) => {
        const door = { host: '127.0.0.1', port: 0 };
        return stack.use(await startMemberBlobs({ transport, subjects, id: newMemberId('member'), clock, telemetry: report, door }));
      };
      const [holder, fetcher] = [await make(here, createSilentTelemetry()), await make(there)];
      const fetched = async (path: string) => {
        const metric = await telemetry.metrics.getSingleMetric('headrace_blob_fetched_bytes_total')?.get();
        return metric?.values.find(({ labels }) => labels.path === path)?.value ?? 0;
      };
      // Two connections: what one subscribes to may reach the server after what the other asks.
      await settledOver(there, here)();
      const claim = holder.hold(new Uint8Array(1000));
      while ((await fetched('direct')) === 0) await fetcher.fetch(claim, { signal: new AbortController().signal, timeoutMs: 5000 });
      holder.release(claim.claimId);
      const overMesh = await fetched('mesh');
      return {
        holder,
        fetcher,
        async checkPath() {
          expect(await fetched('direct')).toBeGreaterThan(20_000_000);
          expect(await fetched('mesh')).toBe(overMesh);
        },
        [Symbol.asyncDispose]: async () => {},
      };
    }),
  );
} else {
  test.skip('blobs over NATS: nats-server is not installed', () => {});
}
