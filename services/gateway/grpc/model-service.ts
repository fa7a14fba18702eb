/** `tensorflow.serving.ModelService`: the states of a model's versions, and replacing the configuration. */

import type { Clock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import { decodeGetModelStatusRequest, encodeGetModelStatusResponse } from '#proto/get-model-status.ts';
import { decodeReloadConfigRequest, encodeReloadConfigResponse } from '#proto/model-management.ts';
import { printModelServerConfigText } from '#proto/model-server-config.ts';
import type { GatewayCore } from '../core.ts';
import type { GrpcService } from './port.ts';
import { at, type createUnary, type UnaryCall, uncancellable } from './unary.ts';

const NAME = 'tensorflow.serving.ModelService';
/** TensorFlow Serving waits for new models without end; so long we wait for a client that set no deadline. */
const CHANGE_TIMEOUT_MS = 30 * 60_000;
/** The registry answers this much before the client's deadline, so that its answer arrives. */
const ANSWER_MARGIN_MS = 100;

/** Makes the service. Replacing the configuration takes only lists, and answers when each new model is available or has failed. */
export function createModelService(deps: {
  readonly core: GatewayCore;
  readonly clock: Clock;
  readonly unary: ReturnType<typeof createUnary>;
}): GrpcService {
  const { core, clock, unary } = deps;
  return {
    name: NAME,
    methods: {
      GetModelStatus: unary(null, ({ request }) => {
        const spec = decodeGetModelStatusRequest(request);
        if (!spec.present) throw new ServeError('INVALID_ARGUMENT', 'Missing ModelSpec');
        // A label is not looked at: TensorFlow Serving tells of every version then.
        return at(encodeGetModelStatusResponse(core.status(spec.name, spec.version ?? undefined)));
      }),
      HandleReloadConfigRequest: unary(null, (call) => {
        const { config } = decodeReloadConfigRequest(call.request);
        if (config.type !== 'list') {
          throw new ServeError(
            'INVALID_ARGUMENT',
            'ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported',
          );
        }
        // A failure travels as the call's status: gRPC carries no response message beside one.
        const done = core.reload(printModelServerConfigText(config), changeTimeoutMs(call, clock));
        return uncancellable(done.then(() => ({ message: encodeReloadConfigResponse({ code: 'OK', message: '' }), servable: null })));
      }),
    },
  };
}

/** How long the registry may take for a change that a call asks for. */
export function changeTimeoutMs({ deadlineMs }: UnaryCall, clock: Clock): number {
  const leftMs = deadlineMs - clock.now() - ANSWER_MARGIN_MS;
  return Math.max(1, Math.min(CHANGE_TIMEOUT_MS, Math.floor(leftMs)));
}
