#!/usr/bin/env python3
"""Makes small SavedModels that each show one pattern of real exports, with TensorFlow's answers beside them.

Run by hand where TensorFlow is installed (made with tensorflow-cpu 2.21.0; the project itself never needs it):

    python3 scripts/pattern-goldens.py [pattern ...]

Each goes to test/savedmodel/goldens/patterns/<name>/1 with golden.json in <name>; the format is in test/savedmodel/goldens/README.md.
Answers come from a session on the model as it lies on the disk, in the order in which they are listed. Weights have fixed seeds;
what TensorFlow puts in names and fingerprints differs from run to run, the answers do not.
"""
import base64
import glob
import json
import os
import shutil
import sys
import zlib

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

v1 = tf.compat.v1
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "savedmodel", "goldens", "patterns")
LIMIT = 80_000  # only the Bidirectional LSTM needs more than 60_000
PREDICT = "tensorflow/serving/predict"
PATTERNS = {}
rng = np.random.default_rng(0)


def pattern(function):
    PATTERNS[function.__name__] = function
    return function


def F(*shape, lo=-1.0, hi=1.0):
    return rng.uniform(lo, hi, shape).astype(np.float32)


def I(*shape, lo=0, hi=10, dtype=np.int32):
    return rng.integers(lo, hi, shape).astype(dtype)


def S(*values):
    return np.array([v if isinstance(v, bytes) else v.encode() for v in values], object)


# ---- writing --------------------------------------------------------------------------------------------------------------


def tensor_json(array):
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        parts = [p if isinstance(p, bytes) else str(p).encode() for p in array.reshape(-1).tolist()]
        return {"dtype": "DT_STRING", "shape": list(array.shape), "b64s": [base64.b64encode(p).decode() for p in parts]}
    name = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF"}.get(array.dtype.name, array.dtype.name.upper())
    return {"dtype": "DT_" + name, "shape": list(array.shape), "b64": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()}


def pb_path(name):
    return os.path.join(OUT, name, "1", "saved_model.pb")


def edit(name, change):
    """Rewrites saved_model.pb after `change` has had the message."""
    message = saved_model_pb2.SavedModel()
    with open(pb_path(name), "rb") as file:
        message.ParseFromString(file.read())
    change(message)
    with open(pb_path(name), "wb") as file:
        file.write(message.SerializeToString(deterministic=True))


def prune(message):
    """Drops how the model is saved, the functions that nothing reaches (what training left: gradients), and recorded shapes."""
    for meta in message.meta_graphs:
        save = meta.saver_def.save_tensor_name.split(":")[0]
        kept = [node for node in meta.graph_def.node if node.name != save]
        if any(node.name == save and node.op == "StatefulPartitionedCall" for node in meta.graph_def.node):
            del meta.graph_def.node[:]
            meta.graph_def.node.extend(kept)
            read = {i.lstrip("^").split(":")[0] for node in kept for i in node.input}
            meta.saver_def.save_tensor_name = meta.saver_def.filename_tensor_name
            assert meta.saver_def.filename_tensor_name.split(":")[0] in read
        functions = {f.signature.name: f for f in meta.graph_def.library.function}
        todo, reached = list(meta.graph_def.node), set()
        while todo:
            node = todo.pop()
            node.attr.pop("_output_shapes", None)
            names = [node.op]
            for attr in node.attr.values():
                names += [attr.func.name] if attr.HasField("func") else []
                names += [f.name for f in attr.list.func]
            for each in names:
                if each in functions and each not in reached:
                    reached.add(each)
                    todo.extend(functions[each].node_def)
        kept = [f for f in meta.graph_def.library.function if f.signature.name in reached]
        for function in kept:
            for node in function.node_def:
                node.ClearField("experimental_debug_info")
            for key in ["_output_shapes", "forward_function_name", "backward_function_name"]:
                function.attr.pop(key, None)
            for arg in function.arg_attr.values():
                arg.attr.pop("_output_shapes", None)
                arg.attr.pop("_user_specified_name", None)
        del meta.graph_def.library.function[:]
        meta.graph_def.library.function.extend(kept)
        del meta.graph_def.library.gradient[:]


def answer(name, calls, tags=("serve",), tolerance=None, other=()):
    """Asks TensorFlow each (signature, inputs) in turn and writes golden.json."""
    folder = os.path.join(OUT, name)
    version = os.path.join(folder, "1")
    shutil.rmtree(os.path.join(version, "debug"), ignore_errors=True)
    for stray in ["fingerprint.pb", "assets.extra", "keras_metadata.pb"]:
        path = os.path.join(version, stray)
        if os.path.isfile(path):
            os.remove(path)
    if os.path.isfile(pb_path(name)) and os.path.getsize(pb_path(name)) > 30_000:
        edit(name, prune)
    golden = {"slug": name, "tensorflow": tf.__version__, "tags": list(tags), "signatures": ask(version, calls, tags, tolerance)}
    if other:
        golden["other_tags"] = [{"tags": list(more), "signatures": ask(version, calls, more, tolerance)} for more in other]
    with open(os.path.join(folder, "golden.json"), "w") as file:
        json.dump(golden, file, separators=(",", ":"))
    size = sum(os.path.getsize(p) for p in glob.glob(os.path.join(version, "**"), recursive=True) if os.path.isfile(p))
    errors = [s["error"][:90] for s in golden["signatures"] if "error" in s]
    print(f"{name}: {size} bytes, {len(golden['signatures'])} answers{', TOO LARGE' if size > LIMIT else ''}{' errors: ' + str(errors) if errors else ''}", flush=True)


def ask(version, calls, tags, tolerance):
    """The answers of one MetaGraph to `calls`, in order, in one session."""
    signatures = []
    with v1.Session(graph=tf.Graph(), config=v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)) as sess:
        meta = v1.saved_model.load(sess, list(tags), version)
        for key, inputs in calls:
            signature = meta.signature_def[key]
            entry = {"signature": key, "method_name": signature.method_name, "inputs": {k: tensor_json(v) for k, v in inputs.items()}}
            feed = {}
            for alias, info in signature.inputs.items():
                if info.WhichOneof("encoding") == "coo_sparse":
                    for field, part in [("values_tensor_name", "values"), ("indices_tensor_name", "indices"), ("dense_shape_tensor_name", "dense_shape")]:
                        feed[getattr(info.coo_sparse, field)] = inputs[f"{alias}/{part}"]
                elif alias in inputs:
                    feed[info.name] = inputs[alias]
                else:
                    feed[info.name] = tf.make_ndarray(signature.defaults[alias])
            try:
                names = sorted(signature.outputs)
                out = sess.run([signature.outputs[n].name for n in names], feed)
                entry["outputs"] = {n: tensor_json(o) for n, o in zip(names, out)}
            except tf.errors.OpError as problem:
                text = problem.message.split("\nNode: ", 1)[-1].split("\n", 1)[-1] if "\nNode: " in problem.message else problem.message
                entry["error"] = text.removeprefix("Graph execution error:\n\n").split("\n\t [[")[0].strip()
            if tolerance is not None:
                entry["tolerance"] = tolerance
            signatures.append(entry)
    return signatures


def fresh(name):
    shutil.rmtree(os.path.join(OUT, name), ignore_errors=True)
    os.makedirs(os.path.join(OUT, name))
    return os.path.join(OUT, name, "1")


