import { mkdirSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { buildModel } from '#proto/onnx-writer.ts';
import { putLineVersion } from './line-models.ts';
import { type RunningMesh, startRunningMesh } from './running-mesh.ts';

/** y = 2 * x for FLOAT [batch, n] of any n. */
function putDouble(folder: string): void {
  mkdirSync(join(folder, 'double/1'), { recursive: true });
  const model = buildModel({
    name: 'double',
    opset: 17,
    inputs: [{ name: 'x', dtype: 'float', shape: ['batch', 'n'] }],
    outputs: [{ name: 'y', dtype: 'float', shape: ['batch', 'n'] }],
    initializers: [{ name: 'two', dtype: 'float', shape: [], bytes: new Uint8Array(new Float32Array([2]).buffer) }],
    nodes: [{ op: 'Mul', inputs: ['x', 'two'], outputs: ['y'] }],
  });
  writeFileSync(join(folder, 'double/1/model.onnx'), model);
}

/** Sends raw bytes and reads the first line of what comes back. */
function statusLine(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.write(bytes));
    socket.setEncoding('utf8');
    socket.once('data', (text: string) => {
      resolve(text.split('\r\n')[0] ?? '');
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

const modelText = (folder: string, name: string) => `config { name: "${name}" base_path: "${join(folder, name)}" model_platform: "onnx" }`;

describe('through the front door of an embedded mesh', () => {
  let mesh: RunningMesh;
  beforeAll(async () => {
    mesh = await startRunningMesh({
      prepare(folder) {
        putLineVersion(join(folder, 'line'), 1);
        putDouble(folder);
        mkdirSync(join(folder, 'broken/1'), { recursive: true });
        writeFileSync(join(folder, 'monitoring.config'), 'prometheus_config { enable: true }');
        writeFileSync(join(folder, 'broken/1/model.onnx'), Buffer.from('this is no ONNX model, whatever its name says'));
      },
      config: (folder) =>
        `model_config_list { ${['line', 'double', 'broken', 'missing'].map((name) => modelText(folder, name)).join(' ')} }`,
      flags: (folder) => [
        '--enable_batching',
        '--rest_api_max_body_bytes=200000000',
        `--monitoring_config_file=${join(folder, 'monitoring.config')}`,
      ],
    });
  }, 60_000);
  afterAll(async () => {
    await mesh[Symbol.asyncDispose]();
  });

  const inFlight = async () =>
    Number(/^headrace_gateway_requests_in_flight\S* (\d+)/m.exec((await mesh.send('GET', '/monitoring/prometheus/metrics')).text)?.[1]);
  const works = async () => {
    const answer = await mesh.send('POST', '/v1/models/line:predict', '{"instances":[4]}');
    expect(JSON.parse(answer.text)).toEqual({ predictions: [3] });
  };

  test('one broken model and one missing folder stop nobody, and say what is wrong', async () => {
    await works();
    const broken = JSON.parse((await mesh.send('GET', '/v1/models/broken')).text) as {
      model_version_status: { state: string; status: { error_code: string; error_message: string } }[];
    };
    expect(broken.model_version_status[0]?.state).toBe('END');
    expect(broken.model_version_status[0]?.status.error_message).not.toBe('');
    expect((await mesh.send('POST', '/v1/models/broken:predict', '{"instances":[1]}')).status).toBe(404);
    expect((await mesh.send('GET', '/v1/models/broken/ready')).status).toBe(503);
    expect((await mesh.send('GET', '/v1/models/line/ready')).status).toBe(200);
    expect((await mesh.send('GET', '/readyz')).status).toBe(200);
  });

  test('a tensor of 40 MB goes through as raw bytes and comes back whole', async () => {
    const rows = 10;
    const columns = 1_000_000;
    const values = Float32Array.from({ length: rows * columns }, (_, index) => index % 1000);
    const answer = await mesh.send('POST', '/v1/models/double:predict', new Uint8Array(values.buffer), {
      'content-type': 'application/octet-stream',
      accept: 'application/octet-stream',
      'x-headrace-tensors': JSON.stringify({ inputs: [{ name: 'x', dtype: 'DT_FLOAT', shape: [rows, columns] }] }),
    });
    expect(answer.status).toBe(200);
    expect(answer.headers['x-headrace-model-version']).toBe('1');
    const doubled = new Float32Array(answer.body.buffer.slice(answer.body.byteOffset, answer.body.byteOffset + answer.body.byteLength));
    expect(doubled.length).toBe(values.length);
    let wrong = 0;
    for (let index = 0; index < values.length; index++) if (doubled[index] !== 2 * (values[index] ?? 0)) wrong++;
    expect(wrong).toBe(0);
  });

  test('requests of unequal inner shapes do not meet in a batch', async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        const row = Array.from({ length: 1 + (index % 5) }, (__, column) => index + column);
        const answer = await mesh.send('POST', '/v1/models/double:predict', JSON.stringify({ instances: [row] }));
        return { row, predictions: (JSON.parse(answer.text) as { predictions: number[][] }).predictions };
      }),
    );
    for (const { row, predictions } of answers) expect(predictions).toEqual([row.map((value) => 2 * value)]);
  });

  test.each([
    ['a wrong rank', '{"instances":[1,2]}', 'double'],
    ['a row of another length than the first', '{"instances":[[1,2],[3]]}', 'double'],
    ['words for numbers', '{"instances":[["one"]]}', 'double'],
    ['nothing', '', 'double'],
    ['half a body', '{"instances":[[1,', 'double'],
    ['100,000 levels', `{"instances":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 'double'],
    ['a name it does not have', '{"instances":[{"z":[1]}]}', 'double'],
    ['bytes that are no text', '\u0000\u0001\u0002', 'double'],
    ['an unknown signature', '{"signature_name":"nope","instances":[[1]]}', 'double'],
  ])('%s is answered 400 with a reason, and the next request works', async (_name, body, model) => {
    const answer = await mesh.send('POST', `/v1/models/${model}:predict`, body);
    expect(answer.status).toBe(400);
    expect((JSON.parse(answer.text) as { error: string }).error).not.toBe('');
    await works();
  });

  test('a body over the limit, a gzip bomb and an unknown path are refused, and the next request works', async () => {
    expect(
      await statusLine(mesh.restPort, 'POST /v1/models/line:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 300000000\r\n\r\n'),
    ).toContain(' 413 ');
    const bomb = await mesh.send('POST', '/v1/models/line:predict', gzipSync(Buffer.alloc(200_000_000)), { 'content-encoding': 'gzip' });
    expect(bomb.status).toBe(400);
    expect((await mesh.send('GET', '/nowhere')).status).toBe(404);
    await works();
  });

  test('clients that leave in the middle disturb nobody', async () => {
    const body = `{"instances":[${'1,'.repeat(1000)}1]}`;
    const leave = (bytes: string) =>
      new Promise<void>((resolve) => {
        const socket = createConnection(mesh.restPort, '127.0.0.1', () => {
          socket.write(bytes, () => {
            socket.destroy();
            resolve();
          });
        });
      });
    const head = `POST /v1/models/line:predict HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;
    await Promise.all(
      Array.from({ length: 100 }, (_, index) => leave(index % 2 === 0 ? head + body : (head + body).slice(0, 40 * (index + 1)))),
    );
    await works();
    for (let round = 0; round < 50 && (await inFlight()) > 0; round++) await works();
    expect(await inFlight()).toBe(0);
  });

  test('one model is added, changed and removed while the others serve', async () => {
    const before = await mesh.send('GET', '/v1/config');
    const revision = Number(String(before.headers.etag).replaceAll('"', ''));
    expect(before.text).toContain('name: "line"');
    const text = `name: "second" base_path: "${join(mesh.folder, 'line')}" model_platform: "onnx" version_labels { key: "stable" value: 1 }`;
    const stale = await mesh.send('PUT', '/v1/config/models/second', text, { 'if-match': `"${revision + 7}"` });
    expect(stale.status).toBe(412);
    const put = await mesh.send('PUT', '/v1/config/models/second', text, { 'if-match': `"${revision}"` });
    expect(put.status).toBe(200);
    expect(JSON.parse((await mesh.send('POST', '/v1/models/second/labels/stable:predict', '{"instances":[4]}')).text)).toEqual({
      predictions: [3],
    });
    expect((await mesh.send('DELETE', '/v1/config/models/second')).status).toBe(200);
    // The unload is not waited for, as in TensorFlow Serving.
    while ((await mesh.send('POST', '/v1/models/second:predict', '{"instances":[4]}')).status !== 404) await works();
  });
});
