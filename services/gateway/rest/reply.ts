/** Writes whole answers to HTTP, with the headers that every one of them carries. */
import type { ServerResponse } from 'node:http';
import { type ServeError, STATUS } from '#mesh/errors.ts';
import { errorDocument } from './documents.ts';

/** One answer, complete. */
export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

const NO_BODY = Buffer.alloc(0);
/** Beyond this, copying a body costs more than gathering it. */
export const SMALL_BODY_BYTES = 8192;

/** An answer of JSON. */
export function jsonReply(status: number, body: string | Buffer, headers?: Readonly<Record<string, string>>): Reply {
  return { status, contentType: 'application/json', body, ...(headers === undefined ? {} : { headers }) };
}

/** An error as TensorFlow Serving answers it; what may succeed later says so in Retry-After (seconds). */
export function errorReply(error: ServeError, status = STATUS[error.code].http): Reply {
  const busy = error.code === 'RESOURCE_EXHAUSTED' || error.code === 'UNAVAILABLE';
  return jsonReply(status, errorDocument(error.message), busy ? { 'Retry-After': '1' } : undefined);
}

/** An answer without a body. */
export function emptyReply(status: number, contentType: string): Reply {
  return { status, contentType, body: NO_BODY };
}

/** Sends an answer, unless one was sent or the client is gone. `close` ends the connection after it. */
export function send(response: ServerResponse, reply: Reply, close: boolean): void {
  if (response.headersSent || response.destroyed) return;
  const body = typeof reply.body === 'string' ? Buffer.from(reply.body) : reply.body;
  const headers: string[] = ['Content-Type', reply.contentType, 'Content-Length', String(body.byteLength)];
  if (reply.headers !== undefined) for (const [name, value] of Object.entries(reply.headers)) headers.push(name, value);
  if (close) headers.push('Connection', 'close');
  response.writeHead(reply.status, headers);
  // As a string of its own bytes a small body leaves in one write with the head; as a Buffer it would be a second piece to gather.
  if (body.byteLength <= SMALL_BODY_BYTES) response.end(body.toString('latin1'), 'latin1');
  else response.end(body);
}
