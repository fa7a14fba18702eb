import { ServeError } from '#mesh/errors.ts';
import type { Signature } from '#mesh/signature.ts';
import { type DType, dtypeFromNumber } from '#mesh/tensor.ts';
import type { FlatNode, ValueRef } from '../flat-graph.ts';
import {
  isTable,
  isVariable,
  prepareServing,
  resourceIdentity,
  type TableColumn,
  type TableInit,
  type UnboundVariable,
} from '../flatten/index.ts';
import type { StoredSignature } from '../graph.ts';
import { type LibraryOp, NO_OPS, type OpLibraryIndex } from '../ops/op-library.ts';
import { definitionsWith, type PlannedOps, planOps } from '../ops/planned-ops.ts';
import { INIT_OP_SIGNATURE } from '../read/meta-graph.ts';
import type { SavedModelSource } from '../read/saved-model.ts';
import { structureGraph } from '../structure/index.ts';
import { UntranslatableError } from '../translate/untranslatable.ts';
import { type DraftContext, type DraftStep, ProgramDraft } from './block.ts';
import { DataFile } from './data-file.ts';
import { createErrorPlaces, type ErrorPlaces } from './error-place.ts';
import { createNodeFacts, inside, type NodeFacts } from './node-facts.ts';
import { createValueDtypes } from './output-dtypes.ts';
import type { Operand, Plan, PlannedOp, Program, SegmentPlan, SignaturePlan, Step, TableFill, TablePlan, VariablePlan } from './plan.ts';
import { PLAN_VERSION } from './plan.ts';
import { constantValue, type ResidentValue, readSource, readVariables } from './resident-values.ts';
import { type ResolvedGraph, resolveAliases } from './resolve-aliases.ts';
import { storeAttrs } from './run/stored-attr.ts';
import { SegmentFingerprints } from './segment-fingerprint.ts';
import { type SegmentRequest, SegmentRequests } from './segment-requests.ts';
import { countNodes, sameSegment, type TranslatedSegment, translateSegment } from './segments.ts';
import { createShapeHints, type ShapeHints } from './shape-hints.ts';
import { reachedFrom } from './signature-cut.ts';
import { signatureOf } from './signature-of.ts';
import { writtenResources } from './written-resources.ts';

/** A plan before it is written: the models and data files that go with it. */
export interface DraftPlan {
  readonly plan: Plan;
  /** By the file's name. */
  readonly models: ReadonlyMap<string, TranslatedSegment['model']>;
  readonly weights: DataFile;
  readonly constants: DataFile;
}

/** What can run where. */
export interface BuildPlanOptions {
  readonly onnxOps: { has(op: string): boolean };
  readonly hostOps: { has(op: string): boolean };
  /** Custom ops; they stand beside those above and never replace one. */
  readonly library?: OpLibraryIndex;
}

/** Pages, so that files can be mapped. */
const WEIGHTS_ALIGNMENT = 4096;
const CONSTANTS_ALIGNMENT = 8;

/**
 * Decides how each signature of a SavedModel is run. A signature that cannot be served has the reason in its plan. Throws ServeError
 * UNIMPLEMENTED, naming op, node and function, when none can; else what reading and flattening throw.
 */
