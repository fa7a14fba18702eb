/** Modules of the op ZeroOut as their authors would write them. */

/** A kernel; the element that stays is multiplied, so that one state of a module can be told from another. */
export function kernelModule(options: { readonly times?: number; readonly more?: string } = {}): string {
  const { times = 1, more = '' } = options;
  return `${more}
export default [{
  name: 'ZeroOut',
  form: 'kernel',
  outputs: [{ dtype: { like: 0 } }],
  shapes: ([shape]) => [shape],
  run: ([input]) => {
    const data = input.data.slice().fill(0, 1);
    data[0] *= ${times};
    return [{ ...input, data }];
  },
}];
`;
}

/** The same as an ONNX function. */
export const FUNCTION_MODULE = `export const ops = [{
  name: 'ZeroOut',
  form: 'onnx',
  outputs: [{ dtype: { like: 0 } }],
  inputs: ['to_zero'],
  results: ['zeroed'],
  nodes: [
    { op: 'Constant', inputs: [], outputs: ['zero'], attributes: { value_int: 0 } },
    { op: 'Constant', inputs: [], outputs: ['one'], attributes: { value_int: 1 } },
    { op: 'Size', inputs: ['to_zero'], outputs: ['size'] },
    { op: 'Range', inputs: ['zero', 'size', 'one'], outputs: ['places'] },
    { op: 'Less', inputs: ['places', 'one'], outputs: ['is_first'] },
    { op: 'Shape', inputs: ['to_zero'], outputs: ['shape'] },
    { op: 'Reshape', inputs: ['is_first', 'shape'], outputs: ['kept'] },
    { op: 'Sub', inputs: ['to_zero', 'to_zero'], outputs: ['zeros'] },
    { op: 'Where', inputs: ['kept', 'to_zero', 'zeros'], outputs: ['zeroed'] },
  ],
}];
`;
