/** Entries of protobuf maps. */
import { WireReader } from '#proto/wire.ts';

const ENTRY = { key: 10, value: 18 } as const;
const EMPTY = new Uint8Array(0);

/** Reads the entry of a map from text to messages; a missing value is a message with nothing set. */
export function readMapEntry(entry: WireReader): { readonly key: string; readonly value: WireReader } {
  let key = '';
  let value: WireReader | undefined;
  while (entry.more()) {
    const tag = entry.tag();
    if (tag === ENTRY.key) key = entry.text();
    else if (tag === ENTRY.value) value = entry.message();
    else entry.skip(tag);
  }
  return { key, value: value ?? new WireReader(EMPTY) };
}

/** Reads the entry of a map from text to text. */
export function readTextEntry(entry: WireReader): readonly [string, string] {
  let key = '';
  let value = '';
  while (entry.more()) {
    const tag = entry.tag();
    if (tag === ENTRY.key) key = entry.text();
    else if (tag === ENTRY.value) value = entry.text();
    else entry.skip(tag);
  }
  return [key, value];
}