def tf1(name, build, calls, as_text=False, tags=("serve",), extra=None, control_flow_v2=False, resource=True, tolerance=None, remove=(), other=()):
    """`build()` makes the graph and returns {key: (inputs, outputs) or SignatureDef}; `extra(builder, sess)` may add MetaGraphs."""
    path = fresh(name)
    graph = tf.Graph()
    (v1.enable_control_flow_v2 if control_flow_v2 else v1.disable_control_flow_v2)()
    with graph.as_default(), v1.variable_scope("", use_resource=resource), v1.Session(graph=graph) as sess:
        signatures = {}
        for key, made in build().items():
            if isinstance(made, tuple):
                infos = [{k: v1.saved_model.build_tensor_info(t) for k, t in part.items()} for part in made]
                made = v1.saved_model.signature_def_utils.build_signature_def(*infos, PREDICT)
            signatures[key] = made
        sess.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(sess, list(tags), signature_def_map=signatures, assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS), main_op=v1.tables_initializer(), strip_default_attrs=True)
        if extra:
            extra(builder, sess)
        builder.save(as_text=as_text)
        for asset in remove:  # so that the answers come from the copies below assets/
            os.remove(asset)
    answer(name, calls, tags, tolerance, other)


def tf2(name, module, signatures, calls, tolerance=None, change=None):
    path = fresh(name)
    v1.enable_control_flow_v2()
    tf.saved_model.save(module, path, signatures=signatures)
    if change:
        edit(name, change)
    answer(name, calls, tolerance=tolerance)


def spec(*shape, dtype=tf.float32, name=None):
    return tf.TensorSpec(list(shape), dtype, name=name)


def function(*specs):
    return tf.function(input_signature=list(specs), autograph=False)


def example(**features):
    message = tf.train.Example()
    for key, value in features.items():
        feature = message.features.feature[key]
        value = value if isinstance(value, (list, np.ndarray)) else [value]
        if len(value) and isinstance(value[0], (bytes, str)):
            feature.bytes_list.value.extend(v.encode() if isinstance(v, str) else v for v in value)
        elif len(value) and isinstance(value[0], (int, np.integer)):
            feature.int64_list.value.extend(int(v) for v in value)
        else:
            feature.float_list.value.extend(float(v) for v in value)
    return message.SerializeToString(deterministic=True)


# ---- TF1: Switch/Merge, frames, TensorArray, dynamic_rnn ------------------------------------------------------------------


@pattern
def tf1_cond(name):
    def build():
        x = v1.placeholder(tf.float32, [None, 3], "x")
        flag = v1.placeholder(tf.bool, [], "flag")
        w = v1.get_variable("w", initializer=F(3, 2))
        outer = v1.cond(flag, lambda: tf.matmul(x, w), lambda: v1.cond(tf.reduce_sum(x) > 0, lambda: x[:, :2] * 2.0, lambda: x[:, 1:] - 1.0))
        two = v1.cond(tf.shape(x)[0] > 2, lambda: (x, tf.constant(1)), lambda: (-x, tf.shape(x)[0]))
        return {"serving_default": ({"x": x, "flag": flag}, {"y": outer, "z": two[0], "n": two[1]})}
    tf1(name, build, [("serving_default", {"x": x, "flag": np.array(flag)}) for x, flag in [(F(2, 3), True), (F(4, 3, lo=0), False), (F(1, 3, hi=0), False)]])


@pattern
def tf1_while(name):
    def build():
        x = v1.placeholder(tf.float32, [None, 2], "x")
        steps = v1.placeholder(tf.int32, [], "steps")
        w = v1.get_variable("w", initializer=F(2, 2))
        total = v1.while_loop(lambda i, a: i < steps, lambda i, a: (i + 1, tf.tanh(tf.matmul(a, w)) + x), [tf.constant(0), x])
        until = v1.while_loop(lambda v: tf.reduce_sum(v) < 50.0, lambda v: v * 2.0, [tf.abs(x) + 0.1])
        return {"serving_default": ({"x": x, "steps": steps}, {"i": total[0], "y": total[1], "until": until})}
    tf1(name, build, [("serving_default", {"x": F(n, 2), "steps": np.int32(k)}) for n, k in [(1, 3), (3, 0), (2, 5)]])


@pattern
def tf1_nested_while(name):
    def build():
        n = v1.placeholder(tf.int32, [], "n")
        x = v1.placeholder(tf.float32, [None], "x")

        def outer(i, a):
            inner = v1.while_loop(lambda j, b: j < i, lambda j, b: (j + 1, b + x * tf.cast(j + 1, tf.float32)), [0, a])
            return i + 1, v1.cond(tf.equal(i % 2, 0), lambda: inner[1] * 0.5, lambda: inner[1])
        out = v1.while_loop(lambda i, a: i < n, outer, [0, tf.zeros_like(x)])
        return {"serving_default": ({"n": n, "x": x}, {"y": out[1]})}
    tf1(name, build, [("serving_default", {"n": np.int32(n), "x": F(k)}) for n, k in [(4, 3), (0, 2), (5, 1)]])


@pattern
def tf1_tensor_array(name):
    def build():
        x = v1.placeholder(tf.float32, [None, 2], "x")
        count = tf.shape(x)[0]
        source = tf.TensorArray(tf.float32, count, clear_after_read=False).unstack(x)
        squares = tf.TensorArray(tf.float32, count, clear_after_read=False)
        _, squares, last = v1.while_loop(lambda i, *_: i < count, lambda i, ta, s: (i + 1, ta.write(count - 1 - i, source.read(i) ** 2), s + source.read(i)), [0, squares, tf.zeros([2])])
        gathered = squares.gather([0])
        parts = tf.TensorArray(tf.float32, 2, infer_shape=False, clear_after_read=False).split(tf.reshape(x, [-1]), [2, tf.size(x) - 2])
        return {"serving_default": ({"x": x}, {"squares": squares.stack(), "sum": last, "first": gathered, "size": squares.size(), "rest": parts.read(1), "joined": parts.concat()})}
    tf1(name, build, [("serving_default", {"x": F(n, 2)}) for n in [3, 1, 5]])


@pattern
def tf1_map_fn(name):
    def build():
        x = v1.placeholder(tf.float32, [None, 3], "x")
        mapped = tf.map_fn(lambda r: tf.reduce_max(r) * r, x, parallel_iterations=4)
        scanned = tf.scan(lambda a, r: a * 0.5 + r, x)
        folded = tf.foldl(lambda a, r: a + r, x, initializer=tf.zeros([3]))
        two = tf.map_fn(lambda p: (p[0] + p[1], tf.argmax(p[0])), (x, x * 2), dtype=(tf.float32, tf.int64))
        return {"serving_default": ({"x": x}, {"mapped": mapped, "scanned": scanned, "folded": folded, "sum": two[0], "best": two[1]})}
    tf1(name, build, [("serving_default", {"x": F(n, 3)}) for n in [2, 4]])


