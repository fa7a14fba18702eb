import { loadOpLibrary } from '../ops/load-op-library.ts';
import { findOpModules } from '../ops/op-modules.ts';
import { buildPlan } from '../plan/build-plan.ts';
import { HOST_STEP_OPS, ONNX_OPS } from '../plan/supported-ops.ts';
import { runInspect } from './index.ts';

const { exitCode, output, errors } = await runInspect(process.argv.slice(2), async (source, opLibrary) => {
  const library = await loadOpLibrary({ model: [], configured: await findOpModules(opLibrary) });
  return buildPlan(source, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS, library });
});
// Timers of an op library would keep the process for ever.
process.stdout.write(output, () => process.stderr.write(errors, () => process.exit(exitCode)));
