/** The text of docs/savedmodel.md: the template with lists of what the code supports. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DTYPES, type DType } from '#mesh/tensor.ts';
import type { FlatNode } from '../savedmodel/flat-graph.ts';
import { isTable, isVariable } from '../savedmodel/flatten/index.ts';
import { HOST_OPS } from '../savedmodel/host/index.ts';
import { runInspect } from '../savedmodel/inspect/index.ts';
import { createOpDefs } from '../savedmodel/op-defs/index.ts';
import { buildPlan } from '../savedmodel/plan/build-plan.ts';
import { FLOW_OPS } from '../savedmodel/plan/run/flow-ops.ts';
import { LIST_OPS } from '../savedmodel/plan/run/list-ops.ts';
import { SCATTER_OPS } from '../savedmodel/plan/run/scatter-ops.ts';
import { TABLE_OPS } from '../savedmodel/plan/run/table-ops.ts';
import { TRAINING_OPS } from '../savedmodel/plan/run/training-ops.ts';
import { VARIABLE_OPS } from '../savedmodel/plan/run/variable-ops.ts';
import { HOST_STEP_OPS, ONNX_OPS } from '../savedmodel/plan/supported-ops.ts';
import { FRAME_OPS } from '../savedmodel/structure/frames.ts';
import { computeDtype } from '../savedmodel/translate/dtype-support.ts';
import { TRANSLATORS } from '../savedmodel/translate/translators.ts';
import { loadOpCases } from '../test/savedmodel/goldens/goldens.ts';

/** What has state or structure, by kind. Ops that are host ops too are listed there. */
const STATE_OPS: Readonly<Record<string, readonly string[]>> = {
  Variables: Object.keys(VARIABLE_OPS),
  'Scattered writes': Object.keys(SCATTER_OPS),
  'Training steps': Object.keys(TRAINING_OPS),
  'Lookup tables': Object.keys(TABLE_OPS),
  TensorLists: Object.keys(LIST_OPS),
  'Passing on and checking': Object.keys(FLOW_OPS).filter((op) => !HOST_OPS.has(op)),
};

const REGISTRY = [...createOpDefs().names];

/** Ops of TensorFlow's registry that a part of the importer recognises. */
function recognised(test: (node: FlatNode) => boolean): readonly string[] {
  return REGISTRY.filter((op) => test({ name: op, op, inputs: [], controls: [], attrs: new Map(), outputCount: 0 }));
}

/** Handled while a graph is inlined, structured and bound to its variables: none of these is left in a plan as it is. */
const CONTROL_OPS: Readonly<Record<string, readonly string[]>> = {
  Calls: ['PartitionedCall', 'StatefulPartitionedCall', 'BatchFunction', 'nodes whose op is the name of a function'],
  'Loops and conditionals': ['While', 'StatelessWhile', 'If', 'StatelessIf', 'Case', 'StatelessCase'],
  'Loops and conditionals of TensorFlow 1': recognised(({ op }) => FRAME_OPS.test(op)),
  'Arrays of TensorFlow 1': recognised(({ op }) => /^TensorArray(Read|Write|Scatter|Gather|Size|Concat|Split|Close)?V3$/.test(op)),
  'Handles of variables': recognised(isVariable),
  'Handles of tables': recognised(isTable),
  'Filling at load': ['Restore', 'RestoreSlice', 'RestoreV2', ...recognised(({ op }) => /^InitializeTableFromTextFile/.test(op))],
};

/** What TensorFlow takes in double, 64-bit integers or uint64, by the operators of ONNX that it becomes. */
const FLOATING = [
  ...[
    'Sqrt',
    'Exp',
    'Log',
    'Sin',
    'Cos',
    'Tan',
    'Asin',
    'Acos',
    'Atan',
    'Sinh',
    'Cosh',
    'Tanh',
    'Asinh',
    'Acosh',
    'Atanh',
    'Erf',
    'Sigmoid',
  ],
  ...['Relu', 'Elu', 'Selu', 'Softplus', 'Softsign', 'LeakyRelu', 'Softmax', 'LogSoftmax', 'Pow', 'MatMul', 'Gemm', 'Einsum', 'Conv'],
  ...[
    'ConvTranspose',
    'AveragePool',
    'MaxPool',
    'LRN',
    'Det',
    'Resize',
    'BatchNormalization',
    'ReduceSum',
    'ReduceMean',
    'ReduceL2',
    'CumSum',
  ],
];
const INTEGER = [
  'Add',
  'Sub',
  'Mul',
  'Div',
  'Pow',
  'Max',
  'Min',
  'MatMul',
  'Relu',
  'MaxPool',
  'SpaceToDepth',
  'DepthToSpace',
  'Resize',
  'Where',
  'Range',
];
const ORDERING = ['Less', 'Greater', 'Max', 'Min', 'ReduceMax', 'ReduceMin', 'ArgMax', 'ArgMin', 'TopK'];

