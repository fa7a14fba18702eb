/** The tag sets of a SavedModel's MetaGraphs. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromUtf8 } from '#mesh/bytes.ts';
import { WireReader } from '#proto/wire.ts';
import { parsePart } from '../read/damaged.ts';
import { readTags } from '../read/meta-graph.ts';
import { savedModelFromText } from '../read/saved-model-text.ts';
import { isAbsence, unreadable } from '../read/unreadable.ts';

const META_GRAPH = 18;

/**
 * One list of tags for each MetaGraph, in the file's order. None where there is no `saved_model.pb` or `.pbtxt`: whoever reads the model says
 * why. Throws DATA_LOSS for a damaged file.
 */
export async function readTagSets(folder: string): Promise<readonly (readonly string[])[]> {
  const binary = join(folder, 'saved_model.pb');
  const bytes = await readIfThere(binary);
  if (bytes !== null) return parsePart(binary, 0, () => tagSetsOf(bytes));
  const text = join(folder, 'saved_model.pbtxt');
  const textBytes = await readIfThere(text);
  return textBytes === null ? [] : parsePart(text, 0, () => tagSetsOf(savedModelFromText(fromUtf8(textBytes))));
}

function tagSetsOf(bytes: Uint8Array): readonly (readonly string[])[] {
  const reader = new WireReader(bytes);
  const tagSets: (readonly string[])[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === META_GRAPH) tagSets.push(readTags(reader.message()));
    else reader.skip(tag);
  }
  return tagSets;
}

async function readIfThere(file: string): Promise<Uint8Array | null> {
  try {
    return new Uint8Array(await readFile(file));
  } catch (caught) {
    if (isAbsence(caught)) return null;
    throw unreadable(file, caught);
  }
}
