/** From an ONNX model with custom ops to a plan: models of onnxruntime's own operators, and host steps between them. */
import { ServeError } from '#mesh/errors.ts';
import { type DType, dtypeFromNumber } from '#mesh/tensor.ts';
import type { NodeParts, OnnxParts } from '#proto/onnx-parts.ts';
import { onnxTensorType, readOnnxTensor } from '#proto/onnx-tensor.ts';
import { dtypeFromOnnx, ONNX, ONNX_TYPE } from '#proto/onnx-types.ts';
import { WireWriter } from '#proto/wire.ts';
import type { KernelOp, LibraryOp } from '../../../../savedmodel/ops/op-library.ts';
import { type DataFile, tensorSource } from '../../../../savedmodel/plan/data-file.ts';
import type { HostStep, OnnxStep, Operand, Program, SegmentPlan, Step } from '../../../../savedmodel/plan/plan.ts';
import { nodeName } from './custom-nodes.ts';
import { type CutStep, cutGraph } from './cut-graph.ts';
import { nodeAttributes } from './node-attributes.ts';

/** What cutting needs. */
export interface CutDeps {
  /** For messages: the model's file. */
  readonly file: string;
  /** The kernel of a node; undefined for a node that onnxruntime runs. */
  readonly kernelOf: (node: NodeParts) => LibraryOp<KernelOp> | undefined;
  /** Functions of custom ops, as fields of a ModelProto. */
  readonly functions: Uint8Array;
  readonly constants: DataFile;
  /** Writes a segment's model; gives its place among the segments of the plan. */
  readonly addSegment: (model: Uint8Array, plan: Omit<SegmentPlan, 'file'>) => Promise<number>;
  /** The element types of a model's outputs, by name, as onnxruntime finds them. */
  readonly outputTypes: (model: Uint8Array) => Promise<ReadonlyMap<string, number>>;
}

/** Cuts a model. Rejects with ServeError that names file, op and node. */
export async function cutModel(parts: OnnxParts, deps: CutDeps): Promise<Program> {
  return new Cutting(parts, deps).run();
}

class Cutting {
  readonly #parts: OnnxParts;
  readonly #deps: CutDeps;
  /** Element types of the values that steps hand on. */
  readonly #types = new Map<string, number>();
  readonly #slots = new Map<string, number>();

  constructor(parts: OnnxParts, deps: CutDeps) {
    this.#parts = parts;
    this.#deps = deps;
  }

