import type { DoorPlace } from '#mesh/blob-door.ts';
import { startMemberBlobs } from '#mesh/blobs-direct.ts';
import type { Clock } from '#mesh/clock.ts';
import type { GatewayDetail } from '#mesh/control.ts';
import type { ServeError } from '#mesh/errors.ts';
import { type MemberId, newMemberId } from '#mesh/ids.ts';
import { startPresence } from '#mesh/presence.ts';
import type { Subjects } from '#mesh/subjects.ts';
import type { Telemetry } from '#mesh/telemetry.ts';
import type { Transport } from '#mesh/transport.ts';
import { type ByteBudget, createByteBudget } from './byte-budget.ts';
import { startCallEdge } from './call-edge.ts';
import { createExamplesApi } from './classify-regress.ts';
import type { GatewaySettings } from './config.ts';
import type { GatewayCore } from './core.ts';
import { createGatewayEvents, type GatewayEvents } from './events.ts';
import type { ExamplesApi } from './examples-api.ts';
import { createGatewayCore } from './gateway-core.ts';
import { type GrpcServer, startGrpcServer } from './grpc/server.ts';
import { type InferClient, startInferClient } from './infer-client.ts';
import { type RestServer, startRestServer } from './rest/server.ts';
import { restServerSettings } from './rest-server-settings.ts';
import { type RoutingTable, startRoutingTable } from './routing-table.ts';
import { validateInputs } from './validate-inputs.ts';

/** A running gateway. Disposing it drains: not ready, no new requests, finish what is held (bounded), leave. */
export interface Gateway extends AsyncDisposable {
  /** Null when REST is off. */
  readonly restPort: number | null;
  /** Null when gRPC has no TCP port. */
  readonly grpcPort: number | null;
  readonly core: GatewayCore;
}

/** What a gateway runs on. The caller owns all of it and disposes it after the gateway. */
export interface GatewayDeps {
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly settings: GatewaySettings;
  readonly id?: MemberId;
  /** Where workers fetch large tensors directly. Default: nowhere, they come over the transport. */
  readonly tensorDoor?: DoorPlace | undefined;
  /** The ports are opened once this has settled: TensorFlow Serving opens its own when the initial load is over. Its failure is the start's. */
  readonly openPortsAfter?: Promise<void>;
}

/**
 * Starts a gateway: joins the mesh, follows the routing table, opens its ports. Rejects with INVALID_ARGUMENT for settings that exclude each
 * other and UNAVAILABLE for a port that is taken.
 */