def tf1_rnn(name, kind, bidirectional=False, time_major=False):
    """What dynamic_rnn makes, written out: a TensorArray per sequence, a frame, sequence_length by Select."""
    units, size = 3, 2

    def build():
        x = v1.placeholder(tf.float32, [None, None, size], "x")
        lengths = v1.placeholder(tf.int32, [None], "lengths")

        def run(x, scope):
            with v1.variable_scope(scope):
                gates = {"lstm": 4, "gru": 2}[kind]
                kernel = v1.get_variable("kernel", initializer=F(size + units, gates * units))
                bias = v1.get_variable("bias", initializer=F(gates * units))
                if kind == "gru":
                    candidate = v1.get_variable("candidate/kernel", initializer=F(size + units, units))
                    candidate_bias = v1.get_variable("candidate/bias", initializer=F(units))
                inputs = tf.transpose(x, [1, 0, 2])
                steps, batch = tf.shape(inputs)[0], tf.shape(inputs)[1]
                source = tf.TensorArray(tf.float32, steps, tensor_array_name="dynamic_rnn/input_0").unstack(inputs)
                output = tf.TensorArray(tf.float32, steps, tensor_array_name="dynamic_rnn/output_0")
                zero = tf.zeros(tf.stack([batch, units]))
                least, most = tf.reduce_min(lengths), tf.reduce_max(lengths)

                def cell(xt, c, h):
                    if kind == "lstm":
                        i, j, f, o = tf.split(tf.nn.bias_add(tf.matmul(tf.concat([xt, h], 1), kernel), bias), 4, axis=1)
                        new_c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
                        return new_c, tf.tanh(new_c) * tf.sigmoid(o)
                    r, u = tf.split(tf.sigmoid(tf.nn.bias_add(tf.matmul(tf.concat([xt, h], 1), kernel), bias)), 2, axis=1)
                    new = tf.tanh(tf.nn.bias_add(tf.matmul(tf.concat([xt, r * h], 1), candidate), candidate_bias))
                    return c, u * h + (1 - u) * new

                def step(t, ta, c, h):
                    new_c, new_h = cell(source.read(t), c, h)

                    def some():
                        done = t >= lengths
                        return v1.where(done, zero, new_h), v1.where(done, c, new_c), v1.where(done, h, new_h)
                    if bidirectional:
                        out, c, h = some()
                    else:
                        out, c, h = v1.cond(t < least, lambda: (new_h, new_c, new_h), lambda: v1.cond(t >= most, lambda: (zero, c, h), some))
                    return t + 1, ta.write(t, out), c, h
                _, ta, c, h = v1.while_loop(lambda t, *_: t < steps, step, [tf.constant(0, name="time"), output, zero, zero], parallel_iterations=32)
                return tf.transpose(ta.stack(), [1, 0, 2]), c, h
        outputs, c, h = run(x, "fw")
        out = {"outputs": outputs, "h": h}
        if kind == "lstm":
            out["c"] = c
        if bidirectional:
            back, _, hb = run(tf.reverse_sequence(x, lengths, seq_axis=1, batch_axis=0), "bw")
            out["back"] = tf.reverse_sequence(back, lengths, seq_axis=1, batch_axis=0)
            out["both"] = tf.concat([h, hb], 1)
        return {"serving_default": ({"x": x, "lengths": lengths}, out)}
    tf1(name, build, [("serving_default", {"x": F(2, 4, size), "lengths": np.int32([4, 2])}), ("serving_default", {"x": F(1, 3, size), "lengths": np.int32([3])}), ("serving_default", {"x": F(3, 5, size), "lengths": np.int32([1, 0, 4])})])


@pattern
def tf1_dynamic_rnn_lstm(name):
    tf1_rnn(name, "lstm")


@pattern
def tf1_dynamic_rnn_gru(name):
    tf1_rnn(name, "gru")


@pattern
def tf1_bidirectional_lstm(name):
    tf1_rnn(name, "lstm", bidirectional=True)


@pattern
def tf1_case(name):
    def build():
        x = v1.placeholder(tf.float32, [None], "x")
        k = v1.placeholder(tf.int32, [], "k")
        y = v1.case([(tf.equal(k, 0), lambda: x + 1.0), (tf.equal(k, 1), lambda: x * 10.0)], default=lambda: -x, exclusive=False)
        return {"serving_default": ({"x": x, "k": k}, {"y": y})}
    tf1(name, build, [("serving_default", {"x": F(n), "k": np.int32(k)}) for n, k in [(2, 0), (3, 1), (1, 7)]])


# ---- TF1: variables, tables, signatures -----------------------------------------------------------------------------------


@pattern
def tf1_partitioned_variables(name):
    def build():
        x = v1.placeholder(tf.float32, [None, 6], "x")
        ids = v1.placeholder(tf.int64, [None], "ids")
        w = v1.get_variable("w", initializer=tf.constant(F(6, 4)), partitioner=v1.fixed_size_partitioner(3, axis=0), use_resource=False)
        wide = v1.get_variable("wide", initializer=tf.constant(F(4, 5)), partitioner=v1.fixed_size_partitioner(2, axis=1))
        table = v1.get_variable("table", initializer=tf.constant(F(7, 2)), partitioner=v1.fixed_size_partitioner(3))
        return {"serving_default": ({"x": x, "ids": ids}, {"y": tf.matmul(tf.matmul(x, tf.convert_to_tensor(w)), tf.convert_to_tensor(wide)),
                                                           "mod": v1.nn.embedding_lookup(table, ids, partition_strategy="mod"), "div": v1.nn.embedding_lookup(table, ids, partition_strategy="div")})}
    tf1(name, build, [("serving_default", {"x": F(n, 6), "ids": I(n, hi=7, dtype=np.int64)}) for n in [2, 4]])


@pattern
def tf1_ref_variables(name):
    def build():
        x = v1.placeholder(tf.float32, [None, 2], "x")
        w = v1.Variable(F(2, 3), name="w", use_resource=False)
        b = v1.Variable(F(3), name="b", use_resource=False)
        half = v1.Variable(np.float16([1.5]), name="half", use_resource=False)
        whole = v1.Variable(np.int64([7, 8]), name="whole", use_resource=True)
        return {"serving_default": ({"x": x}, {"y": tf.matmul(x, w) + b, "half": half + 0, "whole": whole.read_value()})}
    tf1(name, build, [("serving_default", {"x": F(n, 2)}) for n in [1, 3]], resource=False)


@pattern
def tf1_string_variable(name):
    def build():
        ids = v1.placeholder(tf.int64, [None], "ids")
        names = v1.get_variable("names", initializer=tf.constant(["zero", "", "t\xe9", "three"]), dtype=tf.string)
        return {"serving_default": ({"ids": ids}, {"names": tf.gather(names, ids)})}
    tf1(name, build, [("serving_default", {"ids": np.int64(v)}) for v in [[0, 3], [2], [1, 1, 0]]])


@pattern
def tf1_lookup_tables(name):
    from tensorflow.python.ops import lookup_ops
    vocabulary = os.path.join("/tmp", "words.txt")
    pairs = os.path.join("/tmp", "pairs.tsv")
    with open(vocabulary, "w") as file:
        file.write("the\ncat\nsat\nhat\n")
    with open(pairs, "w") as file:
        file.write("a\t1\nb\t2\nc\t-3\n")

    def build():
        words = v1.placeholder(tf.string, [None], "words")
        ids = v1.placeholder(tf.int64, [None], "ids")
        path = tf.constant(vocabulary)
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, path)
        from_file = tf.lookup.StaticVocabularyTable(tf.lookup.TextFileInitializer(path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER), num_oov_buckets=3)
        back = v1.lookup.StaticHashTable(tf.lookup.TextFileInitializer(path, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE), default_value="?")
        second = tf.constant(pairs)
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, second)
        columns = v1.lookup.StaticHashTable(tf.lookup.TextFileInitializer(second, tf.string, 0, tf.int64, 1), default_value=-1)
        constant = v1.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(["the", "b"]), tf.constant([0.5, -2.0])), default_value=9.0)
        return {"serving_default": ({"words": words, "ids": ids}, {"index": from_file.lookup(words), "word": back.lookup(ids), "column": columns.lookup(words), "weight": constant.lookup(words),
                                                                    "size": from_file.size()})}
    tf1(name, build, [("serving_default", {"words": S("cat", "dog", "a"), "ids": np.int64([0, 9, 3])}), ("serving_default", {"words": S("", "b", "hat", "c", "the"), "ids": np.int64([2])})], remove=[vocabulary, pairs])


