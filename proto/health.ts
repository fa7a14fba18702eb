/** `grpc.health.v1`: the standard health service. */
import { decodeMessage, encodeMessage } from './message.ts';
import { enumeration, field, message, SCALAR } from './schema.ts';

/** What a service says of itself; `SERVICE_UNKNOWN` is only for Watch. */
export type ServingStatus = 'UNKNOWN' | 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN';

const SERVING_STATUS = enumeration<ServingStatus>('grpc.health.v1.HealthCheckResponse.ServingStatus', {
  UNKNOWN: 0,
  SERVING: 1,
  NOT_SERVING: 2,
  SERVICE_UNKNOWN: 3,
});
const HEALTH_CHECK_REQUEST = message('grpc.health.v1.HealthCheckRequest', { service: field(1, SCALAR.string) });
const HEALTH_CHECK_RESPONSE = message('grpc.health.v1.HealthCheckResponse', { status: field(1, SERVING_STATUS) });

/** The service a request asks about; '' is the whole server. Throws INVALID_ARGUMENT. */
export function decodeHealthCheckRequest(bytes: Uint8Array): string {
  return decodeMessage(HEALTH_CHECK_REQUEST, bytes).service;
}

/** Encodes a request: for clients, tools and tests. */
export function encodeHealthCheckRequest(service: string): Uint8Array {
  return encodeMessage(HEALTH_CHECK_REQUEST, { service });
}

/** Encodes an answer. */
export function encodeHealthCheckResponse(status: ServingStatus): Uint8Array {
  return encodeMessage(HEALTH_CHECK_RESPONSE, { status });
}

/** Decodes an answer: for clients, tools and tests. */
export function decodeHealthCheckResponse(bytes: Uint8Array): ServingStatus {
  return decodeMessage(HEALTH_CHECK_RESPONSE, bytes).status;
}
