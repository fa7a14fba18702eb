import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { Signatures } from '#mesh/signature.ts';
import { encodeGetModelMetadataResponse, encodeSignatureDefMap } from '#proto/get-model-metadata.ts';
import { WireReader, WireWriter } from '#proto/wire.ts';
import { signatureOf } from '../../../savedmodel/plan/signature-of.ts';
import { INIT_OP_SIGNATURE } from '../../../savedmodel/read/meta-graph.ts';
import { readSavedModel } from '../../../savedmodel/read/saved-model.ts';
import { metadataDocument } from '../../../services/gateway/rest/documents.ts';
import { hasTranscripts, parsePrinted, readTranscript, sharedPath } from '../../conformance/transcripts.ts';
import { asObject, loadRoot } from '../../proto/protobuf-root.ts';

const PATTERNS = join(import.meta.dirname, '../goldens/patterns');
const root = loadRoot();

/** All signatures that a folder's metadata lists. */
async function signaturesOf(folder: string): Promise<Signatures> {
  const { metaGraph, initSignature } = await readSavedModel(folder, { tags: ['serve'] });
  const stored = [...metaGraph.signatures, ...(initSignature === null ? [] : [[INIT_OP_SIGNATURE, initSignature] as const])];
  return Object.fromEntries(stored.map(([name, signature]) => [name, signatureOf(signature)]));
}

/** The SignatureDefs of a file's MetaGraph that serves, as protobufjs reads them. */
function storedSignatureDefs(file: string): unknown {
  const map = new WireWriter();
  for (const metaGraph of fields(new Uint8Array(readFileSync(file)), 2)) {
    const [info = new Uint8Array()] = fields(metaGraph, 1);
    const tags = fields(info, 4).map((tag) => new TextDecoder().decode(tag));
    if (tags.join() !== 'serve') continue;
    for (const entry of fields(metaGraph, 5)) map.bytesField(1, entry);
  }
  return signatureDefs(map.finish());
}

/** The bytes of all fields of that number in a message. */
function fields(message: Uint8Array, number: number): readonly Uint8Array[] {
  const reader = new WireReader(message);
  const found: Uint8Array[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === number * 8 + 2) found.push(reader.view());
    else reader.skip(tag);
  }
  return found;
}

function signatureDefs(bytes: Uint8Array): Readonly<Record<string, object>> {
  return (asObject(root, 'tensorflow.serving.SignatureDefMap', bytes) as { signature_def: Record<string, object> }).signature_def;
}

/** No shape means the same as one without dimensions: we always write one. */
function withShapes(definitions: unknown): unknown {
  return JSON.parse(JSON.stringify(definitions), (_key, value) =>
    typeof value === 'object' && 'dtype' in value ? { tensor_shape: {}, ...value } : value,
  );
}

function folders(base: string): readonly (readonly [string, string])[] {
  return readdirSync(base, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => versions(join(base, name)).map((version) => [`${name}/${version}`, join(base, name, version)] as const))
    .filter(([, folder]) => readdirSync(folder).includes('saved_model.pb'));
}

function versions(folder: string): readonly string[] {
  return readdirSync(folder).filter((name) => /^\d+$/.test(name));
}

const models = [...folders(PATTERNS), ...(hasTranscripts ? folders(sharedPath('models')) : [])];

