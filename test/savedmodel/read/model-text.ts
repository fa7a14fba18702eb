/** A SavedModel in text form that has a bit of everything, and folders to read it from. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { savedModelFromText } from '../../../savedmodel/read/saved-model-text.ts';

/** Two MetaGraphs: { serve } with every kind of attribute, a function, signatures and an init op; { train } with TF1's collections. */
export const MODEL_TEXT = `
# A comment; fields with and without colons and separators, strings in parts, brackets of both kinds.
saved_model_schema_version: 1
meta_graphs {
  meta_info_def {
    stripped_op_list {
      op {
        name: "ZeroOut"
        input_arg { name: "to_zero" type: DT_INT32 }
        input_arg { name: "many" type_attr: "T" number_attr: "N" }
        output_arg { name: "zeroed" type_list_attr: "Tout" description: "not read" }
        attr { name: "T" type: "type" default_value { type: DT_FLOAT } allowed_values { list { type: [DT_FLOAT, DT_HALF] } } }
        attr { name: "N" type: "int" has_minimum: true minimum: 1 }
        is_stateful: true
      }
    }
    tags: "serve"
    tags: "gpu"
    tensorflow_version: "2.21.0"
    function_aliases { key: "a" value: "b" }
  }
  graph_def: <
    node {
      name: "const" op: "Const" device: "/cpu:0"
      attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: "\\000\\000\\200?" "\\x00\\x00\\x00\\x40" } } }
      attr { key: "dtype" value { type: DT_FLOAT } }
    };
    node {
      name: "words" op: "Const"
      attr { key: "value" value { tensor { dtype: DT_STRING tensor_shape { dim { size: 3 } } string_val: "a" string_val: 'b\\'"c' } } }
    }
    node {
      name: "big" op: "Const"
      attr { key: "value" value { tensor { dtype: DT_INT64 tensor_shape { dim { size: 2 } } int64_val: [9007199254740993, -9223372036854775808] } } }
    }
    node {
      name: "unsigned" op: "Const"
      attr { key: "value" value { tensor { dtype: DT_UINT64 tensor_shape { } uint64_val: 18446744073709551615 } } }
    }
    node {
      name: "variant" op: "Const"
      attr { key: "value" value { tensor { dtype: DT_VARIANT tensor_shape { } variant_val { type_name: "x" metadata: "y" } } } }
    }
    node {
      name: "all" op: "Everything" input: "const" input: "words:1" input: "^big"
      attr { key: "s" value { s: "bytes \\377" } }
      attr { key: "i" value { i: -5 } }
      attr { key: "f" value { f: -inf } }
      attr { key: "b" value { b: true } }
      attr { key: "zero" value { i: 0 } }
      attr { key: "ref" value { type: DT_FLOAT_REF } }
      attr { key: "shape" value { shape { dim { size: -1 name: "batch" } dim { } dim { size: 3 } } } }
      attr { key: "unknown" value { shape { unknown_rank: true } } }
      attr { key: "placeholder" value { placeholder: "T" } }
      attr { key: "func" value { func { name: "double_it" attr { key: "T" value { type: DT_INT32 } } } } }
      attr { key: "none" value { } }
      attr { key: "empty" value { list { } } }
      attr { key: "list" value { list { i: 1 i: [2, 3] f: 0.5 b: false s: "x" type: DT_BOOL shape { dim { size: 1 } } func { name: "g" } } } }
    }
    library {
      function {
        signature {
          name: "double_it"
          input_arg { name: "x" type_attr: "T" }
          output_arg { name: "y" type_attr: "T" }
          attr { name: "T" type: "type" }
          control_output: "effect"
        }
        node_def { name: "sum" op: "AddV2" input: "x" input: "x" attr { key: "T" value { placeholder: "T" } } }
        ret { key: "y" value: "sum:z:0" }
        attr { key: "_noinline" value { b: true } }
        control_ret { key: "effect" value: "sum" }
        arg_attr { key: 0 value { attr { key: "_user_specified_name" value { s: "x" } } } }
      }
      gradient { function_name: "double_it" gradient_func: "g" }
    }
    versions { producer: 1882 bad_consumers: [1, 2] }
  >
  saver_def { filename_tensor_name: "saver_filename:0" save_tensor_name: "save:0" restore_op_name: "restore" max_to_keep: 5 keep_checkpoint_every_n_hours: 10000.0 version: V2 }
  signature_def {
    key: "__saved_model_init_op"
    value { outputs { key: "__saved_model_init_op" value { name: "NoOp" tensor_shape { unknown_rank: true } } } }
  }
  signature_def {
    key: "serving_default"
    value {
      inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 name: "batch" } dim { size: 2 } } } }
      inputs {
        key: "sparse"
        value { coo_sparse { values_tensor_name: "v:0" indices_tensor_name: "i:0" dense_shape_tensor_name: "d:0" } dtype: DT_INT64 tensor_shape { dim { size: -1 } } }
      }
      inputs { key: "k" value { name: "k:0" dtype: DT_INT32 tensor_shape { } } }
      outputs { key: "y" value { name: "y:1" dtype: DT_FLOAT tensor_shape { unknown_rank: true } } }
      method_name: "tensorflow/serving/predict"
      defaults { key: "k" value { dtype: DT_INT32 tensor_shape { } int_val: 7 } }
    }
  }
  asset_file_def { tensor_info { name: "asset:0" } filename: "vocab/words.txt" }
  object_graph_def { nodes { children { node_id: 1 local_name: "v" } user_object { identifier: "_tf_keras_model" metadata: "{}" } } nodes: { } }
}
meta_graphs {
  meta_info_def { tags: "train" tensorflow_version: "1.4.0" }
  graph_def { node { name: "init" op: "NoOp" } }
  collection_def { key: "legacy_init_op" value { node_list { value: "init" } } }
  collection_def { key: "trainable_variables" value { bytes_list { value: "\\n\\003a:0" } } }
  collection_def {
    key: "saved_model_assets"
    value { any_list {
      value { type_url: "type.googleapis.com/tensorflow.AssetFileDef" value: "\\n\\t\\n\\007Const:0\\022\\007foo.txt" }
      value { [type.googleapis.com/tensorflow.AssetFileDef] { tensor_info { name: "Const_1:0" } filename: "bar.txt" } }
    } }
  }
}
`;

/** Writes a model as `saved_model.pbtxt`, or as `saved_model.pb`; gives the folder. */
export function writeModel(folder: string, text: string, form: 'pb' | 'pbtxt'): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `saved_model.${form}`), form === 'pb' ? savedModelFromText(text) : text);
  return folder;
}
