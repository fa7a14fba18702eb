/** What a request target under /v1 names. The whole target counts, query string included, and is compared as TensorFlow Serving does. */
import { fromUtf8 } from '#mesh/bytes.ts';

/** A version or label as written in a target. */
export type TargetVersion =
  | { readonly type: 'latest' }
  /** `text` is what the client wrote; `version` is rounded beyond 2^53. */
  | { readonly type: 'specific'; readonly version: number; readonly text: string }
  | { readonly type: 'label'; readonly label: string };

/** What a request asks for. */
export type Target =
  | {
      readonly type: 'inference';
      readonly model: string;
      readonly version: TargetVersion;
      readonly method: 'predict' | 'classify' | 'regress';
    }
  | { readonly type: 'status'; readonly model: string; readonly version: TargetVersion }
  | { readonly type: 'metadata'; readonly model: string; readonly version: TargetVersion }
  /** A version that does not fit int64: answered 400 with an empty body. */
  | { readonly type: 'unreadable-version'; readonly model: string }
  | { readonly type: 'malformed' };

const INFERENCE = /^\/v1\/models\/([^/:]+)(?:(?:\/versions\/(\d+))|(?:\/labels\/([^/:]+)))?:(classify|regress|predict)$/i;
const DOCUMENT = /^\/v1\/models(?:\/([^/:]+))?(?:(?:\/versions\/(\d+))|(?:\/labels\/([^/:]+)))?(?:\/(metadata))?$/i;
const MAX_VERSION = 2n ** 63n - 1n;
const MALFORMED: Target = { type: 'malformed' };

/** Reads a target. Letter case of the path is ignored, but a verb or `metadata` in other letters is malformed, or a status, as in TensorFlow Serving. */
export function parseTarget(method: string, url: string): Target {
  if (method === 'POST') {
    const match = INFERENCE.exec(url);
    if (match === null) return MALFORMED;
    const [, name = '', version, label, verb] = match;
    const model = decode(name);
    const wanted = versionOf(version, label);
    if (wanted === undefined) return { type: 'unreadable-version', model };
    if (verb !== 'predict' && verb !== 'classify' && verb !== 'regress') return MALFORMED;
    return { type: 'inference', model, version: wanted, method: verb };
  }
  const match = method === 'GET' ? DOCUMENT.exec(url) : null;
  if (match === null) return MALFORMED;
  const [, name = '', version, label, metadata] = match;
  const model = decode(name);
  const wanted = versionOf(version, label);
  if (wanted === undefined) return { type: 'unreadable-version', model };
  return { type: metadata === 'metadata' ? 'metadata' : 'status', model, version: wanted };
}

/** Undefined when the number does not fit int64. */
function versionOf(version: string | undefined, label: string | undefined): TargetVersion | undefined {
  if (label !== undefined) return { type: 'label', label: decode(label) };
  if (version === undefined) return { type: 'latest' };
  if (version.length > 15 && BigInt(version) > MAX_VERSION) return undefined;
  return { type: 'specific', version: Number(version), text: version.replace(/^0+(?=\d)/, '') };
}

/** Resolves `%XX`; what is no such escape stays as it is, and `+` is no space. */
function decode(text: string): string {
  if (!text.includes('%') && !/[^\x20-\x7e]/.test(text)) return text;
  const bytes: number[] = [];
  for (let index = 0; index < text.length; index++) {
    const hex = text[index] === '%' ? /^[0-9a-fA-F]{2}/.exec(text.slice(index + 1, index + 3)) : null;
    if (hex === null) bytes.push(text.charCodeAt(index) & 0xff);
    else {
      bytes.push(Number.parseInt(hex[0], 16));
      index += 2;
    }
  }
  return fromUtf8(Uint8Array.from(bytes));
}
