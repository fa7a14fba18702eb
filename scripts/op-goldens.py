#!/usr/bin/env python3
"""Asks TensorFlow what its ops answer, and writes the answers to test/savedmodel/goldens/ops/<family>.jsonl.

Run by hand where TensorFlow is installed (made with tensorflow-cpu 2.21.0; the project itself never needs it):

    python3 scripts/op-goldens.py [family ...]

Every case runs one raw op in a graph of its own, inputs as Placeholders of unknown shape (or Consts where the case says so),
with graph rewriting and oneDNN off, so that the answer is the plain kernel's. Seeds are fixed per family. A case that
TensorFlow refuses is written only if it was expected to be refused. The format is in test/savedmodel/goldens/README.md.
"""
import base64
import json
import os
import sys
import zlib

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import rewriter_config_pb2  # noqa: E402
from tensorflow.python.framework import op_def_library, op_def_registry  # noqa: E402

v1 = tf.compat.v1
bf16 = tf.bfloat16.as_numpy_dtype
nan, inf = float("nan"), float("inf")
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "savedmodel", "goldens", "ops")


# ---- encoding -------------------------------------------------------------------------------------------------------------


def tensor_json(array):
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        parts = [p if isinstance(p, bytes) else str(p).encode() for p in array.reshape(-1).tolist()]
        return {"dtype": "DT_STRING", "shape": list(array.shape), "b64s": [base64.b64encode(p).decode() for p in parts]}
    name = "DT_" + tf.as_dtype(array.dtype).name.upper()
    name = {"DT_FLOAT32": "DT_FLOAT", "DT_FLOAT64": "DT_DOUBLE", "DT_FLOAT16": "DT_HALF"}.get(name, name)
    data = np.ascontiguousarray(array).tobytes()
    return {"dtype": name, "shape": list(array.shape), "b64": base64.b64encode(data).decode()}


def float_json(value):
    return value if np.isfinite(value) else str(value)


def attr_json(attr):
    kind = attr.WhichOneof("value")
    if kind == "s":
        return {"type": "string", "value": attr.s.decode()}
    if kind == "i":
        return {"type": "int", "value": attr.i}
    if kind == "f":
        return {"type": "float", "value": float_json(attr.f)}
    if kind == "b":
        return {"type": "bool", "value": attr.b}
    if kind == "type":
        return {"type": "dtype", "value": attr.type}
    if kind == "shape":
        return {"type": "shape", "value": None if attr.shape.unknown_rank else [d.size for d in attr.shape.dim]}
    if kind == "tensor":
        return {"type": "tensor", "value": tensor_json(tf.make_ndarray(attr.tensor))}
    if kind == "list":
        values = []
        for field, _ in attr.list.ListFields():
            for item in getattr(attr.list, field.name):
                one = tf.compat.v1.AttrValue()
                sub = getattr(one, field.name)
                sub.CopyFrom(item) if hasattr(sub, "CopyFrom") else setattr(one, field.name, item)
                values.append(attr_json(one))
        return {"type": "list", "values": values}
    raise SystemExit(f"attribute kind {kind} is not written")


# ---- running --------------------------------------------------------------------------------------------------------------

FAMILIES = {}
lines = []
problems = []
rng = np.random.default_rng(0)


def family(function):
    FAMILIES[function.__name__.replace("_", "-")] = function
    return function


def session(graph):
    config = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    config.graph_options.optimizer_options.opt_level = v1.OptimizerOptions.L0
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.rewrite_options.constant_folding = rewriter_config_pb2.RewriterConfig.OFF
    return v1.Session(graph=graph, config=config)


def case(op, name, inputs, attrs=None, const=(), more=(), tol=None, error=False, between=None, keep=None):
    """One case: `inputs` by argument name (a list where the argument is one), `more` further feeds, `const` argument names.

    `keep` is the number of leading outputs that are defined (of the rest, kernels leave the memory as it was).
    """
    attrs = dict(attrs or {})
    op_def = op_def_registry.get(op)
    args = [a.name for a in op_def.input_arg]
    inferred = {n for a in op_def.input_arg for n in (a.type_attr, a.number_attr, a.type_list_attr)}
    defaults = {a.name: None for a in op_def.attr if a.HasField("default_value") and a.name not in inferred and a.name not in attrs}
    if set(args) != set(inputs):
        problems.append(f"{op}/{name}: inputs are {args}, given {list(inputs)}")
        return
    flat = [(a, i, v) for a in args for i, v in enumerate(inputs[a] if isinstance(inputs[a], list) else [inputs[a]])]
    arrays = [np.asarray(v) for _, _, v in flat]
    constant = [a in const for a, _, _ in flat]
    entry = {"op": op, "name": name}

    def run_feeds():
        graph = tf.Graph()
        with graph.as_default():
            nodes = []
            for array, is_const in zip(arrays, constant):
                dtype = tf.string if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype)
                nodes.append(tf.constant(array, dtype) if is_const else v1.placeholder(dtype, shape=tf.TensorShape(None)))
            kwargs, at = {}, 0
            for arg in args:
                if isinstance(inputs[arg], list):
                    kwargs[arg] = nodes[at:at + len(inputs[arg])]
                    at += len(inputs[arg])
                else:
                    kwargs[arg] = nodes[at]
                    at += 1
            if between:
                kwargs = between.before(kwargs)
            op_def_library.apply_op(op, **kwargs, **(between.attrs if between else attrs), **defaults)
            node = [o for o in graph.get_operations() if o.type == op][-1]
        entry["attrs"] = {k: attr_json(a) for k, a in sorted(node.node_def.attr.items()) if not k.startswith("_")}
        if between:
            entry["attrs"].update({k: between.attr(v) for k, v in attrs.items()})
        results = []
        with session(graph) as sess:
            for feed in [inputs, *more]:
                values = [np.asarray(v) for a in args for v in (feed.get(a, inputs[a]) if isinstance(feed.get(a, inputs[a]), list) else [feed.get(a, inputs[a])])]
                fed = {n: np.array(v) for n, v, c in zip(nodes, values, constant) if not c}  # copies: some kernels write into what they are fed
                out = sess.run(list(node.outputs), fed) if node.outputs else [sess.run(node, fed)][1:]
                if between:
                    out = [between.after(one) for one in out]
                results.append((values, out[:keep]))
        return results

    try:
        results = run_feeds()
        if error:
            problems.append(f"{op}/{name}: was expected to be refused")
    except (tf.errors.OpError, ValueError, TypeError, AttributeError, NotImplementedError) as problem:
        if not error:
            problems.append(f"{op}/{name}: {type(problem).__name__} {str(problem)[:300]}")
            return
        text = problem.message if isinstance(problem, tf.errors.OpError) else str(problem)
        text = text.split("\nNode: ", 1)[-1].split("\n", 1)[-1] if "\nNode: " in text else text
        entry["error"] = text.split("\n\t [[")[0].strip()
        entry["code"] = {3: "INVALID_ARGUMENT", 9: "FAILED_PRECONDITION", 11: "OUT_OF_RANGE", 12: "UNIMPLEMENTED", 13: "INTERNAL"}[problem.error_code] if isinstance(problem, tf.errors.OpError) else "INVALID_ARGUMENT"
        entry["inputs"] = [{**tensor_json(a), "constant": c} for a, c in zip(arrays, constant)]
        lines.append(entry)
        return
    entry["inputs"] = [{**tensor_json(a), "constant": c} for a, c in zip(results[0][0], constant)]
    entry["outputs"] = [tensor_json(o) for o in results[0][1]]
    if more:
        entry["more"] = [{"inputs": [None if c else tensor_json(v) for v, c in zip(values, constant)], "outputs": [tensor_json(o) for o in out]} for values, out in results[1:]]
    if tol is not None:
        entry["tolerance"] = tol
    lines.append(entry)


class Between:
    """Runs a channels-first case on a channels-last kernel: transposes the image before, the images that come out after."""

    def __init__(self, attrs, image, rank):
        self.image, self.rank = image, rank
        to_last = lambda v: [v[0], *v[2:], v[1]]  # noqa: E731
        pairs = lambda v: v[:2] + v[4:] + v[2:4]  # noqa: E731
        self.attrs = {k: (pairs(v) if k == "explicit_paddings" else to_last(v)) if isinstance(v, list) else v for k, v in attrs.items()}
        self.attrs["data_format"] = "NDHWC" if rank == 5 else "NHWC"

    def before(self, kwargs):
        kwargs = dict(kwargs)
        kwargs[self.image] = tf.transpose(kwargs[self.image], [0, *range(2, self.rank), 1])
        if "input_sizes" in kwargs:
            kwargs["input_sizes"] = tf.gather(kwargs["input_sizes"], [0, *range(2, self.rank), 1])
        return kwargs

    def after(self, array):
        return np.moveaxis(array, -1, 1) if array.ndim == self.rank else array

    @staticmethod
    def attr(value):
        if isinstance(value, list):
            return {"type": "list", "values": [{"type": "int", "value": v} for v in value]}
        kind = {bool: "bool", int: "int", float: "float", str: "string"}[type(value)]
        return {"type": kind, "value": value}


def nchw(op, name, inputs, attrs, image, **rest):
    rank = inputs[image].ndim
    attrs = {**attrs, "data_format": "NCDHW" if rank == 5 else "NCHW"}
    case(op, name, inputs, attrs, between=Between(attrs, image, rank), **rest)


def F(*shape, dtype=np.float32, lo=-2.0, hi=2.0):
    return rng.uniform(lo, hi, shape).astype(dtype)


def I(*shape, dtype=np.int32, lo=-9, hi=10):
    return rng.integers(lo, hi, shape).astype(dtype)


def B(*shape):
    return rng.integers(0, 2, shape).astype(bool)


def i32(*values):
    return np.array(values if len(values) != 1 or not isinstance(values[0], (list, tuple)) else values[0], np.int32)


def i64(*values):
    return np.array(values if len(values) != 1 or not isinstance(values[0], (list, tuple)) else values[0], np.int64)


def f32(values):
    return np.array(values, np.float32)


def S(*values):
    return np.array([v if isinstance(v, bytes) else v.encode() for v in values], object)


SPECIAL = f32([0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999997, 1e-30, -1e-30, 3.4e38, inf, -inf, nan, 8388609.0, -7.25])
SQUARE = (np.repeat(f32([0.0, -0.0, 1, -2.5, inf, -inf, nan]), 7), np.tile(f32([0.0, -0.0, 1, -2.5, inf, -inf, nan]), 7))
LOW = {np.int32: -2**31, np.int64: -2**63, np.int16: -2**15, np.int8: -128}


# ---- families -------------------------------------------------------------------------------------------------------------


@family
def arithmetic():
    for op in ["AddV2", "Add", "Sub", "Mul", "Maximum", "Minimum", "SquaredDifference"]:
        case(op, "float broadcast, two shapes", {"x": F(2, 3), "y": F(3)}, more=[{"x": F(4, 1, 3), "y": F(2, 1)}, {"x": F(0, 3), "y": F(3)}])
        case(op, "int32 wraps", {"x": i32(2**31 - 1, -2**31, 7, -7, 0), "y": i32(3, 5, -2, 2, -2**31)})
        case(op, "int64 scalar by matrix", {"x": np.int64(5), "y": I(2, 2, dtype=np.int64)})
        case(op, "double rank 4", {"x": F(2, 1, 2, 2, dtype=np.float64), "y": F(1, 3, 1, 2, dtype=np.float64)})
        case(op, "float specials", {"x": SQUARE[0], "y": SQUARE[1]})
        case(op, "half", {"x": F(5, dtype=np.float16), "y": F(5, dtype=np.float16)}, tol=2e-3)
    for op in ["AddV2", "Sub", "Mul", "Maximum", "Minimum"]:
        case(op, "uint8 wraps", {"x": I(6, dtype=np.uint8, lo=0, hi=255), "y": I(6, dtype=np.uint8, lo=0, hi=255)})
        case(op, "int16", {"x": I(6, dtype=np.int16, lo=-32768, hi=32767), "y": I(6, dtype=np.int16, lo=-32768, hi=32767)})
        case(op, "bfloat16", {"x": F(5, dtype=bf16), "y": F(5, dtype=bf16)}, tol=2e-2)
    for op in ["AddV2", "Sub", "Mul"]:
        case(op, "int8 wraps", {"x": I(6, dtype=np.int8, lo=-128, hi=127), "y": I(6, dtype=np.int8, lo=-128, hi=127)})
        case(op, "uint16", {"x": I(6, dtype=np.uint16, lo=0, hi=65535), "y": I(6, dtype=np.uint16, lo=0, hi=65535)})
        case(op, "uint32", {"x": I(6, dtype=np.uint32, lo=0, hi=2**32), "y": I(6, dtype=np.uint32, lo=0, hi=2**32)})
        case(op, "uint64", {"x": I(6, dtype=np.uint64, lo=0, hi=2**62), "y": I(6, dtype=np.uint64, lo=0, hi=2**62)})
    case("Add", "strings", {"x": S("a", "", "b\xff"), "y": S("x", "yz", "")})
    case("AddV2", "shapes do not broadcast", {"x": F(2), "y": F(3)}, error=True)
    case("AddV2", "scalars", {"x": np.float32(1.5), "y": np.float32(2)})
    case("AddN", "three floats", {"inputs": [F(2, 3), F(2, 3), F(2, 3)]})
    case("AddN", "one int32", {"inputs": [I(4)]})
    case("AddN", "two int64 scalars", {"inputs": [np.int64(4), np.int64(-9)]})

    for op in ["Div", "RealDiv"]:
        case(op, "float broadcast", {"x": F(2, 3), "y": F(3, lo=0.5)})
        case(op, "float specials", {"x": SQUARE[0], "y": SQUARE[1]})
        case(op, "double", {"x": F(2, 3, dtype=np.float64), "y": F(2, 1, dtype=np.float64)})
        case(op, "half", {"x": F(4, dtype=np.float16), "y": F(4, lo=0.5, dtype=np.float16)}, tol=2e-3)
    case("RealDiv", "float by constant", {"x": F(2, 2), "y": np.float32(255)}, const=["y"])
    signs = (np.repeat(i32(7, -7, 8, -8, 0, 1, -1), 4), np.tile(i32(3, -3, 2, -2), 7))
    for op in ["FloorDiv", "TruncateDiv", "Div", "FloorMod", "TruncateMod", "Mod"]:
        for dtype in [np.int32, np.int64]:
            case(op, f"{np.dtype(dtype).name} signs", {"x": signs[0].astype(dtype), "y": signs[1].astype(dtype)})
        case(op, "int32 least by -1", {"x": i32(-2**31, 5), "y": i32(-1, -1)}, more=[{"x": i32(-2**31), "y": np.int32(-1)}])
        case(op, "int32 by zero", {"x": i32(1, 2), "y": i32(1, 0)}, error=True)
        case(op, "int32 by constant", {"x": i32(-9, 9, 10), "y": np.int32(4)}, const=["y"])
        if op not in ("Mod", "TruncateMod"):
            for dtype in [np.int8, np.int16, np.uint8, np.uint16]:
                case(op, f"{np.dtype(dtype).name}", {"x": signs[0].astype(dtype), "y": np.abs(signs[1]).astype(dtype)})
        elif op == "TruncateMod":
            case(op, "int32 min by 3", {"x": i32(-2**31, 2**31 - 1), "y": i32(3, -3)})
    case("FloorDiv", "int32 min by 3", {"x": i32(-2**31, 2**31 - 1), "y": i32(3, -3)})
    case("FloorMod", "int32 min by 3", {"x": i32(-2**31, 2**31 - 1), "y": i32(3, -3)})
    case("FloorMod", "int64 large", {"x": i64(-2**62 - 1, 2**62 + 1), "y": i64(10, -10)})
    for op in ["FloorDiv", "FloorMod", "Mod", "TruncateMod"]:
        case(op, "float signs", {"x": f32([7.5, -7.5, 7.5, -7.5, 0.0, -0.0, 6, -6]), "y": f32([2, 2, -2, -2, 3, 3, 3, 3])})
        case(op, "double", {"x": F(6, dtype=np.float64, lo=-9, hi=9), "y": F(6, dtype=np.float64, lo=0.5)})
    case("FloorDiv", "float specials", {"x": f32([1, -1, inf, nan, 5, -5, 0]), "y": f32([0, 0, 2, 2, inf, inf, 2])})
    case("FloorMod", "float specials", {"x": f32([1, -1, inf, nan, 5, -5, 0]), "y": f32([0, 0, 2, 2, inf, inf, 2])})
    for op in ["DivNoNan", "MulNoNan", "Xdivy", "Xlogy", "Xlog1py"]:
        x, y = SQUARE
        case(op, "float specials", {"x": x, "y": y})
        case(op, "float broadcast", {"x": F(2, 3), "y": F(3, lo=0.1)})
        case(op, "double", {"x": F(4, dtype=np.float64), "y": F(4, dtype=np.float64, lo=0.1)})
    case("Pow", "float", {"x": F(2, 4, lo=0.1), "y": F(4)})
    case("Pow", "float specials", {"x": SQUARE[0], "y": SQUARE[1]})
    case("Pow", "negative base, whole exponents", {"x": f32([-2, -2, -2, -0.5]), "y": f32([2, 3, -1, 0.5])})
    case("Pow", "int32", {"x": i32(2, -3, 0, 7), "y": i32(10, 3, 0, 1)})
    case("Pow", "int64", {"x": i64(3, -2), "y": i64(30, 61)})
    case("Pow", "int32 negative exponent", {"x": i32(2), "y": i32(-1)}, error=True)
    case("Pow", "square by constant", {"x": F(2, 3), "y": np.float32(2)}, const=["y"])
    case("Pow", "half", {"x": F(4, lo=0.5, dtype=np.float16), "y": F(4, dtype=np.float16)}, tol=4e-3)
    case("Atan2", "all quadrants", {"y": SQUARE[0], "x": SQUARE[1]})
    case("Atan2", "float", {"y": F(2, 3), "x": F(3)})
    case("NextAfter", "float", {"x1": f32([0, 1, -1, inf]), "x2": f32([1, 2, 0, 0])})
    case("NextAfter", "double", {"x1": np.array([0, 1.0]), "x2": np.array([-1.0, 1.0])})
    case("ClipByValue", "scalar bounds", {"t": F(2, 3), "clip_value_min": np.float32(-1), "clip_value_max": np.float32(0.5)})
    case("ClipByValue", "tensor bounds", {"t": F(2, 3), "clip_value_min": F(2, 3, hi=-1), "clip_value_max": F(2, 3, lo=0)})
    case("ClipByValue", "int32 and int64", {"t": i32(-9, 0, 9), "clip_value_min": np.int32(-3), "clip_value_max": np.int32(4)})


