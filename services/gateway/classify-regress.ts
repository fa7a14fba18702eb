/** Classify, Regress and MultiInference over the core, with TensorFlow Serving's checks and texts. */
import { ServeError, toServeError } from '#mesh/errors.ts';
import { DEFAULT_SIGNATURE, type Signature } from '#mesh/signature.ts';
import { DTYPES, type NamedTensors, packStrings, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import type { GatewayCore, PendingInference, ResolvedServable } from './core.ts';
import type { Classification, ExamplesApi, InferenceTask, PendingExamples, TaskResult } from './examples-api.ts';
import { signatureText } from './signature-text.ts';
import { validateInputs } from './validate-inputs.ts';

/** What runs the examples, how strictly signatures are taken, and who counts what was answered. */
export interface ExamplesApiOptions {
  readonly core: Pick<GatewayCore, 'infer'>;
  /** `--enable_signature_method_name_check`: Classify and Regress only run signatures that declare their method. */
  readonly methodNameCheck: boolean;
  /** Told of every call that was answered. */
  readonly onAnswered: (model: string, exampleCount: number) => void;
}

const CLASSIFY = 'tensorflow/serving/classify';
const REGRESS = 'tensorflow/serving/regress';
/** The aliases that the two methods prescribe. */
const INPUTS = 'inputs';
const CLASSES = 'classes';
const SCORES = 'scores';
const VALUES = 'outputs';

/** What a method makes of a signature: which outputs to ask for, and how to read them. */
interface Plan<Result> {
  readonly signatureName: string;
  readonly signature: Signature;
  readonly outputs: readonly string[];
  readonly read: (outputs: NamedTensors, exampleCount: number) => Result;
}

/** The parts of a request that all three calls share. */
interface Call {
  readonly servable: ResolvedServable;
  readonly examples: readonly Uint8Array[];
  readonly deadlineMs: number;
  readonly traceparent: string;
}

/** Makes the API. */
export function createExamplesApi({ core, methodNameCheck, onAnswered }: ExamplesApiOptions): ExamplesApi {
  function signatureFor(servable: ResolvedServable, given: string, method: string, kind: string): { name: string; signature: Signature } {
    const name = given === '' ? DEFAULT_SIGNATURE : given;
    const signature = Object.hasOwn(servable.signatures, name) ? servable.signatures[name] : undefined;
    if (signature === undefined) throw invalid(`No signature was found with the name: ${name}`);
    if (methodNameCheck && signature.method !== method) {
      throw invalid(`Expected ${kind} signature method_name to be ${method}. Was: ${signature.method}`);
    }
    return { name, signature };
  }

  /** Runs all plans over the same examples. */
  function run<Result>(call: Call, makePlans: () => readonly Plan<Result>[]): PendingExamples<readonly Result[]> {
    const pending: PendingInference[] = [];
    try {
      const plans = makePlans();
      if (call.examples.length === 0) throw invalid('Input is empty.');
      const inputs: NamedTensors = new Map([[INPUTS, examplesTensor(call.examples)]]);
      const complete = plans.map(({ signature }) => validateInputs(signature, inputs, 'all'));
      for (const [index, { signature, signatureName, outputs }] of plans.entries()) {
        const { servable, deadlineMs, traceparent } = call;
        pending.push(
          core.infer({ servable, signatureName, signature, inputs: complete[index] ?? inputs, outputs, deadlineMs, traceparent }),
        );
      }
      const cancel = () => {
        for (const one of pending) one.cancel();
      };
      return { answer: readAll(call, plans, pending, cancel), cancel };
    } catch (caught) {
      const answer = Promise.reject(toServeError(caught));
      answer.catch(() => {});
      return { answer, cancel: () => {} };
    }
  }

  async function readAll<Result>(
    call: Call,
    plans: readonly Plan<Result>[],
    pending: readonly PendingInference[],
    cancel: () => void,
  ): Promise<readonly Result[]> {
    try {
      const answers = await Promise.all(pending.map(({ answer }) => answer));
      const results = plans.map((plan, index) => plan.read(answers[index]?.outputs ?? new Map(), call.examples.length));
      onAnswered(call.servable.id.name, call.examples.length);
      return results;
    } catch (caught) {
      // One task failed: the others' work is of no use.
      cancel();
      throw toServeError(caught);
    }
  }

  return {
    classify(request) {
      const { answer, cancel } = run(request, () => {
        const { name, signature } = signatureFor(request.servable, request.signatureName, CLASSIFY, 'classification');
        return [planClassify(name, signature)];
      });
      return { answer: only(answer), cancel };
    },
    regress(request) {
      const { answer, cancel } = run(request, () => {
        const { name, signature } = signatureFor(request.servable, request.signatureName, REGRESS, 'regression');
        return [planRegress(name, signature)];
      });
      return { answer: only(answer), cancel };
    },
    multiInference: (request) => run(request, () => planTasks(request.servable, request.tasks)),
  };
}

function planTasks(servable: ResolvedServable, tasks: readonly InferenceTask[]): readonly Plan<TaskResult>[] {
  const plans = new Map<string, Plan<TaskResult>>();
  let inputName: string | undefined;
  for (const { signatureName: given, methodName } of tasks) {
    const signatureName = given === '' ? DEFAULT_SIGNATURE : given;
    if (plans.has(signatureName)) throw invalid(`Duplicate evaluation of signature: ${signatureName}`);
    const signature = Object.hasOwn(servable.signatures, signatureName) ? servable.signatures[signatureName] : undefined;
    if (signature === undefined) throw invalid(`Requested signature not found in model graph: ${signatureName}`);
    plans.set(signatureName, planTask(signatureName, signature, methodName));
    const name = signature.inputs[INPUTS]?.tensorName;
    inputName ??= name;
    if (name !== inputName) throw invalid('Input tensor must be the same for all Signatures.');
  }
  return [...plans.values()];
}

function planTask(signatureName: string, signature: Signature, methodName: string): Plan<TaskResult> {
  if (methodName === CLASSIFY) {
    const plan = planClassify(signatureName, signature);
    return { ...plan, read: (outputs, count) => ({ type: 'classify', signatureName, classifications: plan.read(outputs, count) }) };
  }
  if (methodName === REGRESS) {
    const plan = planRegress(signatureName, signature);
    return { ...plan, read: (outputs, count) => ({ type: 'regress', signatureName, values: plan.read(outputs, count) }) };
  }
  throw new ServeError('UNIMPLEMENTED', `Unsupported signature method_name: ${methodName}`);
}

function planClassify(signatureName: string, signature: Signature): Plan<readonly (readonly Classification[])[]> {
  if (Object.keys(signature.inputs).length !== 1) throw invalid('Expected one input Tensor.');
  const outputCount = Object.keys(signature.outputs).length;
  if (outputCount !== 1 && outputCount !== 2) throw invalid(`Expected one or two output Tensors, found ${outputCount}`);
  if (!Object.hasOwn(signature.inputs, INPUTS)) {
    throw new ServeError('FAILED_PRECONDITION', `No classification inputs found in SignatureDef: ${signatureText(signature)}`);
  }
  const outputs = [CLASSES, SCORES].filter((alias) => Object.hasOwn(signature.outputs, alias));
  if (outputs.length === 0) {
    throw new ServeError(
      'FAILED_PRECONDITION',
      `Expected classification signature outputs to contain at least one of "${CLASSES}" or "${SCORES}". Signature was: ${signatureText(signature)}`,
    );
  }
  return { signatureName, signature, outputs, read: readClassifications };
}

function planRegress(signatureName: string, signature: Signature): Plan<readonly number[]> {
  if (Object.keys(signature.inputs).length !== 1) throw invalid('Expected one input Tensor.');
  if (Object.keys(signature.outputs).length !== 1) throw invalid('Expected one output Tensor.');
  if (!Object.hasOwn(signature.inputs, INPUTS)) {
    throw new ServeError('FAILED_PRECONDITION', `No regression inputs found in SignatureDef: ${signatureText(signature)}`);
  }
  if (!Object.hasOwn(signature.outputs, VALUES)) {
    throw new ServeError('FAILED_PRECONDITION', `No regression outputs found in SignatureDef: ${signatureText(signature)}`);
  }
  return { signatureName, signature, outputs: [VALUES], read: readValues };
}

function readClassifications(outputs: NamedTensors, exampleCount: number): readonly (readonly Classification[])[] {
  const classes = outputs.get(CLASSES);
  const scores = outputs.get(SCORES);
  if (classes !== undefined) checkClassTensor(classes, 'classes', 'string', exampleCount);
  if (scores !== undefined) checkClassTensor(scores, 'scores', 'float', exampleCount);
  const perExample = (classes ?? scores)?.shape[1] ?? 0;
  if (classes !== undefined && scores !== undefined && classes.shape[1] !== scores.shape[1]) {
    throw invalid(`Tensors class and score should match in dim_size(1). Got ${classes.shape[1]} vs. ${scores.shape[1]}`);
  }
  const labels = classes === undefined ? undefined : unpackStrings(classes.bytes, exampleCount * perExample);
  const numbers = scores === undefined ? undefined : readFloats(scores, exampleCount * perExample);
  const none = new Uint8Array(0);
  return Array.from({ length: exampleCount }, (_, example) =>
    Array.from({ length: perExample }, (_, index) => {
      const at = example * perExample + index;
      return { label: labels?.[at] ?? none, score: numbers?.[at] ?? 0 };
    }),
  );
}

function checkClassTensor({ shape, dtype }: Tensor, name: string, wanted: 'string' | 'float', exampleCount: number): void {
  if (shape.length !== 2) throw invalid(`Expected Tensor shape: [batch_size num_classes] but got [${shape}]`);
  if (dtype !== wanted) throw invalid(`Expected ${name} Tensor of ${DTYPES[wanted].protoName}. Got: ${DTYPES[dtype].protoName}`);
  if (shape[0] !== exampleCount) throw invalid(`Expected ${name} output batch size of ${exampleCount}. Got: ${shape[0]}`);
}

function readValues(outputs: NamedTensors, exampleCount: number): readonly number[] {
  const values = outputs.get(VALUES);
  if (values === undefined) throw new ServeError('INTERNAL', 'the answer lacks the output "outputs", which was asked for');
  const { shape, dtype } = values;
  if ((shape.length !== 1 && shape.length !== 2) || (shape.length === 2 && shape[1] !== 1)) {
    throw invalid(`Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [${shape}]`);
  }
  if (shape[0] !== exampleCount) throw invalid(`Input batch size did not match output batch size: ${exampleCount} vs. ${shape[0]}`);
  if (dtype !== 'float') throw invalid(`Expected output Tensor of DT_FLOAT.  Got: ${DTYPES[dtype].protoName}`);
  return readFloats(values, exampleCount);
}

/** The bytes may lie at any alignment, so they are read through a view. */
function readFloats({ bytes }: Tensor, count: number): readonly number[] {
  if (bytes.byteLength !== 4 * count) throw invalid(`Expected output batch size to be ${count}.  Got: ${bytes.byteLength / 4}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: count }, (_, index) => view.getFloat32(4 * index, true));
}

function examplesTensor(examples: readonly Uint8Array[]): Tensor {
  return { dtype: 'string', shape: [examples.length], bytes: packStrings(examples) };
}

async function only<Result>(answer: Promise<readonly Result[]>): Promise<Result> {
  const [result] = await answer;
  if (result === undefined) throw new ServeError('INTERNAL', 'one plan gave no result (this is a bug)');
  return result;
}

function invalid(message: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', message);
}
