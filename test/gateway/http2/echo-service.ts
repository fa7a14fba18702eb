/** A service for tests of what carries calls: it answers, fails, waits, streams. */
import { ServeError } from '#mesh/errors.ts';
import type { BidiMethod, GrpcService, ServerStreamMethod, UnaryExchange, UnaryMethod } from '../../../services/gateway/grpc/port.ts';

export const ECHO = '/test.Echo/Echo';
export const FAIL = '/test.Echo/Fail';
export const HOLD = '/test.Echo/Hold';
export const REPEAT = '/test.Echo/Repeat';
export const CHAT = '/test.Echo/Chat';

/** Makes the service, and what a test sees of its calls. */
export function createEchoService() {
  /** Requests of Echo and Hold, in order. */
  const requests: Buffer[] = [];
  /** Calls of Hold that nobody has answered. */
  const held: UnaryExchange[] = [];
  const seen = { cancelled: 0, chatsEnded: 0 };
  const copy = (bytes: Uint8Array) => Buffer.from(bytes);

  const echo: UnaryMethod = {
    streaming: 'unary',
    handle(call) {
      requests.push(copy(call.request));
      call.reply(call.request, null);
    },
  };
  const fail: UnaryMethod = {
    streaming: 'unary',
    handle: (call) => call.fail(new ServeError('NOT_FOUND', copy(call.request).toString('utf8'))),
  };
  const hold: UnaryMethod = {
    streaming: 'unary',
    handle(call) {
      requests.push(copy(call.request));
      held.push(call);
      call.cancellable = { cancel: () => void seen.cancelled++ };
    },
  };
  /** Answers with its request as often as its first byte says. */
  const repeat: ServerStreamMethod = {
    streaming: 'server',
    handle(request, call) {
      const times = request[0] ?? 0;
      if (times === 255) throw new ServeError('INVALID_ARGUMENT', 'not so often');
      for (let count = 0; count < times; count++) call.write(request);
      if (times > 0) call.end();
      return { cancelled: () => void seen.cancelled++ };
    },
  };
  /** Answers each message with itself; a client that does not read is not listened to. */
  const chat: BidiMethod = {
    streaming: 'both',
    handle: (call) => ({
      message(message) {
        if (message[0] === 255) throw new ServeError('INVALID_ARGUMENT', 'not that');
        requests.push(copy(message));
        if (!call.write(message)) call.pause();
      },
      drained: () => call.resume(),
      end() {
        seen.chatsEnded++;
        call.end();
      },
      cancelled: () => void seen.cancelled++,
    }),
  };
  const service: GrpcService = { name: 'test.Echo', methods: { Echo: echo, Fail: fail, Hold: hold, Repeat: repeat, Chat: chat } };
  return { service, requests, held, seen };
}
