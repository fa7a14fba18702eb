import { createHash } from 'node:crypto';
import type { Body, FlatNode, ValueRef } from '../flat-graph.ts';
import type { AttrValue } from '../graph.ts';
import type { NodeFacts } from './node-facts.ts';
import type { ResidentValue } from './resident-values.ts';
import type { SharedSegment } from './segment-requests.ts';
import type { ShapeHints } from './shape-hints.ts';
import { ValueMap } from './value-map.ts';

/** Constants up to this size are equal when their bytes are; larger ones when they are the same. */
const COMPARED_BYTES = 64 * 1024;

/** What fingerprints are made with. */
export interface FingerprintContext {
  readonly facts: NodeFacts;
  readonly hints: ShapeHints;
  readonly residentValue: (node: FlatNode) => ResidentValue;
}

/**
 * A text that is equal for two segments that compute the same from feeds in the same order: a function called by two signatures is inlined
 * twice, and one model serves both. Names of nodes do not count, their order does. Texts of one plan only can be compared.
 */
export class SegmentFingerprints {
  readonly #context: FingerprintContext;
  readonly #identities = new Map<unknown, number>();

  constructor(context: FingerprintContext) {
    this.#context = context;
  }

  of(segment: SharedSegment): string {
    const hash = createHash('sha256');
    const labels = new ValueMap<string>();
    const { facts, hints } = this.#context;
    segment.feeds.forEach((ref, index) => {
      labels.set(ref, `feed${index}`);
      hash.update(`feed ${facts.dtypes.number(ref)} ${JSON.stringify(hints.shape(ref))}\n`);
    });
    this.#addNodes(segment.nodes, 'n', labels, hash);
    hash.update(`fetches ${segment.fetches.map((ref) => this.#label(ref, labels)).join()}\n`);
    return hash.digest('hex');
  }

  #addNodes(nodes: readonly FlatNode[], prefix: string, labels: ValueMap<string>, hash: ReturnType<typeof createHash>): void {
    nodes.forEach((node, index) => {
      const inputs = node.inputs.map((ref) => this.#label(ref, labels));
      hash.update(`${prefix}${index} ${node.op} (${inputs.join()}) ${node.outputCount}\n`);
      for (const name of [...node.attrs.keys()].sort()) {
        const attr = node.attrs.get(name);
        if (attr !== undefined && attr.type !== 'function') hash.update(`${name}=${this.#attrText(attr)}\n`);
      }
      node.bodies?.forEach((body, at) => {
        this.#addBody(body, `${prefix}${index}b${at}.`, labels, hash);
      });
      for (let output = 0; output < node.outputCount; output++) {
        const ref = { node, output };
        if (labels.get(ref) === undefined) labels.set(ref, `${prefix}${index}:${output}`);
      }
    });
  }

  #addBody(body: Body, prefix: string, labels: ValueMap<string>, hash: ReturnType<typeof createHash>): void {
    body.parameters.forEach((node, index) => {
      labels.set({ node, output: 0 }, `${prefix}p${index}`);
    });
    this.#addNodes(body.nodes, prefix, labels, hash);
    hash.update(`${prefix} gives ${body.results.map((ref) => this.#label(ref, labels)).join()}\n`);
  }

  #label(ref: ValueRef, labels: ValueMap<string>): string {
    const known = labels.get(ref);
    if (known !== undefined) return known;
    if (!this.#context.facts.isConstant(ref.node)) return `outside ${this.#identity(ref.node)}:${ref.output}`;
    const { key, dtype, shape, tensor } = this.#context.residentValue(ref.node);
    const isCompared = tensor !== undefined && tensor.bytes.byteLength <= COMPARED_BYTES;
    const content = isCompared ? createHash('sha256').update(tensor.bytes).digest('base64') : `${this.#identity(key)}`;
    const label = `${dtype}[${shape}]${content}`;
    labels.set(ref, label);
    return label;
  }

  #identity(key: unknown): number {
    const known = this.#identities.get(key) ?? this.#identities.size;
    this.#identities.set(key, known);
    return known;
  }

  #attrText(attr: AttrValue): string {
    switch (attr.type) {
      case 'string':
        return `s${Buffer.from(attr.value).toString('base64')}`;
      case 'tensor':
        return `t${attr.value.dtype}[${attr.value.shape}]${createHash('sha256').update(attr.value.bytes).digest('base64')}`;
      case 'list':
        return `[${attr.values.map((one) => this.#attrText(one)).join()}]`;
      case 'function':
      case 'placeholder':
        return attr.name;
      default:
        return `${attr.type} ${JSON.stringify(attr.value)}`;
    }
  }
}
