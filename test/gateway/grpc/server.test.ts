import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RegistryQuestion } from '#mesh/control.ts';
import { decodeTensors } from '#mesh/messages.ts';
import { unpackStrings } from '#mesh/tensor.ts';
import { decodePredictResponse, encodePredictRequest } from '#proto/predict.ts';
import { type Fault, floats, readFloats } from '../half-mesh.ts';
import { callRaw, callStub, type GrpcMesh, type GrpcMeshOptions, rawClient, startGrpcMesh as startMesh } from './grpc-mesh.ts';

const PREDICT = '/tensorflow.serving.PredictionService/Predict';
const SERVICE = 'tensorflow.serving.PredictionService';
const spec = { name: 'half_plus_two', version: null, label: null, signatureName: '' };

function predictRequest(x = floats([1, 2, 5]), change: Partial<typeof spec> & { readonly label?: string | null } = {}): Uint8Array {
  return encodePredictRequest({ ...spec, ...change }, new Map([['x', x]]));
}

async function call(mesh: { readonly port: number }, path: string, request: Uint8Array, options: { readonly deadline?: Date } = {}) {
  const client = rawClient(`127.0.0.1:${mesh.port}`);
  try {
    return await callRaw(client, path, request, options);
  } finally {
    client.close();
  }
}

