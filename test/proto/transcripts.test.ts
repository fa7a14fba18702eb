import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { STATUS, type StatusCode } from '#mesh/errors.ts';
import type { Signatures, TensorSpec } from '#mesh/signature.ts';
import { type DType, dtypeFromProtoName } from '#mesh/tensor.ts';
import { decodeExamplesRequest, encodeClassificationResponse, encodeExamplesRequest } from '#proto/classification.ts';
import { decodeGetModelMetadataRequest, encodeGetModelMetadataRequest, encodeGetModelMetadataResponse } from '#proto/get-model-metadata.ts';
import { decodeGetModelStatusRequest, encodeGetModelStatusRequest, encodeGetModelStatusResponse } from '#proto/get-model-status.ts';
import { decodeMultiInferenceRequest, encodeMultiInferenceRequest } from '#proto/inference.ts';
import { decodeInputs, decodePredictRequest, decodePredictResponse, encodePredictRequest, encodePredictResponse } from '#proto/predict.ts';
import { encodeRegressionResponse } from '#proto/regression.ts';
import { asObject, loadRoot } from './protobuf-root.ts';

const PATH = join(import.meta.dirname, '../../../shared/conformance/tfs-grpc.jsonl');
const root = loadRoot();

interface Exchange {
  readonly note: string;
  readonly method: string;
  readonly req: string;
  readonly code: StatusCode | 'OK';
  readonly resp?: string;
  readonly details?: string;
}

if (!existsSync(PATH)) {
  test.skip('recorded gRPC answers of TensorFlow Serving: ../shared/conformance is absent', () => undefined);
} else {
  const exchanges = readFileSync(PATH, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Exchange);
  const of = (method: string) => exchanges.filter((one) => one.method.endsWith(`/${method}`)).map((one) => [one.note, one] as const);
  const bytesOf = (base64: string | undefined) => new Uint8Array(Buffer.from(base64 ?? '', 'base64'));

  describe('recorded answers of TensorFlow Serving', () => {
    test('every kind of exchange is there', () => {
      expect(exchanges.length).toBeGreaterThan(30);
      for (const code of exchanges.map((one) => one.code)) expect(['OK', ...Object.keys(STATUS)]).toContain(code);
    });

    test.each(of('Predict'))('Predict, %s: the request reads as recorded and writes back to the same message', (_, exchange) => {
      const bytes = bytesOf(exchange.req);
      const request = decodePredictRequest(bytes);
      if (exchange.details?.startsWith('tensor parsing error')) {
        expect(() => decodeInputs(request.inputs)).toThrow(exchange.details);
        return;
      }
      const inputs = decodeInputs(request.inputs);
      if (exchange.note.startsWith('broadcast')) {
        expect(new Float32Array(inputs.get('x')?.bytes.slice().buffer ?? new ArrayBuffer(0))).toEqual(new Float32Array([1, 1, 1]));
        return;
      }
      const again = encodePredictRequest(request.spec, inputs, { outputFilter: request.outputFilter });
      expect(asObject(root, 'tensorflow.serving.PredictRequest', again)).toEqual(
        asObject(root, 'tensorflow.serving.PredictRequest', bytes),
      );
    });

    test.each(of('Predict').filter(([, one]) => one.resp !== undefined))(
      'Predict, %s: the answer is written byte for byte',
      (_, exchange) => {
        const bytes = bytesOf(exchange.resp);
        const { spec, outputs } = decodePredictResponse(bytes);
        expect(spec.present).toBe(true);
        expect(encodePredictResponse({ name: spec.name, version: spec.version ?? 0, signatureName: spec.signatureName }, outputs)).toEqual(
          bytes,
        );
      },
    );

    test.each(of('GetModelMetadata'))('GetModelMetadata, %s: request and answer are the same messages', (_, exchange) => {
      const bytes = bytesOf(exchange.req);
      const { spec, metadataFields } = decodeGetModelMetadataRequest(bytes);
      expect(spec.present).toBe(exchange.details !== 'Missing ModelSpec');
      if (spec.present) expect(encodeGetModelMetadataRequest(spec, metadataFields)).toEqual(bytes);
      if (exchange.resp === undefined) return;
      const recorded = metadataOf(bytesOf(exchange.resp));
      const answer = encodeGetModelMetadataResponse({ name: spec.name, version: 123 }, signaturesOf(recorded.signatures));
      expect(metadataOf(answer)).toEqual(recorded);
    });

    test.each(of('GetModelStatus'))('GetModelStatus, %s: request and answer are the same bytes', (_, exchange) => {
      const bytes = bytesOf(exchange.req);
      const spec = decodeGetModelStatusRequest(bytes);
      expect(encodeGetModelStatusRequest(spec)).toEqual(bytes);
      if (exchange.resp === undefined) return;
      const versions = spec.name === 'ident' ? [3, 1] : [123];
      const status = { code: 'OK', message: '' } as const;
      expect(encodeGetModelStatusResponse(versions.map((version) => ({ version, state: 'AVAILABLE' as const, status })))).toEqual(
        bytesOf(exchange.resp),
      );
    });

    test.each([...of('Classify'), ...of('Regress')])('%s: the request is read', (_, exchange) => {
      const { spec, examples } = decodeExamplesRequest(bytesOf(exchange.req));
      expect(spec.name).toBe('half_plus_two');
      expect(examples.length).toBeGreaterThan(0);
      if (exchange.note.includes('context')) return;
      expect(encodeExamplesRequest(spec, { examples })).toEqual(bytesOf(exchange.req));
    });

    test('the answers of Classify and Regress are written byte for byte', () => {
      const classified = exchanges.find((one) => one.note === 'classify');
      const spec = { name: 'half_plus_two', version: 123, signatureName: 'classify_x_to_y' };
      const rows = [[{ label: '', score: 2.5 }], [{ label: '', score: 3 }]];
      expect(encodeClassificationResponse(spec, rows)).toEqual(bytesOf(classified?.resp));
      const regressed = exchanges.find((one) => one.note === 'regress context');
      expect(encodeRegressionResponse({ ...spec, signatureName: 'regress_x_to_y' }, [2.5])).toEqual(bytesOf(regressed?.resp));
    });

    test.each(of('MultiInference'))('MultiInference, %s: the request is read and written back', (_, exchange) => {
      const { tasks, examples } = decodeMultiInferenceRequest(bytesOf(exchange.req));
      expect(encodeMultiInferenceRequest(tasks, { examples })).toEqual(bytesOf(exchange.req));
    });
  });
}