export async function buildPlan(source: SavedModelSource, options: BuildPlanOptions): Promise<DraftPlan> {
  const { bundle } = source;
  const ops = planOps(options.library ?? NO_OPS, (op) => options.onnxOps.has(op) || options.hostOps.has(op));
  const metaGraph = { ...source.metaGraph, strippedOps: definitionsWith(ops, source.metaGraph) };
  const serving = prepareServing(metaGraph, new Set(bundle?.keys() ?? []));
  if (bundle === null) refuseWithoutCheckpoint(source.folder, serving.variables.unbound);
  const structured = structureGraph(metaGraph, serving.graph);
  const signatures = [...metaGraph.signatures].map(([key, stored]) => namedTensors(key, stored, structured));
  const fedNames = new Set<string>();
  const written = new Set<string>();
  const reached = signatures.map(({ inputs, outputs }) => {
    const given = new Set([...inputs.values()].map(nameOf));
    for (const name of given) fedNames.add(name);
    return reachedFrom([...outputs.values()], (ref) => given.has(nameOf(ref)));
  });
  for (const nodes of reached) for (const identity of writtenResources(nodes)) written.add(identity);
  const isFrozen = (node: FlatNode) => {
    const identity = resourceIdentity(node);
    return !written.has(identity) && serving.variables.byIdentity.has(identity);
  };
  const graph = resolveAliases(structured, { fed: fedNames, isFrozen });
  const variables = await readVariables(structured.nodes, serving.variables, bundle);
  const columns = new Map<TableColumn, ResidentValue>();
  for (const { sources } of serving.tables) {
    for (const fill of sources) {
      if (fill.type !== 'tensors') continue;
      for (const column of [fill.keys, fill.values]) columns.set(column, await readSource(column, bundle));
    }
  }
  const workshop: Workshop = {
    graph,
    signatures: signatures.map((one, index) => ({
      ...one,
      inputs: movedAll(one.inputs, graph),
      outputs: movedAll(one.outputs, graph),
      reached: movedNodes(reached[index] ?? [], graph),
    })),
    options,
    ops,
    strippedOps: metaGraph.strippedOps,
    placeOf: createErrorPlaces(metaGraph.functions),
    isFrozen,
    isState: (node) => (isVariable(node) || isTable(node)) && written.has(resourceIdentity(node)),
    residentValue: (node) => residentValue(node, variables),
    tableOf: new Map(serving.tables.map((one) => [one.identity, one])),
    initialOf: (node) => variables.get(resourceIdentity(node)) ?? null,
    columnValue: (column) => columns.get(column),
  };
  const draft = settle(workshop);
  return source.initSignature === null ? draft : { ...draft, plan: listing(draft.plan, source.initSignature) };
}

/** The plan with the signature that names the init op: TensorFlow lists it in the metadata, and nobody can run it. */
function listing(plan: Plan, initSignature: StoredSignature): Plan {
  const program = { slotCount: 0, inputs: [], outputs: [], steps: [] };
  const listed = { signature: signatureOf(initSignature), stateful: false, program, refusal: null };
  return { ...plan, signatures: { ...plan.signatures, [INIT_OP_SIGNATURE]: listed } };
}

/** A folder that was copied without its variables: TensorFlow would load it, and fail each request. */
function refuseWithoutCheckpoint(folder: string, unbound: readonly UnboundVariable[]): void {
  const restored = unbound.filter(({ isRestored }) => isRestored);
  const [first] = restored;
  if (first === undefined) return;
  const what = `the graph restores ${restored.length} variables from it, such as ${first.node.name}`;
  throw new ServeError('NOT_FOUND', `${folder}/variables/variables.index is not there, and ${what}`);
}

interface NamedSignature {
  readonly key: string;
  readonly stored: StoredSignature;
  readonly inputs: ReadonlyMap<string, ValueRef>;
  readonly outputs: ReadonlyMap<string, ValueRef>;
  /** Why it cannot be looked at further; null when it can. */
  readonly problem: ServeError | null;
}

interface ReachedSignature extends NamedSignature {
  /** All that TensorFlow would run for it. */
  readonly reached: ReadonlySet<FlatNode>;
}

interface Workshop {
  readonly graph: ResolvedGraph;
  readonly signatures: readonly ReachedSignature[];
  readonly options: BuildPlanOptions;
  readonly ops: PlannedOps;
  readonly strippedOps: Parameters<typeof createValueDtypes>[0];
  readonly placeOf: ErrorPlaces;
  readonly isFrozen: (node: FlatNode) => boolean;
  readonly isState: (node: FlatNode) => boolean;
  readonly residentValue: (node: FlatNode) => ResidentValue;
  readonly tableOf: ReadonlyMap<string, TableInit>;
  readonly initialOf: (node: FlatNode) => ResidentValue | null;
  readonly columnValue: (column: TableColumn) => ResidentValue | undefined;
}

