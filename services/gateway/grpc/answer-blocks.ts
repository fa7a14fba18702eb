/** The header blocks of answers, encoded once where they are always the same. */
import { STATUS, type StatusCode } from '#mesh/errors.ts';
import type { ResolvedServable } from '../core.ts';
import { encodeHeaders } from '../http2/hpack-encoder.ts';
import { VERSION_HEADER } from './port.ts';
import { statusText } from './status-text.ts';

/** gRPC's code for a call that breaks its protocol. */
export const CALL_FAILED: StatusCode = 'INTERNAL';

const CONTENT_TYPE = ['content-type', 'application/grpc+proto'] as const;
const OK_FIELDS = [[':status', '200'], CONTENT_TYPE, ['grpc-accept-encoding', 'identity,deflate,gzip']] as const;

/** The head of an answer without a version. */
export const ANSWER_HEAD = encodeHeaders(OK_FIELDS);
/** The end of an answer that went well. */
export const OK_TRAILERS = encodeHeaders([['grpc-status', '0']]);

/** The heads of answers, one for each servable, which names its version. */
export class AnswerHeads {
  readonly #byServable = new WeakMap<ResolvedServable, Uint8Array>();

  /** The head of an answer by `servable`, or by none. */
  of(servable: ResolvedServable | null): Uint8Array {
    if (servable === null) return ANSWER_HEAD;
    let block = this.#byServable.get(servable);
    if (block === undefined) {
      block = encodeHeaders([...OK_FIELDS, [VERSION_HEADER, String(servable.id.version)]]);
      this.#byServable.set(servable, block);
    }
    return block;
  }
}

/** The end of an answer that failed. */
export function failureTrailers(code: StatusCode, text: string): Uint8Array {
  return encodeHeaders(statusFields(code, text));
}

/** An answer that failed before it began. */
export function trailersOnly(code: StatusCode, text: string): Uint8Array {
  return encodeHeaders([...OK_FIELDS, ...statusFields(code, text)]);
}

function statusFields(code: StatusCode, text: string): ReadonlyArray<readonly [string, string]> {
  return [
    ['grpc-status', String(STATUS[code].number)],
    ['grpc-message', percentEncode(statusText(text))],
  ];
}

/**
 * A text as gRPC writes it into a header: bytes of UTF-8 that are not printable ASCII, and `%`, as %XX. So are spaces at both ends, which HTTP
 * does not allow there.
 */
function percentEncode(text: string): string {
  if (/^[!-$&-~](?:[ -$&-~]*[!-$&-~])?$/.test(text)) return text;
  let encoded = '';
  const bytes = Buffer.from(text, 'utf8');
  for (const [index, byte] of bytes.entries()) {
    const plain = byte > 0x20 ? byte <= 0x7e && byte !== 0x25 : byte === 0x20 && index > 0 && index < bytes.length - 1;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
