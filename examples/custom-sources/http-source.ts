/**
 * A source that is polled: it asks a URL which versions there are. With `--source_modules=catalogue=…/http-source.ts` a model whose base path
 * is `catalogue:http://10.0.0.7:9000/models/resnet` asks that URL, whose answer is
 *
 *     {"versions": [{"version": 3, "path": "/models/resnet/3"}]}
 *
 * An answer with an ETag is not sent again while it holds. Whatever else comes, or nothing in time, is thrown: what is loaded then stays, and
 * the model's status says why.
 */
import type { FoundVersion, SourceFactory } from '../../extend/sources.ts';

/** Shorter than `--user_code_call_limit_ms`, so that a slow server is a slow server and not a source that hangs. */
const TIMEOUT_MS = 5000;

const httpSource: SourceFactory = ({ location: url }) => {
  let last: { readonly tag: string; readonly versions: readonly FoundVersion[] } | undefined;
  return {
    async find(signal) {
      const answer = await fetch(url, {
        headers: last === undefined ? {} : { 'if-none-match': last.tag },
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      }).catch((cause) => {
        throw new Error(`${url} does not answer: ${cause.cause?.message || cause.cause?.code || cause.message}`, { cause });
      });
      if (answer.status === 304 && last !== undefined) return last.versions;
      if (!answer.ok) throw new Error(`${url} answers ${answer.status} ${answer.statusText}`);
      const document = (await answer.json().catch((cause) => {
        throw new Error(`${url} answers what is no JSON`, { cause });
      })) as { readonly versions?: readonly FoundVersion[] } | null;
      if (!document || !Array.isArray(document.versions)) throw new Error(`${url} answers without a list "versions"`);
      const tag = answer.headers.get('etag');
      last = tag === null ? undefined : { tag, versions: document.versions };
      return document.versions;
    },
  };
};

export default httpSource;
