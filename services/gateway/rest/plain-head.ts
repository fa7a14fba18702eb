/**
 * The heads of requests that nearly all clients send: a POST for an inference, over a connection that stays, with a body of declared length.
 * Strict, so that nothing can be read in two ways: whatever else HTTP allows, and whatever it forbids, is undefined here and left to node:http.
 */
import type { RequestHeaders } from './exchange.ts';
import type { InferenceTarget } from './model-api.ts';
import { TENSORS_HEADER } from './raw-tensors.ts';
import { parseTarget } from './target.ts';

/** A request's head, read. */
export interface PlainHead {
  /** The head itself, with the empty line that ends it. A copy: the same bytes again mean the same. */
  readonly bytes: Buffer;
  readonly url: string;
  readonly target: InferenceTarget;
  readonly bodyBytes: number;
  /** Those that inferences look at. */
  readonly headers: RequestHeaders;
}

/** Longer heads are node:http's. */
const MAX_HEAD_BYTES = 8192;
const END = '\r\n\r\n';
const REQUEST_LINE = /^POST ([\x21-\x7e]+) HTTP\/1\.1$/;
/** A token, a colon, and printable ASCII: no other control characters, so no line break in disguise. */
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)$/;
const LENGTH = /^[0-9]{1,12}$/;
/** Headers that change how a message is read or answered. */
const NOT_PLAIN: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'content-encoding',
  'expect',
  'upgrade',
  'http2-settings',
  'proxy-connection',
  'trailer',
]);
/** Headers of which there is one at most. */
const SINGLE: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'connection',
  'content-type',
  'accept',
  'traceparent',
  TENSORS_HEADER,
]);

/** Reads the head at the start of `bytes`. Undefined when it is not there whole, or is not plain. */
export function readPlainHead(bytes: Buffer): PlainHead | undefined {
  const end = bytes.subarray(0, MAX_HEAD_BYTES).indexOf(END, 0, 'latin1');
  if (end < 0) return undefined;
  const [requestLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const url = REQUEST_LINE.exec(requestLine)?.[1];
  if (url === undefined) return undefined;
  const target = parseTarget('POST', url);
  const headers = readHeaders(lines);
  if (target.type !== 'inference' || headers === undefined) return undefined;
  const { host, connection = 'keep-alive', 'content-length': length = '' } = headers;
  if (host === undefined || connection.toLowerCase() !== 'keep-alive' || !LENGTH.test(length)) return undefined;
  return { bytes: Buffer.from(bytes.subarray(0, end + END.length)), url, target, bodyBytes: Number(length), headers };
}

/** The headers that there is one of at most; undefined when a header is not plain. */
function readHeaders(lines: readonly string[]): Readonly<Record<string, string>> | undefined {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [, name = '', value = ''] = HEADER_LINE.exec(line) ?? [];
    const key = name.toLowerCase();
    if (key === '' || NOT_PLAIN.has(key)) return undefined;
    if (!SINGLE.has(key)) continue;
    if (key in headers) return undefined;
    headers[key] = value.trimEnd();
  }
  return headers;
}
