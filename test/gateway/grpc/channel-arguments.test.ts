import { describe, expect, test } from '@jest/globals';
import { channelArguments, http2Limits, messageLimits } from '../../../services/gateway/grpc/channel-arguments.ts';
import { DEFAULT_LIMITS } from '../../../services/gateway/http2/limits.ts';

describe('channel arguments', () => {
  test('are read as TensorFlow Serving reads them', () => {
    expect(channelArguments(' grpc.a=1, grpc.b=x y ,,grpc.c=-1,grpc.d=1.5')).toEqual({
      'grpc.a': 1,
      'grpc.b': 'x y',
      'grpc.c': -1,
      'grpc.d': '1.5',
    });
    expect(() => channelArguments('grpc.a')).toThrow('grpc_channel_arguments: "grpc.a" is not key=value');
  });

  test('change what they name and nothing else', () => {
    expect(http2Limits({})).toEqual(DEFAULT_LIMITS);
    expect(
      http2Limits({
        'grpc.max_concurrent_streams': 7,
        'grpc.keepalive_time_ms': 1,
        'grpc.keepalive_timeout_ms': 2,
        'grpc.max_connection_idle_ms': 3,
        'grpc.max_connection_age_ms': 4,
        'grpc.max_connection_age_grace_ms': 2 ** 31 - 1,
        'grpc.http2.min_ping_interval_without_data_ms': 6,
        'grpc.http2.max_ping_strikes': 0,
        'grpc.unknown': 'x',
      }),
    ).toEqual({
      ...DEFAULT_LIMITS,
      maxConcurrentStreams: 7,
      keepaliveTimeMs: 1,
      keepaliveTimeoutMs: 2,
      maxIdleMs: 3,
      maxAgeMs: 4,
      maxAgeGraceMs: Number.POSITIVE_INFINITY,
      minPingIntervalMs: 6,
      maxPingStrikes: 0,
    });
  });

  test.each([
    ['grpc.max_concurrent_streams', 0],
    ['grpc.keepalive_time_ms', -1],
    ['grpc.max_connection_age_ms', 'soon'],
  ])('%s of %s is refused with its name and range', (name, value) => {
    expect(() => http2Limits({ [name]: value })).toThrow(`${name}=${value} is not a whole number from`);
  });

  test('bound messages at INT32_MAX, at what they say, or not at all', () => {
    expect(messageLimits({})).toEqual({ maxReceiveBytes: 2 ** 31 - 1, maxSendBytes: 2 ** 31 - 1 });
    expect(messageLimits({ 'grpc.max_receive_message_length': 5, 'grpc.max_send_message_length': -1 })).toEqual({
      maxReceiveBytes: 5,
      maxSendBytes: Number.POSITIVE_INFINITY,
    });
  });
});