@family
def unary():
    everywhere = ["Abs", "Neg", "Sign", "Square", "Exp", "Expm1", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Ceil", "Floor", "Round",
                  "Rint", "Erf", "Erfc", "Sigmoid", "IsNan", "IsInf", "IsFinite", "Reciprocal", "Inv"]
    positive = ["Sqrt", "Rsqrt", "Log", "Log1p", "Acosh", "Lgamma", "Digamma"]
    unit = ["Asin", "Acos", "Atanh", "Erfinv"]
    mild = f32([0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 1e-6, 10, -10, inf, -inf, nan])
    for op in everywhere + positive + unit + ["Ndtri", "BesselI0e", "BesselI1e"]:
        lo, hi = (-3, 3) if op in everywhere or op.startswith("Bessel") else ((1.01, 5) if op in positive else (0.05, 0.95))
        x = F(2, 3, lo=lo, hi=hi)
        case(op, "float, three shapes", {"x": x}, more=[{"x": F(4, lo=lo, hi=hi)}, {"x": np.float32(0.25 if op in unit else 1.25)} if op != "Ndtri" else {"x": np.float32(0.25)}, {"x": F(2, 0, lo=lo, hi=hi)}])
        case(op, "double", {"x": F(2, 2, dtype=np.float64, lo=lo, hi=hi)})
        if op not in ("Tan", "Digamma", "Lgamma", "Ndtri", "Erfinv", "BesselI0e", "BesselI1e"):
            case(op, "float specials", {"x": mild})
        if op not in ("BesselI0e", "BesselI1e", "Erfinv", "Ndtri", "Rint"):
            case(op, "half", {"x": F(5, dtype=np.float16, lo=lo, hi=hi)}, tol=4e-3)
    for op in ["Exp", "Log", "Tanh", "Sigmoid", "Sqrt", "Rsqrt", "Abs", "Neg", "Square", "Floor"]:
        case(op, "bfloat16", {"x": F(5, dtype=bf16, lo=0.2, hi=3)}, tol=2e-2)
    halves = f32([-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 0.49999997, -0.49999997, 8388609, 4194304.5, 1e20, -0.0])
    for op in ["Round", "Rint", "Floor", "Ceil"]:
        case(op, "halves", {"x": halves})
    for op in ["Round"]:
        case(op, "int32 is unchanged", {"x": i32(-5, 0, 7)})
        case(op, "int64 is unchanged", {"x": i64(-5, 0, 7)})
    for op in ["Abs", "Neg", "Sign", "Square"]:
        case(op, "int32 with the least", {"x": i32(-2**31, -5, 0, 7)})
        case(op, "int64", {"x": I(2, 3, dtype=np.int64)})
    for dtype in [np.int8, np.int16]:
        case("Abs", np.dtype(dtype).name, {"x": np.array([-5, 0, 7, LOW[dtype]], dtype)})
        case("Neg", np.dtype(dtype).name, {"x": np.array([-5, 0, 7, LOW[dtype]], dtype)})
    case("Softsign", "float", {"features": F(2, 3)}, more=[{"features": mild[:13]}])
    case("Igamma", "float", {"a": F(4, lo=0.5, hi=4), "x": F(4, lo=0.5, hi=4)}, tol=1e-4)
    case("Igammac", "float", {"a": F(4, lo=0.5, hi=4), "x": F(4, lo=0.5, hi=4)}, tol=1e-4)
    case("Betainc", "float", {"a": F(4, lo=0.5, hi=4), "b": F(4, lo=0.5, hi=4), "x": F(4, lo=0.1, hi=0.9)}, tol=1e-4)
    case("Zeta", "float", {"x": F(4, lo=1.5, hi=4), "q": F(4, lo=0.5, hi=4)}, tol=1e-4)
    case("Polygamma", "float", {"a": f32([1, 2, 3]), "x": F(3, lo=0.5, hi=4)}, tol=1e-4)
    for op in ["IsNan", "IsInf", "IsFinite"]:
        case(op, "all specials, double", {"x": SPECIAL.astype(np.float64)})
    for op in ["Identity", "StopGradient", "Snapshot", "PreventGradient", "DeepCopy", "ZerosLike", "OnesLike"]:
        arg = "x" if op in ("DeepCopy", "ZerosLike", "OnesLike") else "input"
        case(op, "float, two ranks", {arg: F(2, 3)}, more=[{arg: np.float32(7)}, {arg: F(0, 2)}])
        case(op, "int64", {arg: I(3, dtype=np.int64)})
        case(op, "bool", {arg: B(3)})
    case("Identity", "strings", {"input": S("a", b"\x00\xff", "")})
    case("ZerosLike", "strings", {"x": S("a", "b")})
    for dtype in [np.uint8, np.float64, np.int32]:
        case("ZerosLike", np.dtype(dtype).name, {"x": np.ones((2, 1), dtype)})
        case("OnesLike", np.dtype(dtype).name, {"x": np.zeros((2, 1), dtype)})
    case("IdentityN", "two dtypes", {"input": [F(2), I(3)]})
    case("CheckNumerics", "passes numbers", {"tensor": F(2, 3)}, {"message": "bad"})
    case("CheckNumerics", "refuses NaN", {"tensor": f32([1, nan])}, {"message": "bad"}, error=True)
    case("CheckNumerics", "refuses Inf", {"tensor": f32([1, inf])}, {"message": "worse"}, error=True)
    case("Real", "complex64", {"input": np.array([1 + 2j, -3.5j], np.complex64)}, {"Tout": tf.float32})
    case("Imag", "complex64", {"input": np.array([1 + 2j, -3.5j], np.complex64)}, {"Tout": tf.float32})
    case("Complex", "floats", {"real": F(3), "imag": F(3)}, {"Tout": tf.complex64})
    case("ComplexAbs", "complex64", {"x": np.array([3 + 4j, -2j], np.complex64)}, {"Tout": tf.float32})


@family
def comparison():
    for op in ["Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"]:
        case(op, "float broadcast, two shapes", {"x": np.round(F(2, 3)), "y": np.round(F(3))}, more=[{"x": np.round(F(2, 1, 3)), "y": np.round(F(2, 1))}, {"x": np.float32(1), "y": np.float32(1)}])
        case(op, "float specials", {"x": SQUARE[0], "y": SQUARE[1]})
        case(op, "int32", {"x": I(8, lo=0, hi=3), "y": I(8, lo=0, hi=3)})
        case(op, "int64 beyond doubles", {"x": i64(2**53, 2**53 + 1, -2**63, 5), "y": i64(2**53 + 1, 2**53, 2**63 - 1, 5)})
        case(op, "double", {"x": np.array([1.0, 2, nan]), "y": np.array([1.0, 3, nan])})
        case(op, "half", {"x": np.round(F(5, dtype=np.float16)), "y": np.round(F(5, dtype=np.float16))})
        for dtype in [np.uint8, np.int8, np.int16, np.uint16, np.uint32, np.uint64]:
            case(op, np.dtype(dtype).name, {"x": np.array([1, 2, 3, 120], dtype), "y": np.array([1, 3, 2, 7], dtype)})
        case(op, "scalar constant", {"x": I(2, 3, dtype=np.int64), "y": np.int64(0)}, const=["y"])
    for op in ["Equal", "NotEqual"]:
        case(op, "bool", {"x": np.array([True, True, False, False]), "y": np.array([True, False, True, False])})
        case(op, "strings", {"x": S("a", "b", "", b"\xff"), "y": S("a", "c", "", b"\xfe")})
        case(op, "strings with a scalar constant", {"x": S("a", "b", ""), "y": np.array(b"b", object)}, const=["y"])
        case(op, "shapes that differ count as unequal", {"x": F(2), "y": F(3)}, {"incompatible_shape_error": False})
    case("ApproximateEqual", "float", {"x": f32([1, 1, 1]), "y": f32([1.00000001, 1.1, 2])}, {"tolerance": 0.2})
    for op in ["LogicalAnd", "LogicalOr"]:
        case(op, "truth table", {"x": np.array([True, True, False, False]), "y": np.array([True, False, True, False])})
        case(op, "broadcast", {"x": B(2, 1, 3), "y": B(4, 1)})
    case("LogicalNot", "two shapes", {"x": B(5)}, more=[{"x": np.array(True)}])
    for dtype in [np.int32, np.int64, np.uint8, np.int8, np.int16, np.uint16]:
        top = 100
        x, y = np.array([0, 1, 5, 100, 64, 7], dtype), np.array([0, 3, 6, 77, 2, 7], dtype)
        for op in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
            case(op, np.dtype(dtype).name, {"x": x, "y": y})
        case("Invert", np.dtype(dtype).name, {"x": x})
        case("PopulationCount", np.dtype(dtype).name, {"x": x})
        for op in ["LeftShift", "RightShift"]:
            case(op, np.dtype(dtype).name, {"x": x, "y": np.array([0, 1, 2, 3, 1, 7], dtype)})
    case("RightShift", "negative int32", {"x": i32(-8, -1, -2**31), "y": i32(1, 3, 31)})
    case("RightShift", "negative int64", {"x": i64(-8, -1), "y": i64(1, 40)})
    case("BitwiseAnd", "negative int32 broadcast", {"x": i32([[-8], [12]]), "y": i32(7, -1, 6)})
    case("Select", "same shape", {"condition": B(2, 3), "t": F(2, 3), "e": F(2, 3)})
    case("Select", "scalar condition", {"condition": np.array(True), "t": F(2, 3), "e": F(2, 3)}, more=[{"condition": np.array(False), "t": F(2), "e": F(2)}])
    case("Select", "vector condition picks rows", {"condition": np.array([True, False]), "t": F(2, 3), "e": F(2, 3)})
    case("Select", "vector condition picks rows of rank 3, int32", {"condition": np.array([True, False, True]), "t": I(3, 2, 2), "e": I(3, 2, 2)})
    case("Select", "int64", {"condition": B(4), "t": I(4, dtype=np.int64), "e": I(4, dtype=np.int64)})
    case("Select", "strings", {"condition": np.array([True, False]), "t": S("a", "b"), "e": S("c", "d")})
    case("SelectV2", "broadcast of all three", {"condition": B(3), "t": F(2, 1), "e": F(2, 3)}, more=[{"condition": np.array(True), "t": F(1), "e": F(2, 3)}])
    case("SelectV2", "vector condition broadcasts over columns", {"condition": np.array([True, False]), "t": F(2, 2), "e": F(2, 2)})
    for dtype in [np.int32, np.int64, np.float64, np.uint8, np.int8, np.bool_, np.int16, np.float16]:
        case("SelectV2", np.dtype(dtype).name, {"condition": B(4), "t": np.array([1, 0, 1, 1], dtype), "e": np.array(0, dtype)})
    case("SelectV2", "strings", {"condition": np.array([True, False]), "t": S("a", "b"), "e": np.array(b"", object)})
    case("SelectV2", "NaN is kept out", {"condition": np.array([True, False]), "t": f32([1, nan]), "e": f32([nan, 2])})


@family
def reductions():
    for op in ["Sum", "Mean", "Max", "Min", "Prod", "EuclideanNorm"]:
        x = F(2, 3, 4)
        case(op, "constant axis, two shapes", {"input": x, "reduction_indices": i32(1)}, const=["reduction_indices"], more=[{"input": F(1, 5, 2)}])
        case(op, "negative axes, kept", {"input": x, "reduction_indices": i32(-1, 0)}, {"keep_dims": True}, const=["reduction_indices"])
        case(op, "scalar axis", {"input": x, "reduction_indices": np.int32(-1)}, const=["reduction_indices"])
        case(op, "no axes is a no-op", {"input": x, "reduction_indices": i32()}, const=["reduction_indices"])
        case(op, "all axes, int64", {"input": x, "reduction_indices": i64(0, 1, 2)}, const=["reduction_indices"])
        case(op, "all axes, kept", {"input": x, "reduction_indices": i32(0, 1, 2)}, {"keep_dims": True}, const=["reduction_indices"])
        case(op, "axis as an input", {"input": x, "reduction_indices": i32(0)}, more=[{"reduction_indices": i32(1, 2)}, {"reduction_indices": i32()}])
        case(op, "scalar", {"input": np.float32(3.5), "reduction_indices": i32()}, const=["reduction_indices"])
        case(op, "nothing to reduce", {"input": F(0, 3), "reduction_indices": i32(0)}, const=["reduction_indices"])
        case(op, "nothing left", {"input": F(0, 3), "reduction_indices": i32(1)}, const=["reduction_indices"])
        case(op, "double, rank 4", {"input": F(2, 2, 2, 2, dtype=np.float64), "reduction_indices": i32(1, 2)}, const=["reduction_indices"])
        if op != "EuclideanNorm":
            case(op, "int32", {"input": I(3, 4), "reduction_indices": i32(0)}, const=["reduction_indices"])
            case(op, "int64", {"input": I(3, 4, dtype=np.int64), "reduction_indices": i32(1)}, {"keep_dims": True}, const=["reduction_indices"])
            case(op, "uint8", {"input": I(2, 4, dtype=np.uint8, lo=0, hi=200), "reduction_indices": i32(1)}, const=["reduction_indices"])
            case(op, "int32, nothing to reduce", {"input": I(0, 2), "reduction_indices": i32(0)}, const=["reduction_indices"]) if op != "Mean" else None
        case(op, "NaN and Inf", {"input": f32([[1, nan, 2], [inf, 1, 0], [-inf, inf, 0], [-1, -2, -0.0]]), "reduction_indices": i32(1)}, const=["reduction_indices"])
        case(op, "half", {"input": F(2, 4, dtype=np.float16), "reduction_indices": i32(1)}, const=["reduction_indices"], tol=4e-3) if op != "EuclideanNorm" else None
    case("Prod", "int32 of a shape", {"input": i32(2, 3, 4), "reduction_indices": i32(0)}, const=["reduction_indices"])
    case("Sum", "bad axis", {"input": F(2), "reduction_indices": i32(3)}, error=True)
    case("Mean", "int32 with a remainder", {"input": i32([[1, 2], [-1, -2], [7, 8]]), "reduction_indices": i32(1)}, const=["reduction_indices"])
    for op in ["All", "Any"]:
        case(op, "axis 1, two shapes", {"input": B(2, 3), "reduction_indices": i32(1)}, const=["reduction_indices"], more=[{"input": B(4, 1)}, {"input": B(2, 0)}])
        case(op, "all axes", {"input": B(2, 3), "reduction_indices": i32(0, 1)}, const=["reduction_indices"])
        case(op, "kept, negative", {"input": B(2, 3), "reduction_indices": i32(-1)}, {"keep_dims": True}, const=["reduction_indices"])
        case(op, "no axes", {"input": B(2, 3), "reduction_indices": i32()}, const=["reduction_indices"])
    for op in ["ArgMax", "ArgMin"]:
        for out in [tf.int64, tf.int32]:
            case(op, f"axis -1 to {out.name}", {"input": F(2, 5), "dimension": np.int32(-1)}, {"output_type": out}, const=["dimension"], more=[{"input": F(1, 3)}])
        case(op, "ties give the first", {"input": f32([[1, 3, 3], [2, 2, 2]]), "dimension": np.int32(1)}, const=["dimension"])
        case(op, "axis 0, rank 3", {"input": F(3, 2, 2), "dimension": np.int64(0)}, const=["dimension"])
        case(op, "int32", {"input": I(4, 3), "dimension": np.int32(0)}, const=["dimension"])
        case(op, "int64", {"input": I(4, 3, dtype=np.int64), "dimension": np.int32(1)}, const=["dimension"])
        case(op, "uint8", {"input": I(4, 3, dtype=np.uint8, lo=0, hi=255), "dimension": np.int32(1)}, const=["dimension"])
        case(op, "double, axis as an input", {"input": F(2, 5, dtype=np.float64), "dimension": np.int32(1)})
        case(op, "vector", {"input": F(6), "dimension": np.int32(0)}, const=["dimension"])
    case("ArgMax", "bool", {"input": np.array([False, True, True]), "dimension": np.int32(0)}, const=["dimension"])
    for op in ["Cumsum", "Cumprod"]:
        for exclusive in [False, True]:
            for reverse in [False, True]:
                case(op, f"exclusive={exclusive} reverse={reverse}", {"x": F(2, 4), "axis": np.int32(1)}, {"exclusive": exclusive, "reverse": reverse}, const=["axis"])
        case(op, "axis -2, int32", {"x": I(3, 2, lo=-3, hi=4), "axis": np.int32(-2)}, const=["axis"])
        case(op, "int64 vector", {"x": I(5, dtype=np.int64, lo=-3, hi=4), "axis": np.int32(0)}, const=["axis"])
        case(op, "double, axis as an input, two shapes", {"x": F(2, 3, dtype=np.float64), "axis": np.int32(0)}, more=[{"x": F(3, 1, 2, dtype=np.float64), "axis": np.int64(2).astype(np.int32)}])
    case("CumulativeLogsumexp", "float", {"x": F(2, 4), "axis": np.int32(1)}, const=["axis"])
    case("CumulativeLogsumexp", "exclusive, reverse", {"x": F(2, 4), "axis": np.int32(1)}, {"exclusive": True, "reverse": True}, const=["axis"])
    case("L2Loss", "float", {"t": F(2, 3)})
    case("L2Loss", "double scalar", {"t": np.float64(3)})


