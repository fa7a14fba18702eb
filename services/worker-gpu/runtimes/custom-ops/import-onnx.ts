/** The importer of ONNX models with custom ops: it runs in a thread of its own, since modules of custom ops are code of users. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { ServeError } from '#mesh/errors.ts';
import { type OnnxParts, readOnnxParts } from '#proto/onnx-parts.ts';
import { ONNX_TYPE } from '#proto/onnx-types.ts';
import { buildFunctions } from '#proto/onnx-writer.ts';
import type { ImportOrder } from '../../../../savedmodel/cache/import-in-thread.ts';
import { functionsOf } from '../../../../savedmodel/ops/function-call.ts';
import { loadOpLibrary, type OnUserCode } from '../../../../savedmodel/ops/load-op-library.ts';
import { isFunctionOp, isKernelOp, type LibraryOp, NO_OPS, type OpLibraryIndex } from '../../../../savedmodel/ops/op-library.ts';
import { DataFile } from '../../../../savedmodel/plan/data-file.ts';
import {
  CONSTANTS_FILE,
  PLAN_FILE,
  PLAN_VERSION,
  type Plan,
  type Program,
  type SegmentPlan,
  type SignaturePlan,
} from '../../../../savedmodel/plan/plan.ts';
import { toLoadError } from '../onnx-errors.ts';
import { DTYPE_OF } from '../onnx-graph.ts';
import { type CustomNode, customNodes, nodeName } from './custom-nodes.ts';
import { cutModel } from './cut-model.ts';
import { functionsFile } from './functions-file.ts';

const CONSTANTS_ALIGNMENT = 8;
const NO_PROGRAM: Program = { slotCount: 0, inputs: [], outputs: [], steps: [] };

/**
 * Makes a plan of the model files with custom ops in a version folder: `order.files`. Its signatures are named for them, with the graph's inputs and outputs
 * as their own. One whose custom ops are all functions has no program: the functions are to be appended to the model. Rejects with ServeError that names file,
 * op and node.
 */
export async function importSavedModel(order: ImportOrder & { readonly onUserCode: OnUserCode }): Promise<Plan> {
  const { folder, into, files = [], modules } = order;
  const library = modules === undefined ? NO_OPS : await loadOpLibrary(modules, order.onUserCode);
  const constants = new DataFile(CONSTANTS_ALIGNMENT);
  const segments: SegmentPlan[] = [];
  const signatures: Record<string, SignaturePlan> = {};
  const used = new Set<LibraryOp>();
  for (const file of files) {
    const path = join(folder, file);
    const parts = readOnnxParts(await readFile(path));
    const ops = opsOf(path, customNodes(parts), library);
    for (const op of ops) used.add(op);
    const needed = functionsOf([...ops].filter(isFunctionOp), library);
    const functions = buildFunctions(needed, parts.opset, importedDomains(parts));
    let program = NO_PROGRAM;
    if ([...ops].some(isKernelOp)) {
      program = await cutModel(parts, {
        file: path,
        functions,
        constants,
        kernelOf: ({ domain, op }) => [library.byDomain(domain, op)].filter((one) => one !== undefined).find(isKernelOp),
        async addSegment(model, plan) {
          const name = `segment-${segments.length}.onnx`;
          await writeFile(join(into, name), model, { flag: 'wx' });
          segments.push({ ...plan, file: name });
          return segments.length - 1;
        },
        outputTypes: (model) => outputTypes(path, model, folder),
      });
    } else await writeFile(join(into, functionsFile(file)), functions, { flag: 'wx' });
    const batchable = [...ops].every(({ definition }) => definition.batchable === true);
    signatures[file] = { signature: { method: '', inputs: {}, outputs: {}, batchable }, stateful: false, program, refusal: null };
  }
  await constants.write(into, CONSTANTS_FILE, { onBytes: () => {} });
  const ops = [...used].map(({ definition, domain, module }) => ({
    name: definition.name,
    domain,
    form: definition.form,
    module: module.digest,
  }));
  const plan: Plan = {
    version: PLAN_VERSION,
    signatures,
    segments,
    constants: constants.entries,
    tables: [],
    variables: [],
    remarks: [],
    ops,
  };
  await writeFile(join(into, PLAN_FILE), JSON.stringify(plan), { flag: 'wx' });
  return plan;
}

/** The ops of a model's custom nodes. */
function opsOf(path: string, nodes: readonly CustomNode[], library: OpLibraryIndex): ReadonlySet<LibraryOp> {
  const ops = new Set<LibraryOp>();
  for (const { node, isTop } of nodes) {
    const where = `${path}: node ${nodeName(node)} of the op ${node.domain}.${node.op}`;
    const op = library.byDomain(node.domain, node.op);
    if (op === undefined) {
      throw new ServeError('UNIMPLEMENTED', `${where}: no op library has it (--op_library names them, see docs/custom-op.md)`);
    }
    if (!isTop && isKernelOp(op)) {
      throw new ServeError(
        'UNIMPLEMENTED',
        `${where} stands in a graph inside another (the body of an If, Loop or Scan, or a function), where a kernel cannot run: give it the form 'onnx'`,
      );
    }
    ops.add(op);
  }
  return ops;
}

function importedDomains(parts: OnnxParts): ReadonlySet<string> {
  return new Set(parts.opsets.keys());
}

/** What onnxruntime says of a model's outputs. */
async function outputTypes(path: string, model: Uint8Array, folder: string): Promise<ReadonlyMap<string, number>> {
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(model, {
      graphOptimizationLevel: 'disabled',
      intraOpNumThreads: 1,
      logSeverityLevel: 4,
      extra: { session: { model_external_initializers_file_folder_path: folder } },
    });
  } catch (caught) {
    throw toLoadError(path, caught);
  }
  const types = session.outputMetadata.flatMap((value): [string, number][] => {
    const dtype = value.isTensor ? DTYPE_OF[value.type] : undefined;
    return dtype === undefined ? [] : [[value.name, ONNX_TYPE[dtype]]];
  });
  await session.release();
  return new Map(types);
}