@pattern
def tf1_signatures(name):
    """Several signatures; an input in the middle of the graph; an output that is a constant, and one that is an input."""
    def build():
        x = v1.placeholder(tf.float32, name="x")
        hidden = tf.nn.relu(tf.matmul(tf.reshape(x, [-1, 3]), v1.get_variable("w", initializer=F(3, 4))), name="hidden")
        y = tf.nn.softmax(tf.matmul(hidden, v1.get_variable("w2", initializer=F(4, 2))), name="y")
        return {"serving_default": ({"x": x}, {"y": y}), "from_hidden": ({"hidden": hidden}, {"y": y}), "embed": ({"x": x}, {"hidden": hidden, "again": x, "version": tf.constant([3], tf.int64)}),
                "no_inputs": ({}, {"classes": tf.constant(["a", "b"])})}
    tf1(name, build, [("serving_default", {"x": F(2, 3)}), ("from_hidden", {"hidden": F(3, 4)}), ("embed", {"x": F(3)}), ("no_inputs", {}), ("serving_default", {"x": F(1, 6)})])


@pattern
def tf1_placeholder_with_default(name):
    def build():
        x = v1.placeholder(tf.float32, [None, 4], "x")
        learning = v1.placeholder_with_default(False, [], "keras_learning_phase")
        scale = v1.placeholder_with_default(np.float32([2.0]), [None], "scale")
        w = v1.get_variable("w", initializer=F(4, 3))
        dropped = v1.cond(learning, lambda: v1.nn.dropout(x, rate=0.5), lambda: tf.identity(x))
        return {"serving_default": ({"x": x}, {"y": tf.matmul(dropped, w) * scale}), "scaled": ({"x": x, "scale": scale}, {"y": tf.matmul(dropped, w) * scale})}
    tf1(name, build, [("serving_default", {"x": F(2, 4)}), ("scaled", {"x": F(3, 4), "scale": np.float32([0.5])}), ("scaled", {"x": F(1, 4), "scale": np.float32([1, 2, 3])})])


@pattern
def tf1_coo_sparse(name):
    def build():
        x = v1.sparse_placeholder(tf.float32, [None, 5], "x")
        y = tf.sparse.sparse_dense_matmul(x, v1.get_variable("w", initializer=F(5, 2)))
        signature = v1.saved_model.signature_def_utils.build_signature_def({"x": v1.saved_model.build_tensor_info(x)}, {"y": v1.saved_model.build_tensor_info(y)}, PREDICT)
        dense = v1.placeholder(tf.float32, [None, 5], "dense")
        return {"serving_default": signature, "dense": ({"dense": dense}, {"y": dense * 2.0})}
    sparse = lambda i, v, s: {"x/indices": np.int64(i).reshape(-1, 2), "x/values": np.float32(v), "x/dense_shape": np.int64(s)}  # noqa: E731
    tf1(name, build, [("serving_default", sparse([[0, 1], [0, 4], [2, 0]], [1, -2, 0.5], [3, 5])), ("serving_default", sparse([], [], [2, 5])), ("dense", {"dense": F(1, 5)})])


@pattern
def tf1_tags(name):
    def extra(builder, sess):
        with tf.Graph().as_default(), v1.Session() as other:
            x = v1.placeholder(tf.float32, [None], "x")
            w = v1.get_variable("w", initializer=np.float32(7.0), use_resource=True)
            other.run(v1.global_variables_initializer())
            builder.add_meta_graph(["serve", "gpu"], signature_def_map={"serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": x * w - 1.0})})

    def build():
        x = v1.placeholder(tf.float32, [None], "x")
        return {"serving_default": ({"x": x}, {"y": x * v1.get_variable("w", initializer=np.float32(7.0))})}
    tf1(name, build, [("serving_default", {"x": F(3)})], extra=extra, other=[("serve", "gpu")])


@pattern
def tf1_pbtxt(name):
    def build():
        x = v1.placeholder(tf.float32, [None, 2], "x")
        w = v1.get_variable("w", initializer=F(2, 2))
        text = v1.placeholder(tf.string, [None], "text")
        return {"serving_default": ({"x": x, "text": text}, {"y": tf.nn.elu(tf.matmul(x, w)) + tf.constant(np.float32([np.inf, 0])), "z": tf.strings.join([text, "\"quoted\"\n\x01\xe9"])})}
    tf1(name, build, [("serving_default", {"x": F(2, 2), "text": S("a", "b")})], as_text=True)


@pattern
def tf1_state_writes(name):
    def build():
        by = v1.placeholder(tf.float32, [], "by")
        total = v1.get_variable("total", initializer=np.float32(1.0))
        calls = v1.Variable(0, name="calls", use_resource=False, dtype=tf.int32)
        with tf.control_dependencies([v1.assign_add(calls, 1), v1.assign_add(total, by)]):
            added = {"total": total.read_value() if hasattr(total, "read_value") else tf.identity(total), "calls": tf.identity(calls.value())}
        reset = tf.group(v1.assign(total, 0.0), v1.assign(calls, 0))
        with tf.control_dependencies([reset]):
            done = tf.constant(True)
        with tf.control_dependencies([v1.Assert(by >= 0.0, ["by is negative", by])]):
            checked = tf.identity(by)
        return {"add": ({"by": by}, added), "get": ({}, {"total": total + 0.0, "calls": calls + 0}), "reset": ({}, {"done": done}), "check": ({"by": by}, {"by": checked})}
    five = {"by": np.float32(5)}
    tf1(name, build, [("get", {}), ("add", five), ("add", {"by": np.float32(-2)}), ("get", {}), ("reset", {}), ("get", {}), ("add", five), ("check", five), ("check", {"by": np.float32(-1)})])


@pattern
def tf1_defun(name):
    from tensorflow.python.framework import function as defun

    def build():
        @defun.Defun(tf.float32, tf.float32, func_name="scale_and_shift")
        def scale(a, b):
            return a * b, a + b

        @defun.Defun(tf.float32)
        def outer(a):
            first, second = scale(a, tf.constant(3.0))
            return first - second
        x = v1.placeholder(tf.float32, [None], "x")
        return {"serving_default": ({"x": x}, {"y": outer(x), "z": scale(x, tf.constant(0.5))[1]})}
    tf1(name, build, [("serving_default", {"x": F(3)}), ("serving_default", {"x": F(1)})])


@pattern
def tf1_random(name):
    """Only shapes and bounds are answered: the numbers themselves are TensorFlow's own."""
    def build():
        x = v1.placeholder(tf.float32, [None, 3], "x")
        noise = v1.random_uniform(tf.shape(x), 2.0, 3.0, seed=7)
        normal = v1.random_normal(tf.shape(x), seed=7)
        whole = v1.random_uniform(tf.shape(x), 0, 5, dtype=tf.int32, seed=3)
        return {"serving_default": ({"x": x}, {"shape": tf.shape(noise + x), "within": tf.reduce_all((noise >= 2.0) & (noise < 3.0)), "finite": tf.reduce_all(tf.math.is_finite(normal)), "whole": tf.reduce_all((whole >= 0) & (whole < 5))})}
    tf1(name, build, [("serving_default", {"x": F(2, 3)}), ("serving_default", {"x": F(5, 3)})])


# ---- TF1: tf.Example, embeddings, estimators ------------------------------------------------------------------------------


@pattern
def tf1_estimator_classifier(name):
    def build():
        serialized = v1.placeholder(tf.string, [None], "input_example_tensor")
        parsed = v1.parse_example(serialized, {"x": tf.io.FixedLenFeature([3], tf.float32), "bias": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.25])})
        features = tf.concat([parsed["x"], parsed["bias"]], 1)
        logits = tf.matmul(features, v1.get_variable("dense/kernel", initializer=F(4, 3)))
        scores = tf.nn.softmax(logits)
        classes = tf.tile(tf.expand_dims(tf.constant(["low", "mid", "high"]), 0), [tf.shape(logits)[0], 1])
        winner = tf.gather(tf.constant(["low", "mid", "high"]), tf.argmax(logits, 1))
        value = tf.reduce_sum(logits, 1, keepdims=True)
        return {"serving_default": v1.saved_model.classification_signature_def(serialized, classes, scores), "classification": v1.saved_model.classification_signature_def(serialized, classes, scores),
                "regression": v1.saved_model.regression_signature_def(serialized, value),
                "predict": ({"examples": serialized}, {"logits": logits, "class_ids": tf.argmax(logits, 1), "classes": winner})}
    batch = S(example(x=[1.0, -2.0, 0.5]), example(x=[0.0, 3.0, 1.0], bias=[2.0], other=["ignored"]))
    tf1(name, build, [("serving_default", {"inputs": batch}), ("classification", {"inputs": batch[:1]}), ("regression", {"inputs": batch}), ("predict", {"examples": batch}), ("predict", {"examples": S(example(bias=[1.0]))}), ("predict", {"examples": S(b"not an example")})])


