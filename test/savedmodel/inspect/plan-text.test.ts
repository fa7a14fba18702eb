import { describe, expect, test } from '@jest/globals';
import type { Signature } from '#mesh/signature.ts';
import type { OnnxGraph, OnnxNode } from '#proto/onnx-writer.ts';
import { outlinePlan } from '../../../savedmodel/inspect/plan-outline.ts';
import { planLines } from '../../../savedmodel/inspect/plan-text.ts';
import type { HostStep, Plan, Program, SignaturePlan, Step } from '../../../savedmodel/plan/plan.ts';

const signature: Signature = { method: 'tensorflow/serving/predict', inputs: {}, outputs: {}, batchable: true };

function host(op: string, node: string): HostStep {
  return { type: 'host', op, node, attrs: {}, inputs: [], outputs: [0], effect: false };
}

function onnx(segment: number): Step {
  return { type: 'onnx', segment, inputs: [], outputs: [] };
}

function program(steps: readonly Step[]): Program {
  return { slotCount: 9, inputs: [], outputs: [], steps };
}

function signaturePlan(steps: readonly Step[], change: Partial<SignaturePlan> = {}): SignaturePlan {
  return { signature, stateful: false, program: program(steps), refusal: null, ...change };
}

const loop: Step = {
  type: 'while',
  node: 'outer/while',
  carried: [{ initial: { slot: 0 }, slot: 1, next: { slot: 2 }, result: null }],
  condition: { steps: [host('Less', 'outer/while/cond/Less')], value: { slot: 3 } },
  body: [onnx(1), { ...host('TensorListSetItem', 'outer/while/body/set') }],
  effect: false,
};
const choice: Step = {
  type: 'branch',
  kind: 'if',
  node: 'cond',
  selector: { slot: 0 },
  branches: [
    { steps: [host('StringUpper', 'cond/then/upper')], results: [] },
    { steps: [], results: [] },
  ],
  outputs: [],
  effect: false,
};
const pick: Step = { ...choice, kind: 'case', node: 'pick' };

const plan: Plan = {
  version: 1,
  signatures: {
    serving_default: signaturePlan([host('ParseExampleV2', 'ParseExample'), onnx(0), loop, choice, pick], { stateful: true }),
    rows: signaturePlan([onnx(1)]),
    echo: signaturePlan([], { signature: { ...signature, batchable: false } }),
    odd: signaturePlan([], { refusal: 'op RaggedFrobnicate of node r in the main graph is not supported' }),
  },
  segments: [
    {
      file: 'segment-0.onnx',
      inputs: [{ name: 'x', dtype: 'float', shape: [-1, 224, 224, 3] }],
      outputs: [
        { name: 'y', dtype: 'half', shape: null },
        { name: 'n', dtype: 'int64', shape: [] },
      ],
      nodeCount: 41,
    },
    { file: 'segment-1.onnx', inputs: [], outputs: [{ name: 'z', dtype: 'int32', shape: [-1] }], nodeCount: 1 },
  ],
  constants: [
    { dtype: 'string', shape: [3], offset: 0, byteLength: 16 },
    { dtype: 'int64', shape: [3], offset: 16, byteLength: 24 },
    { dtype: 'float', shape: [2, 2], offset: 40, byteLength: 16 },
  ],
  tables: [
    {
      name: 'words',
      op: 'HashTableV2',
      keyDtype: 'string',
      valueDtype: 'int64',
      sources: [
        { type: 'tensors', keys: 0, values: 1 },
        { type: 'text-file', fileName: 'words.txt', keyIndex: -2, valueIndex: -1, vocabSize: -1, delimiter: '\t', offset: 0 },
      ],
      written: false,
    },
    { name: 'seen', op: 'MutableHashTableV2', keyDtype: 'int64', valueDtype: 'float', sources: [], written: true },
  ],
  variables: [
    { name: 'total', dtype: 'float', initial: 2 },
    { name: 'scratch', dtype: 'int32', initial: null },
  ],
  remarks: ['two words for the log'],
};

const inner: OnnxGraph = { name: 'body', inputs: [], outputs: [], initializers: [], nodes: [{ op: 'LSTM', inputs: [], outputs: [] }] };
const loopNode: OnnxNode = { op: 'Loop', inputs: [], outputs: [], attributes: { body: { graph: inner }, times: [1, 2], name: 'l' } };
const models = new Map([['segment-0.onnx', { ...inner, nodes: [loopNode, { ...loopNode, op: 'Relu', attributes: {} }] }]]);
const outline = (of: Plan, names: readonly string[]) => outlinePlan({ plan: of, models }, names);

describe('a plan as text', () => {
  test('shows each signature with its steps, loops and branches, then tables, variables and remarks', () => {
    const lines = planLines(outline(plan, ['serving_default', 'rows', '__saved_model_init_op', 'odd', 'echo']));
    expect(lines.join('\n')).toBe(`
signature_def['__saved_model_init_op']: shown in the metadata, not run

signature_def['echo']: nothing is computed: its outputs are inputs, constants or variables, each request runs alone

signature_def['odd']: not supported: op RaggedFrobnicate of node r in the main graph is not supported

signature_def['rows']: 1 ONNX segment, 0 host steps, requests may share a batch
  1. onnx segment-1.onnx: 1 node
       gives z: int32 (-1)

signature_def['serving_default']: 2 ONNX segments, 5 host steps, writes variables or tables, each request runs alone
  1. host ParseExampleV2, node ParseExample
  2. onnx segment-0.onnx: 41 nodes, of them 1 Loop, 1 LSTM
       takes x: float (-1, 224, 224, 3)
       gives y: half unknown_rank
       gives n: int64 ()
  3. while, node outer/while: 1 value carried
     condition:
       1. host Less, node outer/while/cond/Less
     body:
       1. onnx segment-1.onnx: 1 node
            gives z: int32 (-1)
       2. host TensorListSetItem, node outer/while/body/set
  4. if, node cond
     then:
       1. host StringUpper, node cond/then/upper
     else: no steps
  5. case, node pick
     branch 0:
       1. host StringUpper, node cond/then/upper
     branch 1: no steps

Lookup tables:
  words (HashTableV2): string to int64, from 3 keys and assets/words.txt
  seen (MutableHashTableV2): int64 to float, starts empty, written by signatures

Variables kept on the worker:
  total: float (2, 2)
  scratch: int32, nothing initialises it

Remarks:
  two words for the log`);
  });

  test('counts the steps in loops and branches as they are written, not as often as they run', () => {
    const { serving_default: shown } = outline(plan, ['serving_default']).signatures;
    expect(shown).toMatchObject({ segmentCount: 2, hostStepCount: 5, stateful: true, batchable: false });
    expect(shown?.steps.map(({ type }) => type)).toEqual(['host', 'onnx', 'while', 'if', 'case']);
  });

  test('counts the ops of a segment, those in bodies included', () => {
    expect(outline(plan, ['serving_default']).signatures.serving_default?.steps[1]).toMatchObject({ ops: { LSTM: 1, Loop: 1, Relu: 1 } });
  });

  test('says nothing of tables, variables and remarks where there are none', () => {
    const bare = { ...plan, tables: [], variables: [], remarks: [] };
    expect(planLines(outline(bare, ['echo'])).join('\n')).not.toMatch(/tables|Variables|Remarks/);
  });

  test('a step of a segment that is not there is a bug', () => {
    expect(() => outline({ ...plan, segments: [] }, ['serving_default'])).toThrow('segment 0');
  });
});
