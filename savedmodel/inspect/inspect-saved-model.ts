/** Looks at a SavedModel: what it offers, and how it would run. */
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { StoredSignature } from '../graph.ts';
import { INIT_OP_SIGNATURE } from '../read/meta-graph.ts';
import { readSavedModel, type SavedModelSource } from '../read/saved-model.ts';
import { outlinePlan, type PlannedModel, type PlanOutline } from './plan-outline.ts';
import { readTagSets } from './tag-sets.ts';

/** What to look at. */
export interface InspectOptions {
  /** A version's folder. */
  readonly folder: string;
  /** Of this MetaGraph alone; absent: of all. */
  readonly tags?: readonly string[];
  /** This signature alone; absent: all. */
  readonly signature?: string;
  /** Makes a plan of what was read, without writing anything. Rejects with ServeError for what cannot be served. */
  readonly makePlan: (source: SavedModelSource) => Promise<PlannedModel>;
}

/** One MetaGraph. */
export interface MetaGraphInspection {
  readonly tags: readonly string[];
  readonly tensorflowVersion: string;
  /** With the signatures that were asked for; `initSignature` among them. */
  readonly source: SavedModelSource;
  /** All op types of the graph and its functions, sorted. */
  readonly ops: readonly string[];
  /** How it runs, or why it does not. */
  readonly outcome: { readonly outline: PlanOutline } | { readonly error: ServeError };
}

/**
 * Reads and plans MetaGraph by MetaGraph. What cannot be served is part of the answer. Rejects with NOT_FOUND without such a MetaGraph or signature
 * (naming those there are), DATA_LOSS for damaged files.
 */
export async function inspectSavedModel({ folder, tags, signature, makePlan }: InspectOptions): Promise<readonly MetaGraphInspection[]> {
  const tagSets = tags === undefined ? await readTagSets(folder) : [tags];
  if (tagSets.length === 0) await readSavedModel(folder, { tags: [] }); // Says what is wrong with the folder.
  const inspections: MetaGraphInspection[] = [];
  for (const one of tagSets) {
    const source = await readSavedModel(folder, { tags: one });
    const shown = only(source, signature);
    const { tags: ownTags, tensorflowVersion } = source.metaGraph;
    const outcome = await outlineOrError(source, [...signaturesOf(shown).keys()], makePlan);
    inspections.push({ tags: ownTags, tensorflowVersion, source: shown, ops: opsOf(source), outcome });
  }
  if (signature !== undefined && inspections.every(({ source }) => signaturesOf(source).size === 0)) {
    throw new ServeError('NOT_FOUND', `${folder} has no signature "${signature}" in the MetaGraphs that were looked at`);
  }
  return inspections;
}

/** All signatures that are listed, the one of the init op included. */
export function signaturesOf({ metaGraph, initSignature }: SavedModelSource): ReadonlyMap<string, StoredSignature> {
  return new Map([...metaGraph.signatures, ...(initSignature === null ? [] : [[INIT_OP_SIGNATURE, initSignature] as const])]);
}

async function outlineOrError(
  source: SavedModelSource,
  names: readonly string[],
  makePlan: InspectOptions['makePlan'],
): Promise<MetaGraphInspection['outcome']> {
  try {
    return { outline: outlinePlan(await makePlan(source), names) };
  } catch (caught) {
    return { error: toServeError(caught) };
  }
}

/** The source with one of its signatures; with none where it has no such. */
function only(source: SavedModelSource, signature: string | undefined): SavedModelSource {
  if (signature === undefined) return source;
  const signatures = new Map([...source.metaGraph.signatures].filter(([name]) => name === signature));
  const initSignature = signature === INIT_OP_SIGNATURE ? source.initSignature : null;
  return { ...source, metaGraph: { ...source.metaGraph, signatures }, initSignature };
}

function opsOf({ metaGraph }: SavedModelSource): readonly string[] {
  const ops = new Set(metaGraph.nodes.map(({ op }) => op));
  for (const { nodes } of metaGraph.functions.values()) for (const { op } of nodes) ops.add(op);
  return [...ops].sort();
}