interface TensorInfo {
  readonly name?: string;
  readonly dtype: string;
  readonly tensor_shape?: { readonly dim?: readonly { readonly size?: string }[]; readonly unknown_rank?: boolean };
}
interface SignatureDef {
  readonly inputs?: Readonly<Record<string, TensorInfo>>;
  readonly outputs?: Readonly<Record<string, TensorInfo>>;
  readonly method_name?: string;
}

function metadataOf(bytes: Uint8Array): { readonly spec: unknown; readonly signatures: Readonly<Record<string, SignatureDef>> } {
  const answer = asObject(root, 'tensorflow.serving.GetModelMetadataResponse', bytes) as {
    readonly model_spec: unknown;
    readonly metadata: { readonly signature_def: { readonly type_url: string; readonly value: string } };
  };
  const any = answer.metadata.signature_def;
  expect(any.type_url).toBe('type.googleapis.com/tensorflow.serving.SignatureDefMap');
  const map = asObject(root, 'tensorflow.serving.SignatureDefMap', new Uint8Array(Buffer.from(any.value, 'base64')));
  return { spec: answer.model_spec, signatures: (map as { readonly signature_def: Readonly<Record<string, SignatureDef>> }).signature_def };
}

function signaturesOf(definitions: Readonly<Record<string, SignatureDef>>): Signatures {
  const specs = (infos: Readonly<Record<string, TensorInfo>> = {}) =>
    Object.fromEntries(Object.entries(infos).map(([alias, info]) => [alias, specOf(info)]));
  return Object.fromEntries(
    Object.entries(definitions).map(([name, { inputs, outputs, method_name: method }]) => [
      name,
      { method: method ?? '', inputs: specs(inputs), outputs: specs(outputs), batchable: true },
    ]),
  );
}

function specOf(info: TensorInfo): TensorSpec {
  const shape = info.tensor_shape?.unknown_rank ? null : (info.tensor_shape?.dim ?? []).map(({ size }) => Number(size ?? 0));
  const dtype: DType | undefined = dtypeFromProtoName(info.dtype);
  if (dtype === undefined) throw new Error(`unexpected ${info.dtype}`);
  return { dtype, shape, accepts: shape, tensorName: info.name ?? '' };
}
