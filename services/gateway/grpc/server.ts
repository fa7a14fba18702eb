/** The gRPC port: TensorFlow Serving's services, our ConfigService, health and reflection. */
import type { Clock } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { ByteBudget } from '../byte-budget.ts';
import type { GatewayCore } from '../core.ts';
import type { ProtocolEvents } from '../events.ts';
import type { ExamplesApi } from '../examples-api.ts';
import { channelArguments } from './channel-arguments.ts';
import { createConfigService } from './config-service.ts';
import { serverTls } from './credentials.ts';
import { createGrpcJsCarrier } from './grpc-js-carrier.ts';
import { createHeadraceCarrier } from './headrace-carrier.ts';
import { createHealthService } from './health-service.ts';
import { createModelService } from './model-service.ts';
import type { GrpcCarrier } from './port.ts';
import { createPredictionService } from './prediction-service.ts';
import { createReflectionServices } from './reflection-service.ts';
import { createUnary } from './unary.ts';

/** The gateway's settings that the gRPC port reads, as they stand in `config.ts`. */
export interface GrpcSettings {
  /** 0: a free port where `anyPort` is set, else no TCP. */
  readonly port: number;
  readonly grpcSocketPath: string;
  readonly sslConfigFile: string;
  readonly useAltsCredentials: boolean;
  readonly grpcChannelArguments: string;
  /** `headrace` or `grpc-js`: what carries the calls. */
  readonly grpcServer: string;
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
  /** What large messages and answers may take of the gateway's memory. Default: all they like. */
  readonly budget?: ByteBudget;
  /** A connection ended by a bug of ours. */
  readonly onBug: (caught: unknown) => void;
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
  const tls = serverTls(settings);
  const unary = createUnary({ clock, events });
  const health = createHealthService({ core, clock, unary });
  const own = [
    createPredictionService({ ...deps, unary }),
    createModelService({ core, clock, unary }),
    createConfigService({ core, clock, unary }),
    health,
  ];
  const services = [...own, ...createReflectionServices(own.map(({ name }) => name))];
  let carrier: GrpcCarrier | undefined;
  let bound: number | null = null;
  try {
    const createCarrier = settings.grpcServer === 'grpc-js' ? createGrpcJsCarrier : createHeadraceCarrier;
    carrier = createCarrier({
      services,
      clock,
      tls,
      channelArguments: channelArguments(settings.grpcChannelArguments),
      onBug: deps.onBug,
      ...(deps.budget === undefined ? {} : { budget: deps.budget }),
    });
    if (port !== 0 || anyPort) bound = await listening(`${HOST}:${port}`, carrier.listen(HOST, port));
    if (grpcSocketPath !== '') await listening(`unix:${grpcSocketPath}`, carrier.listenOn(grpcSocketPath));
  } catch (caught) {
    health[Symbol.dispose]();
    await carrier?.close(0);
    throw caught;
  }
  const opened = carrier;

  return {
    port: bound,
    async [Symbol.asyncDispose]() {
      health[Symbol.dispose]();
      await opened.close(SHUTDOWN_MS);
    },
  };
}

async function listening<Bound>(address: string, bound: Promise<Bound>): Promise<Bound> {
  try {
    return await bound;
  } catch (caught) {
    const { message } = toServeError(caught);
    throw new ServeError('UNAVAILABLE', `gRPC cannot listen on ${address}: ${message}`, { cause: caught });
  }
}