@family
def arrays():
    x = F(2, 3, 4)
    for out in [tf.int32, tf.int64]:
        case("Shape", f"to {out.name}", {"input": x}, {"out_type": out}, more=[{"input": np.float32(1)}, {"input": F(0, 2)}])
        case("Size", f"to {out.name}", {"input": x}, {"out_type": out}, more=[{"input": np.float32(1)}, {"input": F(0, 2)}])
        case("ShapeN", f"to {out.name}", {"input": [x, F(2)]}, {"out_type": out})
    case("Shape", "of strings", {"input": S("a", "b")})
    case("Rank", "three ranks", {"input": x}, more=[{"input": np.float32(1)}, {"input": F(3)}])
    case("Reshape", "constant shape with -1, two feeds", {"tensor": F(2, 6), "shape": i32(-1, 3)}, const=["shape"], more=[{"tensor": F(1, 9)}])
    case("Reshape", "int64 shape as an input", {"tensor": F(2, 6), "shape": i64(3, 4)}, more=[{"shape": i64(-1)}])
    case("Reshape", "zero size means zero", {"tensor": F(0, 6), "shape": i32(0, 2, 3)}, const=["shape"])
    case("Reshape", "empty with -1", {"tensor": F(0, 6), "shape": i32(-1, 6)}, const=["shape"])
    case("Reshape", "to a scalar", {"tensor": F(1, 1), "shape": i32()}, const=["shape"])
    case("Reshape", "strings", {"tensor": S("a", "b", "c", "d"), "shape": i32(2, 2)}, const=["shape"])
    case("Reshape", "bool", {"tensor": B(4), "shape": i32(2, -1)}, const=["shape"])
    case("Reshape", "does not fit", {"tensor": F(5), "shape": i32(2, 3)}, error=True)
    for axis in [0, 1, -1, -3]:
        case("ExpandDims", f"axis {axis}", {"input": F(2, 3), "dim": np.int32(axis)}, const=["dim"])
    case("ExpandDims", "axis of shape [1], int64, int32 data", {"input": I(3), "dim": i64(0)}, const=["dim"])
    case("ExpandDims", "axis as an input, scalar data", {"input": np.float32(2), "dim": np.int32(0)})
    case("ExpandDims", "strings", {"input": S("a", "b"), "dim": np.int32(-1)}, const=["dim"])
    case("ExpandDims", "axis out of range", {"input": F(2), "dim": np.int32(3)}, error=True)
    case("Squeeze", "all", {"input": F(1, 3, 1)}, more=[{"input": F(1, 1)}, {"input": F(2, 3)}])
    case("Squeeze", "some", {"input": F(1, 3, 1)}, {"squeeze_dims": [0]})
    case("Squeeze", "negative", {"input": F(2, 1, 3, 1)}, {"squeeze_dims": [-1, 1]}, more=[{"input": F(5, 1, 2, 1)}])
    case("Squeeze", "int64", {"input": I(1, 3, dtype=np.int64)}, {"squeeze_dims": [0]})
    case("Squeeze", "strings", {"input": S("a", "b").reshape(2, 1)}, {"squeeze_dims": [-1]})
    case("Squeeze", "not of size 1", {"input": F(2, 3)}, {"squeeze_dims": [0]}, error=True)
    for axis in [0, 1, -1]:
        case("Pack", f"axis {axis}", {"values": [F(2, 3), F(2, 3)]}, {"axis": axis})
        case("Unpack", f"axis {axis}", {"value": F(2, 2, 2)}, {"num": 2, "axis": axis})
    case("Pack", "int32 scalars", {"values": [np.int32(3), np.int32(4), np.int32(-1)]})
    case("Pack", "one int64 vector", {"values": [I(3, dtype=np.int64)]})
    case("Pack", "strings", {"values": [S("a", "b"), S("c", "d")]}, {"axis": 1})
    case("Pack", "bool", {"values": [B(2), B(2)]})
    case("Unpack", "strings", {"value": S("a", "b")}, {"num": 2})
    case("Unpack", "int32, two feeds", {"value": I(2, 3)}, {"num": 2}, more=[{"value": I(2)}])
    for axis in [0, 1, -1]:
        case("ConcatV2", f"axis {axis}", {"values": [F(2, 3), F(2, 3)], "axis": np.int32(axis)}, const=["axis"])
    case("ConcatV2", "sizes differ, one is empty", {"values": [F(2, 3), F(0, 3), F(1, 3)], "axis": np.int32(0)}, const=["axis"])
    case("ConcatV2", "int64 axis, strings", {"values": [S("a"), S("b", "c")], "axis": np.int64(0)}, const=["axis"])
    case("ConcatV2", "int32", {"values": [I(2, 1), I(2, 2)], "axis": np.int32(-1)}, const=["axis"])
    case("ConcatV2", "bool, axis as an input", {"values": [B(2, 1), B(2, 1)], "axis": np.int32(1)}, more=[{"axis": np.int32(0)}])
    case("ConcatV2", "uint8 rank 4", {"values": [I(1, 2, 2, 1, dtype=np.uint8, lo=0, hi=9), I(1, 2, 2, 2, dtype=np.uint8, lo=0, hi=9)], "axis": np.int32(3)}, const=["axis"])
    case("ConcatV2", "shapes do not fit", {"values": [F(2, 3), F(2, 2)], "axis": np.int32(0)}, const=["axis"], error=True)
    case("Concat", "axis 1", {"concat_dim": np.int32(1), "values": [F(2, 3), F(2, 1)]}, const=["concat_dim"])
    case("Concat", "axis 0, int64", {"concat_dim": np.int32(0), "values": [I(2, dtype=np.int64), I(1, dtype=np.int64)]}, const=["concat_dim"])
    case("ConcatOffset", "axis 1", {"concat_dim": np.int32(1), "shape": [i32(2, 3), i32(2, 5)]})
    for axis in [0, 1, -1]:
        case("Split", f"axis {axis}", {"split_dim": np.int32(axis), "value": F(4, 2, 2)}, {"num_split": 2}, const=["split_dim"])
    case("Split", "int32 in four", {"split_dim": np.int32(0), "value": I(4, 3)}, {"num_split": 4}, const=["split_dim"], more=[{"value": I(8)}])
    case("Split", "does not divide", {"split_dim": np.int32(0), "value": F(5)}, {"num_split": 2}, error=True)
    case("SplitV", "sizes", {"value": F(6, 2), "size_splits": i32(1, 2, 3), "split_dim": np.int32(0)}, {"num_split": 3}, const=["size_splits", "split_dim"])
    case("SplitV", "one size is -1", {"value": F(2, 7), "size_splits": i64(2, -1, 1), "split_dim": np.int32(-1)}, {"num_split": 3}, const=["size_splits", "split_dim"], more=[{"value": F(1, 5)}])
    case("SplitV", "sizes as an input, strings", {"value": S("a", "b", "c"), "size_splits": i32(1, 2), "split_dim": np.int32(0)}, {"num_split": 2}, const=["split_dim"])
    case("Tile", "matrix", {"input": F(2, 3), "multiples": i32(2, 1)}, const=["multiples"], more=[{"input": F(1, 1)}])
    case("Tile", "int64 multiples as an input, by zero", {"input": I(2), "multiples": i64(3)}, more=[{"multiples": i64(0)}])
    case("Tile", "strings", {"input": S("a", "b"), "multiples": i32(2)}, const=["multiples"])
    case("Tile", "scalar", {"input": np.float32(2), "multiples": i32()}, const=["multiples"])
    case("Tile", "bool rank 3", {"input": B(1, 2, 1), "multiples": i32(2, 1, 3)}, const=["multiples"])
    for value in [np.float32(2.5), np.int32(-3), np.int64(2**40), np.array(True), np.array(b"s", object), np.float64(1.5), np.uint8(7)]:
        case("Fill", f"{np.asarray(value).dtype}", {"dims": i32(2, 3), "value": value}, more=[{"dims": i32()}, {"dims": i32(0, 2)}])
    case("Fill", "int64 dims, constant", {"dims": i64(2, 2), "value": np.float32(1)}, const=["dims", "value"])
    case("Fill", "negative size", {"dims": i32(-1), "value": np.float32(1)}, error=True)
    case("Transpose", "NHWC to NCHW, two feeds", {"x": F(1, 2, 3, 4), "perm": i32(0, 3, 1, 2)}, const=["perm"], more=[{"x": F(2, 1, 2, 1)}])
    case("Transpose", "int64 perm as an input", {"x": I(2, 3), "perm": i64(1, 0)}, more=[{"perm": i64(0, 1)}])
    case("Transpose", "scalar", {"x": np.float32(1), "perm": i32()}, const=["perm"])
    case("Transpose", "strings", {"x": S("a", "b", "c", "d").reshape(2, 2), "perm": i32(1, 0)}, const=["perm"])
    case("Transpose", "bool rank 3", {"x": B(2, 2, 3), "perm": i32(2, 0, 1)}, const=["perm"])
    case("ConjugateTranspose", "float", {"x": F(2, 3), "perm": i32(1, 0)}, const=["perm"])
    case("ReverseV2", "axis 1", {"tensor": F(2, 3), "axis": i32(1)}, const=["axis"], more=[{"tensor": F(1, 4)}])
    case("ReverseV2", "axes 0 and -1, int32", {"tensor": I(2, 2, 3), "axis": i32(0, -1)}, const=["axis"])
    case("ReverseV2", "no axes", {"tensor": F(3), "axis": i32()}, const=["axis"])
    case("ReverseV2", "int64 axis as an input, strings", {"tensor": S("a", "b", "c"), "axis": i64(0)})
    case("Reverse", "bool mask", {"tensor": F(2, 3), "dims": np.array([False, True])}, const=["dims"])
    case("ReverseSequence", "batch 0 seq 1", {"input": F(3, 4), "seq_lengths": i64(2, 4, 0)}, {"seq_dim": 1, "batch_dim": 0}, more=[{"input": F(1, 2), "seq_lengths": i64(1)}])
    case("ReverseSequence", "time major, rank 3, int32 lengths", {"input": F(4, 2, 2), "seq_lengths": i32(3, 1)}, {"seq_dim": 0, "batch_dim": 1})
    case("ReverseSequence", "int32", {"input": I(2, 3), "seq_lengths": i32(2, 3)}, {"seq_dim": 1, "batch_dim": 0})
    case("BroadcastTo", "row", {"input": F(3), "shape": i32(2, 3)}, const=["shape"])
    case("BroadcastTo", "scalar int64, shape as an input", {"input": np.int64(4), "shape": i64(2, 2)}, more=[{"shape": i64()}])
    case("BroadcastTo", "rank 4", {"input": F(2, 1, 1), "shape": i32(2, 2, 1, 3)}, const=["shape"])
    case("BroadcastTo", "bool", {"input": B(2, 1), "shape": i32(2, 3)}, const=["shape"])
    case("BroadcastArgs", "int32", {"s0": i32(2, 1, 3), "s1": i32(4, 1)})
    case("BroadcastArgs", "int64 with a scalar's", {"s0": i64(), "s1": i64(4, 1)})
    for dtype in [np.int32, np.int64, np.float32, np.float64]:
        t = lambda v: np.array(v, dtype)  # noqa: E731
        case("Range", f"{np.dtype(dtype).name}", {"start": t(2), "limit": t(9), "delta": t(3)}, more=[{"start": t(5), "limit": t(0), "delta": t(-2)}, {"start": t(3), "limit": t(3), "delta": t(1)}])
    case("Range", "float steps", {"start": np.float32(0), "limit": np.float32(1), "delta": np.float32(0.1)})
    case("Range", "constant start and step", {"start": np.int32(0), "limit": np.int32(4), "delta": np.int32(1)}, const=["start", "delta"], more=[{"limit": np.int32(0)}])
    case("Range", "the wrong way", {"start": np.int32(3), "limit": np.int32(0), "delta": np.int32(1)}, error=True)
    case("Range", "delta zero", {"start": np.int32(3), "limit": np.int32(5), "delta": np.int32(0)}, error=True)
    case("LinSpace", "float", {"start": np.float32(1), "stop": np.float32(2), "num": np.int32(5)}, more=[{"num": np.int32(1)}])
    case("LinSpace", "double, int64, constants", {"start": np.float64(-1), "stop": np.float64(1), "num": np.int64(4)}, const=["start", "stop", "num"])
    for axis in [-1, 0, 1]:
        case("OneHot", f"axis {axis}", {"indices": i32([[0, 2], [-1, 5]]), "depth": np.int32(3), "on_value": np.float32(2), "off_value": np.float32(-1)}, {"axis": axis}, const=["depth", "on_value", "off_value"])
    case("OneHot", "int64 indices, depth as an input", {"indices": i64(1, 0), "depth": np.int32(2), "on_value": np.float32(1), "off_value": np.float32(0)}, more=[{"depth": np.int32(4)}])
    case("OneHot", "uint8 indices to int64", {"indices": np.array([3, 1], np.uint8), "depth": np.int32(4), "on_value": np.int64(1), "off_value": np.int64(0)})
    case("OneHot", "to bool", {"indices": i32(1, 0), "depth": np.int32(2), "on_value": np.array(True), "off_value": np.array(False)})
    case("OneHot", "scalar index to int32", {"indices": np.int32(1), "depth": np.int32(3), "on_value": np.int32(5), "off_value": np.int32(4)})
    case("OneHot", "to strings", {"indices": i32(1), "depth": np.int32(2), "on_value": np.array(b"on", object), "off_value": np.array(b"off", object)})
    case("EnsureShape", "fits, two feeds", {"input": F(2, 3)}, {"shape": tf.TensorShape([None, 3])}, more=[{"input": F(5, 3)}])
    case("EnsureShape", "does not fit", {"input": F(2, 3)}, {"shape": tf.TensorShape([None, 4])}, error=True)
    case("Bitcast", "float to int32", {"input": SPECIAL[:9]}, {"type": tf.int32})
    case("Bitcast", "int64 to int32 grows", {"input": I(2, dtype=np.int64, lo=-2**62, hi=2**62)}, {"type": tf.int32})
    case("Bitcast", "uint8 to float shrinks", {"input": np.array([[0, 0, 128, 63], [0, 0, 0, 64]], np.uint8)}, {"type": tf.float32})
    case("Bitcast", "uint32 to int32", {"input": np.array([1, 2**32 - 1], np.uint32)}, {"type": tf.int32})
    case("Empty", "zeroed", {"shape": i32(2, 3)}, {"dtype": tf.float32, "init": True})
    case("Where", "matrix, two feeds", {"input": np.array([[True, False], [True, True]])}, more=[{"input": B(3, 2)}, {"input": np.zeros((2, 2), bool)}])
    case("Where", "float", {"input": f32([0, -0.0, 1, nan, -2])})
    case("Where", "int32 rank 3", {"input": I(2, 2, 2, lo=0, hi=2)})
    case("Where", "int64 vector", {"input": i64(0, 3, 0, -1)})
    case("Unique", "int32", {"x": i32(4, 1, 4, 2, 1, 7)}, more=[{"x": i32()}, {"x": i32(5)}])
    case("Unique", "int64 with int64 indices", {"x": i64(4, 1, 4, 2)}, {"out_idx": tf.int64})
    case("Unique", "float", {"x": f32([1.5, 0.0, -0.0, 1.5])})
    case("Unique", "strings", {"x": S("b", "a", "b", "")})
    case("UniqueV2", "no axis", {"x": i32(4, 1, 4, 2), "axis": i32()}, const=["axis"])
    case("UniqueV2", "rows", {"x": i32([[1, 2], [3, 4], [1, 2]]), "axis": i32(0)}, const=["axis"])
    case("UniqueV2", "columns, int64", {"x": i64([[1, 3, 1], [2, 4, 2]]), "axis": i64(1)}, const=["axis"])
    case("UniqueWithCounts", "int64", {"x": i64(4, 1, 4, 2, 1, 4)})
    case("UniqueWithCounts", "strings", {"x": S("b", "a", "b")})
    case("UniqueWithCountsV2", "no axis", {"x": i32(4, 1, 4), "axis": i32()}, const=["axis"])
    case("UniqueWithCountsV2", "rows", {"x": i32([[1, 2], [3, 4], [1, 2]]), "axis": i32(0)}, const=["axis"])
    case("ListDiff", "int32", {"x": i32(1, 2, 3, 2, 5), "y": i32(2, 9)})
    case("ListDiff", "strings to int64", {"x": S("a", "b"), "y": S("b")}, {"out_idx": tf.int64})
    case("InvertPermutation", "int32", {"x": i32(3, 0, 2, 1)}, more=[{"x": i32(0)}])
    case("InvertPermutation", "int64", {"x": i64(1, 2, 0)})
    case("InvertPermutation", "not a permutation", {"x": i32(1, 1)}, error=True)
    case("Roll", "one axis", {"input": F(2, 4), "shift": np.int32(1), "axis": np.int32(1)}, const=["shift", "axis"], more=[{"input": F(1, 3)}])
    case("Roll", "two axes, negative", {"input": I(3, 4), "shift": i32(-1, 6), "axis": i32(0, -1)}, const=["shift", "axis"])
    case("Roll", "shift as an input", {"input": F(5), "shift": i64(2), "axis": i64(0)}, more=[{"shift": i64(-7)}])
    case("DynamicPartition", "vector in three", {"data": F(6), "partitions": i32(0, 2, 0, 1, 2, 2)}, {"num_partitions": 3})
    case("DynamicPartition", "rows, one part empty", {"data": I(4, 2), "partitions": i32(2, 0, 2, 0)}, {"num_partitions": 3}, more=[{"data": I(1, 2), "partitions": i32(1)}])
    case("DynamicPartition", "matrix of partitions, strings", {"data": S("a", "b", "c", "d").reshape(2, 2), "partitions": i32([[0, 1], [1, 0]])}, {"num_partitions": 2})
    for op in ["DynamicStitch", "ParallelDynamicStitch"]:
        case(op, "rows", {"indices": [i32(0, 2), i32(1, 3)], "data": [F(2, 3), F(2, 3)]})
        case(op, "scalar index, last wins", {"indices": [np.int32(0), i32(1, 0)], "data": [F(), F(2)]})
    case("DynamicStitch", "strings", {"indices": [i32(1), i32(0)], "data": [S("b"), S("a")]})


