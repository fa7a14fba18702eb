/** A servable on a device elsewhere: y = 2x after 10 ms and 3 ms a row, in which no processor of this machine is busy. */
import type { ServableAdapter } from '../../extend/index.ts';

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
      await new Promise((resolve) => setTimeout(resolve, 10 + 3 * x.length));
      return { y: { dtype: 'float', shape: [x.length], data: x.map((value) => 2 * value) } };
    },
  }),
});

export default DEVICE;
