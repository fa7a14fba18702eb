import type { ServerOptions } from '@grpc/grpc-js';
import { ServeError } from '#mesh/errors.ts';

/** The largest message that TensorFlow Serving takes or sends: INT32_MAX. */
const MAX_MESSAGE_BYTES = 2 ** 31 - 1;

/**
 * The server options of `--grpc_channel_arguments` (`key=value,key=value`), over our own defaults. Values that are whole numbers are passed
 * as numbers, as TensorFlow Serving does. Throws INVALID_ARGUMENT for an argument without a value.
 */
export function channelOptions(text: string): ServerOptions {
  const given: Record<string, string | number> = {};
  for (const argument of text.split(',').map((one) => one.trim())) {
    if (argument === '') continue;
    const equals = argument.indexOf('=');
    if (equals <= 0) throw new ServeError('INVALID_ARGUMENT', `grpc_channel_arguments: "${argument}" is not key=value`);
    const value = argument.slice(equals + 1).trim();
    given[argument.slice(0, equals).trim()] = /^-?\d+$/.test(value) ? Number(value) : value;
  }
  return {
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    // Its figures, which nobody here can read, cost every call a few objects.
    'grpc.enable_channelz': 0,
    ...given,
  } as ServerOptions;
}
