/** A plan's outline as text, in the style of `saved_model_cli`. */
import type { SegmentValue } from '../plan/plan.ts';
import type { PlanOutline, SignatureOutline, StepOutline, TableOutline, VariableOutline } from './plan-outline.ts';

/** The lines of a whole plan: its signatures by name, then tables, variables and remarks where there are some. */
export function planLines({ signatures, tables, variables, remarks }: PlanOutline): readonly string[] {
  const lines: string[] = [];
  for (const [name, signature] of Object.entries(signatures).sort(([one], [other]) =>
    Buffer.compare(Buffer.from(one), Buffer.from(other)),
  )) {
    lines.push('', `signature_def['${name}']: ${summary(signature)}`, ...stepLines(signature.steps).map(indented));
  }
  if (tables.length > 0) lines.push('', 'Lookup tables:', ...tables.map((table) => indented(tableLine(table))));
  if (variables.length > 0)
    lines.push('', 'Variables kept on the worker:', ...variables.map((variable) => indented(variableLine(variable))));
  if (remarks.length > 0) lines.push('', 'Remarks:', ...remarks.map(indented));
  return lines;
}

function summary({ listedOnly, refusal, segmentCount, hostStepCount, steps, stateful, batchable }: SignatureOutline): string {
  if (refusal !== null) return `not supported: ${refusal}`;
  if (listedOnly) return 'shown in the metadata, not run';
  const parts =
    steps.length === 0
      ? ['nothing is computed: its outputs are inputs, constants or variables']
      : [counted(segmentCount, 'ONNX segment'), counted(hostStepCount, 'host step')];
  if (stateful) parts.push('writes variables or tables');
  parts.push(batchable ? 'requests may share a batch' : 'each request runs alone');
  return parts.join(', ');
}

function stepLines(steps: readonly StepOutline[]): readonly string[] {
  return steps.flatMap((step, index) => {
    const [first = '', ...rest] = linesOfStep(step);
    const number = `${index + 1}. `;
    return [`${number}${first}`, ...rest.map((line) => `${' '.repeat(number.length)}${line}`)];
  });
}

function linesOfStep(step: StepOutline): readonly string[] {
  switch (step.type) {
    case 'onnx':
      return [
        `onnx ${step.file}: ${counted(step.nodeCount, 'node')}${structureText(step.ops)}`,
        ...step.inputs.map((value) => indented(`takes ${valueText(value)}`)),
        ...step.outputs.map((value) => indented(`gives ${valueText(value)}`)),
      ];
    case 'host':
      return [`host ${step.op}, node ${step.node}`];
    case 'while':
      return [
        `while, node ${step.node}: ${counted(step.carriedCount, 'value')} carried`,
        ...part('condition', step.condition),
        ...part('body', step.body),
      ];
    case 'if':
      return [`if, node ${step.node}`, ...step.branches.flatMap((steps, index) => part(index === 0 ? 'then' : 'else', steps))];
    case 'case':
      return [`case, node ${step.node}`, ...step.branches.flatMap((steps, index) => part(`branch ${index}`, steps))];
  }
}

/** The ops that repeat or choose, which say more than a number of nodes. */
function structureText(ops: Readonly<Record<string, number>>): string {
  const found = ['Loop', 'Scan', 'If', 'LSTM', 'GRU', 'RNN'].flatMap((op) => (ops[op] === undefined ? [] : [`${ops[op]} ${op}`]));
  return found.length === 0 ? '' : `, of them ${found.join(', ')}`;
}

function part(name: string, steps: readonly StepOutline[]): readonly string[] {
  return steps.length === 0 ? [`${name}: no steps`] : [`${name}:`, ...stepLines(steps).map(indented)];
}

function tableLine({ name, op, keyDtype, valueDtype, sources, written }: TableOutline): string {
  const filled = sources.map((source) => ('file' in source ? `assets/${source.file}` : counted(source.keyCount, 'key')));
  const from = filled.length === 0 ? 'starts empty' : `from ${filled.join(' and ')}`;
  return `${name} (${op}): ${keyDtype} to ${valueDtype}, ${from}${written ? ', written by signatures' : ''}`;
}

function variableLine({ name, dtype, shape }: VariableOutline): string {
  return `${name}: ${dtype}${shape === null ? ', nothing initialises it' : ` ${shapeText(shape)}`}`;
}

function valueText({ name, dtype, shape }: SegmentValue): string {
  return `${name}: ${dtype} ${shapeText(shape)}`;
}

/** A shape as `saved_model_cli` writes it. */
export function shapeText(shape: readonly number[] | null): string {
  return shape === null ? 'unknown_rank' : `(${shape.join(', ')})`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function indented(line: string): string {
  return `  ${line}`;
}
