import { buildPlan } from '../plan/build-plan.ts';
import { HOST_STEP_OPS, ONNX_OPS } from '../plan/supported-ops.ts';
import { runInspect } from './index.ts';

const { exitCode, output, errors } = await runInspect(process.argv.slice(2), (source) =>
  buildPlan(source, { onnxOps: ONNX_OPS, hostOps: HOST_STEP_OPS }),
);
process.stdout.write(output);
process.stderr.write(errors);
process.exitCode = exitCode;
