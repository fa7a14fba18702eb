/** Which slots of a program matter for the outputs that a request asks for. */
import type { Operand, Program, Step, WhileStep } from '../plan.ts';

/** Slots that some kept step reads, or that are asked for. */
export type NeededSlots = ReadonlySet<number>;

/** Starts from the outputs and from steps with an effect, and follows what they read until nothing is added. */
export function neededSlots(program: Program, outputs: readonly Operand[]): NeededSlots {
  const needed = new Set<number>();
  for (const output of outputs) add(output, needed);
  // Loops read in later rounds what earlier steps write: hence again, until it stays the same.
  for (let size = -1; size !== needed.size; ) {
    size = needed.size;
    mark(program.steps, needed);
  }
  return needed;
}

/** Whether a step runs: it writes what is needed, or has an effect. */
export function isKept(step: Step, needed: NeededSlots): boolean {
  switch (step.type) {
    case 'onnx':
      return step.outputs.some(({ slot }) => needed.has(slot));
    case 'host':
    case 'branch':
      return step.effect || step.outputs.some((slot) => slot !== null && needed.has(slot));
    case 'while':
      return step.effect || step.carried.some(({ result }) => result !== null && needed.has(result));
  }
}

/** The values of a loop that a kept loop must carry. */
export function keptValues(step: WhileStep, needed: NeededSlots): WhileStep['carried'] {
  return step.carried.filter(({ slot, result }) => needed.has(slot) || (result !== null && needed.has(result)));
}

function mark(steps: readonly Step[], needed: Set<number>): void {
  for (let index = steps.length - 1; index >= 0; index--) {
    const step = steps[index];
    if (step !== undefined && isKept(step, needed)) markStep(step, needed);
  }
}

function markStep(step: Step, needed: Set<number>): void {
  switch (step.type) {
    case 'onnx':
      for (const { value } of step.inputs) add(value, needed);
      return;
    case 'host':
      for (const operand of step.inputs) add(operand, needed);
      return;
    case 'branch':
      add(step.selector, needed);
      for (const { steps, results } of step.branches) {
        for (const [index, slot] of step.outputs.entries()) {
          const result = results[index];
          if (slot !== null && needed.has(slot) && result !== undefined) add(result, needed);
        }
        mark(steps, needed);
      }
      return;
    case 'while':
      for (const { initial, next } of keptValues(step, needed)) {
        add(initial, needed);
        add(next, needed);
      }
      mark(step.body, needed);
      add(step.condition.value, needed);
      mark(step.condition.steps, needed);
      return;
  }
}

function add(operand: Operand, needed: Set<number>): void {
  if ('slot' in operand) needed.add(operand.slot);
}
