import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Signatures, TensorSpec } from '#mesh/signature.ts';
import { dtypeFromProtoName } from '#mesh/tensor.ts';
import { metadataDocument } from '../../../services/gateway/rest/documents.ts';
import { type RestHarness, startHarness } from './rest-harness.ts';

interface Recorded {
  readonly method: string;
  readonly path: string;
  readonly body: string | null;
  readonly req_headers: Readonly<Record<string, string>>;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

const file = new URL('../../../../shared/conformance/tfs-rest.jsonl', import.meta.url);
const recorded: readonly Recorded[] = existsSync(file)
  ? readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Recorded)
  : [];

/** Answers that a model's graph, the examples API, the routing table or the list of models decides, not the edge. */
function isDecidedElsewhere({ path, text }: Recorded): boolean {
  return path.endsWith('/metadata') || /ParseExample|inputs found in SignatureDef/.test(text);
}

if (recorded.length === 0) {
  test.skip('answers as TensorFlow Serving did: ../shared/conformance/tfs-rest.jsonl is absent', () => {});
} else {
  describe('answers as TensorFlow Serving did', () => {
    let harness: RestHarness;
    beforeAll(async () => {
      harness = await startHarness({ metricsPath: '/monitoring/prometheus/metrics' });
    });
    afterAll(async () => {
      await harness[Symbol.asyncDispose]();
    });

    const mine = recorded.filter((one) => !isDecidedElsewhere(one));
    test.each(mine.map((one) => [`${one.method} ${one.path} ${(one.body ?? '').slice(0, 80)}`, one] as const))(
      '%s',
      async (_title, one) => {
        const answer = await harness.ask(one.method, one.path, one.body, one.req_headers);
        expect(answer.status).toBe(one.status);
        // Objects by output name have no order of their own in TensorFlow Serving; the text is compared where there is one order.
        if (!/^\{\n {4}"(predictions|outputs)": (\[\n {8})?\{/.test(one.text)) expect(answer.text).toBe(one.text);
        else expect(JSON.parse(answer.text)).toEqual(JSON.parse(one.text));
        expect(answer.headers['content-type']).toBe(one.headers['content-type']);
      },
    );

    test('metadata is laid out as recorded, to the byte', () => {
      const text = recorded.find(({ path }) => path === '/v1/models/half_plus_two/metadata')?.text ?? '';
      const signatures = signaturesOf(JSON.parse(text).metadata.signature_def.signature_def);
      expect(metadataDocument({ id: { name: 'half_plus_two', version: 123 }, signatures, batching: null, stateful: false })).toBe(text);
    });
  });
}

interface RecordedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly tensor_shape: { readonly dim: readonly { readonly size: string }[]; readonly unknown_rank: boolean };
}
interface RecordedSignature {
  readonly inputs: Readonly<Record<string, RecordedTensor>>;
  readonly outputs: Readonly<Record<string, RecordedTensor>>;
  readonly method_name: string;
}

/** Signatures as they were before TensorFlow Serving wrote them down. */
function signaturesOf(map: Readonly<Record<string, RecordedSignature>>): Signatures {
  const specs = (tensors: Readonly<Record<string, RecordedTensor>>): Record<string, TensorSpec> =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, { name: tensorName, dtype, tensor_shape: shape }]) => {
        const dims = shape.unknown_rank ? null : shape.dim.map(({ size }) => Number(size));
        return [name, { dtype: dtypeFromProtoName(dtype) ?? 'float', shape: dims, accepts: null, tensorName }];
      }),
    );
  return Object.fromEntries(
    Object.entries(map).map(([key, one]) => [
      key,
      { method: one.method_name, inputs: specs(one.inputs), outputs: specs(one.outputs), batchable: true },
    ]),
  );
}
