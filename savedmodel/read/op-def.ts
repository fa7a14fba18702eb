/** `tensorflow.OpDef`: the signatures of functions, and of the ops that a model carries itself. */
import type { WireReader } from '#proto/wire.ts';
import type { ArgDef, AttrValue, MetaGraph } from '../graph.ts';
import { readAttrValue } from './attr-value.ts';

/** An op's arguments and the defaults of its attributes. */
export type OpDefinition = MetaGraph['strippedOps'] extends ReadonlyMap<string, infer Op> ? Op : never;

const OP = { name: 10, input: 18, output: 26, attr: 34 } as const;
const ARG = { name: 10, type: 24, typeAttr: 34, numberAttr: 42, typeListAttr: 50 } as const;
const ATTR = { name: 10, defaultValue: 26 } as const;
const OP_LIST_OP = 10;

/** Reads an OpDef. Throws INVALID_ARGUMENT. */
export function readOpDef(reader: WireReader): OpDefinition & { readonly name: string } {
  let name = '';
  const inputs: ArgDef[] = [];
  const outputs: ArgDef[] = [];
  const defaults = new Map<string, AttrValue>();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === OP.name) name = reader.text();
    else if (tag === OP.input) inputs.push(readArgDef(reader.message()));
    else if (tag === OP.output) outputs.push(readArgDef(reader.message()));
    else if (tag === OP.attr) readDefault(reader.message(), defaults, name);
    else reader.skip(tag);
  }
  return { name, inputs, outputs, defaults };
}

/** Reads an OpList. Throws INVALID_ARGUMENT. */
export function readOpList(reader: WireReader): ReadonlyMap<string, OpDefinition> {
  const ops = new Map<string, OpDefinition>();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== OP_LIST_OP) {
      reader.skip(tag);
      continue;
    }
    const { name, ...definition } = readOpDef(reader.message());
    ops.set(name, definition);
  }
  return ops;
}

function readArgDef(reader: WireReader): ArgDef {
  const arg: { name: string; dtype?: number; typeAttr?: string; numberAttr?: string; typeListAttr?: string } = { name: '' };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ARG.name) arg.name = reader.text();
    else if (tag === ARG.type) arg.dtype = reader.int32();
    else if (tag === ARG.typeAttr) arg.typeAttr = reader.text();
    else if (tag === ARG.numberAttr) arg.numberAttr = reader.text();
    else if (tag === ARG.typeListAttr) arg.typeListAttr = reader.text();
    else reader.skip(tag);
  }
  return arg;
}

function readDefault(reader: WireReader, defaults: Map<string, AttrValue>, op: string): void {
  let name = '';
  let value: AttrValue | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ATTR.name) name = reader.text();
    else if (tag === ATTR.defaultValue) value = readAttrValue(reader.message(), `op ${op}`);
    else reader.skip(tag);
  }
  if (value !== undefined) defaults.set(name, value);
}
