/** Writes small SavedModels: a graph of nodes without variables, and one signature. */
import { WireWriter } from '#proto/wire.ts';

/** `tensorflow.DataType` numbers that the examples use. */
export const DATA_TYPE = { float: 1, int32: 3 } as const;

/** A node of the graph; attributes are dtypes or shapes. */
export interface ExampleNode {
  readonly name: string;
  readonly op: string;
  /** `node:output`. */
  readonly inputs: readonly string[];
  readonly attributes: Readonly<Record<string, { readonly type: number } | { readonly shape: readonly number[] }>>;
}

/** The registration of an op that TensorFlow itself does not have: the model carries it. */
export interface ExampleOp {
  readonly name: string;
  readonly inputs: readonly ExampleArgument[];
  readonly outputs: readonly ExampleArgument[];
}

/** An argument of an op, of one dtype. */
export interface ExampleArgument {
  readonly name: string;
  readonly type: number;
}

/** An input or output of the signature. */
export interface ExampleTensor {
  readonly alias: string;
  /** `node:output`. */
  readonly tensor: string;
  readonly type: number;
  readonly shape: readonly number[];
}

/** All that is in the model. */
export interface ExampleModel {
  readonly nodes: readonly ExampleNode[];
  readonly ops: readonly ExampleOp[];
  readonly inputs: readonly ExampleTensor[];
  readonly outputs: readonly ExampleTensor[];
}

/** The bytes of a `saved_model.pb` with one MetaGraph for serving and the signature `serving_default`. */
export function encodeSavedModel({ nodes, ops, inputs, outputs }: ExampleModel): Uint8Array {
  const saved = new WireWriter(4096);
  const part = (field: number, write: () => void) => void saved.delimited(field, write);
  const writeTensors = (field: number, tensors: readonly ExampleTensor[]) => {
    for (const { alias, tensor, type, shape } of tensors) {
      part(field, () => {
        saved.stringField(1, alias);
        part(2, () => {
          saved.stringField(1, tensor).varintField(2, type);
          part(3, () => writeShape(saved, shape));
        });
      });
    }
  };
  saved.varintField(1, 1);
  part(2, () => {
    part(1, () => {
      part(2, () => {
        for (const op of ops) part(1, () => writeOp(saved, op));
      });
      saved.stringField(4, 'serve');
    });
    part(2, () => {
      for (const node of nodes) part(1, () => writeNode(saved, node));
    });
    part(5, () => {
      saved.stringField(1, 'serving_default');
      part(2, () => {
        writeTensors(1, inputs);
        writeTensors(2, outputs);
        saved.stringField(3, 'tensorflow/serving/predict');
      });
    });
  });
  return saved.finish();
}

function writeOp(writer: WireWriter, { name, inputs, outputs }: ExampleOp): void {
  writer.stringField(1, name);
  for (const [field, args] of [[2, inputs] as const, [3, outputs] as const]) {
    for (const arg of args) writer.delimited(field, () => writer.stringField(1, arg.name).varintField(3, arg.type));
  }
}

function writeNode(writer: WireWriter, { name, op, inputs, attributes }: ExampleNode): void {
  writer.stringField(1, name).stringField(2, op);
  for (const input of inputs) writer.stringField(3, input);
  for (const [key, value] of Object.entries(attributes)) {
    writer.delimited(5, () => {
      writer.stringField(1, key);
      writer.delimited(2, () => {
        if ('type' in value) writer.varintField(6, value.type);
        else writer.delimited(7, () => writeShape(writer, value.shape));
      });
    });
  }
}

/** -1 is a free size. */
function writeShape(writer: WireWriter, shape: readonly number[]): void {
  for (const size of shape) writer.delimited(2, () => writer.varintField(1, size));
}
