/**
 * A blob store whose chunks go from member to member over TCP, past the broker. Each member opens a door (`blob-door.ts`) and says over the mesh
 * where it is; whoever fetches keeps one line (`blob-line.ts`) to each holder. The mesh carries what no line can carry: before one is open, where
 * none can be opened, and what one took with it when it ended.
 */
import { Counter, type Registry } from 'prom-client';
import { type BlobDoor, type DoorPlace, openBlobDoor } from './blob-door.ts';
import { encodeDoorAddress } from './blob-door-protocol.ts';
import { createBlobLines, type LineFailure } from './blob-lines.ts';
import { createBlobShelf } from './blob-shelf.ts';
import { type BlobStore, type BlobStoreOptions, startBlobStore } from './blobs.ts';
import type { Clock } from './clock.ts';
import type { MemberId } from './ids.ts';
import { createRareReport } from './rare-report.ts';
import type { Telemetry } from './telemetry.ts';

/** What a member's blob store is started with. */
export interface MemberBlobsOptions extends Omit<BlobStoreOptions, 'onChunk' | 'shelf' | 'lines'> {
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Where its door opens; undefined: everything goes over the transport. */
  readonly door: DoorPlace | undefined;
}

/**
 * Starts the blob store of a member, with a door where there is to be one. Rejects with UNAVAILABLE when the door's port cannot be had.
 */
export async function startMemberBlobs(options: MemberBlobsOptions): Promise<BlobStore> {
  const { transport, subjects, id, clock, telemetry, door: place } = options;
  if (place === undefined) return startBlobStore(options);
  await using starting = new AsyncDisposableStack();
  const events = createEvents(telemetry);
  const shelf = createBlobShelf();
  const door: BlobDoor = starting.use(await openBlobDoor({ ...place, shelf, clock }));
  const address = encodeDoorAddress(door.address);
  starting.use(
    transport.subscribe(subjects.blobDoor(id), ({ replyTo }) => {
      if (replyTo !== undefined) transport.publish(replyTo, address);
    }),
  );
  const lines = starting.use(createBlobLines({ transport, subjects, clock, onFailure: events.failed }));
  const store = starting.use(startBlobStore({ ...options, shelf, lines, onChunk: events.fetched }));
  const { host, port } = door.address;
  telemetry.log.info({ address: `${host}:${port}` }, 'large tensors can be fetched here directly');
  const running = starting.move();
  return {
    get heldBytes() {
      return store.heldBytes;
    },
    hold: store.hold,
    release: store.release,
    fetch: store.fetch,
    finished: store.finished,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function createEvents({ log, metrics }: Telemetry) {
  const fetched = counter(metrics, 'headrace_blob_fetched_bytes_total', 'Bytes of large tensors that were fetched, by path', ['path']);
  const failures = counter(metrics, 'headrace_blob_direct_failures_total', 'Direct connections that ended or could not be had', ['reason']);
  const direct = fetched.labels('direct');
  const mesh = fetched.labels('mesh');
  const report = createRareReport((fact: { readonly holder: MemberId; readonly reason: LineFailure }, times) =>
    log.warn({ ...fact, times }, 'a holder of large tensors is not reached directly; they come over the mesh'),
  );
  return {
    fetched: (path: 'direct' | 'mesh', byteLength: number) => (path === 'direct' ? direct : mesh).inc(byteLength),
    failed(fact: { readonly holder: MemberId; readonly reason: LineFailure }) {
      failures.labels(fact.reason).inc();
      report(fact);
    },
  };
}

function counter(registry: Registry, name: string, help: string, labelNames: string[]): Counter<string> {
  const existing = registry.getSingleMetric(name);
  return existing instanceof Counter ? existing : new Counter({ name, help, labelNames, registers: [registry] });
}
