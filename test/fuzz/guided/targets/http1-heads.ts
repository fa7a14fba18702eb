/** Heads of HTTP/1.1 requests: what our own reader takes, Node's parser must take for the same. */
import { createRequire } from 'node:module';
import { readPlainHead } from '../../../../services/gateway/rest/plain-head.ts';
import { agree, type FuzzTarget } from '../target.ts';

/** Node's parser, as `node:http` drives it: the only way to run it without a socket and a turn of the event loop. */
interface NodeParser {
  initialize(type: number, resource: object): void;
  execute(bytes: Buffer): number | Error;
  [callback: number]: unknown;
}
interface NodeParserClass {
  new (): NodeParser;
  readonly REQUEST: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
}
type OnHeaders = (
  major: number,
  minor: number,
  headers: readonly string[],
  method: number,
  url: string,
  statusCode: number,
  statusMessage: string,
  upgrade: boolean,
  keepAlive: boolean,
) => number;

const { HTTPParser, methods } = createRequire(import.meta.url)('_http_common') as {
  readonly HTTPParser: NodeParserClass;
  readonly methods: readonly string[];
};

interface NodeHead {
  readonly method: string | undefined;
  readonly version: string;
  readonly url: string;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** What Node takes for the beginning of the body. */
  readonly body: string;
}

function nodeHead(bytes: Buffer): NodeHead | Error {
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {});
  let head: Omit<NodeHead, 'body'> | undefined;
  let body = '';
  const onHeaders: OnHeaders = (major, minor, list, method, url, _code, _message, upgrade, keepAlive) => {
    const headers = Array.from(
      { length: list.length / 2 },
      (_, index) => [(list[2 * index] ?? '').toLowerCase(), list[2 * index + 1] ?? ''] as const,
    );
    head ??= { method: methods[method], version: `${major}.${minor}`, url, keepAlive, upgrade, headers };
    return 0;
  };
  parser[HTTPParser.kOnHeadersComplete] = onHeaders;
  parser[HTTPParser.kOnBody] = (part: Buffer) => {
    body += part.toString('latin1');
  };
  const result = parser.execute(bytes);
  if (head !== undefined) return { ...head, body };
  return result instanceof Error ? result : new Error('Node waits for more');
}

/** What is read in one way here is read in the same way there: nothing can be smuggled between the two. */
function plainHead(bytes: Uint8Array): void {
  const own = readPlainHead(Buffer.from(bytes));
  if (own === undefined) return;
  const node = nodeHead(Buffer.concat([own.bytes, Buffer.alloc(own.bodyBytes > 0 ? 1 : 0, 'b')]));
  if (node instanceof Error) throw new Error(`Node refuses the head: ${node.message}`);
  agree('the request', [node.method, node.version, node.url, node.keepAlive, node.upgrade], ['POST', '1.1', own.url, true, false]);
  agree('the body', node.body, own.bodyBytes > 0 ? 'b' : '');
  for (const [name, value] of Object.entries(own.headers)) {
    agree(
      `the header ${name}`,
      node.headers.filter(([other]) => other === name).map(([, text]) => text.trimEnd()),
      [value],
    );
  }
  if (node.headers.some(([name]) => name === 'transfer-encoding')) throw new Error('a body in chunks is taken for plain');
  agree(
    'the length',
    node.headers.filter(([name]) => name === 'content-length').map(([, text]) => Number(text)),
    [own.bodyBytes],
  );
}

const HEAD =
  'POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: keep-alive\r\nContent-Length: 12\r\n\r\n';

/** The target of this file. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'plain-head',
    format: 'text',
    covers: ['services/gateway/rest/plain-head.ts'],
    words: [
      ...[
        '\r\n',
        '\n',
        '\r',
        ' ',
        '\t',
        ':',
        '\0',
        '\x0b',
        '\x7f',
        '\x80',
        'Content-Length: 3\r\n',
        'content-length:+3\r\n',
        'Transfer-Encoding: chunked\r\n',
      ],
      ...[
        'Connection: close\r\n',
        'Connection: upgrade\r\n',
        'Upgrade: h2c\r\n',
        'Host: b\r\n',
        ' folded\r\n',
        'HTTP/1.0',
        'GET',
        '0x0c',
        '012',
        '12, 12',
        'Expect: 100-continue\r\n',
      ],
      ...[
        'traceparent: x\r\n',
        'x-headrace-tensors: {}\r\n',
        'Accept:\r\n',
        ': x\r\n',
        'Proxy-Connection: close\r\n',
        'Keep-Alive: 5\r\n',
        ',close',
      ],
    ],
    seeds: () => [Buffer.from(HEAD), Buffer.from(HEAD.replace('12', '0')), Buffer.from(`${HEAD}{"instances"`)],
    check: plainHead,
  },
];