@pattern
def tf1_sparse_embedding(name):
    def build():
        serialized = v1.placeholder(tf.string, [None], "examples")
        parsed = v1.parse_example(serialized, {"ids": tf.io.VarLenFeature(tf.int64), "weights": tf.io.VarLenFeature(tf.float32), "words": tf.io.VarLenFeature(tf.string)})
        table = v1.get_variable("table", initializer=F(8, 3))
        out = {c: v1.nn.safe_embedding_lookup_sparse([table], parsed["ids"], combiner=c) for c in ["mean", "sum", "sqrtn"]}
        out["weighted"] = v1.nn.embedding_lookup_sparse(table, parsed["ids"], parsed["weights"], combiner="sum")
        hashed = tf.strings.to_hash_bucket_fast(tf.sparse.to_dense(parsed["words"], default_value=""), 10)
        out["hashed"] = hashed
        out["dense"] = tf.sparse.to_dense(parsed["ids"], default_value=-1)
        out["multi_hot"] = tf.reduce_max(tf.one_hot(tf.sparse.to_dense(parsed["ids"], default_value=-1), 8), 1)
        return {"serving_default": ({"examples": serialized}, out)}
    full = [example(ids=[1, 3], weights=[0.5, 2.0], words=["a"]), example(ids=[7, 0, 0], weights=[1.0, 1.0, -1.0], words=["bb", ""])]
    tf1(name, build, [("serving_default", {"examples": S(*full)}), ("serving_default", {"examples": S(full[0], example(words=["x"]), full[1])}), ("serving_default", {"examples": S(full[0])})])


@pattern
def tf1_image_decode(name):
    def build():
        data = v1.placeholder(tf.string, [None], "image_bytes")

        def one(b):
            pixels = tf.io.decode_png(b, channels=3)
            return v1.image.resize_images(tf.image.convert_image_dtype(pixels, tf.float32), [4, 5])
        images = tf.map_fn(one, data, dtype=tf.float32)
        features = tf.nn.conv2d(images, v1.get_variable("k", initializer=F(2, 2, 3, 2)), 2, "SAME")
        return {"serving_default": ({"image_bytes": data}, {"images": images, "features": features})}
    png = [tf.io.encode_png(I(h, w, c, hi=256, dtype=np.uint8)).numpy() for h, w, c in [(6, 7, 3), (4, 5, 3), (3, 3, 1), (5, 2, 4)]]
    tf1(name, build, [("serving_default", {"image_bytes": S(*png[:2])}), ("serving_default", {"image_bytes": S(*png[2:])})])


# ---- TF2: functional control flow ------------------------------------------------------------------------------------------


def module(**attributes):
    made = tf.Module()
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


@pattern
def tf2_cond(name):
    m = module(w=tf.Variable(F(3, 2)), v=tf.Variable(F(3, 2)))

    @function(spec(None, 3, name="x"), spec(dtype=tf.bool, name="flag"))
    def serve(x, flag):
        y = tf.cond(flag, lambda: x @ m.w, lambda: tf.cond(tf.reduce_sum(x) > 0.0, lambda: x @ m.v, lambda: x[:, 1:]))
        n, z = tf.cond(tf.shape(x)[0] > 2, lambda: (1, x * 2.0), lambda: (tf.shape(x)[0], x))
        return {"y": y, "n": n, "z": z}
    tf2(name, m, serve, [("serving_default", {"x": x, "flag": np.array(f)}) for x, f in [(F(2, 3), True), (F(4, 3, lo=0), False), (F(1, 3, hi=0), False)]])


@pattern
def tf2_case(name):
    m = module(w=tf.Variable(F(2, 2)))

    @function(spec(None, 2, name="x"), spec(dtype=tf.int32, name="k"))
    def serve(x, k):
        return {"y": tf.switch_case(k, [lambda: x + 1.0, lambda: x @ m.w, lambda: -x])}
    tf2(name, m, serve, [("serving_default", {"x": F(2, 2), "k": np.int32(k)}) for k in [0, 1, 2, 9, -1]])


@pattern
def tf2_while(name):
    m = module(w=tf.Variable(F(2, 2)))

    @function(spec(None, 2, name="x"), spec(dtype=tf.int32, name="steps"))
    def serve(x, steps):
        i, y = tf.while_loop(lambda i, a: i < steps, lambda i, a: (i + 1, tf.tanh(a @ m.w) + x), [0, x])
        until, = tf.while_loop(lambda v: tf.reduce_sum(v) < 50.0, lambda v: [v * 2.0], [tf.abs(x) + 0.1], maximum_iterations=20)
        grow, = tf.while_loop(lambda v: tf.shape(v)[0] < 6, lambda v: [tf.concat([v, v], 0)], [x], shape_invariants=[tf.TensorShape([None, 2])])
        return {"i": i, "y": y, "until": until, "grow": grow}
    tf2(name, m, serve, [("serving_default", {"x": F(n, 2), "steps": np.int32(k)}) for n, k in [(1, 3), (3, 0), (2, 5)]])


@pattern
def tf2_nested_while(name):
    m = module()

    @function(spec(dtype=tf.int32, name="n"), spec(None, name="x"))
    def serve(n, x):
        def outer(i, a):
            _, inner = tf.while_loop(lambda j, b: j < i, lambda j, b: (j + 1, b + x * tf.cast(j + 1, tf.float32)), [0, a])
            return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: inner * 0.5, lambda: inner)
        return {"y": tf.while_loop(lambda i, a: i < n, outer, [0, tf.zeros_like(x)])[1]}
    tf2(name, m, serve, [("serving_default", {"n": np.int32(n), "x": F(k)}) for n, k in [(4, 3), (0, 2), (5, 1)]])


@pattern
def tf2_while_in_cond(name):
    m = module()

    @function(spec(None, name="x"), spec(dtype=tf.bool, name="loop"))
    def serve(x, loop):
        return {"y": tf.cond(loop, lambda: tf.while_loop(lambda v: tf.reduce_max(v) < 9.0, lambda v: [v * 1.5 + 0.5], [tf.abs(x)])[0], lambda: x)}
    tf2(name, m, serve, [("serving_default", {"x": F(3), "loop": np.array(f)}) for f in [True, False]])


@pattern
def tf2_tensor_list(name):
    """TensorList: written at random places, twice in one place, read back within the loop, grown, concatenated."""
    m = module()

    @function(spec(None, 2, name="x"), spec(None, dtype=tf.int32, name="order"))
    def serve(x, order):
        n = tf.shape(x)[0]
        ta = tf.TensorArray(tf.float32, n, element_shape=[2], clear_after_read=False)
        _, ta = tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t.write(order[i], x[i] * tf.cast(i + 1, tf.float32))), [0, ta])
        chained = tf.TensorArray(tf.float32, n + 1, element_shape=[2], clear_after_read=False).write(0, tf.ones([2]))
        _, chained = tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t.write(i + 1, t.read(i) * 0.5 + x[i])), [0, chained])
        grown = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=[2])
        _, grown = tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, tf.cond(x[i][0] > 0.0, lambda: t.write(t.size(), x[i]), lambda: t)), [0, grown])
        ragged = tf.TensorArray(tf.float32, n, infer_shape=False, element_shape=[None])
        _, ragged = tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t.write(i, tf.range(tf.cast(i + 1, tf.float32)))), [0, ragged])
        return {"written": ta.stack(), "chained": chained.stack(), "grown": tf.reshape(grown.stack(), [-1, 2]), "joined": ragged.concat(), "some": ta.gather([0, n - 1])}
    tf2(name, m, serve, [("serving_default", {"x": F(4, 2), "order": np.int32([2, 0, 3, 1])}), ("serving_default", {"x": F(1, 2), "order": np.int32([0])}), ("serving_default", {"x": F(3, 2), "order": np.int32([0, 2, 1])})])


