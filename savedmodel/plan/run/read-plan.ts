/** Reads `plan.json`. A plan folder may come from a cache or another machine: everything that steps index by is checked here, once. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, elementCount } from '#mesh/tensor.ts';
import { PLAN_FILE, PLAN_VERSION, type Plan } from '../plan.ts';
import { Json } from './json-shape.ts';

/**
 * The plan of a folder. Throws ServeError naming the file: DATA_LOSS when it is missing, no JSON or not a plan (and where in it),
 * INVALID_ARGUMENT for a plan of another version.
 */
export async function readPlan(planFolder: string): Promise<Plan> {
  const file = join(planFolder, PLAN_FILE);
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch (caught) {
    throw new ServeError('DATA_LOSS', `${file} cannot be read as a plan: ${caught}`, { cause: caught });
  }
  try {
    return checkPlan(parsed, file);
  } catch (caught) {
    if (!(caught instanceof TypeError)) throw caught;
    throw new ServeError('DATA_LOSS', `${file} is damaged: ${caught.message}`, { cause: caught });
  }
}

/** How many of each there are, for indices. */
interface Counts {
  readonly constants: number;
  readonly tables: number;
  readonly variables: number;
  readonly segments: number;
}

function checkPlan(parsed: unknown, file: string): Plan {
  const plan = new Json(parsed, '');
  const version = plan.field('version').whole();
  if (version !== PLAN_VERSION) {
    throw new ServeError('INVALID_ARGUMENT', `${file} is a plan of version ${version}, version ${PLAN_VERSION} was expected`);
  }
  const constants = plan.field('constants').items(checkConstant);
  const tables = plan.field('tables').items((table) => checkTable(table, constants));
  const variables = plan.field('variables').items((variable) => {
    variable.field('name').text();
    variable.field('dtype').dtype();
    variable.field('initial').nullable((initial) => initial.index(constants, 'constants'));
  });
  const segments = plan.field('segments').items(checkSegment);
  plan.field('remarks').items((remark) => remark.text());
  if (plan.object().ops !== undefined) {
    plan.field('ops').items((op) => {
      for (const name of ['name', 'domain', 'module']) op.field(name).text();
      op.field('form').oneOf(['kernel', 'onnx']);
    });
  }
  plan.field('signatures').fields((signature) => {
    checkSignature(signature.field('signature'));
    signature.field('stateful').boolean();
    signature.field('refusal').nullable((refusal) => refusal.text());
    checkProgram(signature.field('program'), { constants, tables, variables, segments });
  });
  return parsed as Plan;
}

function checkConstant(constant: Json): void {
  const dtype = constant.field('dtype').dtype();
  const count = elementCount(constant.field('shape').shape(0));
  const offset = constant.field('offset');
  if (offset.whole() % 8 !== 0) throw offset.wrong('a multiple of 8');
  const byteLength = constant.field('byteLength');
  const bytes = byteLength.whole();
  const { byteSize } = DTYPES[dtype];
  if (byteSize === 0 ? bytes < 4 * (count + 1) : bytes !== count * byteSize) {
    throw byteLength.wrong(`${byteSize === 0 ? `${4 * (count + 1)} or more` : count * byteSize}, for its dtype and shape`);
  }
}

function checkTable(table: Json, constants: number): void {
  for (const name of ['name', 'op']) table.field(name).text();
  for (const name of ['keyDtype', 'valueDtype']) table.field(name).dtype();
  table.field('written').boolean();
  table.field('sources').items((source) => {
    if (source.field('type').oneOf(['tensors', 'text-file']) === 'tensors') {
      for (const name of ['keys', 'values']) source.field(name).index(constants, 'constants');
      return;
    }
    for (const name of ['fileName', 'delimiter']) source.field(name).text();
    for (const name of ['keyIndex', 'valueIndex', 'vocabSize', 'offset']) source.field(name).whole(Number.MIN_SAFE_INTEGER);
  });
}

function checkSegment(segment: Json): void {
  const file = segment.field('file');
  // It is joined to the plan's folder.
  if (!/^[\w-][\w.-]*$/.test(file.text())) throw file.wrong('the name of a file in the folder');
  segment.field('nodeCount').whole();
  for (const side of ['inputs', 'outputs']) {
    segment.field(side).items((value) => {
      value.field('name').text();
      value.field('dtype').dtype();
      value.field('shape').nullable((shape) => shape.shape(-1));
    });
  }
}

function checkSignature(signature: Json): void {
  signature.field('method').text();
  signature.field('batchable').boolean();
  for (const side of ['inputs', 'outputs']) {
    signature.field(side).fields((spec) => {
      spec.field('dtype').dtype();
      spec.field('tensorName').text();
      for (const name of ['shape', 'accepts']) spec.field(name).nullable((shape) => shape.shape(-1));
    });
  }
}