@family
def slicing():
    x = F(3, 4, 5)

    def ss(name, begin, end, strides, source=None, const=("begin", "end", "strides"), more=(), error=False, **masks):
        case("StridedSlice", name, {"input": x if source is None else source, "begin": np.asarray(begin), "end": np.asarray(end), "strides": np.asarray(strides)}, masks, const=list(const), more=more, error=error)

    ss("plain, two feeds", i32(0, 1, 1), i32(2, 3, 5), i32(1, 1, 2), more=[{"input": F(2, 3, 4)}])
    ss("fewer dims than the rank", i32(1), i32(3), i32(1))
    ss("negative bounds", i32(-2, 0, -3), i32(3, -1, -1), i32(1, 1, 1))
    ss("negative stride to the start", i32(0, 0, 0), i32(0, 0, 0), i32(-1, -1, -2), begin_mask=7, end_mask=7)
    ss("negative stride within", i32(2, 3, 4), i32(0, 0, 1), i32(-1, -2, -1))
    ss("begin mask", i32(1, 1, 1), i32(2, 3, 4), i32(1, 1, 1), begin_mask=5)
    ss("end mask", i32(1, 1, 1), i32(2, 3, 4), i32(1, 1, 1), end_mask=5)
    ss("shrink", i32(1, 0, 0), i32(2, 4, 5), i32(1, 1, 1), shrink_axis_mask=1)
    ss("shrink the last with -1", i32(0, 0, -1), i32(0, 0, 0), i32(1, 1, 1), begin_mask=3, end_mask=3, shrink_axis_mask=4)
    ss("shrink all", i32(1, 2, 3), i32(2, 3, 4), i32(1, 1, 1), shrink_axis_mask=7)
    ss("shrink ignores end and a far stride", i32(1, 0), i32(0, 4), i32(1, 1), shrink_axis_mask=1)
    ss("new axis in the middle", i32(0, 0, 1), i32(3, 0, 3), i32(1, 1, 1), new_axis_mask=2)
    ss("new axis first and last", i32(0, 0, 0, 0), i32(0, 0, 0, 0), i32(1, 1, 1, 1), new_axis_mask=9, begin_mask=15, end_mask=15)
    ss("ellipsis first", i32(0, 1), i32(0, 3), i32(1, 1), ellipsis_mask=1)
    ss("ellipsis then new axis", i32(0, 0), i32(0, 0), i32(1, 1), ellipsis_mask=1, new_axis_mask=2)
    ss("ellipsis in the middle with shrink", i32(1, 0, -1), i32(2, 0, 0), i32(1, 1, 1), ellipsis_mask=2, shrink_axis_mask=5)
    ss("ellipsis of no dims", i32(0, 0, 1, 1), i32(2, 0, 3, 4), i32(1, 1, 1, 2), ellipsis_mask=2)
    ss("ellipsis with reversed last", i32(0, 0), i32(0, 0), i32(1, -1), ellipsis_mask=1, begin_mask=2, end_mask=2)
    ss("everything at once", i32(0, 1, 0, 0, -2), i32(0, 2, 0, 0, -1), i32(1, 1, 1, 1, 1), new_axis_mask=9, shrink_axis_mask=2, ellipsis_mask=4, end_mask=16)
    ss("ends beyond the size", i32(-9, 1, 0), i32(9, 99, 2147483647), i32(1, 2, 3))
    ss("empty result", i32(2), i32(1), i32(1))
    ss("empty dims stay", i32(0), i32(5), i32(1), source=F(0, 3))
    ss("int64 bounds", i64(0, 1), i64(2, 3), i64(1, 1))
    ss("int32 of a shape vector", i32(0), i32(1), i32(1), source=i32(7, 8, 9), shrink_axis_mask=1)
    ss("int32 shape vector tail", i32(1), i32(0), i32(1), source=i32(7, 8, 9), end_mask=1)
    ss("int32 shape vector last", i32(-1), i32(0), i32(1), source=i32(7, 8, 9), shrink_axis_mask=1)
    ss("int64 vector reversed", i32(0), i32(0), i32(-1), source=i64(7, 8, 9), begin_mask=1, end_mask=1)
    ss("strings", i32(1), i32(3), i32(1), source=S("a", "b", "c"))
    ss("strings shrunk to a scalar", i32(-2), i32(0), i32(1), source=S("a", "b", "c"), shrink_axis_mask=1)
    ss("bool every second", i32(0), i32(0), i32(2), source=B(5), begin_mask=1, end_mask=1)
    ss("double rank 4", i32(0, 0, 1, 0), i32(2, 2, 2, 0), i32(1, 1, 1, -1), source=F(2, 2, 2, 2, dtype=np.float64), begin_mask=8, end_mask=8)
    ss("uint8 image crop", i32(0, 1, 1, 0), i32(0, 3, 3, 0), i32(1, 1, 1, 1), source=I(1, 4, 4, 3, dtype=np.uint8, lo=0, hi=255), begin_mask=9, end_mask=9)
    ss("dynamic bounds", i32(0, 1), i32(2, 3), i32(1, 1), const=(), more=[{"begin": i32(1, 0), "end": i32(3, 4)}, {"begin": i32(-1, -3), "end": i32(9, -1)}])
    ss("dynamic begin, shrink", i32(1), i32(2), i32(1), const=("strides",), shrink_axis_mask=1, more=[{"begin": i32(-1), "end": i32(0)}, {"begin": i32(2), "end": i32(3)}])
    ss("dynamic end, begin masked", i32(0, 0), i32(0, 2), i32(1, 1), const=("begin", "strides"), begin_mask=3, end_mask=1, more=[{"end": i32(0, -1)}])
    ss("dynamic bounds with an ellipsis", i32(0, 1), i32(0, 3), i32(1, 1), const=("strides",), ellipsis_mask=1, more=[{"begin": i32(0, 0), "end": i32(0, 1)}])
    ss("index out of bounds", i32(5), i32(6), i32(1), shrink_axis_mask=1, error=True)
    ss("stride zero", i32(0), i32(1), i32(0), const=(), error=True)

    case("Slice", "constant, two feeds", {"input": F(3, 4), "begin": i32(1, 0), "size": i32(2, 3)}, const=["begin", "size"], more=[{"input": F(4, 5)}])
    case("Slice", "size -1 takes the rest", {"input": F(3, 4), "begin": i32(1, 2), "size": i32(-1, 1)}, const=["begin", "size"], more=[{"input": F(5, 3)}])
    case("Slice", "int64 bounds as inputs", {"input": I(6), "begin": i64(2), "size": i64(3)}, more=[{"begin": i64(0), "size": i64(-1)}, {"begin": i64(6), "size": i64(0)}])
    case("Slice", "strings", {"input": S("a", "b", "c"), "begin": i32(1), "size": i32(-1)}, const=["begin", "size"])
    case("Slice", "scalar", {"input": np.float32(1), "begin": i32(), "size": i32()}, const=["begin", "size"])
    case("Slice", "beyond the end", {"input": F(3), "begin": i32(2), "size": i32(2)}, error=True)

    for idx in [np.int32, np.int64]:
        case("Gather", f"{np.dtype(idx).name} rows", {"params": F(4, 3), "indices": np.array([[3, 0], [1, 1]], idx)})
        case("GatherV2", f"{np.dtype(idx).name} axis 0", {"params": F(4, 3), "indices": np.array([3, 0, 3], idx), "axis": np.int32(0)}, const=["axis"], more=[{"indices": np.array([], idx)}, {"indices": np.array(2, idx)}])
        case("GatherV2", f"{np.dtype(idx).name} axis 1, matrix of indices", {"params": F(2, 4), "indices": np.array([[0, 3], [2, 2]], idx), "axis": np.int32(1)}, const=["axis"])
        case("GatherNd", f"{np.dtype(idx).name} elements", {"params": F(2, 3), "indices": np.array([[0, 1], [1, 2]], idx)}, more=[{"indices": np.array([[[0, 0]]], idx)}])
    case("GatherV2", "axis -1", {"params": F(2, 3, 4), "indices": i32(1, 3), "axis": np.int32(-1)}, const=["axis"])
    case("GatherV2", "axis as an input", {"params": F(2, 3), "indices": i32(1, 0), "axis": np.int32(0)}, more=[{"axis": np.int32(1)}, {"axis": np.int64(-1).astype(np.int32)}])
    case("GatherV2", "batch_dims 1", {"params": F(2, 4), "indices": i32([[3, 0], [1, 1]]), "axis": np.int32(1)}, {"batch_dims": 1}, const=["axis"], more=[{"params": F(3, 4), "indices": i32([[3], [0], [1]])}])
    case("GatherV2", "batch_dims 1, inner slices", {"params": F(2, 3, 2), "indices": i32([[2, 0], [1, 1]]), "axis": np.int32(1)}, {"batch_dims": 1}, const=["axis"])
    case("GatherV2", "batch_dims 2, axis 2", {"params": F(2, 2, 3), "indices": I(2, 2, 1, lo=0, hi=3), "axis": np.int32(2)}, {"batch_dims": 2}, const=["axis"])
    case("GatherV2", "batch_dims -1", {"params": F(2, 4), "indices": i32([[3, 0], [1, 1]]), "axis": np.int32(1)}, {"batch_dims": -1}, const=["axis"])
    case("GatherV2", "batch_dims 1, axis 2", {"params": F(2, 2, 3), "indices": i32([[0, 2], [1, 1]]), "axis": np.int32(2)}, {"batch_dims": 1}, const=["axis"])
    case("GatherV2", "strings", {"params": S("a", "b", "c"), "indices": i64(2, 0), "axis": np.int32(0)}, const=["axis"])
    case("GatherV2", "int32 scalar index of a shape", {"params": i32(7, 8, 9), "indices": np.int32(1), "axis": np.int32(0)}, const=["axis", "indices"])
    case("GatherV2", "bool", {"params": B(3), "indices": i32(2, 0), "axis": np.int32(0)}, const=["axis"])
    case("GatherV2", "out of range", {"params": F(3), "indices": i32(3), "axis": np.int32(0)}, error=True)
    case("GatherV2", "negative index", {"params": F(3), "indices": i32(-1), "axis": np.int32(0)}, error=True)
    case("GatherNd", "rows", {"params": F(3, 2), "indices": i32([[2], [0]])})
    case("GatherNd", "empty index depth", {"params": F(2), "indices": np.zeros((2, 0), np.int32)})
    case("GatherNd", "strings", {"params": S("a", "b"), "indices": i32([[1], [0]])})
    case("GatherNd", "int64 data rank 3", {"params": I(2, 2, 3, dtype=np.int64), "indices": i32([[1, 0], [0, 1]])})
    case("GatherNd", "out of range", {"params": F(3), "indices": i32([[3]])}, error=True)
    case("ScatterNd", "elements", {"indices": i32([[4], [1], [7]]), "updates": F(3), "shape": i32(8)}, const=["shape"])
    case("ScatterNd", "repeats add up", {"indices": i32([[1], [1], [0]]), "updates": F(3), "shape": i32(3)}, const=["shape"])
    case("ScatterNd", "rows, int64", {"indices": i64([[2], [0]]), "updates": F(2, 3), "shape": i64(4, 3)}, more=[{"shape": i64(3, 3)}])
    case("ScatterNd", "int32 elements of a matrix", {"indices": i32([[0, 1], [1, 1]]), "updates": i32(5, 6), "shape": i32(2, 2)}, const=["shape"])
    case("ScatterNd", "out of range", {"indices": i32([[4]]), "updates": F(1), "shape": i32(3)}, error=True)
    for op in ["TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub", "TensorScatterMax", "TensorScatterMin"]:
        case(op, "elements", {"tensor": F(5), "indices": i32([[4], [1]]), "updates": F(2)}, more=[{"tensor": F(8), "indices": i32([[7]]), "updates": F(1)}])
        case(op, "rows, int64 indices", {"tensor": F(3, 2), "indices": i64([[2], [0]]), "updates": F(2, 2)})
        case(op, "int32 elements of a matrix", {"tensor": I(2, 2), "indices": i32([[0, 1], [1, 1]]), "updates": i32(5, 6)})
        if op != "TensorScatterUpdate":
            case(op, "repeated indices", {"tensor": F(3), "indices": i32([[1], [1]]), "updates": F(2)})
    case("TensorScatterUpdate", "bool", {"tensor": B(3), "indices": i32([[1]]), "updates": B(1)})
    case("TensorScatterUpdate", "strings", {"tensor": S("a", "b"), "indices": i32([[1]]), "updates": S("z")})
    for op in ["InplaceUpdate", "InplaceAdd", "InplaceSub"]:
        case(op, "rows", {"x": F(3, 2), "i": i32(2, 0), "v": F(2, 2)})
    case("TensorStridedSliceUpdate", "plain", {"input": F(3, 4), "begin": i32(1, 0), "end": i32(3, 4), "strides": i32(1, 2), "value": F(2, 2)}, const=["begin", "end", "strides"])
    case("TensorStridedSliceUpdate", "shrunk row", {"input": F(3, 4), "begin": i32(1), "end": i32(2), "strides": i32(1), "value": F(4)}, {"shrink_axis_mask": 1}, const=["begin", "end", "strides"])
    case("SparseToDense", "vector", {"sparse_indices": i64(1, 3), "output_shape": i64(5), "sparse_values": F(2), "default_value": np.float32(-1)})
    case("SparseToDense", "matrix, scalar value", {"sparse_indices": i64([[0, 1], [2, 0]]), "output_shape": i64(3, 2), "sparse_values": np.int64(5), "default_value": np.int64(0)})
    case("SparseToDense", "strings", {"sparse_indices": i64([[0, 1], [1, 0]]), "output_shape": i64(2, 2), "sparse_values": S("a", "b"), "default_value": np.array(b"", object)})
    case("SparseToDense", "unordered, unchecked", {"sparse_indices": i32([[2], [0]]), "output_shape": i32(3), "sparse_values": F(2), "default_value": np.float32(0)}, {"validate_indices": False})
    case("SparseToDense", "out of order", {"sparse_indices": i32([[2], [0]]), "output_shape": i32(3), "sparse_values": F(2), "default_value": np.float32(0)}, error=True)