describe('GetModelMetadata gives the SignatureDefs that the model stores', () => {
  test.each(models)('%s', async (_name, folder) => {
    const writer = new WireWriter();
    encodeSignatureDefMap(writer, await signaturesOf(folder));
    expect(withShapes(signatureDefs(writer.finish()))).toEqual(withShapes(storedSignatureDefs(join(folder, 'saved_model.pb'))));
  });

  test('REST shows what inputs are that a request may leave out', async () => {
    const signatures = await signaturesOf(join(PATTERNS, 'tf2_default_inputs', '1'));
    const text = metadataDocument({ id: { name: 'm', version: 1 }, signatures, batching: null, stateful: false });
    expect(JSON.parse(text).metadata.signature_def.signature_def.serving_default.defaults).toMatchObject({
      label: { dtype: 'DT_STRING', tensor_shape: { dim: [], unknown_rank: false }, string_val: [Buffer.from('none').toString('base64')] },
      scale: { dtype: 'DT_FLOAT', tensor_shape: { dim: [], unknown_rank: false }, float_val: [2.5], tensor_content: '' },
    });
  });

  test('REST shows the three tensors of a sparse input', async () => {
    const signatures = await signaturesOf(join(PATTERNS, 'tf1_coo_sparse', '1'));
    const text = metadataDocument({ id: { name: 'm', version: 1 }, signatures, batching: null, stateful: false });
    expect(JSON.parse(text).metadata.signature_def.signature_def.serving_default.inputs.x).toEqual({
      coo_sparse: { values_tensor_name: 'x/values:0', indices_tensor_name: 'x/indices:0', dense_shape_tensor_name: 'x/shape:0' },
      dtype: 'DT_FLOAT',
      tensor_shape: {
        dim: [
          { size: '-1', name: '' },
          { size: '5', name: '' },
        ],
        unknown_rank: false,
      },
    });
  });

  test('among them a sparse input, defaults and an op without outputs', async () => {
    const listed = async (model: string) => JSON.stringify(await signaturesOf(join(PATTERNS, model, '1')));
    expect(await listed('tf1_coo_sparse')).toContain('"sparse"');
    expect(await listed('tf2_default_inputs')).toContain('"default"');
    expect(await listed('tf2_while')).toContain('DT_INVALID');
  });
});

(hasTranscripts ? describe : describe.skip)('metadata of SavedModels as TensorFlow Serving gave it (skipped without ../shared)', () => {
  const rest = ['tfs-rest.jsonl', 'tfs-rest-models.jsonl']
    .flatMap((file) =>
      readTranscript<{ readonly method: string; readonly path: string; readonly status: number; readonly text: string }>(file),
    )
    .filter(({ method, path, status }) => method === 'GET' && status === 200 && path.endsWith('/metadata'));

  /** The folder of a model's version, whose name may have leading zeros. */
  function folderOf(model: string, version: string): string {
    const base = sharedPath('models', model === 'mlp' ? 'mlp64' : model);
    const found = versions(base).find((name) => Number(name) === Number(version));
    if (found === undefined) throw new Error(`${base} has no version ${version}`);
    return join(base, found);
  }

  test('there are recordings', () => expect(rest.length).toBeGreaterThan(10));

  test.each(rest.map((one) => [one.path, one] as const))('GET %s', async (_path, { text }) => {
    const { name, version } = JSON.parse(text).model_spec as { readonly name: string; readonly version: string };
    const signatures = await signaturesOf(folderOf(name, version));
    const answer = metadataDocument({ id: { name, version: Number(version) }, signatures, batching: null, stateful: false });
    expect(parsePrinted(answer)).toEqual(parsePrinted(text));
    expect(answer.length).toBe(text.length);
  });

  const grpc = readTranscript<{ readonly note: string; readonly method: string; readonly resp?: string }>('tfs-grpc.jsonl')
    .filter(({ method }) => method.endsWith('/GetModelMetadata'))
    .flatMap(({ note, resp }) => (resp === undefined ? [] : [[note, Buffer.from(resp, 'base64')] as const]));

  test.each(grpc)('GetModelMetadata %s', async (_note, recorded) => {
    const name = 'half_plus_two';
    const answer = encodeGetModelMetadataResponse({ name, version: 123 }, await signaturesOf(folderOf(name, '123')));
    const parse = (bytes: Uint8Array) => {
      const { model_spec, metadata } = asObject(root, 'tensorflow.serving.GetModelMetadataResponse', bytes) as {
        readonly model_spec: unknown;
        readonly metadata: { readonly signature_def: { readonly type_url: string; readonly value: string } };
      };
      const { type_url, value } = metadata.signature_def;
      return { model_spec, type_url, signatures: signatureDefs(new Uint8Array(Buffer.from(value, 'base64'))) };
    };
    expect(parse(answer)).toEqual(parse(new Uint8Array(recorded)));
    expect(answer.byteLength).toBe(recorded.byteLength);
  });
});
