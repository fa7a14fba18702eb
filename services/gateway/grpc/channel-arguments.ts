import { ServeError } from '#mesh/errors.ts';
import { DEFAULT_LIMITS, type Http2Limits } from '../http2/limits.ts';

/** The largest message that TensorFlow Serving takes or sends: INT32_MAX. */
const MAX_MESSAGE_BYTES = 2 ** 31 - 1;

/** Arguments of `--grpc_channel_arguments` by their names; values that are whole numbers are numbers, as in TensorFlow Serving. */
export type ChannelArguments = Readonly<Record<string, string | number>>;

/** Reads `key=value,key=value`. Throws INVALID_ARGUMENT for an argument without a value. */
export function channelArguments(text: string): ChannelArguments {
  const given: Record<string, string | number> = {};
  for (const argument of text.split(',').map((one) => one.trim())) {
    if (argument === '') continue;
    const equals = argument.indexOf('=');
    if (equals <= 0) throw new ServeError('INVALID_ARGUMENT', `grpc_channel_arguments: "${argument}" is not key=value`);
    const value = argument.slice(equals + 1).trim();
    given[argument.slice(0, equals).trim()] = /^-?\d+$/.test(value) ? Number(value) : value;
  }
  return given;
}

/** The two bounds on messages, which every carrier keeps. In bytes; Infinity: none. */
export function messageLimits(given: ChannelArguments): { readonly maxReceiveBytes: number; readonly maxSendBytes: number } {
  return {
    maxReceiveBytes: messageLimit(given['grpc.max_receive_message_length']),
    maxSendBytes: messageLimit(given['grpc.max_send_message_length']),
  };
}

/** What our own server honours of the arguments. Throws INVALID_ARGUMENT for a value that cannot be meant. */
export function http2Limits(given: ChannelArguments): Http2Limits {
  const time = (name: string, otherwise: number): number => {
    const value = whole(given, name, 0);
    // gRPC's word for "never".
    if (value === undefined) return otherwise;
    return value >= MAX_MESSAGE_BYTES ? Number.POSITIVE_INFINITY : value;
  };
  return {
    ...DEFAULT_LIMITS,
    maxConcurrentStreams: whole(given, 'grpc.max_concurrent_streams', 1) ?? DEFAULT_LIMITS.maxConcurrentStreams,
    keepaliveTimeMs: time('grpc.keepalive_time_ms', DEFAULT_LIMITS.keepaliveTimeMs),
    keepaliveTimeoutMs: time('grpc.keepalive_timeout_ms', DEFAULT_LIMITS.keepaliveTimeoutMs),
    maxIdleMs: time('grpc.max_connection_idle_ms', DEFAULT_LIMITS.maxIdleMs),
    maxAgeMs: time('grpc.max_connection_age_ms', DEFAULT_LIMITS.maxAgeMs),
    maxAgeGraceMs: time('grpc.max_connection_age_grace_ms', DEFAULT_LIMITS.maxAgeGraceMs),
    minPingIntervalMs: time('grpc.http2.min_ping_interval_without_data_ms', DEFAULT_LIMITS.minPingIntervalMs),
    maxPingStrikes: whole(given, 'grpc.http2.max_ping_strikes', 0) ?? DEFAULT_LIMITS.maxPingStrikes,
  };
}

/** gRPC writes "no bound" as -1. */
function messageLimit(value: string | number | undefined): number {
  if (typeof value !== 'number') return MAX_MESSAGE_BYTES;
  return value < 0 ? Number.POSITIVE_INFINITY : value;
}

function whole(given: ChannelArguments, name: string, least: number): number | undefined {
  const value = given[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || value < least || value > MAX_MESSAGE_BYTES) {
    throw new ServeError(
      'INVALID_ARGUMENT',
      `grpc_channel_arguments: ${name}=${value} is not a whole number from ${least} to ${MAX_MESSAGE_BYTES}`,
    );
  }
  return value;
}
