/** `tensorflow.TensorShapeProto` as graphs store it. */
import { malformed, type WireReader } from '#proto/wire.ts';
import type { PartialShape } from '../graph.ts';

/** TensorFlow's bound on dimensions. */
const MAX_RANK = 254;
const SHAPE = { dim: 18, unknownRank: 24 } as const;
const DIM = { size: 8, name: 18 } as const;

/** A shape with the names of its dimensions; empty names where they have none. */
export interface NamedShape {
  readonly shape: PartialShape;
  readonly dimNames: readonly string[];
}

/** Reads a TensorShapeProto. No dimensions mean a scalar unless the rank is unknown. Throws INVALID_ARGUMENT. */
export function readPartialShape(reader: WireReader): NamedShape {
  const sizes: number[] = [];
  const dimNames: string[] = [];
  let isUnknown = false;
  while (reader.more()) {
    const at = reader.offset;
    const tag = reader.tag();
    if (tag === SHAPE.dim) {
      const { size, name } = readDim(reader.message());
      if (!Number.isSafeInteger(size) || size < -1) throw malformed(`dimension of size ${size} at byte ${at}`);
      sizes.push(size);
      dimNames.push(name);
      if (sizes.length > MAX_RANK) throw malformed(`shape with more than ${MAX_RANK} dimensions at byte ${at}`);
    } else if (tag === SHAPE.unknownRank) isUnknown = reader.bool();
    else reader.skip(tag);
  }
  return isUnknown ? { shape: null, dimNames: [] } : { shape: sizes, dimNames };
}

function readDim(reader: WireReader): { readonly size: number; readonly name: string } {
  let size = 0;
  let name = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === DIM.size) size = reader.int64();
    else if (tag === DIM.name) name = reader.text();
    else reader.skip(tag);
  }
  return { size, name };
}
