import { describe, expect, test } from '@jest/globals';
import { readPlainHead } from '../../../services/gateway/rest/plain-head.ts';

const LINE = 'POST /v1/models/m/versions/3:predict HTTP/1.1';

function read(line: string, ...headers: readonly string[]) {
  return readPlainHead(Buffer.from([line, ...headers, '', '{"instances":[1]}'].join('\r\n'), 'latin1'));
}

describe('a plain head', () => {
  test('says what is asked, how long the body is, and what inferences look at', () => {
    const head = read(
      LINE,
      'Host: x',
      'Content-Length: 17',
      'Accept:  application/octet-stream \t'.trimEnd(),
      'User-Agent: me',
      'Connection: Keep-Alive',
    );
    expect(head).toMatchObject({
      url: '/v1/models/m/versions/3:predict',
      bodyBytes: 17,
      target: { type: 'inference', model: 'm', version: { type: 'specific', version: 3 }, method: 'predict' },
      headers: { host: 'x', accept: 'application/octet-stream', 'content-length': '17' },
    });
    expect(head?.bytes.toString().endsWith('\r\n\r\n')).toBe(true);
  });

  test.each([
    ['another verb', 'GET /v1/models/m:predict HTTP/1.1', ['Host: x', 'Content-Length: 17']],
    ['another target', 'POST /v1/models/m HTTP/1.1', ['Host: x', 'Content-Length: 17']],
    ['an older protocol', 'POST /v1/models/m:predict HTTP/1.0', ['Host: x', 'Content-Length: 17']],
    ['a space in the target', 'POST /v1/models/m m:predict HTTP/1.1', ['Host: x', 'Content-Length: 17']],
    ['no host', LINE, ['Content-Length: 17']],
    ['two hosts', LINE, ['Host: x', 'Host: y', 'Content-Length: 17']],
    ['no length', LINE, ['Host: x']],
    ['two lengths', LINE, ['Host: x', 'Content-Length: 17', 'Content-Length: 17']],
    ['a length with a sign', LINE, ['Host: x', 'Content-Length: +17']],
    ['two lengths in one', LINE, ['Host: x', 'Content-Length: 17, 17']],
    ['a length and chunks', LINE, ['Host: x', 'Content-Length: 17', 'Transfer-Encoding: chunked']],
    ['an empty transfer encoding', LINE, ['Host: x', 'Content-Length: 17', 'transfer-encoding:']],
    ['a connection that ends', LINE, ['Host: x', 'Content-Length: 17', 'Connection: close']],
    ['an upgrade', LINE, ['Host: x', 'Content-Length: 17', 'Upgrade: h2c']],
    ['a compressed body', LINE, ['Host: x', 'Content-Length: 17', 'Content-Encoding: gzip']],
    ['an expectation', LINE, ['Host: x', 'Content-Length: 17', 'Expect: 100-continue']],
    ['a space before the colon', LINE, ['Host: x', 'Content-Length : 17']],
    ['a folded line', LINE, ['Host: x', 'Content-Length: 17', ' more']],
    ['a line break in disguise', LINE, ['Host: x', 'Content-Length: 17', 'A: b\nTransfer-Encoding: chunked']],
    ['a carriage return in disguise', LINE, ['Host: x', 'Content-Length: 17', 'A: b\rc']],
    ['a NUL', LINE, ['Host: x', 'Content-Length: 17', 'A: \0']],
    ['a line without a colon', LINE, ['Host: x', 'Content-Length: 17', 'nonsense']],
    ['an empty name', LINE, ['Host: x', 'Content-Length: 17', ': x']],
    ['bytes beyond ASCII', LINE, ['Host: x', 'Content-Length: 17', 'A: \xe4']],
    ['two types', LINE, ['Host: x', 'Content-Length: 17', 'Content-Type: a', 'content-type: b']],
    ['a head of 9000 bytes', LINE, ['Host: x', 'Content-Length: 17', `A: ${'a'.repeat(9000)}`]],
  ])('is none with %s', (_, line, headers) => {
    expect(read(line, ...headers)).toBeUndefined();
  });

  test('is none before it has ended', () => {
    const whole = Buffer.from(`${LINE}\r\nHost: x\r\nContent-Length: 17\r\n\r\n`);
    expect(readPlainHead(whole)).toBeDefined();
    for (let length = 0; length < whole.byteLength; length++) expect(readPlainHead(whole.subarray(0, length))).toBeUndefined();
  });
});
