/** Answers written to a connection as node:http would write them, in one piece with their head. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { type Clock, httpDate } from '#mesh/clock.ts';
import { type Reply, SMALL_BODY_BYTES } from './reply.ts';

/** Writes answers of one server. */
export interface PlainReplies {
  /** Writes an answer; `close`: and says that the connection ends with it, which is the caller's to do. `nowMs` is of the Clock. */
  write(socket: Socket, reply: Reply, options: { readonly close: boolean; readonly nowMs: number }): void;
}

/** The `Date` header may be this old. */
const DATE_MS = 500;

/** Makes a writer that tells clients how long their connections are kept. */
export function createPlainReplies(clock: Clock, keepAliveMs: number): PlainReplies {
  /** What was written last, without what differs: the next answer is mostly of the same kind. */
  let last: Reply = { status: 0, contentType: '', body: '' };
  let start = '';
  let kept = '';
  let ended = '';
  let dateUntilMs = Number.NEGATIVE_INFINITY;

  function startOf(reply: Reply): string {
    if (reply.status === last.status && reply.contentType === last.contentType && reply.headers === last.headers) return start;
    start = `HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status] ?? ''}\r\nContent-Type: ${reply.contentType}\r\n`;
    for (const [name, value] of Object.entries(reply.headers ?? {})) start += `${name}: ${value}\r\n`;
    last = { ...reply, body: '' };
    return start;
  }

  function renewDate(nowMs: number): void {
    const date = httpDate(clock.wallNow());
    kept = `\r\nDate: ${date}\r\nConnection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1000)}\r\n\r\n`;
    ended = `\r\nDate: ${date}\r\nConnection: close\r\n\r\n`;
    dateUntilMs = nowMs + DATE_MS;
  }

  return {
    write(socket, reply, { close, nowMs }) {
      if (nowMs >= dateUntilMs) renewDate(nowMs);
      const body = typeof reply.body === 'string' ? Buffer.from(reply.body) : reply.body;
      const head = `${startOf(reply)}Content-Length: ${body.byteLength}${close ? ended : kept}`;
      if (body.byteLength <= SMALL_BODY_BYTES) {
        socket.write(head + body.toString('latin1'), 'latin1');
        return;
      }
      socket.cork();
      socket.write(head, 'latin1');
      socket.write(body);
      socket.uncork();
    },
  };
}
