/** `tensorflow.MetaGraphDef`: a graph with its signatures, assets, initialisation and saver. */
import { ServeError } from '#mesh/errors.ts';
import { malformed, WireReader } from '#proto/wire.ts';
import type { MetaGraph, StoredSignature } from '../graph.ts';
import { readGraphDef, type StoredGraph } from './graph-def.ts';
import { readMapEntry } from './map-entry.ts';
import { type OpDefinition, readOpList } from './op-def.ts';
import { readSignatureDef, readTensorInfo } from './signature-def.ts';

/** The key of the signature, and of its output, that only names the op which initialises a TF2 model. */
export const INIT_OP_SIGNATURE = '__saved_model_init_op';

const META_GRAPH = { info: 10, graph: 18, saver: 26, collection: 34, signature: 42, assetFile: 50 } as const;
const INFO = { strippedOps: 18, tag: 34, tensorflowVersion: 42 } as const;
const SAVER = { filename: 10, restoreOp: 26 } as const;
const COLLECTION = { nodeList: 10, anyList: 42 } as const;
const LIST_VALUE = 10;
const ANY_VALUE = 18;
const ASSET = { tensorInfo: 10, fileName: 18 } as const;
/** Collections that name the op to run once after variables are restored; the first that is there counts. */
const INIT_COLLECTIONS = ['saved_model_main_op', 'legacy_init_op'];
const ASSETS_COLLECTION = 'saved_model_assets';

type Asset = MetaGraph['assets'][number];

/** A MetaGraph, and the signature that names its init op where it has one: TensorFlow lists it among the others. */
export interface StoredMetaGraph {
  readonly metaGraph: MetaGraph;
  readonly initSignature: StoredSignature | null;
}

/** Reads only the tags of a MetaGraphDef, in their order. Throws INVALID_ARGUMENT. */
export function readTags(reader: WireReader): readonly string[] {
  let tags: readonly string[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === META_GRAPH.info) tags = readInfo(reader.message(), { withOps: false }).tags;
    else reader.skip(tag);
  }
  return tags;
}

/** Reads a MetaGraphDef; tensors are views of its bytes. Throws INVALID_ARGUMENT, and FAILED_PRECONDITION for two init ops. */
export function readMetaGraph(reader: WireReader): StoredMetaGraph {
  let info: MetaInfo = { tags: [], tensorflowVersion: '', strippedOps: new Map() };
  let graph: StoredGraph = { nodes: [], functions: new Map() };
  let saver: MetaGraph['saver'] = null;
  const collections = new Map<string, Collection>();
  const signatures = new Map<string, StoredSignature>();
  const assetFiles: Asset[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === META_GRAPH.info) info = readInfo(reader.message(), { withOps: true });
    else if (tag === META_GRAPH.graph) graph = readGraphDef(reader.message());
    else if (tag === META_GRAPH.saver) saver = readSaver(reader.message());
    else if (tag === META_GRAPH.collection) readCollectionEntry(reader.message(), collections);
    else if (tag === META_GRAPH.signature) {
      const { key, value } = readMapEntry(reader.message());
      signatures.set(key, readSignatureDef(value, key));
    } else if (tag === META_GRAPH.assetFile) assetFiles.push(readAsset(reader.message()));
    else reader.skip(tag);
  }
  const initSignature = signatures.get(INIT_OP_SIGNATURE) ?? null;
  signatures.delete(INIT_OP_SIGNATURE);
  const assets = assetFiles.length > 0 ? assetFiles : (collections.get(ASSETS_COLLECTION)?.assets ?? []);
  const metaGraph = { ...info, ...graph, signatures, assets, saver, initOp: initOpOf(initSignature, collections) };
  return { metaGraph, initSignature };
}

type MetaInfo = Pick<MetaGraph, 'tags' | 'tensorflowVersion' | 'strippedOps'>;

function readInfo(reader: WireReader, { withOps }: { readonly withOps: boolean }): MetaInfo {
  const tags: string[] = [];
  let tensorflowVersion = '';
  let strippedOps: ReadonlyMap<string, OpDefinition> = new Map();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === INFO.tag) tags.push(reader.text());
    else if (tag === INFO.tensorflowVersion) tensorflowVersion = reader.text();
    else if (tag === INFO.strippedOps && withOps) strippedOps = readOpList(reader.message());
    else reader.skip(tag);
  }
  return { tags, tensorflowVersion, strippedOps };
}

function readSaver(reader: WireReader): MetaGraph['saver'] {
  let filenameTensorName = '';
  let restoreOpName = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === SAVER.filename) filenameTensorName = reader.text();
    else if (tag === SAVER.restoreOp) restoreOpName = reader.text();
    else reader.skip(tag);
  }
  return restoreOpName === '' ? null : { filenameTensorName, restoreOpName };
}

interface Collection {
  readonly nodes: readonly string[];
  readonly assets: readonly Asset[];
}

/** Only the collections that matter are read: the others may hold anything. */
function readCollectionEntry(entry: WireReader, collections: Map<string, Collection>): void {
  const { key, value } = readMapEntry(entry);
  if (!INIT_COLLECTIONS.includes(key) && key !== ASSETS_COLLECTION) return;
  const nodes: string[] = [];
  const assets: Asset[] = [];
  while (value.more()) {
    const tag = value.tag();
    if (tag === COLLECTION.nodeList) for (const item of listItems(value.message())) nodes.push(item.text());
    else if (tag === COLLECTION.anyList && key === ASSETS_COLLECTION) {
      for (const item of listItems(value.message())) assets.push(readAsset(readAny(item.message())));
    } else value.skip(tag);
  }
  collections.set(key, { nodes, assets });
}

/** Yields the reader at each item of a list; the caller reads the item. */
function* listItems(list: WireReader): Generator<WireReader> {
  while (list.more()) {
    const tag = list.tag();
    if (tag === LIST_VALUE) yield list;
    else list.skip(tag);
  }
}

function readAny(reader: WireReader): WireReader {
  let value: WireReader | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ANY_VALUE) value = reader.message();
    else reader.skip(tag);
  }
  return value ?? new WireReader(new Uint8Array(0));
}

function readAsset(reader: WireReader): Asset {
  let tensorName = '';
  let fileName = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ASSET.tensorInfo) tensorName = readTensorInfo(reader.message()).tensorName;
    else if (tag === ASSET.fileName) fileName = reader.text();
    else reader.skip(tag);
  }
  // The name is joined to the model's folder: it must not lead out of it.
  if (fileName.startsWith('/') || fileName.split(/[/\\]/).includes('..'))
    throw malformed(`asset ${JSON.stringify(fileName)} is outside of assets/`);
  return { tensorName, fileName };
}

function initOpOf(initSignature: StoredSignature | null, collections: ReadonlyMap<string, Collection>): string | null {
  const named = initSignature?.outputs.get(INIT_OP_SIGNATURE)?.tensorName;
  if (named !== undefined) return named;
  for (const name of INIT_COLLECTIONS) {
    const nodes = collections.get(name)?.nodes;
    if (nodes === undefined) continue;
    const [only] = nodes;
    if (nodes.length !== 1 || only === undefined) {
      throw new ServeError('FAILED_PRECONDITION', `Expected exactly one main op in : collection ${name} has ${nodes.length}`);
    }
    return only;
  }
  return null;
}
