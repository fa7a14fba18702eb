import type { DoorPlace } from './blob-door.ts';
import { type Clock, createSystemClock } from './clock.ts';
import type { Declaration, ParsedSettings } from './config.ts';
import { startMonitoringServer } from './monitoring-server.ts';
import { ownAddressTowards } from './own-address.ts';
import type { NETWORK_SETTINGS, PROCESS_SETTINGS } from './process-settings.ts';
import { type HostProcess, runProcess } from './run-process.ts';
import { createSubjects, type Subjects } from './subjects.ts';
import type { Telemetry } from './telemetry.ts';
import type { Transport } from './transport.ts';
import { connectNats } from './transport-nats.ts';

type NetworkedDeclaration = typeof PROCESS_SETTINGS & typeof NETWORK_SETTINGS;

/** What a service of the mesh is started with. */
export interface NetworkedContext<D extends Declaration> {
  readonly settings: ParsedSettings<D & NetworkedDeclaration>;
  readonly transport: Transport;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Where large tensors of this process can be fetched directly; undefined: nowhere. */
  readonly tensorDoor: DoorPlace | undefined;
}

/** Runs a service that talks over NATS, with its monitoring port. `start` says what is disposed first to last when it drains. */
export function runNetworked<D extends Declaration>(
  host: HostProcess,
  options: {
    readonly service: string;
    readonly declaration: D & NetworkedDeclaration;
    readonly start: (context: NetworkedContext<D>) => Promise<{ readonly service: AsyncDisposable; readonly ready: () => boolean }>;
  },
): Promise<void> {
  return runProcess<D & NetworkedDeclaration>(host, {
    service: options.service,
    declaration: options.declaration,
    async start({ settings, telemetry }) {
      const values = settings.values as ParsedSettings<NetworkedDeclaration>['values'];
      await using starting = new AsyncDisposableStack();
      const transport = starting.use(
        await connectNats(
          {
            servers: values.natsUrl.split(',').map((url) => url.trim()),
            name: options.service,
            onTrouble: (trouble) => telemetry.log.warn({ trouble }, 'NATS trouble'),
          },
          values.connectTimeoutMs,
        ),
      );
      const clock = createSystemClock();
      let ready = () => false;
      if (values.monitoringPort !== 0) {
        starting.use(await startMonitoringServer({ port: values.monitoringPort, telemetry, ready: () => transport.connected && ready() }));
      }
      const subjects = createSubjects(values.meshName);
      const tensorDoor = await placeOfDoor(values, telemetry);
      const started = await options.start({ settings, transport, subjects, clock, telemetry, tensorDoor });
      starting.use(started.service);
      ready = started.ready;
      telemetry.log.info({ service: options.service }, 'started');
      return starting.move();
    },
  });
}

/** Where to listen for other members; undefined: nowhere, and they fetch over NATS. */
async function placeOfDoor(
  { natsUrl, tensorHost, tensorPort }: ParsedSettings<NetworkedDeclaration>['values'],
  { log }: Telemetry,
): Promise<DoorPlace | undefined> {
  if (tensorPort < 0) return undefined;
  if (tensorHost !== '') return { host: tensorHost, port: tensorPort };
  const [first = ''] = natsUrl.split(',');
  try {
    const { protocol, hostname } = new URL(first.includes('://') ? first.trim() : `nats://${first.trim()}`);
    if (protocol === 'tls:' || protocol === 'wss:') return undefined;
    return { host: await ownAddressTowards(hostname.replace(/^\[|\]$/g, '')), port: tensorPort };
  } catch (caught) {
    log.warn({ err: caught }, 'no address of this process is known to others: large tensors travel over NATS (see --tensor_host)');
    return undefined;
  }
}
