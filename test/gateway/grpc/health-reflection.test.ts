import { type ClientReadableStream, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import protobuf from 'protobufjs';
import descriptor from 'protobufjs/ext/descriptor/index.js';
import { decodeHealthCheckResponse, encodeHealthCheckRequest } from '#proto/health.ts';
import { WIRE, WireReader, WireWriter } from '#proto/wire.ts';
import { routedModel, routedVersion } from '../test-registry.ts';
import { callRaw, type GrpcMesh, type GrpcMeshOptions, rawClient, startGrpcMesh as startMesh } from './grpc-mesh.ts';

const CHECK = '/grpc.health.v1.Health/Check';
const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes);
const asIs = (bytes: Buffer) => bytes;

describe.each(['headrace', 'grpc-js'])('over %s:', (grpcServer) => {
  const startGrpcMesh = (options: GrpcMeshOptions = {}) => startMesh({ ...options, settings: { grpcServer, ...options.settings } });

  describe('health', () => {
    let mesh: GrpcMesh;
    beforeAll(async () => {
      mesh = await startGrpcMesh();
    });
    afterAll(() => mesh[Symbol.asyncDispose]());

    test.each([
      ['', 'SERVING'],
      ['tensorflow.serving.PredictionService', 'SERVING'],
      ['PredictionService', 'SERVING'],
      ['ModelService', 'SERVING'],
      ['half_plus_two', 'SERVING'],
      ['half_plus_two/123', 'SERVING'],
      ['half_plus_two/9', 'NOT_SERVING'],
      ['loading', 'NOT_SERVING'],
      ['loading/1', 'NOT_SERVING'],
    ])('of "%s" is %s', async (service, wanted) => {
      const client = rawClient(`127.0.0.1:${mesh.port}`);
      const outcome = await callRaw(client, CHECK, encodeHealthCheckRequest(service));
      expect(decodeHealthCheckResponse(outcome.response ?? new Uint8Array(0))).toBe(wanted);
      client.close();
    });

    test.each(['nope', 'nope/1', 'half_plus_two/x'])('of "%s" is not known', async (service) => {
      const client = rawClient(`127.0.0.1:${mesh.port}`);
      expect((await callRaw(client, CHECK, encodeHealthCheckRequest(service))).code).toBe(status.NOT_FOUND);
      client.close();
    });

    test('a watcher is told of every change, and of the end', async () => {
      const client = rawClient(`127.0.0.1:${mesh.port}`);
      const told: string[] = [];
      let onTold = () => {};
      const until = (count: number) =>
        new Promise<void>((resolve) => {
          onTold = () => {
            if (told.length >= count) resolve();
          };
          onTold();
        });
      const stream: ClientReadableStream<Buffer> = client.makeServerStreamRequest(
        '/grpc.health.v1.Health/Watch',
        asBuffer,
        asIs,
        encodeHealthCheckRequest('later'),
      );
      stream.on('data', (message: Buffer) => {
        told.push(decodeHealthCheckResponse(message));
        onTold();
      });
      stream.on('error', () => {});
      await until(1);
      mesh.registry.change({ models: [routedModel('later', [routedVersion(1, { routable: false, state: 'LOADING', signatures: null })])] });
      await until(2);
      mesh.registry.change({ models: [routedModel('later', [routedVersion(1)])] });
      await until(3);
      mesh.registry.change({ removed: ['later'] });
      await until(4);
      expect(told).toEqual(['SERVICE_UNKNOWN', 'NOT_SERVING', 'SERVING', 'SERVICE_UNKNOWN']);
      stream.cancel();
      client.close();
    });

    test('the whole gateway stops serving when its last batcher goes', async () => {
      await using lonely = await startGrpcMesh();
      await lonely.batcher[Symbol.asyncDispose]();
      const client = rawClient(`127.0.0.1:${lonely.port}`);
      const outcome = await callRaw(client, CHECK, encodeHealthCheckRequest(''));
      expect(decodeHealthCheckResponse(outcome.response ?? new Uint8Array(0))).toBe('NOT_SERVING');
      client.close();
    });
  });

  describe('reflection', () => {
    let mesh: GrpcMesh;
    beforeAll(async () => {
      mesh = await startGrpcMesh();
    });
    afterAll(() => mesh[Symbol.asyncDispose]());

    /** Asks one question and gives back the fields of the response by number. */
    async function ask(version: string, writeQuestion: (writer: WireWriter) => void): Promise<Map<number, Uint8Array>> {
      const client = rawClient(`127.0.0.1:${mesh.port}`);
      const stream = client.makeBidiStreamRequest(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, asBuffer, asIs);
      const writer = new WireWriter();
      writeQuestion(writer);
      const response = await new Promise<Buffer>((resolve, reject) => {
        stream.on('data', resolve);
        stream.on('error', reject);
        stream.write(writer.finish());
        stream.end();
      });
      client.close();
      return fieldsOf(response);
    }

    function fieldsOf(bytes: Uint8Array): Map<number, Uint8Array> {
      const reader = new WireReader(bytes);
      const fields = new Map<number, Uint8Array>();
      while (reader.more()) {
        const tag = reader.tag();
        if (tag % 8 === WIRE.bytes) fields.set(tag >>> 3, reader.view());
        else reader.skip(tag);
      }
      return fields;
    }

    /** All length-delimited fields of a list message, in order. */
    function listOf(bytes: Uint8Array | undefined): Uint8Array[] {
      const reader = new WireReader(bytes ?? new Uint8Array(0));
      const items: Uint8Array[] = [];
      while (reader.more()) {
        reader.tag();
        items.push(reader.view());
      }
      return items;
    }

    const nameOf = (message: Uint8Array) => Buffer.from(fieldsOf(message).get(1) ?? []).toString();

    test.each(['v1', 'v1alpha'])('%s lists the services', async (version) => {
      const response = await ask(version, (writer) => writer.stringField(7, ''));
      expect(listOf(response.get(6)).map(nameOf)).toEqual([
        'grpc.health.v1.Health',
        'grpc.reflection.v1.ServerReflection',
        'grpc.reflection.v1alpha.ServerReflection',
        'headrace.v1.ConfigService',
        'tensorflow.serving.ModelService',
        'tensorflow.serving.PredictionService',
      ]);
    });

    /** What a file imports (FileDescriptorProto.dependency). */
    function importsOf(file: Uint8Array): string[] {
      const reader = new WireReader(file);
      const imports: string[] = [];
      while (reader.more()) {
        const tag = reader.tag();
        if (tag === 3 * 8 + WIRE.bytes) imports.push(reader.text());
        else reader.skip(tag);
      }
      return imports;
    }

    const filesOfSymbol = async (symbol: string) => listOf((await ask('v1', (writer) => writer.stringField(4, symbol))).get(4));
    const filesOfName = async (name: string) => listOf((await ask('v1', (writer) => writer.stringField(3, name))).get(4));

    /** Links files as a client does; throws when a type that one of them names is in none of them. */
    function link(files: Iterable<Uint8Array>): protobuf.Root {
      const set = descriptor.FileDescriptorSet.create({ file: [...files].map((file) => descriptor.FileDescriptorProto.decode(file)) });
      const root = (protobuf.Root as unknown as { fromDescriptor(from: unknown): protobuf.Root }).fromDescriptor(set);
      root.resolveAll();
      return root;
    }

    test.each([
      ['tensorflow.serving.PredictionService', 'tensorflow_serving/apis/prediction_service.proto'],
      ['tensorflow.serving.PredictionService.Predict', 'tensorflow_serving/apis/prediction_service.proto'],
      ['tensorflow.TensorProto', 'tensorflow/core/framework/tensor.proto'],
      ['tensorflow.TensorProto.float_val', 'tensorflow/core/framework/tensor.proto'],
      ['tensorflow.DT_FLOAT', 'tensorflow/core/framework/types.proto'],
      ['tensorflow.serving.GetModelStatusResponse', 'tensorflow_serving/apis/get_model_status.proto'],
      ['headrace.v1.ConfigService', 'headrace/v1/config.proto'],
      ['grpc.health.v1.Health', 'grpc/health/v1/health.proto'],
    ])('answers %s with its file first, and every file that is imported after it', async (symbol, file) => {
      const files = await filesOfSymbol(symbol);
      const names = files.map(nameOf);
      expect(names[0]).toBe(file);
      expect(new Set(names).size).toBe(names.length);
      expect(names).toEqual(expect.arrayContaining(files.flatMap(importsOf)));
      expect(() => link(files)).not.toThrow();
    });

    test('a client that follows imports from PredictionService, file by file, can link all of them', async () => {
      const [first] = await filesOfSymbol('tensorflow.serving.PredictionService');
      const fetched = new Map<string, Uint8Array>();
      const waiting = first === undefined ? [] : [first];
      for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
        fetched.set(nameOf(file), file);
        for (const name of importsOf(file)) {
          if (fetched.has(name)) continue;
          const [imported] = await filesOfName(name);
          expect(nameOf(imported ?? new Uint8Array(0))).toBe(name);
          if (imported !== undefined) waiting.push(imported);
        }
      }
      const root = link(fetched.values());
      const service = root.lookupService('tensorflow.serving.PredictionService');
      const typesOf = (method: protobuf.Method) => [
        method.name,
        method.resolvedRequestType?.fullName,
        method.resolvedResponseType?.fullName,
      ];
      expect(service.methodsArray.map(typesOf)).toEqual(
        [
          ['Classify', 'ClassificationRequest', 'ClassificationResponse'],
          ['Regress', 'RegressionRequest', 'RegressionResponse'],
          ['Predict', 'PredictRequest', 'PredictResponse'],
          ['MultiInference', 'MultiInferenceRequest', 'MultiInferenceResponse'],
          ['GetModelMetadata', 'GetModelMetadataRequest', 'GetModelMetadataResponse'],
        ].map(([name, request, response]) => [name, `.tensorflow.serving.${request}`, `.tensorflow.serving.${response}`]),
      );
      const without = (lost: string) => [...fetched].filter(([name]) => name !== lost).map(([, file]) => file);
      expect(() => link(without('tensorflow/core/framework/tensor.proto'))).toThrow();
    });

    test('a file found by its name is the one found by its symbol', async () => {
      const bySymbol = await filesOfSymbol('headrace.v1.ConfigService');
      const byName = await filesOfName(nameOf(bySymbol[0] ?? new Uint8Array(0)));
      expect(byName.map(nameOf)).toEqual(bySymbol.map(nameOf));
      expect(byName.length).toBeGreaterThan(1);
    });

    test.each<[string, (writer: WireWriter) => void]>([
      ['symbol', (writer) => writer.stringField(4, 'no.such.Thing')],
      ['file', (writer) => writer.stringField(3, 'no/such.proto')],
      ['type', (writer) => writer.stringField(6, 'no.such.Type')],
    ])('says that a %s is not there', async (_, question) => {
      const error = new WireReader((await ask('v1', question)).get(7) ?? new Uint8Array(0));
      error.tag();
      expect(error.int32()).toBe(status.NOT_FOUND);
    });
  });
});