  async run(): Promise<Program> {
    const { graph } = this.#parts;
    for (const { name, elementType } of [...graph.values.values(), ...graph.inputs, ...graph.outputs]) {
      if (elementType !== 0) this.#types.set(name, elementType);
    }
    const inputs = graph.inputs.map(({ name }) => ({ alias: name, dtype: this.#dtype(name, 'input'), slot: this.#slot(name) }));
    const steps: Step[] = [];
    for (const step of cutGraph(graph, (node) => this.#deps.kernelOf(node) !== undefined)) {
      steps.push(step.type === 'host' ? this.#hostStep(step.node) : await this.#segment(step));
    }
    const outputs = graph.outputs.map(({ name }) => ({ alias: name, dtype: this.#dtype(name, 'output'), value: this.#operand(name) }));
    return { slotCount: this.#slots.size, inputs, outputs, steps };
  }

  #hostStep(node: NodeParts): HostStep {
    const op = this.#deps.kernelOf(node);
    if (op === undefined) throw new TypeError('a node without a kernel was placed on the host (this is a bug)');
    const { definition, domain } = op;
    const fail = (why: string) => this.#wrong(node, why);
    let names = node.inputs;
    while (names.at(-1) === '') names = names.slice(0, -1);
    if (names.includes('')) throw fail('leaves out an input before others, which kernels cannot be told');
    if (node.outputs.length > definition.outputs.length) {
      throw fail(`has ${node.outputs.length} outputs, the op has ${definition.outputs.length}`);
    }
    const dtypes = new Set(
      definition.outputs.flatMap(({ dtype }) => (typeof dtype === 'object' && 'attribute' in dtype ? [dtype.attribute] : [])),
    );
    let attrs: HostStep['attrs'];
    try {
      attrs = nodeAttributes(node.attributes, dtypes);
    } catch (caught) {
      throw caught instanceof ServeError ? fail(`cannot be run: ${caught.message}`) : caught;
    }
    const inputs = names.map((name) => this.#operand(name));
    const outputs = definition.outputs.map(({ dtype }, index): number | null => {
      const name = node.outputs[index] ?? '';
      if (name === '') return null;
      const type =
        typeof dtype === 'string'
          ? ONNX_TYPE[dtype]
          : 'like' in dtype
            ? this.#typeOf(names[dtype.like] ?? '')
            : elementTypeIn(attrs, dtype.attribute);
      const declared = this.#types.get(name);
      if (declared !== undefined && type !== 0 && declared !== type) {
        throw fail(`gives ${name} as ${named(type)}, the model says that it is ${named(declared)}`);
      }
      if (type !== 0) this.#types.set(name, type);
      return this.#slot(name);
    });
    return { type: 'host', op: `${domain}.${definition.name}`, node: nodeName(node), attrs, inputs, outputs, effect: false };
  }

  async #segment(step: Extract<CutStep, { readonly type: 'onnx' }>): Promise<OnnxStep> {
    const model = this.#segmentModel(step);
    if (step.outputs.some((name) => !this.#types.has(name))) {
      for (const [name, type] of await this.#deps.outputTypes(model)) if (!this.#types.has(name)) this.#types.set(name, type);
    }
    const value = (name: string, what: string) => ({ name, dtype: this.#dtype(name, what), shape: null });
    const segment = await this.#deps.addSegment(model, {
      inputs: step.inputs.map((name) => value(name, 'value')),
      outputs: step.outputs.map((name) => value(name, 'value')),
      nodeCount: step.nodes.length,
    });
    return {
      type: 'onnx',
      segment,
      inputs: step.inputs.map((name) => ({ name, value: this.#operand(name) })),
      outputs: step.outputs.map((name) => ({ name, slot: this.#slot(name) })),
    };
  }

  /** A ModelProto of some nodes, with the constants that they use. */
  #segmentModel({ nodes, inputs, outputs }: Extract<CutStep, { readonly type: 'onnx' }>): Uint8Array {
    const { graph, otherFields, irVersion } = this.#parts;
    const fed = new Map(graph.inputs.map((input) => [input.name, input]));
    const used = new Set(nodes.flatMap((node) => node.uses));
    const fields = [...used].flatMap((name) => graph.initializers.get(name)?.field ?? []);
    const size = [...fields, ...nodes.map((node) => node.bytes), ...otherFields].reduce((sum, one) => sum + one.byteLength + 16, 4096);
    const writer = new WireWriter(size);
    // Functions, and constants that are no inputs, came with later versions of the format; nothing else is read in another way.
    writer.varintField(ONNX.model.irVersion, Math.max(irVersion, 8));
    writer.delimited(ONNX.model.graph, () => {
      for (const node of nodes) writer.bytesField(ONNX.graph.node, node.bytes);
      writer.stringField(ONNX.graph.name, graph.name);
      for (const field of fields) writer.raw(field);
      for (const name of inputs) {
        const declared = fed.get(name);
        if (declared !== undefined) writer.bytesField(ONNX.graph.input, declared.bytes);
        else writer.delimited(ONNX.graph.input, () => writeValue(writer, name, this.#typeOf(name)));
      }
      for (const name of outputs) writer.delimited(ONNX.graph.output, () => writer.stringField(ONNX.valueInfo.name, name));
      for (const node of nodes) {
        for (const name of node.outputs) {
          const known = graph.values.get(name);
          if (known !== undefined && !outputs.includes(name)) writer.bytesField(ONNX.graph.valueInfo, known.bytes);
        }
      }
    });
    for (const field of otherFields) writer.raw(field);
    return writer.raw(this.#deps.functions).finish();
  }

  #slot(name: string): number {
    const known = this.#slots.get(name) ?? this.#slots.size;
    this.#slots.set(name, known);
    return known;
  }

  #operand(name: string): Operand {
    const initializer = this.#parts.graph.initializers.get(name);
    if (initializer === undefined) return { slot: this.#slot(name) };
    const { constants, file } = this.#deps;
    if (initializer.tensor === null) throw new ServeError('UNIMPLEMENTED', `${file}: ${name} is sparse, which kernels cannot be given`);
    try {
      return { constant: constants.add(initializer, tensorSource(readOnnxTensor(initializer.tensor))) };
    } catch (caught) {
      if (!(caught instanceof ServeError)) throw caught;
      throw new ServeError(caught.code, `${file}: the constant ${name} cannot be given to a custom op: ${caught.message}`, {
        cause: caught,
      });
    }
  }

  /** An element type; 0 when it is not known. */
  #typeOf(name: string): number {
    const tensor = this.#parts.graph.initializers.get(name)?.tensor;
    return this.#types.get(name) ?? (tensor === null || tensor === undefined ? 0 : onnxTensorType(tensor));
  }

  #dtype(name: string, what: string): DType {
    const type = this.#typeOf(name);
    const dtype = dtypeFromOnnx(type);
    if (dtype !== undefined) return dtype;
    const why = type === 0 ? 'is no tensor of a known element type' : `is of ONNX's element type ${type}`;
    throw new ServeError(
      'UNIMPLEMENTED',
      `${this.#deps.file}: the ${what} ${name} ${why}, and cannot be handed from onnxruntime to a custom op's kernel`,
    );
  }

  #wrong(node: NodeParts, why: string): ServeError {
    const { domain, op } = node;
    return new ServeError('INVALID_ARGUMENT', `${this.#deps.file}: node ${nodeName(node)} of the custom op ${domain}.${op} ${why}`);
  }
}

function elementTypeIn(attrs: HostStep['attrs'], name: string): number {
  const attr = Object.hasOwn(attrs, name) ? attrs[name] : undefined;
  const dtype = attr?.type === 'dtype' ? dtypeFromNumber(attr.value) : undefined;
  return dtype === undefined ? 0 : ONNX_TYPE[dtype];
}

function named(type: number): string {
  return dtypeFromOnnx(type) ?? `ONNX's element type ${type}`;
}

/** A value of any shape. */
function writeValue(writer: WireWriter, name: string, elementType: number): void {
  writer.stringField(ONNX.valueInfo.name, name);
  writer.delimited(ONNX.valueInfo.type, () =>
    writer.delimited(ONNX.type.tensor, () => writer.varintField(ONNX.tensorType.elementType, elementType)),
  );
}
