/**
 * A servable on a device elsewhere: y = 2x after 20 ms a batch, in which no processor of this machine is busy. So a mesh on two cores shows what
 * four devices would give. Loaded with `--servable_modules`.
 */
import type { ServableAdapter } from '../../extend/index.ts';

const BATCH_MS = 20;

const DEVICE: ServableAdapter = () => ({
  estimate: () => 1024,
  load: () => ({
    signatures: {
      serving_default: {
        inputs: { x: { dtype: 'float', shape: [-1] } },
        outputs: { y: { dtype: 'float', shape: [-1] } },
        batchable: true,
      },
    },
    async run(_signature, inputs) {
      const x = inputs.x?.data as Float32Array;
      await new Promise((resolve) => setTimeout(resolve, BATCH_MS));
      return { y: { dtype: 'float', shape: [x.length], data: x.map((value) => 2 * value) } };
    },
  }),
});

export default DEVICE;
