/**
 * `grpc.health.v1.Health`, true to what the gateway can do now. A service name may be: empty or a prediction service (the whole gateway), a
 * model (it has a version that takes requests), or `model/version`.
 */
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { decodeHealthCheckRequest, encodeHealthCheckResponse, type ServingStatus } from '#proto/health.ts';
import type { GatewayCore } from '../core.ts';
import type { GrpcService, OutStream, ServerStreamMethod } from './port.ts';
import { at, type createUnary } from './unary.ts';

/** What stands for the gateway as a whole: the last two are the names that TensorFlow Serving registers. */
const WHOLE: ReadonlySet<string> = new Set([
  '',
  'tensorflow.serving.PredictionService',
  'tensorflow.serving.ModelService',
  'PredictionService',
  'ModelService',
]);
/** How often watchers learn of what is not in the routing table: batchers that come and go, draining. */
const WATCH_EVERY_MS = 500;

/** Disposing it ends all watches. */
export interface HealthService extends GrpcService, Disposable {}

const NAME = 'grpc.health.v1.Health';

/** Makes the service. */
export function createHealthService(deps: {
  readonly core: GatewayCore;
  readonly clock: Clock;
  readonly unary: ReturnType<typeof createUnary>;
}): HealthService {
  const { core, clock, unary } = deps;
  const watchers = new Map<OutStream, { readonly name: string; told: ServingStatus | undefined }>();
  let timer: Timer | undefined;

  function tellWatchers(): void {
    for (const [call, watcher] of watchers) {
      const now = statusOfName(core, watcher.name);
      if (now === watcher.told) continue;
      watcher.told = now;
      call.write(encodeHealthCheckResponse(now));
    }
  }

  function watchReadiness(): void {
    timer ??= clock.schedule(WATCH_EVERY_MS, () => {
      timer = undefined;
      tellWatchers();
      if (watchers.size > 0) watchReadiness();
    });
  }

  const changes = core.onRoutingChange(tellWatchers);
  const check = unary(null, ({ request }) => {
    const name = decodeHealthCheckRequest(request);
    const status = statusOfName(core, name);
    if (status === 'SERVICE_UNKNOWN')
      throw new ServeError('NOT_FOUND', `unknown service ${name}: neither a model nor a service of this gateway`);
    return at(encodeHealthCheckResponse(status));
  });
  const watch: ServerStreamMethod = {
    streaming: 'server',
    handle(request, call) {
      watchers.set(call, { name: decodeHealthCheckRequest(request), told: undefined });
      if (watchers.size === 1) watchReadiness();
      tellWatchers();
      return { cancelled: () => void watchers.delete(call) };
    },
  };

  return {
    name: NAME,
    methods: { Check: check, Watch: watch },
    [Symbol.dispose]() {
      timer?.[Symbol.dispose]();
      changes[Symbol.dispose]();
      for (const call of watchers.keys()) call.end();
      watchers.clear();
    },
  };
}

function statusOfName(core: GatewayCore, name: string): ServingStatus {
  if (WHOLE.has(name)) return core.ready() ? 'SERVING' : 'NOT_SERVING';
  if (core.models().includes(name)) return core.modelReady(name) ? 'SERVING' : 'NOT_SERVING';
  const slash = name.lastIndexOf('/');
  const model = name.slice(0, slash);
  const version = Number(name.slice(slash + 1));
  if (slash < 0 || !core.models().includes(model) || !/^\d+$/.test(name.slice(slash + 1))) return 'SERVICE_UNKNOWN';
  return isRoutable(core, model, version) ? 'SERVING' : 'NOT_SERVING';
}

function isRoutable(core: GatewayCore, model: string, version: number): boolean {
  try {
    core.resolve(model, { type: 'specific', version });
    return true;
  } catch (caught) {
    if (toServeError(caught).code === 'NOT_FOUND') return false;
    throw caught;
  }
}