@pattern
def tf2_map_fn(name):
    m = module(w=tf.Variable(F(3)))

    @function(spec(None, 3, name="x"))
    def serve(x):
        two = tf.map_fn(lambda p: (p[0] + p[1] * m.w, tf.argmax(p[0])), (x, x * 2), fn_output_signature=(tf.float32, tf.int64))
        return {"mapped": tf.map_fn(lambda r: tf.reduce_max(r) * r, x), "scanned": tf.scan(lambda a, r: a * 0.5 + r, x), "folded": tf.foldr(lambda a, r: a * 0.5 + r, x), "sum": two[0], "best": two[1],
                "vectorized": tf.vectorized_map(lambda r: tf.reduce_sum(r * m.w), x)}
    tf2(name, m, serve, [("serving_default", {"x": F(n, 3)}) for n in [2, 4]])


@pattern
def tf2_autograph(name):
    m = module()

    @tf.function(input_signature=[spec(None, name="x"), spec(dtype=tf.int32, name="limit")])
    def serve(x, limit):
        total = tf.zeros([])
        count = 0
        for value in x:
            if value < 0.0:
                continue
            total += value
            count += 1
            if count >= limit:
                break
        return {"total": total, "count": tf.convert_to_tensor(count)}
    tf2(name, m, serve, [("serving_default", {"x": F(n), "limit": np.int32(k)}) for n, k in [(6, 2), (5, 99), (3, 1)]])


@pattern
def tf2_nested_functions(name):
    m = module(w=tf.Variable(F(2, 2)), b=tf.Variable(F(2)), scale=tf.constant(1.5))

    @tf.function
    def dense(x, activation=True):
        y = x @ m.w + m.b
        return tf.nn.relu(y) if activation else y

    @tf.function
    def block(x):
        return dense(x) * m.scale, dense(x, activation=False)

    @function(spec(None, 2, name="x"))
    def serve(x):
        first, second = block(x)
        third, _ = block(first)
        return {"first": first, "second": second, "third": third}
    tf2(name, m, serve, [("serving_default", {"x": F(n, 2)}) for n in [1, 3]])


@pattern
def tf2_state(name):
    m = module(total=tf.Variable(1.0), history=tf.Variable(np.zeros([4], np.float32)), step=tf.Variable(0, dtype=tf.int64))

    @function(spec(name="by"))
    def add(by):
        m.total.assign_add(by)
        m.history.scatter_nd_update([[m.step % 4]], [by])
        m.step.assign_add(1)
        return {"total": m.total.read_value(), "step": m.step.read_value()}

    @function(spec(name="limit"))
    def add_if_below(limit):
        changed = tf.cond(m.total < limit, lambda: m.total.assign_add(10.0) > 0.0, lambda: tf.constant(False))
        return {"changed": changed, "total": m.total.read_value()}

    @function()
    def get():
        return {"total": m.total.read_value(), "history": m.history.read_value()}

    @function()
    def reset():
        m.total.assign(0.0)
        m.step.assign(0)
        m.history.assign(tf.zeros([4]))
        return {"done": tf.constant(True)}
    by = {"by": np.float32(2.5)}
    tf2(name, m, {"add": add, "add_if_below": add_if_below, "get": get, "reset": reset},
        [("get", {}), ("add", by), ("add", {"by": np.float32(-1)}), ("get", {}), ("add_if_below", {"limit": np.float32(100)}), ("add_if_below", {"limit": np.float32(0)}), ("get", {}), ("reset", {}), ("get", {}), ("add", by)])


@pattern
def tf2_lookup_tables(name):
    path = os.path.join("/tmp", "vocabulary.txt")
    with open(path, "w") as file:
        file.write("alpha\nbeta\ngam ma\n")
    asset = tf.saved_model.Asset(path)
    m = module(asset=asset)
    m.from_file = tf.lookup.StaticVocabularyTable(tf.lookup.TextFileInitializer(asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER), 2)
    m.back = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(asset, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE), "<none>")
    m.constant = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(np.int64([5, -1]), np.float32([0.5, 2])), -9.0)

    @function(spec(None, dtype=tf.string, name="words"), spec(None, dtype=tf.int64, name="ids"))
    def serve(words, ids):
        return {"index": m.from_file.lookup(words), "word": m.back.lookup(ids), "weight": m.constant.lookup(ids), "size": m.from_file.size()}
    tf2(name, m, serve, [("serving_default", {"words": S("beta", "zeta", ""), "ids": np.int64([0, 5, -1])}), ("serving_default", {"words": S("gam ma"), "ids": np.int64([2, 3])})])


@pattern
def tf2_default_inputs(name):
    m = module()

    @function(spec(None, name="x"), spec(name="scale"), spec(dtype=tf.string, name="label"))
    def serve(x, scale, label):
        return {"y": x * scale, "label": label}

    def change(message):
        defaults = message.meta_graphs[0].signature_def["serving_default"].defaults
        defaults["scale"].CopyFrom(tf.make_tensor_proto(np.float32(2.5)))
        defaults["label"].CopyFrom(tf.make_tensor_proto(b"none"))
    tf2(name, m, serve, [("serving_default", {"x": F(2)}), ("serving_default", {"x": F(3), "scale": np.float32(-1)}), ("serving_default", {"x": F(1), "scale": np.float32(3), "label": np.array(b"given", object)})], change=change)


@pattern
def tf2_signatures(name):
    m = module(w=tf.Variable(F(3, 2)))

    @function(spec(None, 3, name="x"))
    def serve(x):
        return {"y": x @ m.w}

    @function(spec(2, 3, name="x"))
    def fixed(x):
        return {"y": x @ m.w, "shape": tf.shape(x)}

    @function(spec(None, 3, dtype=tf.uint8, name="pixels"), spec(dtype=tf.bool, name="normalise"))
    def pixels(pixels, normalise):
        x = tf.cast(pixels, tf.float32)
        return {"y": tf.where(normalise, x / 255.0, x) @ m.w, "mean": tf.reduce_mean(tf.cast(pixels, tf.float64)), "most": tf.reduce_max(pixels)}

    @function(spec(None, dtype=tf.string, name="text"))
    def text(text):
        return {"length": tf.strings.length(text), "upper": tf.strings.upper(text)}
    tf2(name, m, {"serving_default": serve, "fixed": fixed, "pixels": pixels, "text": text},
        [("serving_default", {"x": F(4, 3)}), ("fixed", {"x": F(2, 3)}), ("pixels", {"pixels": I(2, 3, hi=256, dtype=np.uint8), "normalise": np.array(True)}), ("text", {"text": S("abc", "", "\u00e9t\u00e9")})])


