/** Reads the SavedModels beside the repository that have TensorFlow's own answers. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { WireReader } from '#proto/wire.ts';
import type { AttrValue, StoredNode } from '../../../savedmodel/graph.ts';
import { readSavedModel, type SavedModelSource } from '../../../savedmodel/read/saved-model.ts';
import { SAVED_MODEL_TEXT } from '../../../savedmodel/read/saved-model-text.ts';
import { wireToText } from './wire-to-text.ts';

const models = join(import.meta.dirname, '../../../../shared/models');
const hasModels = existsSync(models);
const scratch = mkdtempSync(join(tmpdir(), 'shared-models-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Golden {
  readonly tags?: readonly string[];
  readonly signatures: readonly { readonly signature: string }[];
}

/** `[name/version, folder, golden answers]` of each. */
const cases = (hasModels ? readdirSync(models) : [])
  .filter((model) => existsSync(join(models, model, 'golden.json')))
  .flatMap((model) => {
    const golden = JSON.parse(readFileSync(join(models, model, 'golden.json'), 'utf8')) as Golden;
    const versions = readdirSync(join(models, model)).filter((version) => /^\d+$/.test(version));
    return versions.map((version) => [`${model}/${version}`, join(models, model, version), golden] as const);
  });

const functionNames = (value: AttrValue): readonly string[] =>
  value.type === 'function' ? [value.name] : value.type === 'list' ? value.values.flatMap(functionNames) : [];
const producer = (input: string) => input.replace(/^\^/, '').split(':')[0] ?? '';

/** Names that something refers to and that are not there. */
function dangling({ metaGraph: { nodes, functions, signatures, initOp, assets, saver } }: SavedModelSource): string[] {
  const missing: string[] = [];
  const check = (body: readonly StoredNode[], names: ReadonlySet<string>, where: string) => {
    for (const { name, inputs, attrs } of body) {
      missing.push(...inputs.filter((input) => !names.has(producer(input))).map((input) => `${where}/${name}: ${input}`));
      const called = [...attrs.values()].flatMap(functionNames).filter((one) => !functions.has(one));
      missing.push(...called.map((one) => `${where}/${name}: function ${one}`));
    }
  };
  const main = new Set(nodes.map(({ name }) => name));
  check(nodes, main, '');
  for (const { name, inputs, outputs, nodes: body, returns, controlReturns } of functions.values()) {
    const names = new Set([...inputs.map((arg) => arg.name), ...body.map((node) => node.name)]);
    check(body, names, name);
    missing.push(...outputs.filter((arg) => !returns.has(arg.name)).map((arg) => `${name} does not return ${arg.name}`));
    missing.push(...[...returns.values(), ...controlReturns].filter((value) => !names.has(producer(value))));
  }
  const infos = [...signatures.values()].flatMap(({ inputs, outputs }) => [...inputs.values(), ...outputs.values()]);
  const tensors = [...infos, ...assets].map(({ tensorName }) => tensorName);
  const ops = [...(initOp === null ? [] : [initOp]), ...(saver === null ? [] : [saver.filenameTensorName, saver.restoreOpName])];
  missing.push(...[...tensors, ...ops].filter((name) => !main.has(producer(name))));
  return missing;
}

(hasModels ? describe : describe.skip)('the SavedModels of ../shared/models (skipped where they are absent)', () => {
  test.each(cases)('%s has its signatures, and nothing in it refers to what is not there', async (_, folder, golden) => {
    const source = await readSavedModel(folder, { tags: golden.tags ?? ['serve'] });
    const { signatures, nodes } = source.metaGraph;
    expect(nodes.length).toBeGreaterThan(2);
    expect([...signatures.keys()].sort()).toEqual([...new Set(golden.signatures.map(({ signature }) => signature))].sort());
    expect(dangling(source)).toEqual([]);
    for (const { inputs, outputs } of signatures.values())
      for (const { dtype } of [...inputs.values(), ...outputs.values()]) expect(dtype).toBeGreaterThan(0);
  });

  test.each(cases)('%s has all its variables, with matching checksums', async (_, folder, golden) => {
    const { bundle } = await readSavedModel(folder, { tags: golden.tags ?? ['serve'] });
    expect(bundle !== null).toBe(existsSync(join(folder, 'variables', 'variables.index')));
    let bytes = 0;
    for (const key of bundle?.keys() ?? []) {
      await bundle?.verify(key);
      const tensor = await bundle?.read(key);
      const place = bundle?.location(key) ?? null;
      if (place !== null)
        expect(
          readFileSync(place.file)
            .subarray(place.offset, place.offset + place.byteLength)
            .equals(tensor?.bytes ?? new Uint8Array(0)),
        ).toBe(true);
      bytes += bundle?.entry(key).byteLength ?? 0;
    }
    const shards = bundle === null ? [] : readdirSync(join(folder, 'variables')).filter((file) => file.includes('.data-'));
    // A bundle has no bytes that belong to no tensor.
    expect(bytes).toBe(shards.reduce((sum, file) => sum + statSync(join(folder, 'variables', file)).size, 0));
  });

  test.each(cases.filter(([, folder]) => statSync(join(folder, 'saved_model.pb')).size < 150_000))(
    '%s reads the same from text form',
    async (_, folder, golden) => {
      const options = { tags: golden.tags ?? ['serve'] };
      const text = wireToText(new WireReader(new Uint8Array(readFileSync(join(folder, 'saved_model.pb')))), SAVED_MODEL_TEXT);
      writeFileSync(join(scratch, 'saved_model.pbtxt'), text);
      const [fromText, fromBinary] = [await readSavedModel(scratch, options), await readSavedModel(folder, options)];
      expect(fromText.metaGraph).toEqual(fromBinary.metaGraph);
      expect(fromText.initSignature).toEqual(fromBinary.initSignature);
    },
  );

  test('multi_tag has both its MetaGraphs', async () => {
    const folder = join(models, 'multi_tag', '1');
    const [serve, gpu] = [await readSavedModel(folder, { tags: ['serve'] }), await readSavedModel(folder, { tags: ['gpu', 'serve'] })];
    expect([serve.metaGraph.tags, gpu.metaGraph.tags]).toEqual([['serve'], ['serve', 'gpu']]);
    await expect(readSavedModel(folder, { tags: ['gpu'] })).rejects.toThrow('Available tag sets: { serve, gpu }, { serve }.');
  });

  test('half_plus_two has its variables in an index that TensorFlow compressed with snappy', () => {
    const snappy = cases.filter(([, folder]) => {
      const index = join(folder, 'variables', 'variables.index');
      return existsSync(index) && hasSnappyBlock(new Uint8Array(readFileSync(index)));
    });
    expect(snappy.map(([name]) => name)).toContain('half_plus_two/00000123');
  });
});

/** Whether the first data block of a table says that it is compressed. */
function hasSnappyBlock(bytes: Uint8Array): boolean {
  const footer = new WireReader(bytes, bytes.byteLength - 48);
  const [, , indexOffset, indexSize] = [footer.uint64(), footer.uint64(), footer.uint64(), footer.uint64()];
  const entry = new WireReader(bytes, indexOffset, indexOffset + indexSize);
  const [, keyBytes] = [entry.uint32(), entry.uint32(), entry.uint32()];
  entry.fixed(keyBytes);
  const [offset, size] = [entry.uint64(), entry.uint64()];
  return bytes[offset + size] === 1;
}
