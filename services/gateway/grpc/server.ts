/** The gRPC port: TensorFlow Serving's services, our ConfigService, health and reflection. */
import { Server } from '@grpc/grpc-js';
import type { Clock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import type { GatewayCore } from '../core.ts';
import type { ProtocolEvents } from '../events.ts';
import type { ExamplesApi } from '../examples-api.ts';
import { channelOptions } from './channel-arguments.ts';
import { createConfigService } from './config-service.ts';
import { serverCredentials } from './credentials.ts';
import { createHealthService } from './health-service.ts';
import { createModelService } from './model-service.ts';
import { createPredictionService } from './prediction-service.ts';
import { createReflectionService } from './reflection-service.ts';
import { createUnary } from './unary.ts';

/** The gateway's settings that the gRPC port reads, as they stand in `config.ts`. */
export interface GrpcSettings {
  /** 0: a free port where `anyPort` is set, else no TCP. */
  readonly port: number;
  readonly grpcSocketPath: string;
  readonly sslConfigFile: string;
  readonly useAltsCredentials: boolean;
  readonly grpcChannelArguments: string;
  readonly enableSignatureMethodNameCheck: boolean;
  readonly enableSerializationAsTensorContent: boolean;
}

/** What a gRPC server runs on. The caller owns all of it and disposes it after the server. */
export interface GrpcServerDeps {
  readonly core: GatewayCore;
  readonly examples: ExamplesApi;
  readonly clock: Clock;
  readonly events: ProtocolEvents;
  readonly settings: GrpcSettings;
  /** For tests: with port 0, listen on any free port. */
  readonly anyPort?: boolean;
}

/** A running server. Disposing it refuses new calls, waits for those under way (bounded), and closes. */
export interface GrpcServer extends AsyncDisposable {
  /** The TCP port; null when there is none. */
  readonly port: number | null;
}

/** TensorFlow Serving binds gRPC here. */
const HOST = '0.0.0.0';
/** How long calls that are under way may take once the server stops. */
const SHUTDOWN_MS = 10_000;

/**
 * Starts listening. Rejects with INVALID_ARGUMENT when neither port nor socket path is given (TensorFlow Serving's text) or the credentials
 * cannot be used, UNAVAILABLE when an address cannot be bound.
 */
export async function startGrpcServer(deps: GrpcServerDeps): Promise<GrpcServer> {
  const { core, clock, events, settings, anyPort = false } = deps;
  const { port, grpcSocketPath } = settings;
  if (port === 0 && !anyPort && grpcSocketPath === '') {
    throw new ServeError('INVALID_ARGUMENT', 'At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.');
  }
  const credentials = serverCredentials(settings);
  const server = new Server(channelOptions(settings.grpcChannelArguments));
  const unary = createUnary({ clock, events });
  const health = createHealthService({ core, clock, unary });
  const services = [
    createPredictionService({ ...deps, unary }),
    createModelService({ core, clock, unary }),
    createConfigService({ core, clock, unary }),
    health,
  ];
  for (const { definition, implementation } of services) server.addService(definition, implementation);
  const reflection = createReflectionService(services.map(({ name }) => name));
  for (const definition of reflection.definitions) server.addService(definition, reflection.implementation);

  const bind = (address: string) =>
    new Promise<number>((resolve, reject) => {
      server.bindAsync(address, credentials, (problem, bound) => {
        if (problem) reject(new ServeError('UNAVAILABLE', `gRPC cannot listen on ${address}: ${problem.message}`, { cause: problem }));
        else resolve(bound);
      });
    });
  let bound: number | null = null;
  try {
    if (port !== 0 || anyPort) bound = await bind(`${HOST}:${port}`);
    if (grpcSocketPath !== '') await bind(`unix:${grpcSocketPath}`);
  } catch (caught) {
    health[Symbol.dispose]();
    server.forceShutdown();
    throw caught;
  }

  return {
    port: bound,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        health[Symbol.dispose]();
        const force = clock.schedule(SHUTDOWN_MS, () => server.forceShutdown());
        server.tryShutdown(() => {
          force[Symbol.dispose]();
          resolve();
        });
      }),
  };
}