/** The document. `template` has `{{name}}` where a generated part goes. Throws for a name that is not known, or not used. */
export async function savedModelDocument(template: string): Promise<string> {
  const checked = await checkedDtypes();
  const parts = new Map([
    ['graph-op-count', String(TRANSLATORS.size)],
    ['host-op-count', String(HOST_OPS.size)],
    ['state-op-count', String(Object.values(STATE_OPS).flat().length)],
    ['graph-ops', opTable([...TRANSLATORS.keys()], checked, 'on the host too', (op) => (HOST_OPS.has(op) ? 'yes' : ''))],
    ['host-ops', opTable([...HOST_OPS.keys()], checked, 'in segments too', (op) => (TRANSLATORS.has(op) ? 'yes' : ''))],
    ['state-ops', opLists(STATE_OPS)],
    ['control-ops', opLists(CONTROL_OPS)],
    ['dtypes', otherDtypes()],
    ['inspect-example', await inspectExample()],
  ]);
  const used = new Set<string>();
  const text = template.replace(/\{\{([a-z-]+)\}\}/g, (_placeholder, name: string) => {
    const part = parts.get(name);
    if (part === undefined) throw new Error(`docs/savedmodel.template.md has {{${name}}}, which nothing fills`);
    used.add(name);
    return part;
  });
  const unused = [...parts.keys()].filter((name) => !used.has(name));
  if (unused.length > 0) throw new Error(`docs/savedmodel.template.md has no {{${unused.join('}}, {{')}}}`);
  return text;
}

function opTable(
  ops: readonly string[],
  checked: ReadonlyMap<string, ReadonlySet<DType>>,
  column: string,
  cell: (op: string) => string,
): string {
  const rows = [...ops].sort().map((op) => `| ${op} | ${dtypeList(checked.get(op))} | ${cell(op)} |`);
  return [`| op | dtypes held to TensorFlow's answers | ${column} |`, '|---|---|---|', ...rows].join('\n');
}

function opLists(lists: Readonly<Record<string, readonly string[]>>): string {
  return Object.entries(lists)
    .map(([title, ops]) => `- **${title}**: ${[...ops].sort().join(', ')}.`)
    .join('\n');
}

/** In the order of `DTYPES`. */
function dtypeList(dtypes: ReadonlySet<DType> | undefined): string {
  return Object.keys(DTYPES)
    .filter((dtype) => dtypes?.has(dtype as DType))
    .join(', ');
}

function otherDtypes(): string {
  const inOther = (ops: readonly string[], dtype: DType, used: DType) => ops.filter((op) => computeDtype(op, dtype) === used).join(', ');
  return [
    `- **double in float**: ${inOther(FLOATING, 'double', 'float')}. Digits beyond the seventh are lost.`,
    `- **int64 in double**: ${inOther(INTEGER, 'int64', 'double')}. Integers beyond 2^53 are rounded.`,
    `- **int64 in float**: ${inOther(INTEGER, 'int64', 'float')}. Integers beyond 2^24 are rounded.`,
    `- **uint64 as int64**: ${inOther(ORDERING, 'uint64', 'int64')}. Values from 2^63 on count as negative.`,
  ].join('\n');
}

/** For each op the dtypes of the first input of every case that TensorFlow answered. */
async function checkedDtypes(): Promise<ReadonlyMap<string, ReadonlySet<DType>>> {
  const checked = new Map<string, Set<DType>>();
  const note = (op: string, dtype: DType | undefined) => {
    if (dtype === undefined) return;
    const known = checked.get(op) ?? new Set();
    checked.set(op, known.add(dtype));
  };
  for (const { op, inputs, feeds } of loadOpCases()) {
    if (feeds.some(({ answer }) => answer.type === 'outputs')) note(op, inputs[0]?.dtype);
  }
  for (const { op, in: inputs, out } of hostGoldens()) if (out !== undefined) note(op, inputs[0]?.d);
  return checked;
}

interface HostGolden {
  readonly op: string;
  readonly in: readonly { readonly d: DType }[];
  readonly out?: unknown;
}

function hostGoldens(): readonly HostGolden[] {
  const folder = join(import.meta.dirname, '../test/savedmodel/host');
  const files = readdirSync(folder).filter((file) => /^goldens.*\.json$/.test(file));
  return files.flatMap((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as readonly HostGolden[]);
}

/** How one of the committed models runs, as the command shows it. */
async function inspectExample(): Promise<string> {
  const model = join(import.meta.dirname, '../test/savedmodel/goldens/patterns/tf1_estimator_classifier/1');
  const { output } = await runInspect([model, '--signature', 'serving_default'], (source) =>
    buildPlan(source, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS }),
  );
  const [, run] = output.split('\n\n').length > 1 ? output.split('\nHow ') : [];
  if (run === undefined) throw new Error('headrace inspect did not say how the example runs');
  return `How ${run}`.trimEnd();
}