@pattern
def tf2_parse_example(name):
    m = module()

    @function(spec(None, dtype=tf.string, name="examples"))
    def serve(examples):
        parsed = tf.io.parse_example(examples, {
            "dense": tf.io.FixedLenFeature([2], tf.float32), "count": tf.io.FixedLenFeature([], tf.int64, default_value=-1), "name": tf.io.FixedLenFeature([], tf.string, default_value="?"),
            "rows": tf.io.FixedLenSequenceFeature([2], tf.float32, allow_missing=True, default_value=0.5), "tags": tf.io.VarLenFeature(tf.string), "ids": tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64),
            "parts": tf.io.RaggedFeature(tf.float32, value_key="part_values", partitions=[tf.io.RaggedFeature.RowLengths("part_lengths")], row_splits_dtype=tf.int32)})
        parts = parsed["parts"]
        return {"dense": parsed["dense"], "count": parsed["count"], "name": parsed["name"], "rows": parsed["rows"], "tags_indices": parsed["tags"].indices, "tags_values": parsed["tags"].values,
                "tags_shape": parsed["tags"].dense_shape, "ids_values": parsed["ids"].values, "ids_splits": parsed["ids"].row_splits, "parts": parts.to_tensor(default_value=-1.0), "parts_splits": parts.row_splits}
    a = example(dense=[1.0, 2.0], count=[7], name=["n"], rows=[1.0, 2.0, 3.0, 4.0], tags=["p", "q"], ids=[4, 5, 6], part_values=[0.5, 1.5, 2.5], part_lengths=[1, 2])
    b = example(dense=[-1.0, 0.0])
    c = example(dense=[3.0, 4.0], tags=[""], rows=[9.0, 8.0], ids=[1])
    tf2(name, m, serve, [("serving_default", {"examples": S(a, b, c)}), ("serving_default", {"examples": S(b)}), ("serving_default", {"examples": S(example(count=[1]))}), ("serving_default", {"examples": S(example(dense=[1.0]))}),
                         ("serving_default", {"examples": S(example(dense=[1, 2]))})])


@pattern
def tf2_sequence_example(name):
    m = module()

    @function(spec(None, dtype=tf.string, name="examples"))
    def serve(examples):
        context, sequence, lengths = tf.io.parse_sequence_example(examples, {"user": tf.io.FixedLenFeature([], tf.int64), "tags": tf.io.VarLenFeature(tf.string)},
                                                                  {"score": tf.io.FixedLenSequenceFeature([1], tf.float32), "items": tf.io.VarLenFeature(tf.int64)})
        return {"user": context["user"], "tags": tf.sparse.to_dense(context["tags"]), "score": sequence["score"], "items": tf.sparse.to_dense(sequence["items"]), "score_lengths": lengths["score"]}

    def sequence(user, tags, scores, items):
        message = tf.train.SequenceExample()
        message.context.feature["user"].int64_list.value.append(user)
        message.context.feature["tags"].bytes_list.value.extend(tags)
        for score in scores:
            message.feature_lists.feature_list["score"].feature.add().float_list.value.append(score)
        for item in items:
            message.feature_lists.feature_list["items"].feature.add().int64_list.value.extend(item)
        return message.SerializeToString(deterministic=True)
    a, b = sequence(3, [b"x", b"y"], [0.5, 1.5, 2.5], [[1, 2], [3]]), sequence(4, [b"z"], [9.0], [[], [5, 6, 7]])
    tf2(name, m, serve, [("serving_default", {"examples": S(a, b)}), ("serving_default", {"examples": S(b)})])


@pattern
def tf2_ragged_embedding(name):
    m = module(table=tf.Variable(F(9, 2)))

    @function(spec(None, dtype=tf.string, name="text"))
    def serve(text):
        words = tf.strings.split(text, " ")
        ids = tf.strings.to_hash_bucket_fast(words, 9)
        vectors = tf.ragged.map_flat_values(tf.nn.embedding_lookup, m.table, ids)
        return {"mean": tf.reduce_mean(vectors, axis=1), "ids": ids.to_tensor(default_value=-1), "lengths": words.row_lengths()}
    tf2(name, m, serve, [("serving_default", {"text": S("the cat sat", "", "a")}), ("serving_default", {"text": S("one two three four")})])


@pattern
def tf2_sparse_embedding(name):
    m = module(table=tf.Variable(F(6, 2)))

    @function(spec(None, None, dtype=tf.int64, name="ids"))
    def serve(ids):
        sparse = tf.sparse.from_dense(ids)
        return {"mean": tf.nn.safe_embedding_lookup_sparse(m.table, sparse, combiner="mean"), "sqrtn": tf.nn.safe_embedding_lookup_sparse(m.table, sparse, combiner="sqrtn"),
                "default": tf.nn.safe_embedding_lookup_sparse(m.table, sparse, combiner="sum", default_id=5), "row_sums": tf.sparse.reduce_sum(tf.cast(sparse, tf.float32), axis=1)}
    tf2(name, m, serve, [("serving_default", {"ids": np.int64([[1, 2, 0], [0, 0, 0], [5, 0, 5]])}), ("serving_default", {"ids": np.int64([[3, 4]])})])


@pattern
def tf2_string_variable(name):
    m = module(names=tf.Variable(["zero", "", "t\u00e9"]), flags=tf.Variable([True, False]), wide=tf.Variable(np.float64([[1.5]])), small=tf.Variable(np.int8([-3, 4])))

    @function(spec(None, dtype=tf.int64, name="ids"))
    def serve(ids):
        return {"names": tf.gather(m.names, ids), "flags": m.flags.read_value(), "wide": m.wide * 2, "small": m.small.read_value()}
    tf2(name, m, serve, [("serving_default", {"ids": np.int64(v)}) for v in [[0, 2], [1]]])


@pattern
def tf2_image_decode(name):
    m = module(k=tf.Variable(F(3, 3, 3, 2)))

    @function(spec(None, dtype=tf.string, name="image_bytes"))
    def serve(image_bytes):
        def one(b):
            image = tf.io.decode_image(b, channels=3, expand_animations=False)
            image.set_shape([None, None, 3])
            return tf.image.resize(image, [6, 5])
        images = tf.map_fn(one, image_bytes, fn_output_signature=tf.float32)
        return {"images": images, "features": tf.nn.relu(tf.nn.conv2d(images / 127.5 - 1.0, m.k, 2, "SAME"))}
    images = [I(h, w, 3, hi=256, dtype=np.uint8) for h, w in [(6, 7), (4, 5), (9, 3)]]
    bmp = b"BM" + (54 + 12).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little") + (1).to_bytes(4, "little") + (3).to_bytes(4, "little") + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24) + bytes(range(1, 13))
    tf2(name, m, serve, [("serving_default", {"image_bytes": S(*[tf.io.encode_png(i).numpy() for i in images[:2]])}), ("serving_default", {"image_bytes": S(tf.io.encode_png(images[2]).numpy(), bmp)})])


@pattern
def tf2_jpeg(name):
    """JPEG decoders may differ by a few steps of 255; the tolerance says so."""
    m = module()

    @function(spec(dtype=tf.string, name="bytes"))
    def serve(bytes):  # noqa: A002
        rgb = tf.io.decode_jpeg(bytes, channels=3)
        return {"shape": tf.shape(rgb), "pixels": tf.cast(rgb, tf.float32) / 255.0, "grey": tf.cast(tf.io.decode_jpeg(bytes, channels=1), tf.float32) / 255.0}
    y, x = np.mgrid[0:17, 0:22]
    smooth = np.stack([x * 11, y * 14, (x + y) * 6], -1).astype(np.uint8)
    tf2(name, m, serve, [("serving_default", {"bytes": np.array(tf.io.encode_jpeg(smooth, quality=95, chroma_downsampling=d).numpy(), object)}) for d in [False, True]]
        + [("serving_default", {"bytes": np.array(tf.io.encode_jpeg(smooth[:, :, :1], format="grayscale", quality=80, progressive=True).numpy(), object)})], tolerance=0.03)