function checkProgram(program: Json, counts: Counts): void {
  const check = new ProgramCheck(program.field('slotCount').whole(0, 1 << 24), counts);
  program.field('inputs').items((input) => {
    input.field('alias').text();
    input.field('dtype').dtype();
    check.slot(input.field('slot'));
  });
  check.steps(program.field('steps'));
  program.field('outputs').items((output) => {
    output.field('alias').text();
    output.field('dtype').dtype();
    check.operand(output.field('value'));
  });
}

/** Checks steps against the number of slots and of what operands may name. */
class ProgramCheck {
  readonly #slotCount: number;
  readonly #counts: Counts;

  constructor(slotCount: number, counts: Counts) {
    this.#slotCount = slotCount;
    this.#counts = counts;
  }

  slot(slot: Json): void {
    slot.index(this.#slotCount, 'slots');
  }

  operand(operand: Json): void {
    const { slot, constant, table, variable } = operand.object();
    if (slot !== undefined) this.slot(operand.field('slot'));
    else if (constant !== undefined) operand.field('constant').index(this.#counts.constants, 'constants');
    else if (table !== undefined) operand.field('table').index(this.#counts.tables, 'tables');
    else if (variable !== undefined) operand.field('variable').index(this.#counts.variables, 'variables');
    else throw operand.wrong('a slot, a constant, a table or a variable');
  }

  steps(steps: Json): void {
    steps.items((step) => this.#step(step));
  }

  #step(step: Json): void {
    const type = step.field('type').oneOf(['onnx', 'host', 'while', 'branch']);
    if (type !== 'onnx') {
      step.field('node').text();
      step.field('effect').boolean();
    }
    if (type === 'onnx') this.#onnx(step);
    else if (type === 'host') this.#host(step);
    else if (type === 'while') this.#while(step);
    else this.#branch(step);
  }

  #onnx(step: Json): void {
    step.field('segment').index(this.#counts.segments, 'segments');
    step.field('inputs').items((input) => {
      input.field('name').text();
      this.operand(input.field('value'));
    });
    step.field('outputs').items((output) => {
      output.field('name').text();
      this.slot(output.field('slot'));
    });
  }

  #host(step: Json): void {
    step.field('op').text();
    if (step.object().place !== undefined) step.field('place').text();
    step.field('attrs').fields(checkAttr);
    step.field('inputs').items((operand) => this.operand(operand));
    step.field('outputs').items((slot) => slot.nullable((one) => this.slot(one)));
  }

  #while(step: Json): void {
    step.field('carried').items((carried) => {
      this.operand(carried.field('initial'));
      this.operand(carried.field('next'));
      this.slot(carried.field('slot'));
      carried.field('result').nullable((result) => this.slot(result));
    });
    this.steps(step.field('condition').field('steps'));
    this.operand(step.field('condition').field('value'));
    this.steps(step.field('body'));
  }

  #branch(step: Json): void {
    const kind = step.field('kind').oneOf(['if', 'case']);
    this.operand(step.field('selector'));
    const outputs = step.field('outputs').items((slot) => slot.nullable((one) => this.slot(one)));
    const branches = step.field('branches');
    const count = branches.items((branch) => {
      this.steps(branch.field('steps'));
      const results = branch.field('results');
      if (results.items((operand) => this.operand(operand)) !== outputs) throw results.wrong(`${outputs} operands, one for each output`);
    });
    if (kind === 'if' ? count !== 2 : count === 0) throw branches.wrong(kind === 'if' ? 'two branches' : 'one branch or more');
  }
}

function checkAttr(attr: Json): void {
  const type = attr.field('type').oneOf(['string', 'int', 'dtype', 'bigint', 'float', 'bool', 'shape', 'tensor', 'list']);
  const value = attr.field('value');
  switch (type) {
    case 'string':
      attr.field('base64').text();
      return;
    case 'int':
    case 'dtype':
      value.whole(Number.MIN_SAFE_INTEGER);
      return;
    case 'bigint':
      if (!/^-?\d+$/.test(value.text())) throw value.wrong('the digits of a whole number');
      return;
    case 'float':
      if (typeof value.value !== 'number' && !/^(NaN|-?Infinity|-0)$/.test(value.text())) throw value.wrong('a number');
      return;
    case 'bool':
      value.boolean();
      return;
    case 'shape':
      value.nullable((shape) => shape.shape(-1));
      return;
    case 'tensor':
      attr.field('dtype').dtype();
      attr.field('shape').shape(0);
      attr.field('base64').text();
      return;
    case 'list':
      attr.field('values').items(checkAttr);
      return;
  }
}
