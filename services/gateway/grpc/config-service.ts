/** `headrace.v1.ConfigService`: reads the running configuration and changes one model of it, compare-and-swap. */

import type { Clock } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';
import { decodePutModelRequest, decodeRemoveModelRequest, encodeConfigAnswer } from '#proto/headrace-config.ts';
import { parseModelServerConfigText, printModelConfigText } from '#proto/model-server-config.ts';
import type { GatewayCore } from '../core.ts';
import { changeTimeoutMs } from './model-service.ts';
import type { GrpcService } from './port.ts';
import { type createUnary, uncancellable } from './unary.ts';

const NAME = 'headrace.v1.ConfigService';

/** Makes the service. A change based on another revision than the running one answers ABORTED; a body without a model INVALID_ARGUMENT. */
export function createConfigService(deps: {
  readonly core: GatewayCore;
  readonly clock: Clock;
  readonly unary: ReturnType<typeof createUnary>;
}): GrpcService {
  const { core, clock, unary } = deps;
  const answer = async (asked: Promise<{ readonly configText: string; readonly revision: number }>) => {
    const { configText, revision } = await asked;
    return { message: encodeConfigAnswer({ config: parseModelServerConfigText(configText), revision }), servable: null };
  };
  return {
    name: NAME,
    methods: {
      ReadConfig: unary(null, () => uncancellable(answer(core.readConfig()))),
      PutModel: unary(null, (call) => {
        const { model, expectedRevision } = decodePutModelRequest(call.request);
        if (model === null) throw new ServeError('INVALID_ARGUMENT', 'PutModelRequest has no model');
        return uncancellable(answer(core.putModel(printModelConfigText(model), expectedRevision, changeTimeoutMs(call, clock))));
      }),
      RemoveModel: unary(null, ({ request }) => {
        const { name, expectedRevision } = decodeRemoveModelRequest(request);
        return uncancellable(answer(core.removeModel(name, expectedRevision)));
      }),
    },
  };
}