/** The values that a signature names. A sparse input cannot be fed by name, in TensorFlow Serving neither. */
function namedTensors(key: string, stored: StoredSignature, graph: { value(name: string): ValueRef }): NamedSignature {
  const find = (infos: StoredSignature['inputs']) => {
    const found = new Map<string, ValueRef>();
    for (const [alias, info] of infos)
      if (info.sparse === undefined && info.tensorName !== '') found.set(alias, graph.value(info.tensorName));
    return found;
  };
  try {
    const sparse = [...stored.inputs, ...stored.outputs].find(([, info]) => info.sparse !== undefined);
    const problem =
      sparse === undefined
        ? null
        : new ServeError('UNIMPLEMENTED', `tensor ${sparse[0]} of signature ${key} is sparse: it has no one name to feed or fetch`);
    return { key, stored, inputs: find(stored.inputs), outputs: find(stored.outputs), problem };
  } catch (caught) {
    if (!(caught instanceof ServeError)) throw caught;
    return { key, stored, inputs: new Map(), outputs: new Map(), problem: caught };
  }
}

function nameOf(ref: ValueRef): string {
  return `${ref.node.name}:${ref.output}`;
}

function movedAll(values: ReadonlyMap<string, ValueRef>, graph: ResolvedGraph): ReadonlyMap<string, ValueRef> {
  return new Map([...values].map(([alias, ref]) => [alias, graph.moved(ref)]));
}

function movedNodes(nodes: Iterable<FlatNode>, graph: ResolvedGraph): ReadonlySet<FlatNode> {
  return new Set([...nodes].flatMap((node) => graph.movedNode(node) ?? []));
}

function residentValue(node: FlatNode, variables: ReadonlyMap<string, ResidentValue>): ResidentValue {
  if (isVariable(node)) {
    const found = variables.get(resourceIdentity(node));
    if (found !== undefined) return found;
  }
  const value = node.attrs.get('value');
  if (value?.type === 'tensor') return constantValue(value.value);
  throw new ServeError('INVALID_ARGUMENT', `${node.op} node ${node.name} has no value attribute of a tensor`);
}

/** Drafts and translates until every segment has been translated: a node that could not be goes to the host in the next round. */
function settle(workshop: Workshop): DraftPlan {
  const banned = new Map<FlatNode, string>();
  for (;;) {
    try {
      return new Attempt(workshop, banned).run();
    } catch (caught) {
      if (!(caught instanceof UntranslatableError) || banned.has(caught.node)) throw caught;
      banned.set(caught.node, caught.message);
    }
  }
}

interface DraftedSignature {
  readonly signature: ReachedSignature;
  readonly draft: ProgramDraft;
  readonly inputs: Program['inputs'];
  readonly outputs: Program['outputs'];
  readonly steps: readonly DraftStep[];
}

class Attempt {
  readonly #workshop: Workshop;
  readonly #facts: NodeFacts;
  readonly #hints: ShapeHints;
  readonly #requests: SegmentRequests;
  readonly #banned: ReadonlyMap<FlatNode, string>;
  readonly #weights = new DataFile(WEIGHTS_ALIGNMENT);
  readonly #constants = new DataFile(CONSTANTS_ALIGNMENT);
  readonly #tables: TablePlan[] = [];
  readonly #variables: VariablePlan[] = [];
  readonly #handles = new Map<string, Operand>();
  readonly #segments = new Map<SegmentRequest, { readonly index: number; readonly translated: TranslatedSegment }>();

