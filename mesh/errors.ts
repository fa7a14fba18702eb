/** The canonical status codes of gRPC, the only error codes in Headrace. */
export type StatusCode =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

/** For each code: its number in gRPC, the HTTP status TensorFlow Serving answers with, and whether the same request may succeed later. */
export const STATUS: Readonly<Record<StatusCode, { readonly number: number; readonly http: number; readonly retryable: boolean }>> = {
  CANCELLED: { number: 1, http: 499, retryable: false },
  UNKNOWN: { number: 2, http: 500, retryable: false },
  INVALID_ARGUMENT: { number: 3, http: 400, retryable: false },
  DEADLINE_EXCEEDED: { number: 4, http: 504, retryable: false },
  NOT_FOUND: { number: 5, http: 404, retryable: false },
  ALREADY_EXISTS: { number: 6, http: 409, retryable: false },
  PERMISSION_DENIED: { number: 7, http: 403, retryable: false },
  RESOURCE_EXHAUSTED: { number: 8, http: 429, retryable: true },
  FAILED_PRECONDITION: { number: 9, http: 400, retryable: false },
  ABORTED: { number: 10, http: 409, retryable: true },
  OUT_OF_RANGE: { number: 11, http: 400, retryable: false },
  UNIMPLEMENTED: { number: 12, http: 501, retryable: false },
  INTERNAL: { number: 13, http: 500, retryable: false },
  UNAVAILABLE: { number: 14, http: 503, retryable: true },
  DATA_LOSS: { number: 15, http: 500, retryable: false },
  UNAUTHENTICATED: { number: 16, http: 401, retryable: false },
};

const BY_NUMBER: ReadonlyMap<number, StatusCode> = new Map(Object.entries(STATUS).map(([code, fact]) => [fact.number, code as StatusCode]));

/** The code of a gRPC status number; UNKNOWN for a number gRPC does not define. */
export function statusCodeFromNumber(number: number): StatusCode {
  return BY_NUMBER.get(number) ?? 'UNKNOWN';
}

/** The one error class of Headrace. The message goes to the client as it is. */
export class ServeError extends Error {
  readonly code: StatusCode;

  constructor(code: StatusCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = 'ServeError';
    this.code = code;
  }
}

/** Converts what a boundary caught. A ServeError passes through; anything else becomes INTERNAL and keeps its cause. */
export function toServeError(caught: unknown): ServeError {
  if (caught instanceof ServeError) return caught;
  if (caught instanceof Error) return new ServeError('INTERNAL', caught.message, { cause: caught });
  return new ServeError('INTERNAL', String(caught), { cause: caught });
}