@pattern
def tf2_random(name):
    m = module()

    @function(spec(None, 3, name="x"))
    def serve(x):
        noise = tf.random.uniform(tf.shape(x), 2.0, 3.0, seed=7)
        stateless = tf.random.stateless_uniform(tf.shape(x), seed=[1, 2])
        return {"shape": tf.shape(noise), "within": tf.reduce_all((noise >= 2.0) & (noise < 3.0)), "stateless": tf.reduce_all((stateless >= 0.0) & (stateless < 1.0))}
    tf2(name, m, serve, [("serving_default", {"x": F(n, 3)}) for n in [2, 5]])


@pattern
def tf2_text_preprocessing(name):
    m = module(table=tf.lookup.StaticVocabularyTable(tf.lookup.KeyValueTensorInitializer(tf.constant(["the", "cat", "sat"]), tf.constant([0, 1, 2], tf.int64)), 1), embedding=tf.Variable(F(4, 3)))

    @function(spec(None, dtype=tf.string, name="text"))
    def serve(text):
        clean = tf.strings.regex_replace(tf.strings.lower(tf.strings.strip(text)), "[^a-z ]+", "")
        words = tf.strings.split(clean)
        ids = tf.ragged.map_flat_values(m.table.lookup, words).to_tensor(default_value=0, shape=[None, 5])
        return {"ids": ids, "vector": tf.reduce_mean(tf.nn.embedding_lookup(m.embedding, ids), 1), "clean": clean}
    tf2(name, m, serve, [("serving_default", {"text": S("  The CAT, sat!", "dog?", "")}), ("serving_default", {"text": S("the the the the the the the")})])


@pattern
def tf2_attention(name):
    m = module(q=tf.Variable(F(4, 2, 3)), k=tf.Variable(F(4, 2, 3)), v=tf.Variable(F(4, 2, 3)), o=tf.Variable(F(2, 3, 4)), gamma=tf.Variable(F(4)), beta=tf.Variable(F(4)))

    @function(spec(None, None, 4, name="x"), spec(None, None, dtype=tf.bool, name="mask"))
    def serve(x, mask):
        q, k, v = (tf.einsum("btd,dhk->bthk", x, w) for w in (m.q, m.k, m.v))
        scores = tf.einsum("bqhk,bthk->bhqt", q, k) / tf.sqrt(3.0)
        causal = tf.linalg.band_part(tf.ones([tf.shape(x)[1], tf.shape(x)[1]], tf.bool), -1, 0)
        scores = tf.where(causal & mask[:, None, None, :], scores, -1e9)
        y = x + tf.einsum("bqhk,hkd->bqd", tf.einsum("bhqt,bthk->bqhk", tf.nn.softmax(scores), v), m.o)
        mean, variance = tf.nn.moments(y, -1, keepdims=True)
        return {"y": tf.nn.batch_normalization(y, mean, variance, m.beta, m.gamma, 1e-6), "scores": scores}
    tf2(name, m, serve, [("serving_default", {"x": F(2, 3, 4), "mask": np.array([[1, 1, 1], [1, 1, 0]], bool)}), ("serving_default", {"x": F(1, 5, 4), "mask": np.ones((1, 5), bool)})])


# ---- Keras 3 exports -------------------------------------------------------------------------------------------------------


def keras3(name, layers, calls, save=False):
    import keras
    keras.utils.set_random_seed(11)
    model = keras.Sequential(layers(keras), name="m")
    path = fresh(name)
    v1.enable_control_flow_v2()
    if save:
        tf.saved_model.save(model, path)
    else:
        model.export(path, verbose=False)
    key = "serving_default"
    with v1.Session(graph=tf.Graph()) as sess:
        alias = [a for a in v1.saved_model.load(sess, ["serve"], path).signature_def[key].inputs][0]
    answer(name, [(key, {alias: x}) for x in calls])


@pattern
def keras3_mlp(name):
    keras3(name, lambda k: [k.Input([4]), k.layers.Normalization(mean=0.5, variance=2.0), k.layers.Dense(5, "gelu"), k.layers.LayerNormalization(), k.layers.Dropout(0.5), k.layers.Dense(3, "softmax")], [F(2, 4), F(5, 4)])


@pattern
def keras3_conv(name):
    keras3(name, lambda k: [k.Input([8, 9, 3]), k.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False), k.layers.BatchNormalization(), k.layers.ReLU(6.0), k.layers.DepthwiseConv2D(3, padding="same"), k.layers.MaxPooling2D(2),
                            k.layers.Conv2DTranspose(2, 3, strides=2, padding="same"), k.layers.UpSampling2D(2, interpolation="bilinear"), k.layers.GlobalAveragePooling2D(), k.layers.Dense(2)], [F(1, 8, 9, 3), F(3, 8, 9, 3)])


@pattern
def keras3_conv1d(name):
    keras3(name, lambda k: [k.Input([None, 3]), k.layers.Conv1D(4, 3, dilation_rate=2, padding="causal", activation="tanh"), k.layers.SeparableConv1D(3, 3, padding="same"), k.layers.AveragePooling1D(2), k.layers.GlobalMaxPooling1D()], [F(2, 9, 3), F(1, 12, 3)])


@pattern
def keras3_lstm(name):
    keras3(name, lambda k: [k.Input([None, 2]), k.layers.LSTM(3, return_sequences=True), k.layers.Dense(2)], [F(2, 5, 2), F(1, 3, 2)])


@pattern
def keras3_lstm_masked(name):
    keras3(name, lambda k: [k.Input([None], dtype="int32"), k.layers.Embedding(9, 3, mask_zero=True), k.layers.LSTM(2)], [np.int32([[1, 2, 3, 0], [4, 0, 0, 0]]), np.int32([[5, 6]])])


@pattern
def keras3_gru(name):
    keras3(name, lambda k: [k.Input([None, 2]), k.layers.GRU(3)], [F(2, 5, 2), F(1, 3, 2)])


@pattern
def keras3_gru_backwards(name):
    keras3(name, lambda k: [k.Input([None, 2]), k.layers.GRU(2, reset_after=False, go_backwards=True, return_sequences=True)], [F(2, 5, 2), F(1, 3, 2)])


@pattern
def keras3_simple_rnn(name):
    keras3(name, lambda k: [k.Input([4, 2]), k.layers.SimpleRNN(3, activation="relu", unroll=True), k.layers.RepeatVector(2)], [F(2, 4, 2), F(1, 4, 2)])


@pattern
def keras3_bidirectional(name):
    keras3(name, lambda k: [k.Input([None, 2]), k.layers.Bidirectional(k.layers.LSTM(2, return_sequences=True, name="l"), name="b")], [F(2, 4, 2), F(1, 3, 2)])


@pattern
def keras3_embedding(name):
    keras3(name, lambda k: [k.Input([None], dtype="int32"), k.layers.Embedding(9, 4), k.layers.TimeDistributed(k.layers.Dense(3, "relu")), k.layers.GlobalAveragePooling1D()], [I(2, 4, hi=9), I(1, 2, hi=9)])


@pattern
def keras3_preprocessing(name):
    def layers(k):
        return [k.Input([], dtype="string"), k.layers.TextVectorization(vocabulary=["the", "cat", "sat"], output_sequence_length=4), k.layers.Embedding(6, 2), k.layers.Flatten(), k.layers.Dense(2)]
    keras3(name, layers, [S("The cat!", "sat dog the the the"), S("")])


# ---- main ------------------------------------------------------------------------------------------------------------------

if __name__ == "__main__":
    failed = []
    for each in sys.argv[1:] or PATTERNS:
        rng = np.random.default_rng(zlib.crc32(each.encode()))
        tf.random.set_seed(5)
        try:
            PATTERNS[each](each)
        except Exception as problem:  # noqa: BLE001: one pattern that fails must not hide the others
            failed.append(f"{each}: {type(problem).__name__} {str(problem)[:500]}")
            shutil.rmtree(os.path.join(OUT, each), ignore_errors=True)
    if failed:
        print("\n".join(failed), file=sys.stderr)
        sys.exit(1)
