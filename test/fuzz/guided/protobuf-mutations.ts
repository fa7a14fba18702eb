/** Changes of a protobuf message field by field, at any depth, with the lengths around them kept right. */
import { WIRE, WireReader, WireWriter } from '#proto/wire.ts';
import type { MutationSource } from './mutations.ts';

interface Field {
  readonly number: number;
  readonly wire: number;
  /** The value without its key; of a length-delimited field without its length. */
  readonly value: Uint8Array;
}

type MutateBytes = (bytes: Uint8Array, source: MutationSource) => Uint8Array;

const MAX_DEPTH = 12;

/** One change of one message at some depth; undefined when the bytes are no message. */
export function mutateMessage(bytes: Uint8Array, source: MutationSource, mutateBytes: MutateBytes, depth = 0): Uint8Array | undefined {
  const fields = fieldsOf(bytes);
  if (fields === undefined) return undefined;
  const { random, others } = source;
  const at = random.below(Math.max(1, fields.length));
  const chosen = fields[at];
  if (chosen === undefined) return written([randomField(source)]);
  if (chosen.wire === WIRE.bytes && depth < MAX_DEPTH && random.chance(0.6)) {
    const inside = mutateMessage(chosen.value, source, mutateBytes, depth + 1);
    if (inside !== undefined) return written(fields.with(at, { ...chosen, value: inside }));
  }
  switch (random.below(9)) {
    case 0:
      return written(fields.toSpliced(at, 1));
    case 1:
      return written(fields.toSpliced(random.below(fields.length + 1), 0, chosen));
    case 2:
      return written(fields.toSpliced(at, 1).toSpliced(random.below(fields.length), 0, chosen));
    case 3:
      return written(fields.toSpliced(at, 0, randomField(source)));
    case 4: {
      const foreign = fieldsOf(random.pick(others.length > 0 ? others : [bytes])) ?? fields;
      return written(fields.toSpliced(at, 0, ...(foreign.length > 0 ? [random.pick(foreign)] : [])));
    }
    case 5:
      return written(fields.with(at, { ...chosen, number: 1 + random.below(20) }));
    case 6:
      return written(fields.with(at, { ...chosen, value: written(fields), wire: WIRE.bytes }));
    default:
      return written(fields.with(at, changed(chosen, source, mutateBytes)));
  }
}

function changed(field: Field, source: MutationSource, mutateBytes: MutateBytes): Field {
  if (field.wire === WIRE.varint) return { ...field, value: randomVarint(source) };
  if (field.wire === WIRE.bytes) return { ...field, value: mutateBytes(field.value, source) };
  return { ...field, value: source.random.bytes(field.value.byteLength) };
}

function randomField(source: MutationSource): Field {
  const { random, target } = source;
  const number = 1 + random.below(20);
  const wire = random.pick([WIRE.varint, WIRE.bytes, WIRE.bytes, WIRE.fixed32, WIRE.fixed64]);
  if (wire === WIRE.varint) return { number, wire, value: randomVarint(source) };
  if (wire !== WIRE.bytes) return { number, wire, value: random.bytes(wire === WIRE.fixed32 ? 4 : 8) };
  const word =
    target.words !== undefined && target.words.length > 0 && random.chance(0.5) ? random.pick(target.words) : random.bytes(random.below(6));
  return { number, wire, value: typeof word === 'string' ? Buffer.from(word) : word };
}

function randomVarint({ random }: MutationSource): Uint8Array {
  const bits = random.chance(0.5)
    ? BigInt(random.below(24))
    : BigInt.asUintN(64, (1n << BigInt(random.below(65))) - BigInt(random.below(3)));
  const bytes: number[] = [];
  let rest = bits;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

function fieldsOf(bytes: Uint8Array): Field[] | undefined {
  const fields: Field[] = [];
  const reader = new WireReader(bytes);
  try {
    while (reader.more()) {
      const tag = reader.tag();
      const [number, wire] = [tag >>> 3, tag & 7];
      const start = reader.offset;
      if (wire === WIRE.bytes) {
        fields.push({ number, wire, value: reader.view() });
        continue;
      }
      reader.skip(tag);
      fields.push({ number, wire, value: bytes.subarray(start, reader.offset) });
    }
  } catch {
    return undefined;
  }
  return fields;
}

function written(fields: readonly Field[]): Uint8Array {
  const writer = new WireWriter();
  for (const { number, wire, value } of fields) {
    if (wire === WIRE.bytes) writer.bytesField(number, value);
    else writer.tag(number, wire).raw(value);
  }
  return writer.finish();
}