  constructor(workshop: Workshop, banned: ReadonlyMap<FlatNode, string>) {
    this.#workshop = workshop;
    this.#banned = banned;
    const { graph, options, ops, isFrozen, isState } = workshop;
    const dtypes = createValueDtypes(workshop.strippedOps, graph.initialValues, ops);
    this.#facts = createNodeFacts({
      dtypes,
      isFrozen,
      isState,
      onnxOps: { has: (op) => options.onnxOps.has(op) || ops.onnxOps.has(op) },
      hostOps: { has: (op) => options.hostOps.has(op) || ops.hostOps.has(op) },
      banned: new Set(banned.keys()),
    });
    this.#hints = createShapeHints(graph.initialValues, ops);
    this.#requests = new SegmentRequests(this.#facts);
    for (const { stored, inputs } of workshop.signatures) {
      for (const [alias, ref] of inputs) this.#hints.add(ref, stored.inputs.get(alias)?.shape ?? null);
    }
  }

  run(): DraftPlan {
    const refused = new Map<string, ServeError>();
    const drafts: DraftedSignature[] = [];
    for (const signature of this.#workshop.signatures) {
      try {
        if (signature.problem !== null) throw signature.problem;
        drafts.push(this.#draft(signature));
      } catch (caught) {
        if (!(caught instanceof ServeError) || caught instanceof UntranslatableError) throw caught;
        refused.set(signature.key, caught);
      }
    }
    const [firstRefusal] = refused.values();
    if (drafts.length === 0 && firstRefusal !== undefined) throw firstRefusal;
    const { models, segments } = this.#translateAll();
    const plans = this.#workshop.signatures.map(({ key, stored }): readonly [string, SignaturePlan] => {
      const drafted = drafts.find((one) => one.signature.key === key);
      if (drafted !== undefined) return [key, this.#signaturePlan(drafted)];
      const program = { slotCount: 0, inputs: [], outputs: [], steps: [] };
      return [key, { signature: signatureOf(stored), stateful: false, program, refusal: refused.get(key)?.message ?? 'unknown' }];
    });
    const used = new Set(drafts.flatMap(({ steps }) => [...this.#customOps(steps)]));
    const remarks = [...refused].map(([key, error]) => `signature ${key} cannot be served: ${error.message}`);
    return {
      plan: {
        version: PLAN_VERSION,
        signatures: Object.fromEntries(plans),
        segments,
        constants: this.#constants.entries,
        tables: this.#tables,
        variables: this.#variables,
        remarks,
        ...(used.size === 0 ? {} : { ops: [...used].map(plannedOp) }),
      },
      models,
      weights: this.#weights,
      constants: this.#constants,
    };
  }

  /** Translates what was asked for, equal segments once. */
  #translateAll(): { readonly models: ReadonlyMap<string, TranslatedSegment['model']>; readonly segments: readonly SegmentPlan[] } {
    const context = {
      facts: this.#facts,
      hints: this.#hints,
      weights: this.#weights,
      residentValue: this.#workshop.residentValue,
      ops: this.#workshop.ops,
    };
    const fingerprints = new SegmentFingerprints(context);
    const models = new Map<string, TranslatedSegment['model']>();
    const segments: SegmentPlan[] = [];
    const known = new Map<string, { readonly index: number; readonly translated: TranslatedSegment }>();
    for (const shared of this.#requests.shared()) {
      const fingerprint = fingerprints.of(shared);
      const same = known.get(fingerprint);
      const index = same?.index ?? segments.length;
      const translated = same === undefined ? translateSegment(shared, context) : sameSegment(same.translated, shared);
      for (const request of shared.requests) this.#segments.set(request, { index, translated });
      if (same !== undefined) continue;
      known.set(fingerprint, { index, translated });
      const file = `segment-${index}.onnx`;
      models.set(file, translated.model);
      segments.push({ file, inputs: translated.inputs, outputs: translated.outputs, nodeCount: countNodes(translated.model) });
    }
    return { models, segments };
  }

  #draft(signature: ReachedSignature): DraftedSignature {
    const context: DraftContext = {
      facts: this.#facts,
      requests: this.#requests,
      whyBanned: (node) => this.#banned.get(node),
      resident: (node) => this.#resident(node),
      hostStep: (node, inputs, outputs) => {
        const { op, name, attrs } = node;
        const place = this.#workshop.placeOf(node);
        return { type: 'host', op, node: name, place, attrs: storeAttrs(attrs), inputs, outputs, effect: this.#facts.isEffect(node) };
      },
    };
    const draft = new ProgramDraft(context);
    // Two names may stand for one tensor: then the last in the order of names counts.
    const aliases = [...signature.inputs].sort(([one], [other]) => (one < other ? -1 : 1));
    const inputs = aliases.map(([alias, ref]) => ({ alias, dtype: specDtype(signature.stored.inputs, alias), slot: draft.give(ref) }));
    const { nodes } = this.#workshop.graph;
    const effects = nodes.filter((node) => signature.reached.has(node) && this.#facts.isEffect(node));
    const steps = draft.draft(nodes, [...signature.outputs.values()], effects);
    const outputs = [...signature.outputs].map(([alias, ref]) => ({
      alias,
      dtype: specDtype(signature.stored.outputs, alias),
      value: draft.operand(ref),
    }));
    return { signature, draft, inputs, outputs, steps };
  }

  #signaturePlan({ signature, draft, inputs, outputs, steps }: DraftedSignature): SignaturePlan {
    const stateful = writesState(steps);
    const accepts = new Map<string, readonly number[]>();
    for (const [alias, ref] of signature.inputs) {
      for (const request of requestsOf(steps)) {
        const shape = this.#segments.get(request)?.translated.accepts.get(ref);
        if (shape !== undefined) accepts.set(alias, shape);
      }
    }
    const plain: Signature = signatureOf(signature.stored, accepts);
    const mixesRows = [...this.#customOps(steps)].some(({ definition }) => definition.batchable !== true);
    return {
      signature: stateful || mixesRows ? { ...plain, batchable: false } : plain,
      stateful,
      program: { slotCount: draft.slotCount, inputs, outputs, steps: steps.map((step) => this.#finished(step)) },
      refusal: null,
    };
  }

  /** The custom ops that some steps run, on the host or in their segments. */
  #customOps(steps: readonly DraftStep[]): ReadonlySet<LibraryOp> {
    return new Set([...opNames(steps)].flatMap((op) => this.#workshop.ops.find(op) ?? []));
  }

  #finished(step: DraftStep): Step {
    switch (step.type) {
      case 'ready':
        return step.step;
      case 'onnx': {
        const segment = this.#segments.get(step.request);
        if (segment === undefined) throw new TypeError('a segment was not translated (this is a bug)');
        const { index, translated } = segment;
        return {
          type: 'onnx',
          segment: index,
          inputs: step.request.feeds.map((ref) => ({
            name: translated.names.get(ref) ?? '',
            value: step.operands.get(ref) ?? { slot: -1 },
          })),
          outputs: step.request.fetches.map((ref) => ({ name: translated.names.get(ref) ?? '', slot: step.slots.get(ref) ?? -1 })),
        };
      }
      case 'while':
        return {
          type: 'while',
          node: step.node.name,
          carried: step.carried,
          condition: { steps: step.condition.steps.map((one) => this.#finished(one)), value: step.condition.value },
          body: step.body.map((one) => this.#finished(one)),
          effect: step.effect,
        };
      case 'branch':
        return {
          type: 'branch',
          kind: step.node.op === 'If' ? 'if' : 'case',
          node: step.node.name,
          selector: step.selector,
          branches: step.branches.map((branch) => ({ steps: branch.steps.map((one) => this.#finished(one)), results: branch.results })),
          outputs: step.outputs,
          effect: step.effect,
        };
    }
  }

  #resident(node: FlatNode): Operand {
    if (this.#facts.isHandle(node)) return isTable(node) ? this.#table(node) : this.#variable(node);
    const value = this.#workshop.residentValue(node);
    return { constant: this.#constants.add(value.key, value) };
  }

  #variable(node: FlatNode): Operand {
    const identity = resourceIdentity(node);
    const known = this.#handles.get(identity);
    if (known !== undefined) return known;
    const value = this.#workshop.initialOf(node);
    const initial = value === null ? null : this.#constants.add(value.key, value);
    const dtype = node.attrs.get('dtype');
    const operand = { variable: this.#variables.length };
    this.#variables.push({ name: node.name, dtype: dtypeOr(dtype?.type === 'dtype' ? dtype.value : 0, node), initial });
    this.#handles.set(identity, operand);
    return operand;
  }

  #table(node: FlatNode): Operand {
    const identity = resourceIdentity(node);
    const known = this.#handles.get(identity);
    if (known !== undefined) return known;
    const init = this.#workshop.tableOf.get(identity);
    if (init === undefined) throw new ServeError('UNIMPLEMENTED', `table ${node.name} (${node.op}) is not known to the importer`);
    if (init.problem !== null) throw new ServeError('UNIMPLEMENTED', `table ${node.name} (${node.op}) cannot be filled: ${init.problem}`);
    const sources = init.sources.map((one): TableFill => {
      if (one.type === 'text-file') return one;
      return { type: 'tensors', keys: this.#column(one.keys), values: this.#column(one.values) };
    });
    const operand = { table: this.#tables.length };
    const { keyDtype, valueDtype } = init;
    this.#tables.push({
      name: node.name,
      op: node.op,
      keyDtype: dtypeOr(keyDtype, node),
      valueDtype: dtypeOr(valueDtype, node),
      sources,
      written: this.#workshop.isState(node),
    });
    this.#handles.set(identity, operand);
    return operand;
  }

  #column(column: TableColumn): number {
    const value = this.#workshop.columnValue(column);
    if (value === undefined) throw new TypeError('a column of a table was not read (this is a bug)');
    return this.#constants.add(value.key, value);
  }
}

function dtypeOr(number: number, node: FlatNode): DType {
  const dtype = dtypeFromNumber(number > 100 ? number - 100 : number);
  if (dtype !== undefined) return dtype;
  throw new ServeError('UNIMPLEMENTED', `${node.op} node ${node.name} is of the data type ${number}, which no tensor here has`);
}

function specDtype(infos: StoredSignature['inputs'], alias: string): DType {
  const number = infos.get(alias)?.dtype ?? 0;
  const dtype = dtypeFromNumber(number > 100 ? number - 100 : number);
  if (dtype !== undefined) return dtype;
  throw new ServeError('UNIMPLEMENTED', `tensor ${alias} is of the data type ${number}, which no client can send or receive`);
}

function requestsOf(steps: readonly DraftStep[]): readonly SegmentRequest[] {
  return steps.flatMap((step) => (step.type === 'onnx' ? [step.request] : requestsOf(innerSteps(step))));
}

/** The ops of all nodes, on the host and in segments, with those inside. */
function opNames(steps: readonly DraftStep[]): ReadonlySet<string> {
  const names = new Set<string>();
  const addNodes = (nodes: readonly FlatNode[]) => {
    for (const node of nodes) {
      names.add(node.op);
      addNodes(inside(node));
    }
  };
  for (const step of steps) {
    if (step.type === 'onnx') addNodes(step.request.nodes);
    else if (step.type === 'ready') names.add(step.step.op);
    for (const name of opNames(innerSteps(step))) names.add(name);
  }
  return names;
}

function plannedOp({ definition, domain, module }: LibraryOp): PlannedOp {
  return { name: definition.name, domain, form: definition.form, module: module.digest };
}

/** Whether some step changes a variable or a table. An assert does not. */
function writesState(steps: readonly DraftStep[]): boolean {
  return steps.some((step) => {
    if (step.type === 'ready') return step.step.type === 'host' && step.step.effect && step.step.op !== 'Assert';
    return writesState(innerSteps(step));
  });
}

function innerSteps(step: DraftStep): readonly DraftStep[] {
  if (step.type === 'while') return [...step.condition.steps, ...step.body];
  return step.type === 'branch' ? step.branches.flatMap((branch) => branch.steps) : [];
}