export async function startGateway(deps: GatewayDeps): Promise<Gateway> {
  const { transport, subjects, clock, telemetry, settings, id = newMemberId('gateway'), tensorDoor: door, openPortsAfter } = deps;
  let draining = false;
  // Looked at when it is awaited; until then its rejection is nobody's surprise.
  openPortsAfter?.catch(() => {});
  // Disposed last to first: the servers before the client they use, presence before what it announces.
  await using starting = new AsyncDisposableStack();
  const onUnreadable = (subject: string, error: ServeError) => events.messageUnreadable({ subject, error });
  const blobs = starting.use(await startMemberBlobs({ transport, subjects, id, clock, telemetry, door, onUnreadable }));
  const budget = createByteBudget(settings.maxInFlightBytes);
  let client: InferClient | undefined;
  let routing: RoutingTable | undefined;
  const events = createGatewayEvents({
    telemetry,
    isKnown: (model) => routing?.model(model) !== undefined,
    inFlight: () => client?.inFlight ?? 0,
    heldBytes: () => blobs.heldBytes,
    payloadBytes: () => budget.takenBytes,
  });
  routing = starting.use(startRoutingTable({ transport, subjects, clock, onTrouble: events.routingTrouble }));
  const table = routing;
  const detail = (): GatewayDetail => ({ routingRevision: table.revision });
  const presence = starting.use(await startPresence({ transport, subjects, clock, kind: 'gateway', id, detail: detail(), onUnreadable }));
  client = starting.use(
    startInferClient({ transport, subjects, clock, presence, blobs, id, tracing: telemetry.tracing, events, settings, budget }),
  );
  const inferring = client;
  starting.use(table.onChange(() => presence.announce(detail())));
  starting.use(
    presence.onChange(({ type, member }) => {
      if (member.kind === 'registry' && type !== 'gone') table.compare();
    }),
  );
  const core = createGatewayCore({ transport, subjects, routing: table, client: inferring, draining: () => draining });
  const examples = createExamplesApi({
    core,
    methodNameCheck: settings.enableSignatureMethodNameCheck,
    onAnswered: events.examplesAnswered,
  });

  const edge = starting.use(new DisposableStack());
  void table.whenKnown.then(() => {
    if (edge.disposed) return;
    const { inlineTensorBytes } = settings;
    edge.use(startCallEdge({ transport, subjects, clock, id, core, blobs, inlineTensorBytes, onUnreadable }));
  });

  await openPortsAfter;
  // Without a table every answer would be "unavailable"; but a registry that is away must not keep the probes' port closed.
  await settledWithin(clock, FIRST_TABLE_MS, table.whenKnown);
  const ports = starting.use(await openPorts({ ...deps, core, examples, events, budget }));
  const running = starting.move();
  return {
    restPort: ports.rest?.port ?? null,
    grpcPort: ports.grpc.port,
    core,
    async [Symbol.asyncDispose]() {
      draining = true;
      events.drainStarted(inferring.inFlight);
      // The servers stop listening at once and wait for the calls they hold, which the client bounds.
      const closed = ports[Symbol.asyncDispose]();
      await inferring.drain(settings.drainTimeoutMs);
      await closed;
      await running.disposeAsync();
    },
  };
}

/** How long the ports stay closed for want of a routing table. */
const FIRST_TABLE_MS = 10_000;

/** Waits for a promise that does not reject, but no longer than `boundMs`. */
async function settledWithin(clock: Clock, boundMs: number, promise: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<void>();
  using _timer = clock.schedule(boundMs, late.resolve);
  await Promise.race([promise, late.promise]);
}

interface Ports extends AsyncDisposable {
  readonly grpc: GrpcServer;
  /** Null when REST is off. */
  readonly rest: RestServer | null;
}

/** Opens gRPC and, where it has a port of its own, REST. */
async function openPorts(
  deps: GatewayDeps & {
    readonly core: GatewayCore;
    readonly examples: ExamplesApi;
    readonly events: GatewayEvents;
    readonly budget: ByteBudget;
  },
): Promise<Ports> {
  const { core, examples, events, budget, clock, telemetry, settings } = deps;
  await using opening = new AsyncDisposableStack();
  const onBug = (caught: unknown) => telemetry.log.error({ err: caught }, 'a gRPC connection ended in a way that is a bug');
  const grpc = opening.use(await startGrpcServer({ core, examples, clock, events: events.grpc, settings, budget, onBug }));
  if (grpc.port !== null) events.portOpened({ entrypoint: 'gRPC', address: `0.0.0.0:${grpc.port}` });
  const equal = settings.restApiPort !== 0 && settings.restApiPort === settings.port;
  if (equal) events.portsEqual(settings.port);
  let rest: RestServer | null = null;
  if (settings.restApiPort !== 0 && !equal) {
    rest = opening.use(
      await startRestServer({
        core,
        clock,
        telemetry,
        settings: restServerSettings(settings),
        budget,
        examples,
        events: events.rest,
        // Names and dtypes come from the signature where JSON is read; for raw bytes they come from the client.
        validateInputs: (signature, inputs) => validateInputs(signature, inputs, 'all'),
      }),
    );
    events.portOpened({ entrypoint: 'REST', address: `localhost:${rest.port}` });
  }
  opening.move();
  let closing: Promise<unknown> | undefined;
  return {
    grpc,
    rest,
    async [Symbol.asyncDispose]() {
      // Both at once: neither may take new requests while the other drains.
      closing ??= Promise.all([grpc[Symbol.asyncDispose](), rest?.[Symbol.asyncDispose]()]);
      await closing;
    },
  };
}
