/** `saved_model.pbtxt`: what the text form of a SavedModel needs to know of its messages, as far as they are read. */
import { TEXT_ANY, type TextMessage, textToWire } from './text-to-wire.ts';

const DIM: TextMessage = { size: [1, 'int'], name: [2, 'bytes'] };
const SHAPE: TextMessage = { dim: [2, () => DIM], unknown_rank: [3, 'bool'] };
const TENSOR: TextMessage = {
  dtype: [1, 'dtype'],
  tensor_shape: [2, () => SHAPE],
  version_number: [3, 'int'],
  tensor_content: [4, 'bytes'],
  float_val: [5, 'float'],
  double_val: [6, 'double'],
  int_val: [7, 'int'],
  string_val: [8, 'bytes'],
  scomplex_val: [9, 'float'],
  int64_val: [10, 'int'],
  bool_val: [11, 'bool'],
  dcomplex_val: [12, 'double'],
  half_val: [13, 'int'],
  uint32_val: [16, 'int'],
  uint64_val: [17, 'int'],
};
const ATTR_LIST: TextMessage = {
  s: [2, 'bytes'],
  i: [3, 'int'],
  f: [4, 'float'],
  b: [5, 'bool'],
  type: [6, 'dtype'],
  shape: [7, () => SHAPE],
  tensor: [8, () => TENSOR],
  func: [9, () => NAME_ATTR_LIST],
};
const ATTR_VALUE: TextMessage = {
  list: [1, () => ATTR_LIST],
  s: [2, 'bytes'],
  i: [3, 'int'],
  f: [4, 'float'],
  b: [5, 'bool'],
  type: [6, 'dtype'],
  shape: [7, () => SHAPE],
  tensor: [8, () => TENSOR],
  placeholder: [9, 'bytes'],
  func: [10, () => NAME_ATTR_LIST],
};
const ATTR_ENTRY = entryOf(() => ATTR_VALUE);
const NAME_ATTR_LIST: TextMessage = { name: [1, 'bytes'], attr: [2, () => ATTR_ENTRY] };
const NODE: TextMessage = { name: [1, 'bytes'], op: [2, 'bytes'], input: [3, 'bytes'], device: [4, 'bytes'], attr: [5, () => ATTR_ENTRY] };
const ARG: TextMessage = {
  name: [1, 'bytes'],
  description: [2, 'bytes'],
  type: [3, 'dtype'],
  type_attr: [4, 'bytes'],
  number_attr: [5, 'bytes'],
  type_list_attr: [6, 'bytes'],
};
const OP_ATTR: TextMessage = { name: [1, 'bytes'], type: [2, 'bytes'], default_value: [3, () => ATTR_VALUE] };
const OP: TextMessage = { name: [1, 'bytes'], input_arg: [2, () => ARG], output_arg: [3, () => ARG], attr: [4, () => OP_ATTR] };
const OP_LIST: TextMessage = { op: [1, () => OP] };
const TEXT_ENTRY: TextMessage = { key: [1, 'bytes'], value: [2, 'bytes'] };
const FUNCTION: TextMessage = {
  signature: [1, () => OP],
  node_def: [3, () => NODE],
  ret: [4, () => TEXT_ENTRY],
  attr: [5, () => ATTR_ENTRY],
  control_ret: [6, () => TEXT_ENTRY],
};
const LIBRARY: TextMessage = { function: [1, () => FUNCTION] };
const GRAPH: TextMessage = { node: [1, () => NODE], library: [2, () => LIBRARY] };
const SPARSE: TextMessage = { values_tensor_name: [1, 'bytes'], indices_tensor_name: [2, 'bytes'], dense_shape_tensor_name: [3, 'bytes'] };
const TENSOR_INFO: TextMessage = {
  name: [1, 'bytes'],
  dtype: [2, 'dtype'],
  tensor_shape: [3, () => SHAPE],
  coo_sparse: [4, () => SPARSE],
};
const INFO_ENTRY = entryOf(() => TENSOR_INFO);
const SIGNATURE: TextMessage = {
  inputs: [1, () => INFO_ENTRY],
  outputs: [2, () => INFO_ENTRY],
  method_name: [3, 'bytes'],
  defaults: [4, () => entryOf(() => TENSOR)],
};
const ASSET: TextMessage = { tensor_info: [1, () => TENSOR_INFO], filename: [2, 'bytes'] };
const TEXT_LIST: TextMessage = { value: [1, 'bytes'] };
const ANY_LIST: TextMessage = { value: [1, () => TEXT_ANY] };
const COLLECTION: TextMessage = { node_list: [1, () => TEXT_LIST], bytes_list: [2, () => TEXT_LIST], any_list: [5, () => ANY_LIST] };
const INFO: TextMessage = { stripped_op_list: [2, () => OP_LIST], tags: [4, 'bytes'], tensorflow_version: [5, 'bytes'] };
const SAVER: TextMessage = { filename_tensor_name: [1, 'bytes'], save_tensor_name: [2, 'bytes'], restore_op_name: [3, 'bytes'] };
const META_GRAPH: TextMessage = {
  meta_info_def: [1, () => INFO],
  graph_def: [2, () => GRAPH],
  saver_def: [3, () => SAVER],
  collection_def: [4, () => entryOf(() => COLLECTION)],
  signature_def: [5, () => entryOf(() => SIGNATURE)],
  asset_file_def: [6, () => ASSET],
};
/** The whole file, as far as it is read. */
export const SAVED_MODEL_TEXT: TextMessage = { saved_model_schema_version: [1, 'int'], meta_graphs: [2, () => META_GRAPH] };
const ANY_TYPES: ReadonlyMap<string, TextMessage> = new Map([['tensorflow.AssetFileDef', ASSET]]);

/** The binary form of a text. Throws ServeError INVALID_ARGUMENT `line L, column C: WHAT`. */
export function savedModelFromText(text: string): Uint8Array {
  return textToWire(text, SAVED_MODEL_TEXT, ANY_TYPES);
}

function entryOf(value: () => TextMessage): TextMessage {
  return { key: [1, 'bytes'], value: [2, value] };
}