describe.each(['headrace', 'grpc-js'])('over %s:', (grpcServer) => {
  const startGrpcMesh = (options: GrpcMeshOptions = {}) => startMesh({ ...options, settings: { grpcServer, ...options.settings } });

  describe('gRPC server', () => {
    let mesh: GrpcMesh;
    beforeAll(async () => {
      mesh = await startGrpcMesh();
    });
    afterAll(() => mesh[Symbol.asyncDispose]());

    test('Predict answers, and names the version that did in the metadata', async () => {
      const outcome = await call(mesh, PREDICT, predictRequest());
      const { outputs, spec: answered } = decodePredictResponse(outcome.response ?? new Uint8Array(0));
      expect(readFloats(outputs.get('y') as never)).toEqual([2.5, 3, 4.5]);
      expect(answered).toMatchObject({ name: 'half_plus_two', version: 123, signatureName: 'serving_default' });
      expect(outcome.version).toBe('123');
    });

    test('an input with a default may be left out', async () => {
      const spec = { name: 'lenient', version: null, label: null, signatureName: '' };
      const outcome = await call(mesh, PREDICT, encodePredictRequest(spec, new Map()));
      const { outputs } = decodePredictResponse(outcome.response ?? new Uint8Array(0));
      expect(readFloats(outputs.get('y') as never)).toEqual([4]);
    });

    test('a label names its version', async () => {
      const outcome = await call(
        mesh,
        PREDICT,
        predictRequest({ dtype: 'int32', shape: [1], bytes: new Uint8Array(4) }, {
          name: 'ident',
          signatureName: 'i32',
          label: 'stable',
        } as never),
      );
      expect(outcome.version).toBe('1');
    });

    test('a tensor of several megabytes goes both ways', async () => {
      const values = new Array(1_000_000).fill(0).map((_, n) => n % 1000);
      const outcome = await call(mesh, PREDICT, predictRequest(floats(values, [1000, 1000])));
      const y = decodePredictResponse(outcome.response ?? new Uint8Array(0)).outputs.get('y');
      expect(readFloats(y as never)).toEqual(values.map((x) => x / 2 + 2));
    });

    test('stubs made from the .proto files by another library understand us', async () => {
      const answer = await callStub<{ outputs: Record<string, { float_val: number[] }> }>(`127.0.0.1:${mesh.port}`, SERVICE, 'Predict', {
        model_spec: { name: 'half_plus_two' },
        inputs: { x: { dtype: 'DT_FLOAT', tensor_shape: { dim: [{ size: 2 }] }, float_val: [1, 2] } },
      });
      expect(answer.outputs.y?.float_val).toEqual([2.5, 3]);
      const metadata = await callStub<{ metadata: Record<string, { type_url: string }> }>(
        `127.0.0.1:${mesh.port}`,
        SERVICE,
        'GetModelMetadata',
        {
          model_spec: { name: 'half_plus_two' },
          metadata_field: ['signature_def'],
        },
      );
      expect(metadata.metadata.signature_def?.type_url).toBe('type.googleapis.com/tensorflow.serving.SignatureDefMap');
    });

    test('bytes that are no message are INVALID_ARGUMENT and disturb nobody', async () => {
      const broken = await call(mesh, PREDICT, new Uint8Array([0xff, 0xff, 0xff]));
      expect(broken.code).toBe(status.INVALID_ARGUMENT);
      expect((await call(mesh, PREDICT, predictRequest())).code).toBe(0);
    });

    test('a method nobody offers is UNIMPLEMENTED', async () => {
      expect((await call(mesh, '/tensorflow.ProfilerService/Profile', new Uint8Array(0))).code).toBe(status.UNIMPLEMENTED);
      expect((await call(mesh, '/tensorflow.serving.SessionService/SessionRun', new Uint8Array(0))).code).toBe(status.UNIMPLEMENTED);
    });

    test('long messages are cut as TensorFlow Serving cuts them', async () => {
      const { details } = await call(mesh, PREDICT, predictRequest(floats([1]), { name: 'n'.repeat(2000) }));
      expect(details).toHaveLength(1024 + '...TRUNCATED'.length);
      expect(details.endsWith('n...TRUNCATED')).toBe(true);
    });

    test('requests are counted by model and status, unknown models together', async () => {
      await call(mesh, PREDICT, predictRequest(floats([1]), { name: 'never-heard-of' }));
      const text = await mesh.telemetry.metrics.metrics();
      expect(text).toContain(':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"}');
      expect(text).toContain(':tensorflow:serving:request_count{model_name="(unknown)",status="NOT_FOUND"}');
      expect(text).not.toContain('never-heard-of');
      expect(text).toContain(
        ':tensorflow:serving:request_latency_bucket{le="10",model_name="half_plus_two",API="Predict",entrypoint="GRPC"}',
      );
      expect(text).toContain(':tensorflow:serving:runtime_latency_count{model_name="half_plus_two",API="Predict",runtime="ONNX"}');
    });
  });

  describe('Classify, Regress and MultiInference', () => {
    /** Answers row n of the examples with n + the length of its bytes. */
    const scoring: Fault = ({ requestId, body, outputs }) => {
      const [input] = decodeTensors(body);
      if (input?.payload.type !== 'inline') return [];
      const rows = input.shape[0] ?? 0;
      const values = unpackStrings(input.payload.bytes, rows).map((example, row) => row + example.byteLength);
      const timings = { queuedMs: 0, executedMs: 0, batchRows: rows, workerId: 'w' as never };
      const payload = { type: 'inline' as const, bytes: floats(values).bytes };
      const tensor = { name: outputs[0] ?? '', dtype: 'float' as const, shape: [rows, 1], payload };
      return [{ type: 'outputs', requestId, rowStart: 0, rowCount: rows, totalRows: rows, timings, outputs: [tensor] }];
    };
    const example = { features: { feature: { x: { float_list: { value: [1] } } } } };
    const input = { example_list: { examples: [example, {}] } };
    let mesh: GrpcMesh;
    beforeAll(async () => {
      mesh = await startGrpcMesh({ fault: scoring });
    });
    afterAll(() => mesh[Symbol.asyncDispose]());

    test('give one result for each example, through foreign stubs', async () => {
      const address = `127.0.0.1:${mesh.port}`;
      const classified = await callStub<{ result: unknown; model_spec: unknown }>(address, SERVICE, 'Classify', {
        model_spec: { name: 'half_plus_two', signature_name: 'classify_x_to_y' },
        input,
      });
      const first = 17;
      expect(classified.result).toMatchObject({
        classifications: [{ classes: [{ label: '', score: first }] }, { classes: [{ label: '', score: 1 }] }],
      });
      expect(classified.model_spec).toMatchObject({ name: 'half_plus_two', version: { value: '123' }, signature_name: 'classify_x_to_y' });
      const regressed = await callStub<{ result: unknown }>(address, SERVICE, 'Regress', {
        model_spec: { name: 'half_plus_two', signature_name: 'regress_x_to_y' },
        input,
      });
      expect(regressed.result).toMatchObject({ regressions: [{ value: first }, { value: 1 }] });
      const both = await callStub<{ results: unknown[] }>(address, SERVICE, 'MultiInference', {
        tasks: [
          { model_spec: { name: 'half_plus_two', signature_name: 'regress_x_to_y' }, method_name: 'tensorflow/serving/regress' },
          { model_spec: { name: 'half_plus_two', signature_name: 'classify_x_to_y' }, method_name: 'tensorflow/serving/classify' },
        ],
        input,
      });
      expect(both.results).toMatchObject([
        { model_spec: { signature_name: 'regress_x_to_y' }, regression_result: { regressions: [{ value: first }, { value: 1 }] } },
        { model_spec: { signature_name: 'classify_x_to_y' }, classification_result: { classifications: [{}, {}] } },
      ]);
    });

    test('no examples is an empty input', async () => {
      await expect(
        callStub(`127.0.0.1:${mesh.port}`, SERVICE, 'Regress', { model_spec: { name: 'half_plus_two', signature_name: 'regress_x_to_y' } }),
      ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, details: 'Input is empty.' });
    });
  });

  describe('a call that ends early', () => {
    test('is dropped at the batcher when its deadline passes or its client cancels', async () => {
      await using mesh = await startGrpcMesh({ fault: () => null });
      const client = rawClient(`127.0.0.1:${mesh.port}`);
      // Connects first: that time would be part of the deadline.
      await callRaw(client, '/tensorflow.serving.ModelService/GetModelStatus', new Uint8Array(0));
      const late = await callRaw(client, PREDICT, predictRequest(), { deadline: new Date(Date.now() + 300) });
      expect(late.code).toBe(status.DEADLINE_EXCEEDED);
      const budgetMs = mesh.batcher.received[0]?.budgetMs ?? 0;
      expect(budgetMs).toBeGreaterThan(0);
      expect(budgetMs).toBeLessThanOrEqual(301);
      const left = new Promise<number>((resolve) => {
        const sent = client.makeUnaryRequest(
          PREDICT,
          (bytes: Uint8Array) => Buffer.from(bytes),
          (bytes: Buffer) => bytes,
          predictRequest(),
          (problem) => resolve(problem?.code ?? 0),
        );
        const watch = setInterval(() => {
          if (mesh.batcher.received.length < 2) return;
          clearInterval(watch);
          sent.cancel();
        }, 1);
      });
      expect(await left).toBe(status.CANCELLED);
      await new Promise<void>((resolve) => {
        const watch = setInterval(() => {
          if (mesh.client.inFlight > 0 || !mesh.batcher.cancelled.includes(mesh.batcher.received[1]?.requestId ?? 0)) return;
          clearInterval(watch);
          resolve();
        }, 1);
      });
      client.close();
    });
  });

  describe('settings', () => {
    test('tensor_content instead of typed fields', async () => {
      await using mesh = await startGrpcMesh({ settings: { enableSerializationAsTensorContent: true } });
      const answer = await callStub<{ outputs: Record<string, { float_val: number[]; tensor_content: Buffer }> }>(
        `127.0.0.1:${mesh.port}`,
        SERVICE,
        'Predict',
        {
          model_spec: { name: 'half_plus_two' },
          inputs: { x: { dtype: 'DT_FLOAT', tensor_shape: { dim: [{ size: 1 }] }, float_val: [1] } },
        },
      );
      expect(answer.outputs.y?.float_val).toEqual([]);
      expect(answer.outputs.y?.tensor_content).toEqual(Buffer.from(new Float32Array([2.5]).buffer));
    });

    test('the method name check refuses other methods', async () => {
      await using mesh = await startGrpcMesh({ settings: { enableSignatureMethodNameCheck: true } });
      await expect(
        callStub(`127.0.0.1:${mesh.port}`, SERVICE, 'Classify', {
          model_spec: { name: 'half_plus_two', signature_name: 'regress_x_to_y' },
          input: { example_list: { examples: [{}] } },
        }),
      ).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: 'Expected classification signature method_name to be tensorflow/serving/classify. Was: tensorflow/serving/regress',
      });
    });

    test('a unix socket serves as well as a port', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'headrace-'));
      await using mesh = await startGrpcMesh({ settings: { grpcSocketPath: join(folder, 'grpc.sock') } });
      const client = rawClient(`unix:${join(folder, 'grpc.sock')}`);
      expect((await callRaw(client, PREDICT, predictRequest())).code).toBe(0);
      client.close();
      await mesh.server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });

    test('neither port nor socket is fatal, in TensorFlow Serving’s words', async () => {
      const { startGrpcServer } = await import('../../../services/gateway/grpc/server.ts');
      const settings = { port: 0, grpcSocketPath: '', sslConfigFile: '', useAltsCredentials: false, grpcChannelArguments: '' };
      await expect(
        startGrpcServer({
          settings: { ...settings, enableSignatureMethodNameCheck: false, enableSerializationAsTensorContent: false },
        } as never),
      ).rejects.toThrow('At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.');
    });

    test('TLS with a client certificate', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'headrace-'));
      const key = join(folder, 'key.pem');
      const cert = join(folder, 'cert.pem');
      execFileSync(
        'openssl',
        [
          'req',
          '-x509',
          '-newkey',
          'rsa:2048',
          '-nodes',
          '-keyout',
          key,
          '-out',
          cert,
          '-days',
          '1',
          '-subj',
          '/CN=localhost',
          '-addext',
          'subjectAltName=DNS:localhost,IP:127.0.0.1',
        ],
        { stdio: 'ignore' },
      );
      const text = (path: string) => JSON.stringify(readFileSync(path, 'utf8'));
      const file = join(folder, 'ssl.pbtxt');
      writeFileSync(file, `server_key: ${text(key)}\nserver_cert: ${text(cert)}\ncustom_ca: ${text(cert)}\nclient_verify: true\n`);
      await using mesh = await startGrpcMesh({ settings: { sslConfigFile: file } });
      const known = rawClient(`localhost:${mesh.port}`, credentials.createSsl(readFileSync(cert), readFileSync(key), readFileSync(cert)));
      expect((await callRaw(known, PREDICT, predictRequest())).code).toBe(0);
      const stranger = rawClient(`localhost:${mesh.port}`, credentials.createSsl(readFileSync(cert)));
      expect((await callRaw(stranger, PREDICT, predictRequest(), { deadline: new Date(Date.now() + 2000) })).code).not.toBe(0);
      known.close();
      stranger.close();
      rmSync(folder, { recursive: true });
    });
  });

  describe('the configuration over gRPC', () => {
    const list = { model_config_list: { config: [{ name: 'a', base_path: '/models/a', model_platform: 'tensorflow' }] } };

    test('a reload goes to the registry as text', async () => {
      const asked: RegistryQuestion[] = [];
      await using mesh = await startGrpcMesh({
        answerRegistry: (question) => {
          asked.push(question);
          return { type: 'config', configText: '', revision: 2 };
        },
      });
      const answer = await callStub<{ status: unknown }>(
        `127.0.0.1:${mesh.port}`,
        'tensorflow.serving.ModelService',
        'HandleReloadConfigRequest',
        { config: list },
      );
      expect(answer.status).toMatchObject({ error_code: 'OK' });
      expect(asked[0]).toMatchObject({
        type: 'reload',
        configText: expect.stringMatching(/model_config_list\s*{\s*config\s*{\s*name: "a"/),
      });
    });

    test('only lists can be reloaded', async () => {
      await using mesh = await startGrpcMesh();
      await expect(
        callStub(`127.0.0.1:${mesh.port}`, 'tensorflow.serving.ModelService', 'HandleReloadConfigRequest', {
          config: { custom_model_config: {} },
        }),
      ).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: 'ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported',
      });
    });

    test('one model can be put and removed, and the configuration read', async () => {
      const asked: RegistryQuestion[] = [];
      await using mesh = await startGrpcMesh({
        answerRegistry: (question) => {
          asked.push(question);
          return question.type === 'remove-model'
            ? { type: 'error', code: 'ABORTED', message: 'revision 8 is running, not 7' }
            : { type: 'config', configText: 'model_config_list { config { name: "a" base_path: "/m/a" } }', revision: 8 };
        },
      });
      const ask = (method: string, request: object) =>
        callStub<never>(`127.0.0.1:${mesh.port}`, 'headrace.v1.ConfigService', method, request);
      const running = { config: { model_config_list: { config: [{ name: 'a', base_path: '/m/a' }] } }, revision: '8' };
      expect(await ask('ReadConfig', {})).toMatchObject(running);
      expect(await ask('PutModel', { model: { name: 'a', base_path: '/m/a' }, expected_revision: { value: 7 } })).toMatchObject(running);
      expect(asked[1]).toMatchObject({ type: 'put-model', expectedRevision: 7, modelText: expect.stringContaining('base_path: "/m/a"') });
      await expect(ask('RemoveModel', { name: 'a', expected_revision: { value: 7 } })).rejects.toMatchObject({
        code: status.ABORTED,
        details: 'revision 8 is running, not 7',
      });
      await expect(ask('PutModel', {})).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, details: 'PutModelRequest has no model' });
    });
  });
});