@family
def matmul():
    for ta in [False, True]:
        for tb in [False, True]:
            a, b = F(*((3, 2) if ta else (2, 3))), F(*((4, 3) if tb else (3, 4)))
            case("MatMul", f"transpose a={ta} b={tb}", {"a": a, "b": b}, {"transpose_a": ta, "transpose_b": tb})
            for op in ["BatchMatMul", "BatchMatMulV2"]:
                xs, ys = F(2, *((3, 2) if ta else (2, 3))), F(2, *((4, 3) if tb else (3, 4)))
                case(op, f"adjoint x={ta} y={tb}", {"x": xs, "y": ys}, {"adj_x": ta, "adj_y": tb})
    case("MatMul", "constant weights, several batches", {"a": F(1, 3), "b": F(3, 2)}, const=["b"], more=[{"a": F(5, 3)}, {"a": F(0, 3)}])
    case("MatMul", "double", {"a": F(2, 3, dtype=np.float64), "b": F(3, 2, dtype=np.float64)})
    case("MatMul", "int32", {"a": I(2, 3), "b": I(3, 2)})
    case("MatMul", "int64", {"a": I(2, 3, dtype=np.int64), "b": I(3, 2, dtype=np.int64)})
    case("MatMul", "half", {"a": F(2, 3, dtype=np.float16), "b": F(3, 2, dtype=np.float16)}, tol=4e-3)
    case("MatMul", "bfloat16", {"a": F(2, 3, dtype=bf16), "b": F(3, 2, dtype=bf16)}, tol=3e-2)
    case("MatMul", "inner size zero", {"a": F(2, 0), "b": F(0, 3)})
    case("MatMul", "inner sizes differ", {"a": F(2, 3), "b": F(2, 3)}, error=True)
    case("BatchMatMulV2", "broadcast batches", {"x": F(2, 1, 2, 3), "y": F(3, 3, 2)}, more=[{"x": F(1, 4, 3), "y": F(3, 2)}])
    case("BatchMatMulV2", "plain matrices, int32", {"x": I(2, 3), "y": I(3, 2)})
    case("BatchMatMulV2", "double", {"x": F(2, 2, 3, dtype=np.float64), "y": F(2, 3, 2, dtype=np.float64)})
    case("BatchMatMulV3", "float", {"x": F(2, 2, 3), "y": F(3, 2)}, {"Tout": tf.float32})
    case("BatchMatMulV3", "uint8 by int8 to int32", {"x": I(2, 3, dtype=np.uint8, lo=0, hi=9), "y": I(3, 2, dtype=np.int8)}, {"Tout": tf.int32})
    for equation, shapes in [("ij,jk->ik", [(2, 3), (3, 4)]), ("ij->ji", [(2, 3)]), ("bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]), ("abc,cde->abde", [(2, 2, 4), (4, 2, 2)]),
                             ("bfnh,btnh->bnft", [(1, 3, 2, 4), (1, 2, 2, 4)]), ("bnft,btnh->bfnh", [(1, 2, 3, 2), (1, 2, 2, 4)]), ("...ij,...jk->...ik", [(2, 2, 3), (3, 2)]),
                             ("ij->", [(2, 3)]), ("ij->i", [(2, 3)]), ("i,j->ij", [(2,), (3,)]), ("...a,ab->...b", [(2, 3, 4), (4, 2)]), ("ii->i", [(3, 3)]), ("i,i->", [(3,), (3,)]),
                             ("abcd,cde->abe", [(1, 2, 2, 3), (2, 3, 4)]), ("bij,j->bi", [(2, 2, 3), (3,)])]:
        case("Einsum", equation, {"inputs": [F(*s) for s in shapes]}, {"equation": equation})
    case("Einsum", "dynamic batch", {"inputs": [F(2, 3, 4), F(4, 2)]}, {"equation": "abc,cd->abd"}, more=[{"inputs": [F(1, 2, 4), F(4, 2)]}])
    case("Einsum", "int32", {"inputs": [I(2, 3), I(3, 2)]}, {"equation": "ij,jk->ik"})
    spd = F(3, 3)
    spd = (spd @ spd.T + 3 * np.eye(3)).astype(np.float32)
    case("Cholesky", "matrix", {"input": spd})
    case("Cholesky", "batch, double", {"input": np.stack([spd, 2 * spd]).astype(np.float64)})
    for adjoint in [False, True]:
        case("MatrixInverse", f"adjoint={adjoint}", {"input": spd + f32([[0, 1, 0], [0, 0, 0], [0, 0, 0]])}, {"adjoint": adjoint})
        case("MatrixSolve", f"adjoint={adjoint}", {"matrix": spd + f32([[0, 1, 0], [0, 0, 0], [0, 0, 0]]), "rhs": F(3, 2)}, {"adjoint": adjoint})
        for lower in [True, False]:
            case("MatrixTriangularSolve", f"lower={lower} adjoint={adjoint}", {"matrix": spd, "rhs": F(3, 2)}, {"lower": lower, "adjoint": adjoint})
    case("MatrixInverse", "batch", {"input": np.stack([spd, 3 * spd])})
    case("MatrixInverse", "not invertible", {"input": f32([[1, 1], [1, 1]])}, error=True)
    case("MatrixDeterminant", "batch", {"input": np.stack([spd, spd + 1])})
    case("LogMatrixDeterminant", "matrix", {"input": spd})
    case("SelfAdjointEigV2", "values only", {"input": spd}, {"compute_v": False}, keep=1)
    case("Svd", "values only", {"input": F(3, 2)}, {"compute_uv": False}, keep=1)
    case("Cross", "rows", {"a": F(2, 3), "b": F(2, 3)})
    case("MatrixDiag", "vector and batch", {"diagonal": F(3)}, more=[{"diagonal": F(2, 2)}])
    case("MatrixDiagPart", "matrix and batch", {"input": F(3, 2)}, more=[{"input": F(2, 2, 3)}])
    case("MatrixSetDiag", "matrix", {"input": F(3, 3), "diagonal": F(3)})
    case("MatrixSetDiag", "batch, wide", {"input": F(2, 2, 3), "diagonal": F(2, 2)})
    for op in ["MatrixDiagV2", "MatrixDiagV3"]:
        case(op, "main diagonal", {"diagonal": F(3), "k": i32(0), "num_rows": np.int32(-1), "num_cols": np.int32(-1), "padding_value": np.float32(0)}, const=["k", "num_rows", "num_cols", "padding_value"], more=[{"diagonal": F(2, 4)}])
        case(op, "superdiagonal, padded", {"diagonal": F(3), "k": np.int32(1), "num_rows": np.int32(3), "num_cols": np.int32(4), "padding_value": np.float32(9)}, const=["k", "num_rows", "num_cols", "padding_value"])
        case(op, "band", {"diagonal": F(3, 3), "k": i32(-1, 1), "num_rows": np.int32(-1), "num_cols": np.int32(-1), "padding_value": np.float32(0)}, const=["k", "num_rows", "num_cols", "padding_value"])
    for op in ["MatrixDiagPartV2", "MatrixDiagPartV3"]:
        case(op, "main diagonal", {"input": F(3, 4), "k": np.int32(0), "padding_value": np.float32(0)}, const=["k", "padding_value"], more=[{"input": F(2, 2, 2)}])
        case(op, "subdiagonal", {"input": F(3, 4), "k": np.int32(-1), "padding_value": np.float32(0)}, const=["k", "padding_value"])
        case(op, "band", {"input": F(3, 3), "k": i32(-1, 1), "padding_value": np.float32(7)}, const=["k", "padding_value"])
    for op in ["MatrixSetDiagV2", "MatrixSetDiagV3"]:
        case(op, "main diagonal", {"input": F(3, 4), "diagonal": F(3), "k": np.int32(0)}, const=["k"], more=[{"input": F(2, 2, 2), "diagonal": F(2, 2)}])
        case(op, "superdiagonal", {"input": F(3, 4), "diagonal": F(3), "k": np.int32(1)}, const=["k"])
    case("Diag", "vector", {"diagonal": F(3)})
    case("Diag", "matrix", {"diagonal": I(2, 2)})
    case("DiagPart", "matrix", {"input": F(3, 3)})
    case("DiagPart", "rank 4", {"input": F(2, 2, 2, 2)})
    for lower, upper in [(0, -1), (-1, 0), (0, 0), (1, 1), (-1, -1), (0, 1)]:
        case("MatrixBandPart", f"{lower},{upper}", {"input": F(3, 4), "num_lower": np.int64(lower), "num_upper": np.int64(upper)}, const=["num_lower", "num_upper"])
    case("MatrixBandPart", "bounds as inputs, batch, int32", {"input": I(2, 3, 3), "num_lower": np.int32(1), "num_upper": np.int32(0)}, more=[{"num_lower": np.int32(-1), "num_upper": np.int32(1)}])
    case("MatrixBandPart", "bool causal mask", {"input": np.ones((3, 3), bool), "num_lower": np.int64(-1), "num_upper": np.int64(0)}, const=["num_lower", "num_upper"])
    case("SparseTensorDenseMatMul", "plain", {"a_indices": i64([[0, 1], [1, 0], [1, 2]]), "a_values": F(3), "a_shape": i64(2, 3), "b": F(3, 2)})
    case("SparseTensorDenseMatMul", "adjoints", {"a_indices": i64([[0, 1], [1, 0]]), "a_values": F(2), "a_shape": i64(2, 3), "b": F(4, 2)}, {"adjoint_a": True, "adjoint_b": True})
    case("SparseMatMul", "floats", {"a": F(2, 3), "b": F(3, 2)})
    case("RFFT", "float", {"input": F(8), "fft_length": i32(8)}, const=["fft_length"])
    case("IRFFT", "float", {"input": np.fft.rfft(F(8)).astype(np.complex64), "fft_length": i32(8)}, const=["fft_length"])


@family
def conv():
    for padding in ["SAME", "VALID"]:
        for s in [1, 2]:
            case("Conv2D", f"{padding} stride {s}, two sizes", {"input": F(1, 5, 6, 2), "filter": F(3, 3, 2, 3)}, {"strides": [1, s, s, 1], "padding": padding}, const=["filter"], more=[{"input": F(2, 4, 4, 2)}])
        case("Conv2D", f"{padding} dilated", {"input": F(1, 6, 6, 1), "filter": F(3, 2, 1, 2)}, {"strides": [1, 1, 1, 1], "padding": padding, "dilations": [1, 2, 2, 1]}, const=["filter"], more=[{"input": F(1, 7, 5, 1)}])
        case("Conv2D", f"{padding} uneven strides, even kernel", {"input": F(1, 5, 7, 1), "filter": F(2, 4, 1, 2)}, {"strides": [1, 2, 1, 1], "padding": padding}, const=["filter"])
        case("Conv2D", f"{padding} 1x1 stride 2", {"input": F(1, 5, 5, 2), "filter": F(1, 1, 2, 2)}, {"strides": [1, 2, 2, 1], "padding": padding}, const=["filter"])
        for s in [1, 2]:
            case("DepthwiseConv2dNative", f"{padding} stride {s}, multiplier 2, two sizes", {"input": F(1, 5, 6, 2), "filter": F(3, 3, 2, 2)}, {"strides": [1, s, s, 1], "padding": padding}, const=["filter"], more=[{"input": F(2, 4, 4, 2)}])
        for s in [1, 2, 3]:
            out = (5 * s, 4 * s) if padding == "SAME" else ((5 - 1) * s + 3, (4 - 1) * s + 3)
            case("Conv2DBackpropInput", f"{padding} stride {s}", {"input_sizes": i32(1, *out, 2), "filter": F(3, 3, 2, 3), "out_backprop": F(1, 5, 4, 3)}, {"strides": [1, s, s, 1], "padding": padding}, const=["filter", "input_sizes"])
        case("Conv2DBackpropInput", f"{padding} batch of the sizes is an input", {"input_sizes": i32(1, 6, 6, 1), "filter": F(2, 2, 1, 2), "out_backprop": F(1, 3, 3, 2)}, {"strides": [1, 2, 2, 1], "padding": padding}, const=["filter"], more=[{"input_sizes": i32(3, 6, 6, 1), "out_backprop": F(3, 3, 3, 2)}])
        case("Conv2DBackpropInput", f"{padding} kernel 4 stride 2", {"input_sizes": i32(1, 6, 6, 1) if padding == "SAME" else i32(1, 8, 8, 1), "filter": F(4, 4, 1, 2), "out_backprop": F(1, 3, 3, 2)}, {"strides": [1, 2, 2, 1], "padding": padding}, const=["filter"])
        case("Conv2DBackpropInput", f"{padding} odd size of two possible", {"input_sizes": i32(1, 5, 5, 1) if padding == "SAME" else i32(1, 8, 8, 1), "filter": F(3, 3, 1, 2), "out_backprop": F(1, 3, 3, 2)}, {"strides": [1, 2, 2, 1], "padding": padding}, const=["filter", "input_sizes"])
        for s in [1, 2]:
            case("Conv3D", f"{padding} stride {s}, two sizes", {"input": F(1, 3, 4, 4, 2), "filter": F(2, 3, 3, 2, 2)}, {"strides": [1, s, s, s, 1], "padding": padding}, const=["filter"], more=[{"input": F(2, 2, 3, 3, 2)}])
            out = tuple(d * s for d in (2, 3, 3)) if padding == "SAME" else tuple((d - 1) * s + k for d, k in zip((2, 3, 3), (2, 3, 3)))
            case("Conv3DBackpropInputV2", f"{padding} stride {s}", {"input_sizes": i32(1, *out, 1), "filter": F(2, 3, 3, 1, 2), "out_backprop": F(1, 2, 3, 3, 2)}, {"strides": [1, s, s, s, 1], "padding": padding}, const=["filter", "input_sizes"])
    case("Conv2D", "explicit padding", {"input": F(1, 4, 5, 1), "filter": F(3, 3, 1, 2)}, {"strides": [1, 2, 2, 1], "padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 2, 0, 1, 0, 0]}, const=["filter"], more=[{"input": F(2, 6, 3, 1)}])
    case("Conv2D", "explicit padding, dilated", {"input": F(1, 4, 5, 1), "filter": F(2, 2, 1, 2)}, {"strides": [1, 1, 1, 1], "padding": "EXPLICIT", "dilations": [1, 2, 2, 1], "explicit_paddings": [0, 0, 1, 1, 2, 0, 0, 0]}, const=["filter"])
    case("Conv2D", "groups", {"input": F(1, 4, 4, 4), "filter": F(3, 3, 2, 4)}, {"strides": [1, 1, 1, 1], "padding": "SAME"}, const=["filter"])
    case("Conv2D", "filter as an input", {"input": F(1, 4, 4, 2), "filter": F(3, 3, 2, 2)}, {"strides": [1, 1, 1, 1], "padding": "SAME"})
    case("Conv2D", "double", {"input": F(1, 4, 4, 1, dtype=np.float64), "filter": F(2, 2, 1, 2, dtype=np.float64)}, {"strides": [1, 1, 1, 1], "padding": "SAME"}, const=["filter"])
    case("Conv2D", "half", {"input": F(1, 4, 4, 1, dtype=np.float16), "filter": F(2, 2, 1, 2, dtype=np.float16)}, {"strides": [1, 1, 1, 1], "padding": "SAME"}, const=["filter"], tol=1e-2)
    case("Conv2D", "one row high (a 1-D convolution)", {"input": F(2, 1, 8, 3), "filter": F(1, 3, 3, 2)}, {"strides": [1, 1, 1, 1], "padding": "SAME"}, const=["filter"])
    case("Conv2D", "one row high, dilated and causal", {"input": F(2, 1, 10, 2), "filter": F(1, 3, 2, 2)}, {"strides": [1, 1, 1, 1], "padding": "VALID", "dilations": [1, 1, 4, 1]}, const=["filter"])
    case("Conv2D", "empty batch", {"input": F(0, 4, 4, 1), "filter": F(2, 2, 1, 2)}, {"strides": [1, 1, 1, 1], "padding": "SAME"}, const=["filter"])
    case("Conv2D", "kernel larger than a SAME input", {"input": F(1, 2, 2, 1), "filter": F(5, 5, 1, 1)}, {"strides": [1, 1, 1, 1], "padding": "SAME"}, const=["filter"])
    case("DepthwiseConv2dNative", "explicit padding", {"input": F(1, 4, 4, 2), "filter": F(3, 3, 2, 1)}, {"strides": [1, 2, 2, 1], "padding": "EXPLICIT", "explicit_paddings": [0, 0, 0, 1, 0, 1, 0, 0]}, const=["filter"])
    case("DepthwiseConv2dNative", "filter as an input, one channel", {"input": F(1, 4, 4, 1), "filter": F(2, 2, 1, 3)}, {"strides": [1, 1, 1, 1], "padding": "SAME"})
    case("Conv2DBackpropInput", "explicit padding", {"input_sizes": i32(1, 6, 6, 1), "filter": F(3, 3, 1, 2), "out_backprop": F(1, 3, 3, 2)}, {"strides": [1, 2, 2, 1], "padding": "EXPLICIT", "explicit_paddings": [0, 0, 0, 1, 0, 1, 0, 0]}, const=["filter", "input_sizes"])
    case("DepthwiseConv2dNativeBackpropInput", "SAME stride 2", {"input_sizes": i32(1, 6, 6, 2), "filter": F(3, 3, 2, 1), "out_backprop": F(1, 3, 3, 2)}, {"strides": [1, 2, 2, 1], "padding": "SAME"}, const=["filter", "input_sizes"])
    case("Dilation2D", "SAME", {"input": F(1, 4, 4, 2), "filter": F(2, 2, 2)}, {"strides": [1, 1, 1, 1], "rates": [1, 1, 1, 1], "padding": "SAME"})
    case("Dilation2D", "VALID, rate 2", {"input": F(1, 5, 5, 1), "filter": F(2, 2, 1)}, {"strides": [1, 1, 1, 1], "rates": [1, 2, 2, 1], "padding": "VALID"})
    for padding in ["SAME", "VALID"]:
        case("ExtractImagePatches", padding, {"images": F(1, 5, 5, 2)}, {"ksizes": [1, 2, 3, 1], "strides": [1, 2, 2, 1], "rates": [1, 1, 1, 1], "padding": padding}, more=[{"images": F(2, 4, 6, 2)}])
    case("ExtractImagePatches", "rate 2", {"images": F(1, 5, 5, 1)}, {"ksizes": [1, 2, 2, 1], "strides": [1, 1, 1, 1], "rates": [1, 2, 2, 1], "padding": "VALID"})
    case("ExtractVolumePatches", "VALID", {"input": F(1, 3, 3, 3, 1)}, {"ksizes": [1, 2, 2, 2, 1], "strides": [1, 1, 1, 1, 1], "padding": "VALID"})


@family
def pooling():
    for padding in ["SAME", "VALID"]:
        for op, arg in [("MaxPool", "input"), ("AvgPool", "value")]:
            case(op, f"{padding} 2x2 stride 2, two sizes", {arg: F(1, 5, 4, 2)}, {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": padding}, more=[{arg: F(2, 6, 7, 2)}])
            case(op, f"{padding} 3x2 stride 1x2", {arg: F(1, 5, 5, 1)}, {"ksize": [1, 3, 2, 1], "strides": [1, 1, 2, 1], "padding": padding})
            case(op, f"{padding} 3x3 stride 1", {arg: F(1, 3, 4, 1)}, {"ksize": [1, 3, 3, 1], "strides": [1, 1, 1, 1], "padding": padding})
            case(op, f"{padding} all negative", {arg: F(1, 3, 3, 1, lo=-3, hi=-1)}, {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": padding})
            case(op, f"{padding} one row high (a 1-D pool)", {arg: F(2, 1, 7, 2)}, {"ksize": [1, 1, 3, 1], "strides": [1, 1, 2, 1], "padding": padding})
        for op in ["MaxPool3D", "AvgPool3D"]:
            case(op, f"{padding} 2 stride 2, two sizes", {"input": F(1, 3, 4, 5, 1)}, {"ksize": [1, 2, 2, 2, 1], "strides": [1, 2, 2, 2, 1], "padding": padding}, more=[{"input": F(2, 2, 3, 3, 1)}])
            case(op, f"{padding} 3x2x1 stride 1", {"input": F(1, 3, 3, 3, 1)}, {"ksize": [1, 3, 2, 1, 1], "strides": [1, 1, 1, 1, 1], "padding": padding})
        case("MaxPoolV2", padding, {"input": F(1, 5, 5, 1), "ksize": i32(1, 2, 2, 1), "strides": i32(1, 2, 2, 1)}, {"padding": padding}, const=["ksize", "strides"])
        for batch in [False, True]:
            case("MaxPoolWithArgmax", f"{padding} batch index {batch}", {"input": F(2, 4, 5, 2)}, {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": padding, "include_batch_in_index": batch})
    case("MaxPool", "explicit padding", {"input": F(1, 4, 4, 1, hi=-1)}, {"ksize": [1, 3, 3, 1], "strides": [1, 2, 2, 1], "padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 1, 0, 1, 0, 0]})
    case("MaxPool", "depthwise", {"input": F(1, 2, 2, 4)}, {"ksize": [1, 1, 1, 2], "strides": [1, 1, 1, 2], "padding": "VALID"})
    case("MaxPool", "double", {"input": F(1, 4, 4, 1, dtype=np.float64)}, {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "SAME"})
    case("MaxPool", "int32", {"input": I(1, 4, 4, 1)}, {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID"})
    case("MaxPool", "half", {"input": F(1, 4, 4, 1, dtype=np.float16)}, {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID"})
    case("AvgPool", "double", {"value": F(1, 4, 4, 1, dtype=np.float64)}, {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "SAME"})
    case("AvgPool", "over everything", {"value": F(2, 4, 3, 2)}, {"ksize": [1, 4, 3, 1], "strides": [1, 1, 1, 1], "padding": "VALID"})
    case("LRN", "defaults", {"input": F(1, 2, 2, 8)})
    case("LRN", "radius 2", {"input": F(1, 2, 2, 6)}, {"depth_radius": 2, "bias": 2.0, "alpha": 0.5, "beta": 0.75}, more=[{"input": F(2, 1, 3, 6)}])


@family
def activation():
    for op, arg in [("Relu", "features"), ("Relu6", "features"), ("Elu", "features"), ("Selu", "features"), ("Softplus", "features"), ("Softsign", "features"), ("LeakyRelu", "features"), ("Softmax", "logits"), ("LogSoftmax", "logits")]:
        case(op, "float, two shapes", {arg: F(2, 5, lo=-8, hi=8)}, more=[{arg: F(3, 1, lo=-8, hi=8)}, {arg: F(2, 2, 3)}])
        case(op, "double", {arg: F(2, 3, dtype=np.float64, lo=-5, hi=5)})
        case(op, "half", {arg: F(2, 3, dtype=np.float16)}, tol=4e-3)
        if "Soft" not in op or op == "Softplus":
            case(op, "specials", {arg: f32([0, -0.0, 100, -100, inf, -inf, nan, 30, -30])})
    for op in ["Relu", "Relu6"]:
        case(op, "int32", {"features": I(6)})
        case(op, "uint8", {"features": I(6, dtype=np.uint8, lo=0, hi=9)})
    case("Relu", "int64", {"features": I(6, dtype=np.int64)})
    case("LeakyRelu", "alpha 0.01", {"features": F(2, 3)}, {"alpha": 0.01})
    case("LeakyRelu", "alpha above 1", {"features": F(2, 3)}, {"alpha": 1.5})
    case("Softmax", "large logits", {"logits": f32([[1000, 1001, 999], [-1000, 0, 1000]])})
    case("Softmax", "rank 1 and 4", {"logits": F(5)}, more=[{"logits": F(1, 2, 2, 3)}])
    case("Softmax", "minus Inf masks", {"logits": f32([[0, -inf, 1], [-inf, 2, -inf]])})
    case("LogSoftmax", "large logits", {"logits": f32([[1000, 1001, 999], [-1000, 0, 1000]])})
    for shape in [(2, 3), (2, 4, 3), (1, 2, 2, 3), (1, 2, 2, 2, 3)]:
        case("BiasAdd", f"rank {len(shape)}", {"value": F(*shape), "bias": F(3)}, const=["bias"])
    case("BiasAdd", "NCHW", {"value": F(2, 3, 2, 2), "bias": F(3)}, {"data_format": "NCHW"}, const=["bias"])
    case("BiasAdd", "NCHW rank 3", {"value": F(2, 3, 2), "bias": F(3)}, {"data_format": "NCHW"}, const=["bias"])
    case("BiasAdd", "double, bias as an input", {"value": F(2, 3, dtype=np.float64), "bias": F(3, dtype=np.float64)})
    case("BiasAdd", "int32", {"value": I(2, 3), "bias": I(3)})
    case("BiasAdd", "sizes differ", {"value": F(2, 3), "bias": F(2)}, error=True)
    case("BiasAddV1", "float", {"value": F(2, 3), "bias": F(3)})
    norm = {"scale": F(3, lo=0.5), "offset": F(3), "mean": F(3), "variance": F(3, lo=0.3)}
    for op in ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"]:
        case(op, "inference, two sizes", {"x": F(1, 3, 2, 3), **norm}, {"is_training": False, "epsilon": 0.001}, const=list(norm), more=[{"x": F(2, 2, 2, 3)}], keep=3)
        case(op, "inference, epsilon 1e-5", {"x": F(2, 1, 2, 3), **norm}, {"is_training": False, "epsilon": 1e-5}, const=list(norm), keep=3)
    none = np.zeros(0, np.float32)
    for op in ["FusedBatchNorm", "FusedBatchNormV2"]:
        case(op, "batch moments", {"x": F(2, 2, 2, 3), "scale": F(3, lo=0.5), "offset": F(3), "mean": none, "variance": none}, {"is_training": True}, keep=3)
    case("FusedBatchNormV3", "batch moments", {"x": F(2, 2, 2, 3), "scale": F(3, lo=0.5), "offset": F(3), "mean": none, "variance": none}, {"is_training": True}, keep=3)
    case("FusedBatchNormV3", "half data, float moments", {"x": F(1, 2, 2, 3, dtype=np.float16), **norm}, {"is_training": False}, const=list(norm), tol=4e-3, keep=3)
    case("SoftmaxCrossEntropyWithLogits", "float", {"features": F(2, 3), "labels": f32([[0, 1, 0], [0.2, 0.3, 0.5]])})
    case("SparseSoftmaxCrossEntropyWithLogits", "float", {"features": F(2, 3), "labels": i64(2, 0)})
    case("FakeQuantWithMinMaxArgs", "8 bits", {"inputs": F(2, 5, lo=-9, hi=9)}, {"min": -6.0, "max": 6.0})
    case("FakeQuantWithMinMaxArgs", "narrow, 4 bits", {"inputs": F(2, 5, lo=-9, hi=9)}, {"min": -1.0, "max": 6.0, "num_bits": 4, "narrow_range": True})
    case("FakeQuantWithMinMaxVars", "8 bits", {"inputs": F(2, 5, lo=-9, hi=9), "min": np.float32(-3), "max": np.float32(5)})
    case("FakeQuantWithMinMaxVarsPerChannel", "8 bits", {"inputs": F(2, 3, lo=-9, hi=9), "min": f32([-3, -1, 0]), "max": f32([5, 1, 6])})
    case("QuantizeAndDequantizeV2", "given range", {"input": F(2, 4), "input_min": np.float32(-2), "input_max": np.float32(2)}, {"range_given": True})
    case("QuantizeAndDequantizeV3", "given range", {"input": F(2, 4), "input_min": np.float32(-2), "input_max": np.float32(2), "num_bits": np.int32(8)}, {"range_given": True})


@family
def segments():
    data, ids = F(6, 2), i32(0, 0, 1, 3, 3, 3)
    for op in ["SegmentSum", "SegmentMean", "SegmentProd", "SegmentMax", "SegmentMin"]:
        case(op, "rows with a gap, two feeds", {"data": data, "segment_ids": ids}, more=[{"data": F(2, 2), "segment_ids": i32(0, 1)}])
        case(op, "vector, int64 ids, double", {"data": F(3, dtype=np.float64), "segment_ids": i64(0, 0, 2)})
        case(op, "int32", {"data": I(4), "segment_ids": i32(0, 0, 1, 1)})
        case(op, "nothing", {"data": F(0, 2), "segment_ids": i32()})
    case("SegmentSum", "ids go down", {"data": F(2), "segment_ids": i32(1, 0)}, error=True)
    for op in ["UnsortedSegmentSum", "UnsortedSegmentProd", "UnsortedSegmentMax", "UnsortedSegmentMin"]:
        case(op, "gaps and negative ids", {"data": F(5, 2), "segment_ids": i32(2, 0, -1, 2, 0), "num_segments": np.int32(4)}, more=[{"num_segments": np.int32(3)}])
        case(op, "constant count, int32", {"data": I(4), "segment_ids": i64(1, 1, 0, 3), "num_segments": np.int32(5)}, const=["num_segments"])
        case(op, "matrix of ids", {"data": F(2, 2, 2), "segment_ids": i32([[0, 1], [1, 0]]), "num_segments": np.int64(2)})
    case("UnsortedSegmentSum", "id too large", {"data": F(2), "segment_ids": i32(0, 5), "num_segments": np.int32(3)}, error=True)
    for op in ["SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN"]:
        case(op, "rows with a gap, two feeds", {"data": F(5, 2), "indices": i32(4, 0, 2, 2), "segment_ids": i32(0, 0, 2, 2)}, more=[{"indices": i32(1), "segment_ids": i32(0)}])
        case(op, "int64 indices, double, ids int32", {"data": F(3, 2, dtype=np.float64), "indices": i64(2, 1, 0), "segment_ids": i32(0, 1, 1)})
        case(op, "int64 ids", {"data": F(3, 2), "indices": i64(2, 1, 0), "segment_ids": i64(0, 1, 1)})
        case(op, "nothing", {"data": F(3, 2), "indices": i32(), "segment_ids": i32()})
        case(op, "index out of range", {"data": F(3, 2), "indices": i32(3), "segment_ids": i32(0)}, error=True)
        case(op + "WithNumSegments", "trailing empty segments", {"data": F(5, 2), "indices": i32(4, 0, 2), "segment_ids": i32(0, 0, 2), "num_segments": np.int32(5)})
        case(op + "WithNumSegments", "int64", {"data": F(5, 2), "indices": i64(4, 0, 2), "segment_ids": i32(1, 1, 2), "num_segments": np.int64(3)})
    for out in [np.int32, np.int64, np.float32]:
        case("Bincount", f"weights {np.dtype(out).name}", {"arr": i32(1, 1, 3, 0), "size": np.int32(5), "weights": np.array([1, 2, 3, 4], out)})
    case("Bincount", "no weights, values beyond the size are dropped", {"arr": i32(1, 1, 7, 0), "size": np.int32(3), "weights": i32()})
    case("DenseBincount", "vector", {"input": i32(1, 1, 3, 0), "size": np.int32(5), "weights": i32()})
    case("DenseBincount", "rows, binary", {"input": i64([[1, 1, 3], [0, 9, 2]]), "size": np.int64(4), "weights": f32([])}, {"binary_output": True})
    case("DenseBincount", "rows, weights", {"input": i32([[1, 1, 3], [0, 0, 2]]), "size": np.int32(4), "weights": F(2, 3)})
    for op in ["LowerBound", "UpperBound"]:
        case(op, "rows", {"sorted_inputs": f32([[1, 2, 2, 4], [0, 1, 5, 9]]), "values": f32([[2, 5], [0.5, 9]])})
        case(op, "int32 to int64", {"sorted_inputs": i32([[1, 2, 2, 4]]), "values": i32([[0, 2, 9]])}, {"out_type": tf.int64})
    case("Bucketize", "float", {"input": f32([-5, 0, 1, 9.5, 10, 11])}, {"boundaries": [0.0, 1.0, 10.0]}, more=[{"input": F(2, 2)}])
    case("Bucketize", "int64", {"input": i64(-5, 0, 3)}, {"boundaries": [0.0, 2.5]})
    case("Bucketize", "int32, double", {"input": np.array([0.5, 1.0])}, {"boundaries": [0.5, 1.0]})
    case("HistogramFixedWidth", "int32", {"values": f32([-1, 0, 1.5, 2, 5, 15]), "value_range": f32([0, 5]), "nbins": np.int32(5)})


@family
def sorting():
    for op, k in [("TopKV2", np.int32(2))]:
        for sort in [True, False]:
            inputs = {"input": f32([[1, 5, 3, 5], [2, 2, 0, -1]])}
            case(op, f"ties give the lower index, sorted={sort}", {**inputs, "k": k}, {"sorted": sort}, const=["k"])
    case("TopKV2", "k as an input, two shapes", {"input": F(2, 5), "k": np.int32(3)}, more=[{"k": np.int32(0)}, {"input": F(4), "k": np.int32(4)}])
    case("TopKV2", "rank 3", {"input": F(2, 2, 4), "k": np.int32(1)}, const=["k"])
    for dtype in [np.int32, np.int64, np.float64, np.uint8, np.int16, np.int8, np.float16]:
        case("TopKV2", f"{np.dtype(dtype).name}", {"input": np.array([3, 9, 1, 9, 0], dtype), "k": np.int32(3)}, const=["k"])
    case("TopKV2", "int16 k, int64 indices", {"input": F(5), "k": np.int64(2)}, {"index_type": tf.int64})
    case("TopKV2", "Inf", {"input": f32([1, inf, -inf, 2]), "k": np.int32(4)}, const=["k"])
    case("TopKV2", "k too large", {"input": F(3), "k": np.int32(4)}, error=True)
    case("InTopK", "float", {"predictions": f32([[1, 3, 2], [5, 5, 1], [1, nan, 0]]), "targets": i32(2, 1, 0)}, {"k": 2})
    case("InTopKV2", "int64", {"predictions": f32([[1, 3, 2], [5, 5, 1]]), "targets": i64(0, 1), "k": np.int64(2)})
    case("NthElement", "third", {"input": F(2, 5), "n": np.int32(2)})
    case("NthElement", "reverse", {"input": F(5), "n": np.int32(1)}, {"reverse": True})


@family
def padding():
    pads = {2: i32([[1, 0], [0, 2]]), 1: i32([[2, 1]]), 4: i32([[0, 0], [1, 1], [2, 0], [0, 0]])}
    case("Pad", "matrix, two feeds", {"input": F(2, 3), "paddings": pads[2]}, const=["paddings"], more=[{"input": F(1, 1)}])
    case("Pad", "int64 paddings as an input", {"input": F(2), "paddings": i64([[1, 2]])}, more=[{"paddings": i64([[0, 0]])}])
    case("Pad", "image", {"input": F(1, 2, 2, 3), "paddings": pads[4]}, const=["paddings"])
    for dtype in [np.int32, np.int64, np.float64, np.uint8, np.bool_, np.float16]:
        case("Pad", np.dtype(dtype).name, {"input": np.array([1, 0, 1], dtype), "paddings": pads[1]}, const=["paddings"])
    case("Pad", "scalar", {"input": np.float32(3), "paddings": np.zeros((0, 2), np.int32)}, const=["paddings"])
    case("Pad", "strings", {"input": S("a"), "paddings": pads[1]}, const=["paddings"])
    case("Pad", "negative", {"input": F(2), "paddings": i32([[-1, 0]])}, error=True)
    for value in [np.float32(-1.5), np.int32(9), np.int64(-2), np.array(True)]:
        case("PadV2", f"{np.asarray(value).dtype}", {"input": np.array([1, 0], value.dtype), "paddings": pads[1], "constant_values": value}, const=["paddings", "constant_values"])
    case("PadV2", "value as an input, minus Inf", {"input": F(2, 2), "paddings": pads[2], "constant_values": np.float32(-inf)}, const=["paddings"], more=[{"constant_values": np.float32(1)}])
    for mode in ["REFLECT", "SYMMETRIC"]:
        case("MirrorPad", f"{mode} matrix, two feeds", {"input": F(3, 3), "paddings": i32([[1, 2], [2, 1]])}, {"mode": mode}, const=["paddings"], more=[{"input": F(4, 5)}])
        case("MirrorPad", f"{mode} image, int64", {"input": F(1, 3, 4, 2), "paddings": i64([[0, 0], [1, 1], [2, 2], [0, 0]])}, {"mode": mode}, const=["paddings"])
        case("MirrorPad", f"{mode} int32 vector", {"input": I(4), "paddings": i32([[2, 3]])}, {"mode": mode})
    case("MirrorPad", "REFLECT too far", {"input": F(2), "paddings": i32([[2, 0]])}, {"mode": "REFLECT"}, error=True)
    for block in [2, 3]:
        case("SpaceToDepth", f"block {block}", {"input": F(1, 6, 6, 2)}, {"block_size": block}, more=[{"input": F(2, 6, 12, 1)}])
        case("DepthToSpace", f"block {block}", {"input": F(1, 2, 3, 18 if block == 3 else 8)}, {"block_size": block}, more=[{"input": F(2, 1, 2, 9 if block == 3 else 4)}])
    case("DepthToSpace", "uint8", {"input": I(1, 2, 2, 4, dtype=np.uint8, lo=0, hi=255)}, {"block_size": 2})
    case("SpaceToDepth", "int32", {"input": I(1, 2, 4, 1)}, {"block_size": 2})
    case("SpaceToBatchND", "no padding, two feeds", {"input": F(1, 4, 4, 2), "block_shape": i32(2, 2), "paddings": i32([[0, 0], [0, 0]])}, const=["block_shape", "paddings"], more=[{"input": F(2, 2, 6, 1)}])
    case("SpaceToBatchND", "padding", {"input": F(1, 3, 4, 1), "block_shape": i32(2, 3), "paddings": i32([[1, 0], [2, 3]])}, const=["block_shape", "paddings"])
    case("SpaceToBatchND", "one dimension", {"input": F(2, 5, 2), "block_shape": i32(2), "paddings": i32([[0, 1]])}, const=["block_shape", "paddings"])
    case("SpaceToBatchND", "paddings as an input", {"input": F(1, 5, 1, 1), "block_shape": i64(2), "paddings": i64([[1, 0]])}, const=["block_shape"], more=[{"paddings": i64([[2, 1]])}])
    case("BatchToSpaceND", "no crops, two feeds", {"input": F(4, 2, 2, 2), "block_shape": i32(2, 2), "crops": i32([[0, 0], [0, 0]])}, const=["block_shape", "crops"], more=[{"input": F(8, 1, 3, 1)}])
    case("BatchToSpaceND", "crops", {"input": F(6, 2, 3, 1), "block_shape": i32(2, 3), "crops": i32([[1, 0], [2, 3]])}, const=["block_shape", "crops"])
    case("BatchToSpaceND", "one dimension", {"input": F(4, 3, 2), "block_shape": i32(2), "crops": i32([[0, 1]])}, const=["block_shape", "crops"])
    case("BatchToSpaceND", "crops as an input", {"input": F(2, 3, 1), "block_shape": i32(2), "crops": i32([[1, 0]])}, const=["block_shape"], more=[{"crops": i32([[0, 2]])}])
    case("SpaceToBatch", "block 2", {"input": F(1, 4, 4, 1), "paddings": i32([[0, 0], [0, 0]])}, {"block_size": 2}, const=["paddings"])
    case("BatchToSpace", "block 2, crops", {"input": F(4, 2, 2, 1), "crops": i32([[0, 1], [1, 0]])}, {"block_size": 2}, const=["crops"])


@family
def casts():
    numbers = {"float32": f32([0, -0.0, 1.5, -1.5, 2.5, 100.7, -100.7, 127.9, -128.5]), "float64": np.array([0, 1.5, -1.5, 1e10, -0.9999999, 100.5]), "int32": i32(0, 1, -1, 127, -128, 100),
               "int64": i64(0, 1, -1, 2**31 - 1, -2**31, 100), "uint8": np.array([0, 1, 127, 255], np.uint8), "int8": np.array([0, 1, -1, 127, -128], np.int8), "int16": np.array([0, 1, -1, 32767], np.int16),
               "uint16": np.array([0, 1, 65535], np.uint16), "bool": np.array([True, False]), "float16": np.array([0, 1.5, -2.5, 100], np.float16), "bfloat16": np.array([0, 1.5, -2.5, 100], bf16),
               "uint32": np.array([0, 1, 4294967295], np.uint32), "uint64": np.array([0, 1, 2**53], np.uint64)}
    for source, array in numbers.items():
        for target in ["float32", "float64", "int32", "int64", "bool", "uint8", "float16", "int8", "int16", "uint16", "uint32", "uint64", "bfloat16"]:
            values = array
            if source.startswith(("float", "bfloat")) and target.startswith("u"):
                values = np.abs(array)
            if target.startswith(("int", "uint")) and source == "float64":
                values = values[np.abs(values) < 120] if target not in ("int64", "uint64") else values
            if target in ("int8", "uint8") and source.startswith("float"):
                values = values[np.abs(values) < 127]
            case("Cast", f"{source} to {target}", {"x": values}, {"DstT": tf.as_dtype(target)})
    case("Cast", "int32 to uint8 wraps", {"x": i32(-1, 256, 300, 2**31 - 1)}, {"DstT": tf.uint8})
    case("Cast", "int64 to int32 wraps", {"x": i64(2**31, 2**32 + 5, -2**31 - 1)}, {"DstT": tf.int32})
    case("Cast", "int32 to int8 wraps", {"x": i32(128, -129, 300)}, {"DstT": tf.int8})
    case("Cast", "int64 to float rounds", {"x": i64(2**53 + 1, 16777217, -(2**62) - 1)}, {"DstT": tf.float32})
    case("Cast", "double to float rounds", {"x": np.array([0.1, 1e39, -1e39, 1e-50, nan])}, {"DstT": tf.float32})
    case("Cast", "float to half rounds", {"x": f32([0.1, 65519, 65520, 1e-8, nan, -inf])}, {"DstT": tf.float16})
    case("Cast", "NaN and Inf to bool", {"x": f32([nan, inf, 0, -0.0, 1e-30])}, {"DstT": tf.bool})
    case("Cast", "truncating", {"x": f32([0.1, 0.5]), }, {"DstT": tf.bfloat16, "Truncate": True})
    case("Cast", "rank 3 and empty", {"x": I(2, 1, 2)}, {"DstT": tf.float32}, more=[{"x": I(0, 3)}, {"x": np.int32(5)}])
    for target in ["int32", "int64"]:
        for source in ["float32", "float64"]:
            case("Cast", f"{source} out of range, NaN and Inf to {target} (as x86-64 does)", {"x": np.array([3e9 if target == "int32" else 1e19, -3e9 if target == "int32" else -1e19, nan, inf, -inf] * 4, source)}, {"DstT": tf.as_dtype(target)})


@family
def image():
    for op in ["ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic"]:
        for align, half in [(False, False), (True, False), (False, True)]:
            flags = {"align_corners": align, "half_pixel_centers": half}
            label = "align" if align else "half pixel" if half else "plain"
            case(op, f"{label}, up, two sizes", {"images": F(1, 3, 4, 2), "size": i32(5, 7)}, flags, const=["size"], more=[{"images": F(2, 2, 2, 1)}])
            case(op, f"{label}, down", {"images": F(1, 7, 6, 1), "size": i32(3, 2)}, flags, const=["size"])
            case(op, f"{label}, twice, size as an input", {"images": F(1, 3, 3, 1), "size": i32(6, 6)}, flags, more=[{"size": i32(3, 3)}, {"size": i32(1, 1)}])
            if op != "ResizeNearestNeighbor":
                case(op, f"{label}, uint8", {"images": I(1, 3, 3, 1, dtype=np.uint8, lo=0, hi=255), "size": i32(4, 5)}, flags, const=["size"])
            else:
                case(op, f"{label}, uint8, int32 and double keep their dtype", {"images": I(1, 3, 5, 1, dtype=np.uint8, lo=0, hi=255), "size": i32(4, 8)}, flags, const=["size"])
                case(op, f"{label}, int32", {"images": I(1, 4, 5, 1), "size": i32(3, 9)}, flags, const=["size"])
    case("ResizeBilinear", "int32", {"images": I(1, 2, 2, 1), "size": i32(3, 3)}, {"half_pixel_centers": True}, const=["size"])
    case("ResizeBilinear", "double", {"images": F(1, 2, 2, 1, dtype=np.float64), "size": i32(3, 3)}, {"half_pixel_centers": True}, const=["size"])
    case("ResizeBilinear", "half", {"images": F(1, 2, 2, 1, dtype=np.float16), "size": i32(3, 3)}, {"half_pixel_centers": True}, const=["size"], tol=4e-3)
    case("ResizeBilinear", "one pixel", {"images": F(2, 1, 1, 3), "size": i32(2, 3)}, {"align_corners": True}, const=["size"])
    case("ResizeArea", "down", {"images": F(1, 6, 5, 2), "size": i32(3, 2)}, const=["size"], more=[{"images": F(2, 4, 4, 1)}])
    case("ResizeArea", "up, aligned", {"images": F(1, 3, 3, 1), "size": i32(5, 4)}, {"align_corners": True}, const=["size"])
    boxes = f32([[0, 0, 1, 1], [0.2, 0.1, 0.8, 0.9], [-0.5, 0.5, 0.5, 1.5], [0.9, 0.9, 0.1, 0.1]])
    for method in ["bilinear", "nearest"]:
        case("CropAndResize", method, {"image": F(2, 5, 6, 2), "boxes": boxes, "box_ind": i32(0, 1, 0, 1), "crop_size": i32(3, 4)}, {"method": method, "extrapolation_value": 0.25}, const=["crop_size"], more=[{"boxes": boxes[:1], "box_ind": i32(1)}])
        case("CropAndResize", f"{method} to one pixel", {"image": F(1, 4, 4, 1), "boxes": boxes, "box_ind": i32(0, 0, 0, 0), "crop_size": i32(1, 1)}, {"method": method}, const=["crop_size"])
    case("CropAndResize", "uint8, size as an input", {"image": I(1, 4, 4, 1, dtype=np.uint8, lo=0, hi=255), "boxes": boxes[:2], "box_ind": i32(0, 0), "crop_size": i32(2, 2)}, more=[{"crop_size": i32(3, 5)}])
    case("CropAndResize", "box of no image", {"image": F(1, 4, 4, 1), "boxes": boxes[:1], "box_ind": i32(1), "crop_size": i32(2, 2)}, error=True)
    for kernel in ["triangle", "lanczos3", "keyscubic", "gaussian"]:
        for antialias in [True, False]:
            case("ScaleAndTranslate", f"{kernel} antialias={antialias}", {"images": F(1, 6, 5, 1), "size": i32(3, 4), "scale": f32([0.5, 0.8]), "translation": f32([0, 0])}, {"kernel_type": kernel, "antialias": antialias}, const=["size", "scale", "translation"])
    nms = f32([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [0, 10.1, 1, 11.1], [0, 100, 1, 101]])
    scores = f32([0.9, 0.75, 0.6, 0.95, 0.5, 0.3])
    case("NonMaxSuppression", "iou 0.5", {"boxes": nms, "scores": scores, "max_output_size": np.int32(3)}, {"iou_threshold": 0.5})
    case("NonMaxSuppressionV2", "iou 0.5, more than there are", {"boxes": nms, "scores": scores, "max_output_size": np.int32(30), "iou_threshold": np.float32(0.5)})
    for op in ["NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5"]:
        soft = {"soft_nms_sigma": np.float32(0)} if op.endswith("5") else {}
        case(op, "score threshold, two feeds", {"boxes": nms, "scores": scores, "max_output_size": np.int32(3), "iou_threshold": np.float32(0.5), "score_threshold": np.float32(0.4), **soft}, const=["max_output_size", "iou_threshold", "score_threshold", "soft_nms_sigma"], more=[{"boxes": nms[:2], "scores": scores[:2]}, {"boxes": np.zeros((0, 4), np.float32), "scores": f32([])}])
        case(op, "flipped corners, equal scores, thresholds as inputs", {"boxes": f32([[1, 1, 0, 0], [0, 0, 1, 1], [2, 2, 3, 3]]), "scores": f32([0.5, 0.5, 0.5]), "max_output_size": np.int32(3), "iou_threshold": np.float32(0.4), "score_threshold": np.float32(0.5), **soft}, more=[{"score_threshold": np.float32(-1)}])
        case(op, "overlap equal to the threshold", {"boxes": f32([[0, 0, 1, 2], [0, 1, 1, 2]]), "scores": f32([0.9, 0.8]), "max_output_size": np.int32(2), "iou_threshold": np.float32(0.5), "score_threshold": np.float32(-inf), **soft})
    case("NonMaxSuppressionV4", "padded", {"boxes": nms, "scores": scores, "max_output_size": np.int32(5), "iou_threshold": np.float32(0.5), "score_threshold": np.float32(0.4)}, {"pad_to_max_output_size": True}, const=["max_output_size"])
    case("NonMaxSuppressionV5", "soft", {"boxes": nms, "scores": scores, "max_output_size": np.int32(6), "iou_threshold": np.float32(1.0), "score_threshold": np.float32(0.0), "soft_nms_sigma": np.float32(0.5)})
    case("NonMaxSuppressionV5", "padded", {"boxes": nms, "scores": scores, "max_output_size": np.int32(8), "iou_threshold": np.float32(0.5), "score_threshold": np.float32(0.0), "soft_nms_sigma": np.float32(0)}, {"pad_to_max_output_size": True}, const=["max_output_size"])
    case("NonMaxSuppressionWithOverlaps", "matrix", {"overlaps": f32([[1, 0.6, 0.1], [0.6, 1, 0.2], [0.1, 0.2, 1]]), "scores": f32([0.9, 0.8, 0.7]), "max_output_size": np.int32(3), "overlap_threshold": np.float32(0.5), "score_threshold": np.float32(0)})
    for flags in [{"pad_per_class": False, "clip_boxes": True}, {"pad_per_class": True, "clip_boxes": False}]:
        case("CombinedNonMaxSuppression", f"shared boxes {flags}", {"boxes": nms.reshape(1, 6, 1, 4), "scores": np.stack([scores, scores[::-1]], 1)[None], "max_output_size_per_class": np.int32(2), "max_total_size": np.int32(5), "iou_threshold": np.float32(0.5), "score_threshold": np.float32(0.2)}, flags, const=["max_output_size_per_class", "max_total_size"])
    case("CombinedNonMaxSuppression", "boxes per class, batch of 2", {"boxes": np.stack([np.stack([nms, nms + 0.05], 1)] * 2), "scores": np.stack([np.stack([scores, scores[::-1]], 1)] * 2), "max_output_size_per_class": np.int32(3), "max_total_size": np.int32(4), "iou_threshold": np.float32(0.5), "score_threshold": np.float32(0.4)}, const=["max_output_size_per_class", "max_total_size"])
    rgb = rng.uniform(0, 1, (2, 2, 3)).astype(np.float32)
    case("RGBToHSV", "image and batch", {"images": rgb}, more=[{"images": rng.uniform(0, 1, (1, 2, 1, 3)).astype(np.float32)}, {"images": f32([[0, 0, 0], [1, 1, 1], [1, 0, 0]])}])
    case("HSVToRGB", "image", {"images": rgb})
    case("AdjustContrastv2", "float", {"images": F(1, 3, 3, 2), "contrast_factor": np.float32(1.7)}, more=[{"images": F(2, 2, 2, 3), "contrast_factor": np.float32(0.3)}])
    case("AdjustHue", "float", {"images": rgb, "delta": np.float32(0.3)})
    case("AdjustSaturation", "float", {"images": rgb, "scale": np.float32(0.4)})
    case("DrawBoundingBoxesV2", "one box", {"images": np.zeros((1, 6, 6, 3), np.float32), "boxes": f32([[[0.1, 0.1, 0.8, 0.7]]]), "colors": f32([[1, 0.5, 0]])})
    case("DrawBoundingBoxes", "one box", {"images": np.zeros((1, 5, 5, 1), np.float32), "boxes": f32([[[0.1, 0.1, 0.8, 0.7]]])})


@family
def recurrent():
    cell, batch, size = 3, 2, 2
    weights = F(size + cell, 4 * cell, lo=-0.8, hi=0.8)
    peep = [np.zeros(cell, np.float32)] * 3
    for peephole in [False, True]:
        peeps = [F(cell) for _ in range(3)] if peephole else peep
        case("LSTMBlockCell", f"peephole={peephole}", {"x": F(batch, size), "cs_prev": F(batch, cell), "h_prev": F(batch, cell), "w": weights, "wci": peeps[0], "wcf": peeps[1], "wco": peeps[2], "b": F(4 * cell)}, {"forget_bias": 1.0, "cell_clip": -1.0, "use_peephole": peephole}, const=["w", "wci", "wcf", "wco", "b"])
        for op in ["BlockLSTM", "BlockLSTMV2"]:
            forget = {"forget_bias": 1.0} if op == "BlockLSTM" else {}
            case(op, f"peephole={peephole}", {"seq_len_max": np.int64(4), "x": F(4, batch, size), "cs_prev": F(batch, cell), "h_prev": F(batch, cell), "w": weights, "wci": peeps[0], "wcf": peeps[1], "wco": peeps[2], "b": F(4 * cell)}, {**forget, "cell_clip": 0.0 if op == "BlockLSTMV2" else -1.0, "use_peephole": peephole}, const=["w", "wci", "wcf", "wco", "b"])
    case("GRUBlockCell", "float", {"x": F(batch, size), "h_prev": F(batch, cell), "w_ru": F(size + cell, 2 * cell), "w_c": F(size + cell, cell), "b_ru": F(2 * cell), "b_c": F(cell)}, const=["w_ru", "w_c", "b_ru", "b_c"])
    logits = F(5, 2, 4)
    case("CTCGreedyDecoder", "merge repeated", {"inputs": logits, "sequence_length": i32(5, 3)}, {"merge_repeated": True})
    case("CTCGreedyDecoder", "keep repeated, blank 0", {"inputs": logits, "sequence_length": i32(5, 4)}, {"merge_repeated": False, "blank_index": 0})
    case("CTCBeamSearchDecoder", "width 4, two paths", {"inputs": logits, "sequence_length": i32(5, 3)}, {"beam_width": 4, "top_paths": 2, "merge_repeated": False}, tol=1e-4)


@family
def channels_first():
    """NCHW and NCDHW, which TensorFlow's CPU kernels refuse: answered by the NHWC kernel between transposes of the same data."""
    for padding in ["SAME", "VALID"]:
        for s in [1, 2]:
            nchw("Conv2D", f"NCHW {padding} stride {s}", {"input": F(1, 2, 5, 6), "filter": F(3, 3, 2, 3)}, {"strides": [1, 1, s, s], "padding": padding}, "input", const=["filter"], more=[{"input": F(2, 2, 4, 4)}])
            nchw("MaxPool", f"NCHW {padding} stride {s}", {"input": F(1, 2, 5, 6)}, {"ksize": [1, 1, 2, 3], "strides": [1, 1, s, s], "padding": padding}, "input")
            nchw("AvgPool", f"NCHW {padding} stride {s}", {"value": F(1, 2, 5, 6)}, {"ksize": [1, 1, 2, 3], "strides": [1, 1, s, s], "padding": padding}, "value")
        nchw("DepthwiseConv2dNative", f"NCHW {padding}", {"input": F(1, 2, 5, 6), "filter": F(3, 3, 2, 2)}, {"strides": [1, 1, 2, 2], "padding": padding}, "input", const=["filter"])
        nchw("Conv3D", f"NCDHW {padding}", {"input": F(1, 2, 3, 4, 4), "filter": F(2, 2, 2, 2, 2)}, {"strides": [1, 1, 1, 2, 2], "padding": padding}, "input", const=["filter"])
        nchw("MaxPool3D", f"NCDHW {padding}", {"input": F(1, 2, 3, 4, 4)}, {"ksize": [1, 1, 2, 2, 2], "strides": [1, 1, 2, 2, 2], "padding": padding}, "input")
        nchw("AvgPool3D", f"NCDHW {padding}", {"input": F(1, 2, 3, 4, 4)}, {"ksize": [1, 1, 2, 2, 2], "strides": [1, 1, 2, 2, 2], "padding": padding}, "input")
    nchw("Conv2D", "NCHW explicit, dilated", {"input": F(1, 1, 6, 5), "filter": F(2, 2, 1, 2)}, {"strides": [1, 1, 1, 1], "dilations": [1, 1, 2, 2], "padding": "EXPLICIT", "explicit_paddings": [0, 0, 0, 0, 1, 2, 0, 1]}, "input", const=["filter"])
    norm = {"scale": F(3, lo=0.5), "offset": F(3), "mean": F(3), "variance": F(3, lo=0.3)}
    nchw("FusedBatchNormV3", "NCHW inference", {"x": F(1, 3, 2, 2), **norm}, {"is_training": False, "epsilon": 0.001}, "x", const=list(norm), more=[{"x": F(2, 3, 1, 2)}], keep=3)
    nchw("FusedBatchNorm", "NCHW inference", {"x": F(1, 3, 2, 2), **norm}, {"is_training": False}, "x", const=list(norm), keep=3)
    nchw("SpaceToDepth", "NCHW block 2", {"input": F(1, 2, 4, 2)}, {"block_size": 2}, "input")
    nchw("DepthToSpace", "NCHW block 2", {"input": F(1, 8, 1, 2)}, {"block_size": 2}, "input")
    nchw("Conv2DBackpropInput", "NCHW SAME stride 2", {"input_sizes": i32(1, 1, 6, 6), "filter": F(3, 3, 1, 2), "out_backprop": F(1, 2, 3, 3)}, {"strides": [1, 1, 2, 2], "padding": "SAME"}, "out_backprop", const=["filter", "input_sizes"])


@family
def misc():
    for dtype in [np.int32, np.int64]:
        case("UnravelIndex", np.dtype(dtype).name, {"indices": np.array([22, 0, 7], dtype), "dims": np.array([3, 4, 2], dtype)}, more=[{"indices": np.array(5, dtype), "dims": np.array([2, 3], dtype)}])
    case("UnravelIndex", "out of range", {"indices": i32(6), "dims": i32(2, 3)}, error=True)
    z = np.array([1 + 2j, -3.5j, -1], np.complex64)
    case("Conj", "complex64", {"input": z})
    case("Angle", "complex64", {"input": z}, {"Tout": tf.float32})
    case("FFT", "vector and batch", {"input": z[:2]}, more=[{"input": np.stack([z, z[::-1]])}])
    case("IFFT", "vector", {"input": np.array([1 + 1j, 2, 3j, -1], np.complex64)})
    case("FFT2D", "matrix", {"input": (F(2, 3) + 1j * F(2, 3)).astype(np.complex64)})
    for op in ["AddV2", "Mul", "Sub", "RealDiv"]:
        case(op, "complex64", {"x": z, "y": z[::-1].copy()})
    case("RFFT", "cut", {"input": F(2, 10), "fft_length": i32(8)}, const=["fft_length"], more=[{"input": F(1, 8)}])
    case("RFFT", "input too short", {"input": F(6), "fft_length": i32(8)}, const=["fft_length"], error=True)
    case("RFFT", "length not a power of two, double", {"input": F(6, dtype=np.float64), "fft_length": i32(5)}, {"Tcomplex": tf.complex128}, const=["fft_length"])
    case("RFFT2D", "matrix", {"input": F(4, 4), "fft_length": i32(4, 4)}, const=["fft_length"])
    case("IRFFT", "odd length", {"input": np.fft.rfft(F(2, 7)).astype(np.complex64), "fft_length": i32(7)}, const=["fft_length"])
    case("BroadcastGradientArgs", "int32", {"s0": i32(2, 1, 3), "s1": i32(4, 1)})
    case("ScatterNdNonAliasingAdd", "elements", {"input": F(4), "indices": i32([[1], [3], [1]]), "updates": F(3)})
    case("Lu", "with a pivot", {"input": f32([[0, 2, 1], [4, 1, 0], [1, 1, 3]])})
    case("TridiagonalSolve", "partial pivoting", {"diagonals": f32([[1, 2, 0], [4, 5, 6], [0, 1, 2]]), "rhs": F(3, 2)})
    case("QuantizeAndDequantizeV4", "given range", {"input": F(2, 4), "input_min": np.float32(-2), "input_max": np.float32(2)}, {"range_given": True})
    case("Assert", "holds", {"condition": np.array(True), "data": [F(2)]})
    case("Assert", "does not hold", {"condition": np.array(False), "data": [np.float32(2)]}, error=True)
    case("SparseSoftmax", "rows", {"sp_indices": i64([[0, 0], [0, 2], [1, 1]]), "sp_values": F(3), "sp_shape": i64(2, 3)})
    case("SparseReduceSum", "axis 1", {"input_indices": i64([[0, 0], [0, 2], [1, 1]]), "input_values": F(3), "input_shape": i64(2, 3), "reduction_axes": i32(1)})
    case("SparseReduceMax", "axis 0, kept", {"input_indices": i64([[0, 0], [0, 2], [1, 1]]), "input_values": F(3), "input_shape": i64(2, 3), "reduction_axes": i32(0)}, {"keep_dims": True})
    for op in ["Dawsn", "Expint", "Spence", "BesselI0", "BesselI1", "BesselJ0", "BesselJ1", "BesselK0", "BesselK1", "BesselY0", "BesselY1"]:
        case(op, "float", {"x": F(4, lo=0.3, hi=3)}, tol=1e-4)
    y, dy = F(2, 3, lo=0.1, hi=0.9), F(2, 3)
    for op in ["SigmoidGrad", "TanhGrad", "RsqrtGrad", "SqrtGrad", "ReciprocalGrad", "InvGrad"]:
        case(op, "float", {"y": y, "dy": dy})
    for op in ["ReluGrad", "Relu6Grad", "LeakyReluGrad", "SoftplusGrad", "SoftsignGrad"]:
        case(op, "float", {"gradients": dy, "features": F(2, 3, lo=-8, hi=8)})
    for op in ["EluGrad", "SeluGrad"]:
        case(op, "float", {"gradients": dy, "outputs": F(2, 3)})
    for shape, form in [((2, 3), "NHWC"), ((2, 2, 2, 3), "NHWC"), ((2, 3, 2, 2), "NCHW")]:
        case("BiasAddGrad", f"rank {len(shape)} {form}", {"out_backprop": F(*shape)}, {"data_format": form})


# ---- main -----------------------------------------------------------------------------------------------------------------


def write(name):
    global rng
    lines.clear()
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    FAMILIES[name]()
    os.makedirs(OUT, exist_ok=True)
    names = [(entry["op"], entry["name"]) for entry in lines]
    for pair in {n for n in names if names.count(n) > 1}:
        problems.append(f"{pair[0]}/{pair[1]}: name used twice")
    header = {"family": name, "tensorflow": tf.__version__, "numpy": np.__version__}
    text = "\n".join(json.dumps(entry, separators=(",", ":")) for entry in [header, *lines]) + "\n"
    with open(os.path.join(OUT, f"{name}.jsonl"), "w") as out:
        out.write(text)
    print(f"{name}: {len(lines)} cases of {len({e['op'] for e in lines})} ops, {len(text) // 1024} KiB", flush=True)


if __name__ == "__main__":
    for each in sys.argv[1:] or FAMILIES:
        write(each)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        sys.exit(1)
