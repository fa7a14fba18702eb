/** What the headers of a request must be (RFC 9113, section 8). */
import type { HeaderField } from './hpack-decoder.ts';
import { ERROR, StreamError } from './protocol.ts';

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  readonly scheme: string;
  readonly path: string;
  /** Empty without one. */
  readonly authority: string;
  /** All others, in order. */
  readonly fields: readonly HeaderField[];
  /** What the client says the body has; -1 when it does not say. */
  readonly contentLength: number;
}

/** Headers of HTTP/1.1 that speak of the connection. */
const OF_CONNECTION: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);
/** A name in lower case, as RFC 9110 allows. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** What would break a header apart where it is passed on. */
const BROKEN_VALUE = /[\0\r\n]/;

/** Reads the head of a request. Throws StreamError PROTOCOL_ERROR when it is malformed. */
export function readRequestHead(all: readonly HeaderField[]): RequestHead {
  const pseudo: Record<string, string | undefined> = {};
  const fields: HeaderField[] = [];
  let contentLength = -1;
  for (const field of all) {
    const { name, value } = field;
    if (name.startsWith(':')) {
      if (fields.length > 0) throw malformed(`has ${name} after other headers`);
      if (name !== ':method' && name !== ':scheme' && name !== ':path' && name !== ':authority') throw malformed(`has the header ${name}`);
      if (pseudo[name] !== undefined) throw malformed(`has ${name} twice`);
      if (BROKEN_VALUE.test(value)) throw malformed(`has a ${name} with a line break`);
      pseudo[name] = value;
      continue;
    }
    checkField(field);
    if (name === 'content-length') contentLength = readLength(value, contentLength);
    fields.push(field);
  }
  const { ':method': method, ':scheme': scheme, ':path': path, ':authority': authority = '' } = pseudo;
  if (method === undefined || scheme === undefined || path === undefined || path === '') throw malformed('lacks :method, :scheme or :path');
  return { method, scheme, path, authority, fields, contentLength };
}

/** Checks headers that come after the body. Throws StreamError PROTOCOL_ERROR. */
export function checkTrailers(fields: readonly HeaderField[]): void {
  for (const field of fields) {
    if (field.name.startsWith(':')) throw malformed(`has ${field.name} after its body`);
    checkField(field);
  }
}

function checkField({ name, value }: HeaderField): void {
  if (!NAME.test(name)) throw malformed('has a header whose name is not one');
  if (OF_CONNECTION.has(name)) throw malformed(`has the header ${name}`);
  if (name === 'te' && value !== 'trailers') throw malformed('has a te other than trailers');
  if (BROKEN_VALUE.test(value)) throw malformed(`has a header ${name} with a line break`);
}

function readLength(value: string, before: number): number {
  const length = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
  if (Number.isNaN(length) || (before >= 0 && before !== length)) throw malformed('has a content-length that is not one');
  return length;
}

function malformed(why: string): StreamError {
  return new StreamError(ERROR.protocol, `the request ${why}`);
}
