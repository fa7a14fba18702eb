/** Reads a SavedModel's folder: the MetaGraph that is asked for, and the bundle of its variables. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fromUtf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import { malformed, WireReader } from '#proto/wire.ts';
import type { MetaGraph, StoredSignature } from '../graph.ts';
import { parsePart } from './damaged.ts';
import { readMetaGraph, readTags } from './meta-graph.ts';
import { savedModelFromText } from './saved-model-text.ts';
import { openTensorBundle, type TensorBundle } from './tensor-bundle.ts';
import { isAbsence, unreadable } from './unreadable.ts';

/** What was read of a SavedModel. */
export interface SavedModelSource {
  readonly metaGraph: MetaGraph;
  /** Null for a model without variables. */
  readonly bundle: TensorBundle | null;
  readonly folder: string;
  /** Names the init op; TensorFlow lists it among the signatures as `__saved_model_init_op`. Null where a collection names it, or nothing. */
  readonly initSignature: StoredSignature | null;
  /** The tags of all MetaGraphs of the file, in its order. */
  readonly tagSets: readonly (readonly string[])[];
}

/** How a SavedModel is read. */
export interface ReadSavedModelOptions {
  /** The MetaGraph whose tags are exactly these, in any order. */
  readonly tags: readonly string[];
}

const META_GRAPH = 18;

/**
 * Reads `saved_model.pb`, or else `saved_model.pbtxt`, and opens the bundle of variables. Constants of the graph are views of the file's
 * bytes. Throws ServeError NOT_FOUND without such a file or without such a MetaGraph (naming those there are), DATA_LOSS for damaged
 * files, UNIMPLEMENTED for what is not supported.
 */
export async function readSavedModel(folder: string, { tags }: ReadSavedModelOptions): Promise<SavedModelSource> {
  const { file, bytes } = await readProto(folder);
  const { tagSets, metaGraph, initSignature } = parsePart(file, 0, () => chooseMetaGraph(bytes, tags));
  const prefix = join(folder, 'variables', 'variables');
  const bundle = (await exists(`${prefix}.index`)) ? await openTensorBundle(prefix) : null;
  return { metaGraph, bundle, folder, initSignature, tagSets };
}

function chooseMetaGraph(bytes: Uint8Array, wanted: readonly string[]) {
  const reader = new WireReader(bytes);
  const tagSets: (readonly string[])[] = [];
  let chosen: WireReader | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== META_GRAPH) {
      reader.skip(tag);
      continue;
    }
    const metaGraph = reader.message();
    const tags = readTags(new WireReader(bytes, metaGraph.offset, metaGraph.end));
    tagSets.push(tags);
    if (chosen === undefined && isSameSet(tags, wanted)) chosen = metaGraph;
  }
  if (chosen !== undefined) return { tagSets, ...readMetaGraph(chosen) };
  if (tagSets.length === 0) throw malformed('the file has no MetaGraph');
  const available = tagSets.map((tags) => `{ ${tags.join(', ')} }`).join(', ');
  throw new ServeError(
    'NOT_FOUND',
    `Could not find meta graph def matching supplied tags: { ${wanted.join(' ')} }. To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: \`saved_model_cli\` (Available tag sets: ${available || 'none'}.)`,
  );
}

function isSameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.every((tag) => other.includes(tag)) && other.every((tag) => one.includes(tag));
}

/** The file's protobuf; of a text file what it says in binary. */
async function readProto(folder: string): Promise<{ readonly file: string; readonly bytes: Uint8Array }> {
  const binary = join(folder, 'saved_model.pb');
  const bytes = await readIfThere(binary);
  if (bytes !== undefined) return { file: binary, bytes };
  const text = join(folder, 'saved_model.pbtxt');
  const textBytes = await readIfThere(text);
  if (textBytes !== undefined) return { file: text, bytes: parsePart(text, 0, () => savedModelFromText(fromUtf8(textBytes))) };
  if (await exists(join(folder, 'saved_model.cpb'))) {
    throw new ServeError(
      'UNIMPLEMENTED',
      `${folder} has a chunked SavedModel (saved_model.cpb), which is not supported; save it as saved_model.pb`,
    );
  }
  throw new ServeError(
    'NOT_FOUND',
    `Could not find SavedModel .pb or .pbtxt at supplied export directory path: ${folder}. Check that the directory exists and that you have the right permissions for accessing it.`,
  );
}

async function readIfThere(file: string): Promise<Uint8Array | undefined> {
  try {
    const { buffer, byteOffset, byteLength } = await readFile(file);
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch (caught) {
    if (isAbsence(caught)) return undefined;
    throw unreadable(file, caught);
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (caught) {
    if (isAbsence(caught)) return false;
    throw unreadable(file, caught);
  }
}
