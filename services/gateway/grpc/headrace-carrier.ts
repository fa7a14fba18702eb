/** Carries calls over our own HTTP/2: what a call costs here is a third of what it costs over node:http2. */
import { type ByteBudget, createByteBudget } from '../byte-budget.ts';
import type { Connection } from '../http2/connection.ts';
import { createHttp2Listener, type Http2ListenerDeps } from '../http2/listener.ts';
import type { ServerStream } from '../http2/stream.ts';
import { AnswerHeads } from './answer-blocks.ts';
import { BidiCall } from './bidi-call.ts';
import { type CallDeps, RefusedCall } from './call.ts';
import { http2Limits, messageLimits } from './channel-arguments.ts';
import type { GrpcCarrier, GrpcCarrierDeps, GrpcMethod, GrpcService } from './port.ts';
import { type CallHead, type RefusedHead, readCallHead } from './request-meaning.ts';
import { ServerStreamCall, UnaryCall } from './unary-call.ts';

/** Makes a carrier. Throws INVALID_ARGUMENT for channel arguments that cannot be meant. */
export function createHeadraceCarrier({
  services,
  clock,
  tls,
  channelArguments,
  onBug,
  budget = createByteBudget(Number.POSITIVE_INFINITY),
}: GrpcCarrierDeps): GrpcCarrier {
  const limits = http2Limits(channelArguments);
  const listener = createHttp2Listener({
    clock,
    limits,
    onBug,
    tls: tls === null ? null : { key: tls.key, cert: tls.cert, requestCert: tls.requestCert, ...(tls.ca === null ? {} : { ca: tls.ca }) },
    ...createCallMaker(services, {
      ...messageLimits(channelArguments),
      now: () => clock.now(),
      stallMs: limits.stallMs,
      budget,
    }),
  });
  return {
    async listen(host, port) {
      return (await listener.listen({ host, port })) ?? port;
    },
    async listenOn(path) {
      await listener.listen({ path });
    },
    close: (boundMs) => listener.drain(boundMs),
  };
}

/** Makes calls of requests: what a listener, or a connection by itself, has to be told of gRPC. */
export function createCallMaker(
  services: readonly GrpcService[],
  limits: Omit<CallDeps, 'heads' | 'budget'> & { readonly budget?: ByteBudget },
): Pick<Http2ListenerDeps, 'readHead' | 'open'> {
  const methods = new Map<string, GrpcMethod>();
  for (const { name, methods: own } of services) for (const [method, does] of Object.entries(own)) methods.set(`/${name}/${method}`, does);
  const deps: CallDeps = { budget: createByteBudget(Number.POSITIVE_INFINITY), ...limits, heads: new AnswerHeads() };
  return {
    readHead: (list) => readCallHead(list, methods),
    open: (connection, id, head) => openCall(deps, connection, id, head as CallHead | RefusedHead),
  };
}

function openCall(deps: CallDeps, connection: Connection, id: number, head: CallHead | RefusedHead): ServerStream {
  if (head.type === 'refused') return new RefusedCall(connection, id, head);
  const { method } = head;
  if (method.streaming === 'unary') return new UnaryCall(deps, connection, id, head, method);
  if (method.streaming === 'server') return new ServerStreamCall(deps, connection, id, head, method);
  return new BidiCall(deps, connection, id, head, method);
}
