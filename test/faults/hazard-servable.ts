/** A servable that an input can make deadly: y = -x, except for three numbers. */
import type { ServableAdapter } from '../../extend/index.ts';

const LINE: ServableAdapter = () => ({
  estimate: () => 1024,
  load: () => ({
    signatures: {
      serving_default: {
        inputs: { x: { dtype: 'float', shape: [-1] } },
        outputs: { y: { dtype: 'float', shape: [-1] } },
        batchable: true,
      },
    },
    run(_signature, inputs) {
      const x = inputs.x?.data as Float32Array;
      // The numbers of `HAZARD` in models.ts: what runs in a worker stands alone.
      if (x.includes(1_000_000)) process.kill(process.ppid, 'SIGKILL');
      if (x.includes(2_000_000)) process.kill(process.pid, 'SIGSEGV');
      if (x.includes(3_000_000)) throw new Error('three million is too much');
      return { y: { dtype: 'float', shape: [x.length], data: x.map((value) => -value) } };
    },
  }),
});

export default LINE;
