"""Runs host ops in TensorFlow and writes what it answers, for test/savedmodel/host/golden.test.ts.

Usage: python scripts/host-op-goldens.py test/savedmodel/host [goldens-file ...]   (needs TensorFlow; the test does not)

Each case is one op with its inputs, all its attributes (defaults filled in, types inferred), and the outputs or the error.
"""
import base64
import inspect
import json
import re
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import op_def_registry

CASES = []
f32 = lambda v: tf.constant(v, tf.float32)
f64 = lambda v: tf.constant(v, tf.float64)
i32 = lambda v: tf.constant(v, tf.int32)
i64 = lambda v: tf.constant(v, tf.int64)
boo = lambda v: tf.constant(v, tf.bool)
txt = lambda v: tf.constant(v, tf.string)
empty = lambda dtype, *shape: tf.zeros(shape, dtype) if dtype != tf.string else tf.constant([], tf.string, shape=shape)


def b64(raw):
    return base64.b64encode(raw).decode()


def dtype_name(dtype):
    return types_pb2.DataType.Name(tf.as_dtype(dtype).as_datatype_enum)[3:].lower()


def tensor_json(t):
    t = tf.convert_to_tensor(t)
    a = t.numpy()
    out = {"d": dtype_name(t.dtype), "s": list(t.shape)}
    if t.dtype == tf.string:
        out["v"] = [b64(x if isinstance(x, bytes) else bytes(x)) for x in np.asarray(a, dtype=object).reshape(-1).tolist()]
    else:
        out["b"] = b64(np.ascontiguousarray(a).tobytes())
    return out


def attr_json(value, kind):
    if kind.startswith("list("):
        return {"l": [attr_json(v, kind[5:-1]) for v in value]}
    if kind == "type":
        return {"t": dtype_name(value)}
    if kind == "shape":
        if value is None:
            return {"shape": None}
        dims = tf.TensorShape(value)
        return {"shape": None if dims.rank is None else [-1 if d is None else d for d in dims.as_list()]}
    if kind == "string":
        return {"s": b64(value if isinstance(value, bytes) else value.encode())}
    return {{"int": "i", "float": "f", "bool": "b"}[kind]: value}


def default_json(proto, kind):
    if kind.startswith("list("):
        field = {"string": "s", "int": "i", "float": "f", "bool": "b", "type": "type", "shape": "shape"}[kind[5:-1]]
        return {"l": [attr_json(v, kind[5:-1]) for v in getattr(proto.list, field)]}
    return attr_json({"type": proto.type, "shape": proto.shape, "string": proto.s, "int": proto.i, "float": proto.f, "bool": proto.b}[kind], kind)


def inferred(definition):
    return {name for arg in definition.input_arg for name in (arg.number_attr, arg.type_attr, arg.type_list_attr)}


def case(op, *inputs, **attrs):
    """inputs: one tensor or list of tensors per argument of the op, in order."""
    definition = op_def_registry.get(op)
    call, flat, given = {}, [], {}
    for arg, value in zip(definition.input_arg, inputs):
        is_list = bool(arg.number_attr or arg.type_list_attr)
        call[arg.name] = value
        tensors = value if is_list else [value]
        flat += tensors
        if arg.number_attr:
            given[arg.number_attr] = {"i": len(tensors)}
        if arg.type_attr and tensors:
            given[arg.type_attr] = {"t": dtype_name(tensors[0].dtype)}
        if arg.type_list_attr:
            given[arg.type_list_attr] = {"l": [{"t": dtype_name(t.dtype)} for t in tensors]}
    for attr in definition.attr:
        if attr.name in attrs:
            given[attr.name] = attr_json(attrs[attr.name], attr.type)
        elif attr.name not in given and attr.HasField("default_value"):
            given[attr.name] = default_json(attr.default_value, attr.type)
    record = {"op": op, "in": [tensor_json(t) for t in flat], "attrs": given}
    # Python's names of arguments and attributes differ here and there from the op's: those left over correspond in order.
    accepted = [p for p in inspect.signature(getattr(tf.raw_ops, op)).parameters if p != "name"]
    stored = [arg.name for arg in definition.input_arg] + [attr.name for attr in definition.attr if attr.name not in inferred(definition)]
    spare = [p for p in accepted if p not in stored]
    renamed = dict(zip([n for n in stored if n not in accepted], spare))
    call = {renamed.get(k, k): v for k, v in call.items()}
    known = {renamed.get(k, k): v for k, v in attrs.items()}
    try:
        with tf.device("/CPU:0"):
            result = getattr(tf.raw_ops, op)(**call, **known)
        outs = []
        for one in result if isinstance(result, (list, tuple)) else [result]:
            outs += one if isinstance(one, (list, tuple)) else [one]
        record["out"] = [tensor_json(t) for t in outs]
    except (tf.errors.OpError, ValueError) as error:
        if isinstance(error, tf.errors.OpError):
            message = re.sub(r"\{\{function_node [^}]*\}\}\s*", "", error.message)
            message = re.sub(r"\s*\[Op:\w+\]( name:.*)?\s*$", "", message)
            record["error"] = message
            record["code"] = type(error).__name__
        else:
            raise
    CASES.append(record)


def arrays():
    m = f32([[1, 2, 3], [4, 5, 6]])
    s = txt([["a", "bb", ""], ["d\x00", "é", "f"]])
    for t in (m, s, i64([[1, 2, 3], [4, 5, 6]])):
        case("Identity", t)
        case("Reshape", t, i32([3, -1]))
        case("Reshape", t, i64([6]))
        case("ExpandDims", t, i32(-1))
        case("ExpandDims", t, i32(1))
        case("Transpose", t, i32([1, 0]))
        case("Tile", t, i32([2, 3]))
        case("ConcatV2", [t, t], i32(1))
        case("ConcatV2", [t, t], i32(-2))
        case("Pack", [t, t], axis=1)
        case("Pack", [t, t], axis=-1)
        case("Unpack", t, num=3, axis=1)
        case("Unpack", t, num=2, axis=0)
        case("Slice", t, i32([0, 1]), i32([-1, 2]))
        case("Split", i32(1), t, num_split=3)
        case("SplitV", t, i64([1, -1]), i32(1), num_split=2)
        case("GatherV2", t, i32([[1, 0], [1, 1]]), i32(0))
        case("GatherV2", t, i32([2, 0]), i32(1))
        case("Gather", t, i32([1]))
        case("GatherNd", t, i32([[1, 2], [0, 0]]))
        case("ReverseV2", t, i32([1]))
        case("BroadcastTo", t, i32([2, 2, 3]))
        case("StridedSlice", t, i32([0, 0]), i32([2, 3]), i32([1, 2]))
        case("StridedSlice", t, i32([-1, -1]), i32([0, 0]), i32([1, -1]), end_mask=2, shrink_axis_mask=1)
        case("StridedSlice", t, i32([0, 0, 0]), i32([0, 0, 1]), i32([1, 1, 1]), ellipsis_mask=1, new_axis_mask=2)
        case("Shape", t)
        case("Shape", t, out_type=tf.int64)
        case("Size", t)
        case("Rank", t)
        case("ShapeN", [t, t])
        case("SelectV2", boo([[True], [False]]), t, t[:, :1])
        case("Select", boo([True, False]), t, t)
        case("EnsureShape", t, shape=[None, 3])
    case("StopGradient", m)
    case("Snapshot", m)
    case("PreventGradient", m)
    case("IdentityN", [m, s])
    case("ZerosLike", m)
    case("OnesLike", i64([1, 2]))
    case("Fill", i32([2, 2]), txt("x"))
    case("Fill", i32([0, 2]), f32(1))
    case("Squeeze", f32([[[1], [2]]]), squeeze_dims=[])
    case("Squeeze", f32([[[1], [2]]]), squeeze_dims=[-1])
    case("Squeeze", f32([[[1], [2]]]), squeeze_dims=[1])
    case("Concat", i32(0), [m, m])
    case("Pad", m, i32([[1, 0], [0, 2]]))
    case("PadV2", m, i32([[1, 0], [0, 2]]), f32(9))
    case("BroadcastArgs", i32([2, 1]), i32([3]))
    case("Reshape", m, i32([4, -1]))
    case("Reshape", m, i32([5]))
    case("Reshape", m, i32([-1, -1]))
    case("ConcatV2", [m, f32([[1, 2]])], i32(0))
    case("GatherV2", m, i32([0, 5]), i32(0))
    case("GatherV2", m, i32([[0, 1], [2, 0]]), i32(1), batch_dims=1)
    case("GatherNd", m, i32([[1, 7]]))
    case("Slice", m, i32([0, 2]), i32([1, 2]))
    case("Tile", m, i32([0, 1]))
    case("Split", i32(1), m, num_split=2)
    case("Pack", [m, m[:1]], axis=0)
    case("Where", boo([[True, False], [True, True]]))
    case("Where", f32([0, 2, 0, 3]))
    case("Where", i64([[0], [0]]))
    case("Where", boo(True))
    case("OneHot", i32([0, 2, -1, 5]), i32(3), f32(1), f32(0))
    case("OneHot", i64([[0, 1]]), i32(2), i64(7), i64(-1), axis=0)
    case("OneHot", i64([1]), i32(2), txt("y"), txt("n"))
    case("ScatterNd", i32([[1], [3], [1]]), f32([1, 2, 3]), i32([4]))
    case("Transpose", m, i32([0, 0]))
    case("StridedSlice", m, i32([5]), i32([6]), i32([1]), shrink_axis_mask=1)


def math():
    a, b = [7, -7, 5, 0], [2, 2, -3, 4]
    for make in (f32, i32, i64):
        for op in ("Add", "AddV2", "Sub", "Mul", "FloorDiv", "FloorMod", "Maximum", "Minimum", "SquaredDifference", "Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual"):
            case(op, make(a), make(b))
        case("Sub", make([[1], [2]]), make([3, 4]))
        for op in ("Neg", "Abs", "Sign", "Square", "ZerosLike"):
            case(op, make(a))
        for op in ("Sum", "Prod", "Max", "Min", "Mean"):
            case(op, make([[1, 2, 3], [4, 5, 7]]), i32([1]))
            case(op, make([[1, 2, 3], [4, 5, 7]]), i32([0, -1]), keep_dims=True)
            case(op, make([[1, 2], [4, 5]]), empty(tf.int32, 0))
        case("Sum", make([[1, 2]]), i32([3]))
        case("ArgMax", make([[1, 5, 5], [9, 2, 3]]), i32(1))
        case("ArgMin", make([[1, 5, 5], [9, 2, 3]]), i32(0), output_type=tf.int32)
        case("Cumsum", make([[1, 2, 3], [4, 5, 6]]), i32(1))
        case("Cumsum", make([1, 2, 3]), i32(0), exclusive=True, reverse=True)
        case("Range", make(1), make(10), make(3))
        case("Range", make(5), make(0), make(-2))
        case("TopKV2", make([[1, 9, 9, 3]]), i32(3))
        case("AddN", [make(a), make(b), make(a)])
        case("SegmentSum", make([[1, 2], [3, 4], [5, 6]]), i32([0, 0, 2]))
        case("UnsortedSegmentSum", make([[1, 2], [3, 4], [5, 6]]), i32([1, -1, 1]), i32(3))
        case("UnsortedSegmentMax", make([1, 2, 3]), i32([1, 1, 0]), i32(3))
        case("UnsortedSegmentMin", make([1, 2, 3]), i32([1, 1, 0]), i32(3))
        case("SegmentMax", make([1, 2, 3]), i32([0, 0, 1]))
        case("SegmentMin", make([1, 2, 3]), i32([0, 0, 1]))
        case("SegmentMean", make([1, 2, 3]), i32([0, 0, 1]))
    case("TruncateDiv", i32(a), i32(b))
    case("Div", i64(a), i64(b))
    case("Mod", i32(a), i32(b))
    case("TruncateMod", i64(a), i64(b))
    case("RealDiv", f32(a), f32(b))
    case("DivNoNan", f32([1, 0]), f32([0, 0]))
    case("Pow", f32([2, 3]), f32([0.5, 2]))
    case("Pow", i64([2, -3]), i64([10, 3]))
    case("FloorDiv", i32([1]), i32([0]))
    case("Mul", i32([2147483647]), i32([3]))
    case("Add", f32([1, 2]), f32([1, 2, 3]))
    case("Equal", txt(["a", "b"]), txt([["a"], ["b"]]))
    case("NotEqual", txt(["a", ""]), txt(""))
    case("Equal", f32([1, 2]), f32([1, 2, 3]), incompatible_shape_error=False)
    case("Add", txt(["a", "b"]), txt("c"))
    case("LogicalAnd", boo([True, False]), boo([True, True]))
    case("LogicalOr", boo([True, False]), boo([False, False]))
    case("LogicalNot", boo([True, False]))
    case("BitwiseAnd", i32([6]), i32([3]))
    case("BitwiseOr", i64([6]), i64([3]))
    case("BitwiseXor", i32([6]), i32([3]))
    for op in ("Floor", "Ceil", "Round", "Rint", "Exp"):
        case(op, f32([-2.5, -1.5, 0.5, 1.5, 2.4]))
    for op in ("Sqrt", "Log", "Log1p"):
        case(op, f32([0.25, 2, 9]))
    for op in ("IsNan", "IsInf", "IsFinite"):
        case(op, f32([1, np.nan, np.inf, -np.inf]))
    case("All", boo([[True, False], [True, True]]), i32([1]))
    case("Any", boo([[False, False], [True, True]]), i32([1]))
    for to in (tf.int32, tf.int64, tf.uint8, tf.bool, tf.float64, tf.float16, tf.bfloat16, tf.int8):
        case("Cast", f32([-1.7, 0, 1.7, 100.3]) if not to.is_unsigned else f32([0, 1.7, 100.3]), DstT=to)
        case("Cast", i64([-1, 0, 300, 2**40 + 5]), DstT=to)
    case("Cast", tf.constant([1.5, 65504, 6e-8], tf.float16), DstT=tf.float32)
    case("Cast", tf.constant([1.5, 3e38], tf.bfloat16), DstT=tf.float32)
    case("Cast", boo([True, False]), DstT=tf.float32)
    case("Range", i32(1), i32(5), i32(0))
    case("TopKV2", f32([1, 2]), i32(3))


def strings():
    words = txt(["  Hello World ", "", "\t\n", "ÄÖ a", b"\xff\xfe", "x" * 20])
    for op in ("StringLower", "StringUpper"):
        case(op, words)
        case(op, txt(["ÄÖß Ab"]), encoding="utf-8")
    case("StringStrip", words)
    case("StringLength", words)
    case("StringLength", txt(["é", "日本", "a"]), unit="UTF8_CHAR")
    case("StringJoin", [txt(["a", "b"]), txt("-"), txt(["c", "d"])], separator="/")
    case("StringJoin", [txt("x")])
    case("StringJoin", [txt(["a"]), txt(["b", "c"])])
    case("Substr", txt(["hello", "world"]), i32(1), i32(3))
    case("Substr", txt(["hello", "world"]), i32([-3, 2]), i32([2, 99]))
    case("Substr", txt([["hello"], ["world"]]), i32([0, 1]), i32([1, 2]))
    case("Substr", txt("日本語"), i32(1), i32(1), unit="UTF8_CHAR")
    case("Substr", txt("日本語"), i64(-2), i64(5), unit="UTF8_CHAR")
    case("Substr", txt("hi"), i32(5), i32(1))
    case("Substr", txt(["hello", "hi"]), i32(5), i32(1))
    for to in (tf.float32, tf.float64, tf.int32, tf.int64):
        case("StringToNumber", txt(["1", "-23", " 7 "]), out_type=to)
        case("StringToNumber", txt(["12x"]), out_type=to)
        case("StringToNumber", txt([""]), out_type=to)
    case("StringToNumber", txt(["1.5e3", "nan", "-inf", ".5", "3."]), out_type=tf.float32)
    case("StringToNumber", txt(["99999999999"]), out_type=tf.int32)
    lengths = ["", "a", "ab", "abc", "abcd", "abcde", "abcdefg", "abcdefgh", "abcdefghi", "0123456789abcdef", "0123456789abcdefg", "x" * 24, "y" * 32, "z" * 33,
               "w" * 48, "v" * 64, "u" * 65, "t" * 100, "s" * 127, "r" * 128, "q" * 129, "The quick brown fox jumps over the lazy dog" * 5, "日本語", b"\x80\xff\x00", "Hello", "TensorFlow", "2.x"]
    for op in ("StringToHashBucketFast", "StringToHashBucket"):
        case(op, txt(lengths), num_buckets=2**62)
        case(op, txt([["Hello", "TensorFlow", "2.x"]]), num_buckets=3)
    case("StringToHashBucketStrong", txt(lengths), num_buckets=2**62, key=[1, 2])
    case("StringToHashBucketStrong", txt(lengths), num_buckets=1000, key=[-5, 12345678901])
    case("Fingerprint", txt(["a", "hello", ""]), txt("farmhash64"))
    case("Fingerprint", txt([["a", "b"], ["c", "d"]]), txt("farmhash64"))
    case("Fingerprint", i32([[1, 2], [3, 4]]), txt("farmhash64"))
    grid = txt([["a", "b", "c"], ["d", "e", "f"]])
    case("ReduceJoin", grid, i32([0]), separator=",")
    case("ReduceJoin", grid, i32(-1))
    case("ReduceJoin", grid, i32([0, 1]), separator=",")
    case("ReduceJoin", grid, i32([1, 0]), separator=",")
    case("ReduceJoin", grid, i32([1]), keep_dims=True)
    case("ReduceJoin", grid, empty(tf.int32, 0))
    case("ReduceJoin", grid, i32([4]))
    case("UnsortedSegmentJoin", txt(["a", "b", "c", "d"]), i32([1, 0, 1, -1]), i32(3), separator=":")
    case("UnsortedSegmentJoin", grid, i32([1, 1]), i32(2), separator="+")
    case("EncodeBase64", txt(["", "a", "ab", "abc", b"\xff\xfe\xfd\xfc"]))
    case("EncodeBase64", txt(["", "a", "ab", "abc"]), pad=True)
    case("DecodeBase64", txt(["", "YQ", "YWI=", "YWJj", "_-79_A=="]))
    case("DecodeBase64", txt(["a+b/"]))
    case("DecodeBase64", txt(["abcde"]))
    for to in (tf.uint8, tf.int16, tf.int32, tf.float32, tf.int64, tf.float64, tf.float16):
        case("DecodeRaw", txt([bytes(range(16)), bytes(16)]), out_type=to)
        case("DecodeRaw", txt(bytes(range(16))), out_type=to, little_endian=False)
    case("DecodeRaw", txt(["abc", "ab"]), out_type=tf.uint8)
    case("DecodeRaw", txt(["abc"]), out_type=tf.int32)
    for skip in (True, False):
        case("StringSplit", txt(["a b,c", "", " x ", ",,"]), txt(" ,"), skip_empty=skip)
        case("StringSplit", txt(["abc", ""]), txt(""), skip_empty=skip)
    for sep in (" ", "", ", "):
        for most in (-1, 0, 1, 2):
            case("StringSplitV2", txt(["a b  c", "", "  x, y ", "one, two, three"]), txt(sep), maxsplit=most)
    for width in ([2], [1, 2], [3], [5]):
        for pad in (-1, 0, 1):
            case("StringNGrams", txt(["a", "b", "c", "d", "e"]), i64([0, 3, 3, 5]), separator=" ", ngram_widths=width, left_pad="<", right_pad=">", pad_width=pad, preserve_short_sequences=pad == 0)
    case("StringNGrams", txt(["a"]), i64([0, 2]), separator=" ", ngram_widths=[1], left_pad="", right_pad="", pad_width=0, preserve_short_sequences=False)


REGEXES = [
    ("a+", "X"), ("(a)(b)?", r"\2\1!"), ("", "-"), ("a*", "-"), (r"\s+", " "), (r"[^a-z]", ""), ("(?i)HELLO", "bye"), ("^a|b$", "#"), ("(?m)^.", ">"), ("(?s)a.b", "#"), ("a.b", "#"),
    (r"\bfoo\b", "bar"), (r"[[:punct:]]", "P"), (r"[[:^alpha:]]", "."), (r"\pL", "L"), (r"\p{Greek}", "G"), (r"\PN", "n"), (r"[\d\-x]", "9"), (r"\Qa.b\E", "q"), (r"(?P<n>a)(b)", r"\2\1"),
    (r"\x61", "h"), (r"\x{e9}", "E"), (r"a{2,3}", "3"), (r"a{2}?", "2"), (r"(?U)a+", "u"), (r"(?i:A)b", "i"), (r"[]a]", "]"), (r"é", "e"), (r".", "c"), (r"[^\x00-\x7F]", "?"), (r"\$|\.", "S"),
    (r"(foo|foobar)", r"<\1>"), (r"(a|ab)(c|bcd)(d*)", r"\1,\2,\3"), (r"\W+", "_"), (r"[!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~]", ""), (r"<br />", " "), (r"\z", "!"), (r"\A.", "^"), (r"(?:a|b)+?", "+"), (r"x*?", "."),
    # Refused by RE2:
    (r"(?=a)", ""), (r"a**", ""), (r"a++", ""), (r"(a", ""), (r"a)", ""), (r"[a", ""), (r"\1", ""), (r"a{1001}", ""), (r"[b-a]", ""), (r"*a", ""), (r"[[:foo:]]", ""), (r"\8", ""), ("a\\", ""), (r"\Z", ""), (r"\pX", ""),
]
TEXTS = ["aaa b ab", "foo foobar bar", "a\nb a.b", "Hello hELLO", "é Ωμέγα 12٣", "!x-9]y[$._", "", b"a\xffb\xe2\x82", "<br />caab"]


def regexes():
    for pattern, rewrite in REGEXES:
        case("StaticRegexReplace", txt(TEXTS), pattern=pattern, rewrite=rewrite)
        case("RegexFullMatch", txt(["aaa", "a", "foo", "foobar", "é", "", b"\xff", "ab"]), txt(pattern))
    case("StaticRegexReplace", txt(TEXTS), pattern="a", rewrite="X", replace_global=False)
    case("RegexReplace", txt(TEXTS), txt("(b)"), txt(r"[\0\1\\]"))
    case("RegexReplace", txt(TEXTS), txt("b"), txt(r"\3"))
    case("StaticRegexFullMatch", txt(["a", "b\n"]), pattern="a|b")


def formats():
    values = [0, -1.5, 3.14159265, 1e10, 1e-7, 123456789.0, np.nan, np.inf, -np.inf, 0.5, 2.5]
    for make in (f32, f64, lambda v: tf.constant(v, tf.float16), lambda v: tf.constant(v, tf.bfloat16)):
        for attrs in ({}, {"precision": 2}, {"precision": 0}, {"scientific": True}, {"scientific": True, "precision": 0}, {"shortest": True}, {"shortest": True, "precision": 3}, {"width": 12}, {"width": 12, "fill": "0"}, {"width": 12, "fill": "-"}, {"fill": "+"}, {"fill": " ", "width": 4}):
            case("AsString", make(values), **attrs)
    for make in (i32, i64, lambda v: tf.constant(v, tf.int8)):
        for attrs in ({}, {"width": 5}, {"width": 5, "fill": "0"}, {"width": 5, "fill": "-"}, {"width": 5, "fill": "+"}, {"fill": " "}):
            case("AsString", make([0, -1, 42]), **attrs)
    case("AsString", i64([2**62 + 1]))
    case("AsString", boo([True, False]))
    case("AsString", boo([True, False]), width=7)
    case("AsString", tf.constant([1 + 2j], tf.complex64), precision=1)
    case("AsString", txt(["a"]))
    case("AsString", i32([1]), precision=2)
    case("AsString", f32([1]), scientific=True, shortest=True)
    case("StringFormat", [i32([1, 2, 3, 4, 5, 6, 7, 8]), f32([[1.5, 2], [3, 4]])], template="a {} b {}", placeholder="{}", summarize=3)
    case("StringFormat", [i32(1), txt("q\"\n")], template="{}-{}", placeholder="{}", summarize=3)
    case("StringFormat", [txt(["a", "é"]), boo([True])], template="{} {}", placeholder="{}", summarize=3)
    case("StringFormat", [tf.reshape(tf.range(24), [2, 3, 4])], template="{}", placeholder="{}", summarize=-1)
    case("StringFormat", [tf.reshape(tf.range(64), [8, 8])], template="{}", placeholder="{}", summarize=2)
    case("StringFormat", [i32(1)], template="{} {}", placeholder="{}", summarize=3)
    case("StringFormat", [f32([1e10, 1e-5, 0.1, np.nan])], template="{}", placeholder="{}", summarize=5)


def unicode():
    texts = ["aé日😀", "", b"a\xff\xe2\x82b", "x\x01\ty", b"\xed\xa0\x80", b"\xf0\x9f"]
    for op in ("UnicodeDecode", "UnicodeDecodeWithOffsets"):
        for errors in ("replace", "ignore", "strict"):
            case(op, txt(texts), input_encoding="UTF-8", errors=errors)
        case(op, txt(texts), input_encoding="UTF-8", replacement_char=63, replace_control_characters=True)
    case("UnicodeDecode", txt(["aé😀".encode("utf-16-be")]), input_encoding="UTF-16-BE")
    case("UnicodeDecode", txt(["aé😀".encode("utf-32-be")]), input_encoding="UTF-32-BE")
    for to in ("UTF-8", "UTF-16-BE", "UTF-32-BE"):
        case("UnicodeEncode", i32([97, 233, 0x65E5, 0x1F600, 98]), i64([0, 2, 2, 5]), output_encoding=to)
        case("UnicodeTranscode", txt(texts), input_encoding="UTF-8", output_encoding=to)
    for errors in ("replace", "ignore", "strict"):
        case("UnicodeEncode", i32([97, 0xD800, 0x110000]), i64([0, 3]), output_encoding="UTF-8", errors=errors)
    case("UnicodeEncode", i32([97]), i64([0, 3]), output_encoding="UTF-8")
    case("UnicodeTranscode", txt(["aé😀".encode("utf-16-be")]), input_encoding="UTF-16-BE", output_encoding="UTF-8")
    case("UnicodeTranscode", txt([b"caf\xe9"]), input_encoding="ISO-8859-1", output_encoding="UTF-8")
    case("UnicodeTranscode", txt(texts), input_encoding="UTF-8", output_encoding="UTF-8", replace_control_characters=True, replacement_char=32)


def csvs():
    case("DecodeCSV", txt(["1,2.5,abc", "3,4,\"d,\"\"e\"\"\""]), [i32([0]), f32([0.0]), txt([""])])
    case("DecodeCSV", txt(["1,,abc", ",NA,x"]), [i64([7]), f32([1.5]), txt(["d"])], na_value="NA")
    case("DecodeCSV", txt("1;2"), [i64([7]), f64([1.5])], field_delim=";")
    case("DecodeCSV", txt(["a,b,c,d"]), [txt([""]), txt([""])], select_cols=[1, 3])
    case("DecodeCSV", txt(["1,2"]), [i32([0])])
    case("DecodeCSV", txt(["x"]), [i32([0])])
    case("DecodeCSV", txt([",1"]), [empty(tf.int32, 0), i32([0])])
    case("DecodeCSV", txt(["\"a"]), [txt([""])])
    case("DecodeCSV", txt(["a\"b"]), [txt([""])])
    case("DecodeCSV", txt(["a\"b,c"]), [txt([""]), txt([""])], use_quote_delim=False)
    case("DecodeCSV", txt(["\"a\"b"]), [txt([""])])


def example(**features):
    made = {}
    for key, value in features.items():
        if value is None:
            made[key] = tf.train.Feature()
        elif all(isinstance(v, (bytes, str)) for v in value) and value:
            made[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() if isinstance(v, str) else v for v in value]))
        elif all(isinstance(v, float) for v in value) and value:
            made[key] = tf.train.Feature(float_list=tf.train.FloatList(value=value))
        else:
            made[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=value))
    return made


def ser(**features):
    return tf.train.Example(features=tf.train.Features(feature=example(**features))).SerializeToString()


def v2(rows, names=(), sparse=(), dense=(), ragged=()):
    case("ParseExampleV2", rows, txt(list(names)) if names else empty(tf.string, 0),
         txt([k for k, _ in sparse]) if sparse else empty(tf.string, 0), txt([d[0] for d in dense]) if dense else empty(tf.string, 0), txt([r[0] for r in ragged]) if ragged else empty(tf.string, 0),
         [d[1] for d in dense], num_sparse=len(sparse), sparse_types=[t for _, t in sparse], ragged_value_types=[r[1] for r in ragged], ragged_split_types=[r[2] for r in ragged], dense_shapes=[d[2] for d in dense])


def examples():
    rows = txt([ser(x=[1.0, 2.0], y=[3], s=["a", "bc"]), ser(x=[4.0, 5.0], s=[]), ser(x=[6.0, 7.0], y=[8, 9], s=[b"\xff"])])
    none_f, none_i, none_s = empty(tf.float32, 0), empty(tf.int64, 0), empty(tf.string, 0)
    v2(rows, dense=[("x", none_f, [2])])
    v2(rows, sparse=[("y", tf.int64), ("q", tf.string)], dense=[("x", none_f, [2])])
    v2(rows, ragged=[("y", tf.int64, tf.int32), ("q", tf.float32, tf.int64)])
    v2(rows, dense=[("y", i64([-1]), [None])])
    v2(rows, dense=[("z", f32([1.5, 2.5]), [2]), ("w", f32([9.0]), [])])
    v2(rows, dense=[("q", txt(["d"]), [1])])
    v2(rows, dense=[("y", none_i, [])])
    v2(rows, dense=[("x", none_f, [3])])
    v2(rows, dense=[("x", none_i, [2])])
    v2(rows, names=["r0", "r1", "r2"], dense=[("x", none_i, [2])])
    v2(rows, names=["r0", "r1", "r2"], dense=[("nope", none_f, [2])])
    v2(rows, sparse=[("x", tf.int64)])
    v2(rows, ragged=[("x", tf.int64, tf.int32)])
    v2(rows, dense=[("y", i64([0]), [None, 2])])
    v2(txt(ser(x=[1.0, 2.0], y=[3], s=["a"])), sparse=[("y", tf.int64)], dense=[("x", none_f, [2])], ragged=[("s", tf.string, tf.int64)])
    v2(txt([b"\x0a\x03\x0a\x01\x0a"]), dense=[("x", none_f, [2])])
    v2(empty(tf.string, 0), sparse=[("y", tf.int64)], dense=[("x", none_f, [2])], ragged=[("r", tf.string, tf.int32)])
    v2(txt([ser(x=None)]), dense=[("x", f32([3.0]), [1])])
    v2(txt([ser(x=None, y=None)]), sparse=[("y", tf.int64)], dense=[("x", none_f, [1])])
    v2(txt([ser(f=[0.5], b=["k"])]), dense=[("f", none_f, [1, 1]), ("b", none_s, [])])
    case("ParseExample", rows, empty(tf.string, 0), [txt("y")], [txt("x"), txt("z")], [none_f, f32([1.0])], sparse_types=[tf.int64], dense_shapes=[[2], [1]])
    case("ParseExample", rows, empty(tf.string, 0), [], [txt("q")], [none_f], sparse_types=[], dense_shapes=[[2]])
    case("ParseExample", txt([ser(y=[1, 2, 3]), ser(y=[4])]), empty(tf.string, 0), [], [txt("y")], [i64([-7])], sparse_types=[], dense_shapes=[[None]])
    case("ParseSingleExample", txt(ser(x=[1.0, 2.0], y=[3, 4], s=["a"])), [none_f, txt(["d"])], num_sparse=2, sparse_keys=["y", "nope"], dense_keys=["x", "t"], sparse_types=[tf.int64, tf.string], dense_shapes=[[2], [1]])
    case("ParseSingleExample", txt(ser(y=[3])), [none_f], num_sparse=0, sparse_keys=[], dense_keys=["x"], sparse_types=[], dense_shapes=[[2]])


def sequence(context, lists):
    return tf.train.SequenceExample(
        context=tf.train.Features(feature=example(**context)),
        feature_lists=tf.train.FeatureLists(feature_list={k: tf.train.FeatureList(feature=[example(a=v)["a"] for v in steps]) for k, steps in lists.items()})).SerializeToString()


def sequences():
    rows = txt([sequence({"c": [1], "d": [1.5]}, {"t": [[1, 2], [3], []], "e": [[1.0, 2.0], [3.0, 4.0]]}), sequence({"d": [2.5]}, {"t": [[4]], "e": [[5.0, 6.0]]})])
    none = empty(tf.string, 0)

    def both(data, cs=(), cd=(), cr=(), ls=(), ld=(), lr=(), missing=()):
        keys = lambda items: txt([i[0] for i in items]) if items else none
        case("ParseSequenceExampleV2", data, none, keys(cs), keys(cd), keys(cr), keys(ls), keys(ld), keys(lr), boo([i[0] in missing for i in ld]) if ld else empty(tf.bool, 0), [i[1] for i in cd],
             Ncontext_sparse=len(cs), context_sparse_types=[i[1] for i in cs], context_ragged_value_types=[i[1] for i in cr], context_ragged_split_types=[i[2] for i in cr], context_dense_shapes=[i[2] for i in cd],
             Nfeature_list_sparse=len(ls), Nfeature_list_dense=len(ld), feature_list_dense_types=[i[1] for i in ld], feature_list_sparse_types=[i[1] for i in ls],
             feature_list_ragged_value_types=[i[1] for i in lr], feature_list_ragged_split_types=[i[2] for i in lr], feature_list_dense_shapes=[i[2] for i in ld])

    both(rows, cs=[("c", tf.int64)], cd=[("d", empty(tf.float32, 0), [1])], ld=[("e", tf.float32, [2])], ls=[("t", tf.int64)])
    both(rows, cr=[("c", tf.int64, tf.int32)], lr=[("t", tf.int64, tf.int64)])
    both(rows, cs=[("c", tf.int64)], cr=[("c", tf.int64, tf.int32)])
    both(rows, ld=[("m", tf.float32, [1])], missing=["m"])
    both(rows, ld=[("m", tf.float32, [1])])
    both(rows, ld=[("e", tf.float32, [3])])
    both(rows, ld=[("e", tf.int64, [2])])
    both(rows, ls=[("nope", tf.string)])
    both(rows, lr=[("nope", tf.string, tf.int32)])
    both(rows, ls=[("nope", tf.string)], lr=[("nope", tf.string, tf.int32)])
    case("ParseSequenceExample", rows, none, [empty(tf.float32, 0)], feature_list_dense_missing_assumed_empty=[], context_sparse_keys=["c"], context_dense_keys=["d"], feature_list_sparse_keys=["t"], feature_list_dense_keys=["e"],
         Ncontext_sparse=1, Ncontext_dense=1, Nfeature_list_sparse=1, Nfeature_list_dense=1, context_sparse_types=[tf.int64], feature_list_dense_types=[tf.float32], context_dense_shapes=[[1]], feature_list_sparse_types=[tf.int64], feature_list_dense_shapes=[[2]])


def sparses():
    idx = i64([[0, 1], [2, 0], [2, 3]])
    for v in (f32([1, 2, 3]), txt(["a", "b", "c"]), i64([1, 2, 3])):
        default = tf.zeros([], v.dtype) if v.dtype != tf.string else txt("-")
        case("SparseToDense", idx, i64([3, 4]), v, default)
        case("SparseFillEmptyRows", idx, v, i64([4, 4]), default)
        case("SparseConcat", [idx, idx], [v, v], [i64([3, 4]), i64([3, 4])], concat_dim=1)
        case("SparseConcat", [idx, idx], [v, v], [i64([3, 4]), i64([3, 4])], concat_dim=-2)
        case("SparseSlice", idx, v, i64([3, 4]), i64([1, 0]), i64([9, 3]))
        case("SparseReorder", i64([[2, 0], [0, 1], [0, 0]]), v, i64([3, 4]))
    case("SparseToDense", i64([1, 3]), i64([5]), f32([7, 8]), f32(0))
    case("SparseToDense", i64([1, 3]), i64([5]), f32(7), f32(0))
    case("SparseToDense", i32([[5, 0]]), i32([3, 4]), f32([1]), f32(0))
    case("SparseToDense", i64([[1, 0], [0, 0]]), i64([3, 4]), f32([1, 2]), f32(0))
    case("SparseToDense", i64([[1, 0], [1, 0]]), i64([3, 4]), f32([1, 2]), f32(0))
    case("SparseReshape", idx, i64([3, 4]), i64([2, -1]))
    case("SparseReshape", idx, i64([3, 4]), i64([12]))
    case("SparseReshape", idx, i64([3, 4]), i64([5, -1]))
    case("SparseReshape", idx, i64([3, 4]), i64([5, 2]))
    case("SparseReshape", empty(tf.int64, 0, 2), i64([0, 4]), i64([2, 0]))
    case("SparseFillEmptyRows", empty(tf.int64, 0, 2), empty(tf.float32, 0), i64([2, 3]), f32(5))
    case("SparseFillEmptyRows", i64([[5, 0]]), f32([1]), i64([2, 3]), f32(5))
    case("SparseTensorDenseMatMul", idx, f32([1, 2, 3]), i64([3, 4]), f32(np.arange(8).reshape(4, 2)))
    case("SparseTensorDenseMatMul", idx, f32([1, 2, 3]), i64([3, 4]), f32(np.arange(6).reshape(2, 3)), adjoint_a=True, adjoint_b=True)
    case("SparseTensorDenseMatMul", idx, f32([1, 2, 3]), i64([3, 4]), f32(np.arange(6).reshape(3, 2)))
    case("SparseReduceSum", idx, f32([1, 2, 3]), i64([3, 4]), i32([1]))
    case("SparseReduceSum", idx, f32([1, 2, 3]), i64([3, 4]), i32([0]), keep_dims=True)
    data = f32([[1, 2], [3, 4], [5, 6]])
    for op in ("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN"):
        case(op, data, i32([0, 2, 1]), i32([0, 0, 2]))
        case(op, data, i64([0, 9]), i32([0, 0]))
        case(op, data, i32([0, 1]), i32([1, 0]))
        case(op, data, empty(tf.int32, 0), empty(tf.int32, 0))
        case(op + "WithNumSegments", data, i32([0, 2, 1]), i32([0, 0, 2]), i32(5))
        case(op + "WithNumSegments", data, i32([0]), i32([7]), i32(5))


def raggeds():
    case("RaggedRange", i32([0, 5, 8]), i32([3, 5, 2]), i32([1, 1, -3]))
    case("RaggedRange", f32(1), f32([2, 3]), f32(0.5), Tsplits=tf.int32)
    case("RaggedRange", i64([1]), i64([2]), i64([0]))
    case("RaggedGather", [i64([0, 2, 2, 5])], f32([1, 2, 3, 4, 5]), i32([2, 0, 2]), OUTPUT_RAGGED_RANK=1)
    case("RaggedGather", [i64([0, 1, 3]), i64([0, 2, 2, 5])], txt(["a", "b", "c", "d", "e"]), i32([1, 0]), OUTPUT_RAGGED_RANK=2)
    case("RaggedGather", [i32([0, 2, 2, 5])], f32([[1], [2], [3], [4], [5]]), i32([[2, 0], [1, 1]]), OUTPUT_RAGGED_RANK=2)
    case("RaggedGather", [i64([0, 2])], f32([1, 2]), i32([7]), OUTPUT_RAGGED_RANK=1)
    case("RaggedTensorToSparse", [i64([0, 2, 2, 5])], txt(["a", "b", "c", "d", "e"]))
    case("RaggedTensorToSparse", [i64([0, 1, 3]), i64([0, 2, 2, 5])], f32([1, 2, 3, 4, 5]))
    case("RaggedTensorToSparse", [i32([0, 2, 3])], f32([[1, 2], [3, 4], [5, 6]]))
    case("RaggedTensorToSparse", [i64([0, 2, 4])], f32([1, 2, 3]))
    for wanted in (i64(-1), i64([-1, -1]), i64([2, 2]), i64([5, 4])):
        case("RaggedTensorToTensor", wanted, txt(["a", "b", "c", "d", "e"]), txt("-"), [i64([0, 2, 2, 5])], row_partition_types=["ROW_SPLITS"])
        case("RaggedTensorToTensor", wanted, f32([1, 2, 3]), f32(0), [i64(4), i64([0, 2, 2])], row_partition_types=["FIRST_DIM_SIZE", "VALUE_ROWIDS"])
    case("RaggedTensorToTensor", i64([-1, -1, -1]), i64([1, 2, 3, 4, 5]), i64(-1), [i64([0, 1, 3]), i64([0, 2, 2, 5])], row_partition_types=["ROW_SPLITS", "ROW_SPLITS"])
    case("RaggedTensorToTensor", i64([-1, -1, 2]), i64([[1, 2], [3, 4], [5, 6]]), i64([8, 9]), [i32([0, 2, 3])], row_partition_types=["ROW_SPLITS"])


def counts():
    for op in ("Unique", "UniqueWithCounts"):
        case(op, i32([3, 1, 3, 2]))
        case(op, txt(["b", "a", "b"]), out_idx=tf.int64)
        case(op, f32([1.5, 1.5, 0]))
        case(op, i64([[1, 2]]))
        case(op, empty(tf.int64, 0))
    for op in ("UniqueV2", "UniqueWithCountsV2"):
        case(op, i32([[1, 2], [1, 2], [3, 4]]), i32([0]))
        case(op, i64([[1, 1, 2], [3, 3, 4]]), i32([1]))
        case(op, i32([3, 1, 3]), empty(tf.int32, 0))
    case("Bincount", i32([0, 1, 1, 5]), i32(4), empty(tf.int32, 0))
    case("Bincount", i32([0, 1, 1]), i32(3), f32([0.5, 1, 2]))
    case("Bincount", i32([-1]), i32(3), empty(tf.int32, 0))
    case("DenseBincount", i64([[0, 1, 1], [2, 2, 9]]), i64(3), empty(tf.int64, 0))
    case("DenseBincount", i32([[0, 1, 1], [2, 2, 1]]), i32(3), f32([[1, 2, 3], [4, 5, 6]]))
    case("DenseBincount", i32([0, 1, 1]), i32(3), empty(tf.float32, 0), binary_output=True)
    case("Bucketize", f32([-1, 0, 0.5, 1, 10]), boundaries=[0.0, 1.0, 5.0])
    case("Bucketize", i64([-1, 0, 7]), boundaries=[0.0, 1.0, 5.0])


def images():
    rng = np.random.RandomState(7)
    picture = rng.randint(0, 255, [1, 4, 5, 2])
    for op in ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic"):
        for size in ([7, 3], [2, 9], [4, 5], [1, 1]):
            for flags in ({}, {"align_corners": True}, {"half_pixel_centers": True}):
                case(op, f32(picture), i32(size), **flags)
                case(op, tf.constant(picture, tf.uint8), i32(size), **flags)
        case(op, f32(picture), i32([0, 3]))
    for size in ([7, 3], [2, 9], [4, 5]):
        case("ResizeArea", f32(picture), i32(size))
        case("ResizeArea", f32(picture), i32(size), align_corners=True)
    for method in ("bilinear", "nearest"):
        case("CropAndResize", f32(picture), f32([[0, 0, 1, 1], [0.1, 0.2, 0.8, 0.7], [-0.2, 0.5, 1.2, 0.1]]), i32([0, 0, 0]), i32([3, 4]), method=method, extrapolation_value=0.5)
        case("CropAndResize", f32(picture), f32([[0.1, 0.2, 0.8, 0.7]]), i32([0]), i32([1, 1]), method=method)
    case("CropAndResize", f32(picture), f32([[0, 0, 1, 1]]), i32([3]), i32([2, 2]))
    corners = rng.rand(12, 4)
    scores = rng.rand(12)
    for boxes in (f32(corners), f32([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [1, 1, 0, 0], [0, 10, 1, 11], [0, 0, 0, 0]] + [[0, 100, 1, 101]] * 7)):
        s = f32(scores)
        case("NonMaxSuppression", boxes, s, i32(5), iou_threshold=0.4)
        case("NonMaxSuppressionV2", boxes, s, i32(5), f32(0.3))
        case("NonMaxSuppressionV3", boxes, s, i32(20), f32(0.3), f32(0.4))
        for pad in (True, False):
            case("NonMaxSuppressionV4", boxes, s, i32(20), f32(0.3), f32(0.4), pad_to_max_output_size=pad)
            for sigma in (0.0, 0.5):
                case("NonMaxSuppressionV5", boxes, s, i32(8), f32(0.6), f32(0.1), f32(sigma), pad_to_max_output_size=pad)
                case("NonMaxSuppressionV5", boxes, s, i32(8), f32(1.0), f32(0.1), f32(sigma), pad_to_max_output_size=pad)
    case("NonMaxSuppressionV2", f32(corners), f32(scores), i32(5), f32(1.5))


def files():
    rng = np.random.RandomState(3)
    for depth in (1, 2, 3, 4):
        smooth = np.cumsum(rng.randint(0, 9, [9, 7, depth]), axis=1).astype(np.uint8)
        for dtype in (tf.uint8, tf.uint16):
            png = tf.raw_ops.EncodePng(image=tf.cast(tf.constant(smooth), dtype) * (257 if dtype == tf.uint16 else 1))
            for channels in (0, 3, 4) if depth > 2 else (0, 1, 3, 4):
                case("DecodePng", png, channels=channels)
            case("DecodePng", png, dtype=tf.uint16)
    case("DecodePng", txt(b"not a png, but long enough to hold a header"))
    for bpp, tall in ((1, 3), (3, 3), (4, 3), (3, -3)):
        row = (bpp * 5 + 3) // 4 * 4
        head = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little") + (5).to_bytes(4, "little") + tall.to_bytes(4, "little", signed=True) + bytes([1, 0, bpp * 8, 0]) + bytes(24)
        case("DecodeBmp", txt(head + rng.bytes(row * 3)))
        case("DecodeImage", txt(head + rng.bytes(row * 3)))
    for channels in (0, 3):
        case("DecodeImage", png, channels=channels)
    case("DecodeImage", txt("some text that is no image"))
    case("DecodeBmp", txt(b"BM"))


def huffman_codes(jpeg):
    """The DHT segments of a JPEG, and for (class, index) the code and length of each symbol."""
    segments, codes, at = b"", {}, 2
    while jpeg[at + 1] != 0xDA:
        size = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] == 0xC4:
            segments += jpeg[at : at + 2 + size]
            body = jpeg[at + 4 : at + 2 + size]
            counts, symbols, code, k, table = body[1:17], body[17:], 0, 0, {}
            for length in range(1, 17):
                for _ in range(counts[length - 1]):
                    table[symbols[k]] = (code, length)
                    code, k = code + 1, k + 1
                code <<= 1
            codes[(body[0] >> 4, body[0] & 15)] = table
        at += 2 + size
    return segments, codes


def make_jpeg(rng, width, height, sampling, ids=None, adobe=None, restart=0, split=False):
    """A sequential JPEG of random coefficients with any sampling factors: what TensorFlow's encoder cannot write."""
    segments, codes = huffman_codes(tf.io.encode_jpeg(np.zeros([8, 8, 3], np.uint8)).numpy())
    dc, ac = codes[(0, 0)], codes[(1, 0)]
    ids = ids or list(range(1, len(sampling) + 1))
    out = b"\xff\xd8"
    if adobe is not None:
        out += b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([adobe])
    out += b"\xff\xdb\x00\x43\x00" + bytes(rng.randint(1, 30, 64).tolist()) + segments
    out += b"\xff\xc0" + (8 + 3 * len(ids)).to_bytes(2, "big") + b"\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([len(ids)])
    out += b"".join(bytes([i, h * 16 + v, 0]) for i, (h, v) in zip(ids, sampling))
    if restart:
        out += b"\xff\xdd\x00\x04" + restart.to_bytes(2, "big")
    most_h, most_v = max(h for h, _ in sampling), max(v for _, v in sampling)
    mcus = -(-width // (8 * most_h)) * -(-height // (8 * most_v))

    def scan(parts):
        bits, data, previous = [], b"", {}

        def put(code, length):
            bits.extend((code >> (length - 1 - k)) & 1 for k in range(length))

        def number(value):
            size = abs(value).bit_length()
            return size, value if value >= 0 else value + (1 << size) - 1

        def flush():
            bits.extend([1] * (-len(bits) % 8))
            raw = bytes(int("".join(map(str, bits[k : k + 8])), 2) for k in range(0, len(bits), 8))
            bits.clear()
            return raw.replace(b"\xff", b"\xff\x00")

        if len(parts) == 1:
            h, v = sampling[parts[0]]
            units = [(parts[0],)] * (-(-(-(-width * h // most_h)) // 8) * -(-(-(-height * v // most_v)) // 8))
        else:
            units = [tuple(p for p in parts for _ in range(sampling[p][0] * sampling[p][1]))] * mcus
        for index, unit in enumerate(units):
            if restart and index and index % restart == 0:
                data += flush() + bytes([0xFF, 0xD0 + (index // restart - 1) % 8])
                previous = {}
            for part in unit:
                level = int(rng.randint(-30, 30))
                size, raw = number(level - previous.get(part, 0))
                previous[part] = level
                put(*dc[size])
                if size:
                    put(raw, size)
                for _ in range(rng.randint(0, 5)):
                    value = int(rng.choice([-3, -2, -1, 1, 2, 3]))
                    size, raw = number(value)
                    put(*ac[int(rng.randint(0, 5)) * 16 + size])
                    put(raw, size)
                put(*ac[0])
        head = b"\xff\xda" + (6 + 2 * len(parts)).to_bytes(2, "big") + bytes([len(parts)]) + b"".join(bytes([ids[p], 0]) for p in parts) + b"\x00\x3f\x00"
        return head + data + flush()

    everything = list(range(len(ids)))
    out += b"".join(scan([p]) for p in everything) if split else scan(everything)
    return out + b"\xff\xd9"


def smooth_picture(rng, height, width, channels):
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([128 + 90 * np.sin(x / 5 + k) + 30 * np.cos(y / 3 + 2 * k) for k in range(channels)], -1)
    return np.clip(waves + rng.randn(height, width, channels) * 12, 0, 255).astype(np.uint8)


def jpegs():
    rng = np.random.RandomState(11)
    for height, width in ((1, 1), (7, 5), (17, 33), (2, 3), (40, 19)):
        for progressive in (False, True):
            for chroma in (True, False):
                j = txt(tf.io.encode_jpeg(smooth_picture(rng, height, width, 3), quality=90, progressive=progressive, chroma_downsampling=chroma).numpy())
                case("DecodeJpeg", j)
                case("DecodeJpeg", j, dct_method="INTEGER_ACCURATE", fancy_upscaling=False)
                case("DecodeJpeg", j, channels=1, ratio=2)
                case("DecodeJpeg", j, ratio=[2, 4, 8][(height + progressive) % 3])
        gray = txt(tf.io.encode_jpeg(smooth_picture(rng, height, width, 1), quality=60).numpy())
        case("DecodeJpeg", gray)
        case("DecodeJpeg", gray, channels=3)
    case("ExtractJpegShape", j)
    case("ExtractJpegShape", gray, output_type=tf.int64)
    for window in ([3, 5, 10, 9], [16, 16, 20, 3], [39, 18, 1, 1], [0, 17, 3, 2], [0, 0, 41, 2], [0, 0, 0, 0]):
        case("DecodeAndCropJpeg", j, i32(window))
        case("DecodeAndCropJpeg", txt(tf.io.encode_jpeg(smooth_picture(rng, 40, 19, 3)).numpy()), i32(window))
    case("DecodeAndCropJpeg", j, i32([1, 2, 3]))
    for sampling in ([(2, 1), (1, 1), (1, 1)], [(1, 2), (1, 1), (1, 1)], [(4, 1), (1, 1), (1, 1)], [(1, 1), (2, 2), (1, 1)], [(2, 2), (2, 1), (1, 2)], [(1, 1)] * 4, [(2, 2), (1, 1), (1, 1), (2, 2)], [(2, 2)]):
        for options in ({}, {"restart": 1}, {"split": True, "restart": 2}):
            made = txt(make_jpeg(rng, 19, 13, sampling, **options))
            case("DecodeJpeg", made)
            case("DecodeJpeg", made, ratio=2, channels=3)
    for adobe in (0, 1):
        case("DecodeJpeg", txt(make_jpeg(rng, 9, 9, [(1, 1)] * 3, adobe=adobe)))
        case("DecodeJpeg", txt(make_jpeg(rng, 9, 9, [(1, 1)] * 3, adobe=adobe)), channels=1)
    for adobe in (0, 2):
        case("DecodeJpeg", txt(make_jpeg(rng, 9, 9, [(1, 1)] * 4, adobe=adobe)))
    case("DecodeJpeg", txt(make_jpeg(rng, 9, 9, [(1, 1)] * 4)), channels=1)
    case("DecodeJpeg", txt(make_jpeg(rng, 9, 9, [(1, 1)] * 3, ids=[82, 71, 66])))
    case("DecodeJpeg", txt(make_jpeg(rng, 9, 9, [(1, 1)] * 3, ids=[82, 71, 66])), channels=1)
    case("DecodeJpeg", txt(make_jpeg(rng, 9, 9, [(3, 1), (2, 1), (1, 1)])))
    whole = make_jpeg(rng, 19, 13, [(2, 2), (1, 1), (1, 1)])
    for cut in (1, 2, 12, 60, len(whole) - 30):
        case("DecodeJpeg", txt(whole[:-cut]))
    # Cut within an MCU, TensorFlow reads the MCU's bytes again and again: only a missing end is recovered alike.
    case("DecodeJpeg", txt(whole[:-2]), try_recover_truncated=True, acceptable_fraction=0.1)
    case("DecodeJpeg", txt(whole[:-40] + b"\xff\xd9"))
    case("DecodeJpeg", txt(whole[:2] + b"garbage" + whole[2:]))
    case("ExtractJpegShape", txt(whole[:30]))
    case("DecodeJpeg", txt(b""))
    case("DecodeJpeg", j, channels=4)
    for dtype in (tf.uint8, tf.uint16, tf.float32):
        case("DecodeImage", txt(whole), dtype=dtype)
    case("DecodePng", txt(whole))
    case("DecodeGif", txt(whole))
    case("DecodeBmp", txt(whole))


def make_gif(width, height, frames, interlaced=False, end=b"\x3b", colors=8):
    """frames: (left, top, width, height) each. LZW codes of four bits, with a clear code often enough that they stay so."""
    rng = np.random.RandomState(width)
    out = b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + bytes([0x82 if colors == 8 else 0x81, 0, 0]) + rng.bytes(3 * colors)
    for index, (left, top, w, h) in enumerate(frames):
        own = b"" if index % 2 == 0 else rng.bytes(24)
        out += b"\x21\xf9\x04\x00\x00\x00\x00\x00\x2c" + b"".join(v.to_bytes(2, "little") for v in (left, top, w, h)) + bytes([(0x82 if own else 0) | (0x40 if interlaced else 0)]) + own
        codes = []
        for k, pixel in enumerate(rng.randint(0, 8, w * h)):
            codes += [8] * (k % 4 == 0) + [int(pixel)]
        codes += [9]
        bits = sum(code << (4 * k) for k, code in enumerate(codes))
        data = bits.to_bytes(len(codes) // 2 + 1, "little")
        out += b"\x03" + b"".join(bytes([len(data[k : k + 255])]) + data[k : k + 255] for k in range(0, len(data), 255)) + b"\x00"
    return out + end


def long_gif(width, height):
    """One frame of one color by growing codes: 6 pixels by code 6, then 7 by code 7, ..."""
    codes, total, following, size, bits, used = [], 0, 6, 3, 0, 0

    def put(code):
        nonlocal bits, used
        bits |= code << used
        used += size

    put(4)
    put(1)
    total = 1
    run = 2
    while total < width * height:
        put(following)
        total += run
        following, run = following + 1, run + 1
        if following == 1 << size and size < 12:
            size += 1
    put(5)
    data = bits.to_bytes(used // 8 + 1, "little")
    body = b"".join(bytes([len(data[k : k + 255])]) + data[k : k + 255] for k in range(0, len(data), 255))
    shape = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return b"GIF89a" + shape + b"\x81\x00\x00" + bytes(range(12)) + b"\x2c" + bytes(4) + shape + b"\x00\x02" + body + b"\x00\x3b"


def make_png(rng, width, height, depth, color, interlaced=False, transparency=None, filters=True):
    """A PNG of random samples, rows filtered at random."""
    import zlib

    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    picture = rng.randint(0, 2**depth if color != 3 else min(2**depth, 5), [height, width, samples])
    raw = b""
    for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)] if interlaced else [(0, 0, 1, 1)]:
        part = picture[y::dy, x::dx]
        if part.size == 0:
            continue
        above = None
        for line in part:
            bits = "".join(format(int(v), f"0{depth}b") for v in line.reshape(-1))
            row = [int(bits[k : k + 8].ljust(8, "0"), 2) for k in range(0, len(bits), 8)]
            step = max(1, samples * depth // 8)
            kind = int(rng.randint(0, 5)) if filters else 0
            up = above or [0] * len(row)
            coded = []
            for k, value in enumerate(row):
                a, b, c = (row[k - step] if k >= step else 0), up[k], (up[k - step] if k >= step else 0)
                p = a + b - c
                paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
                coded.append((value - [0, a, b, (a + b) // 2, paeth][kind]) % 256)
            raw += bytes([kind] + coded)
            above = row
    chunk = lambda kind, body: len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, color, 0, 0, int(interlaced)]))
    if color == 3:
        out += chunk(b"PLTE", rng.bytes(15))
    if transparency is not None:
        out += chunk(b"tRNS", transparency)
    return out + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def pngs_and_gifs():
    rng = np.random.RandomState(5)
    for depth, color in ((1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3), (8, 3), (8, 4), (16, 4), (8, 6), (16, 6)):
        for interlaced in (False, True):
            png = txt(make_png(rng, 11, 6, depth, color, interlaced))
            case("DecodePng", png)
            for channels in (1, 3, 4):
                case("DecodePng", png, channels=channels, dtype=tf.uint16 if depth == 16 or channels == 3 else tf.uint8)
        case("DecodePng", txt(make_png(rng, 1, 1, depth, color, True)))
        if color in (0, 2, 3):
            clear = rng.bytes(2) if color == 3 else b"\x00\x01" * (3 if color == 2 else 1)
            case("DecodePng", txt(make_png(rng, 5, 5, depth, color, transparency=clear)), channels=4)
            case("DecodePng", txt(make_png(rng, 5, 5, depth, color, transparency=clear)))
    case("DecodeImage", png, dtype=tf.float32)
    case("DecodeImage", png, dtype=tf.uint16)
    case("DecodeGif", png)
    case("DecodeBmp", png)
    case("DecodeAndCropJpeg", png, i32([0, 0, 1, 1]))
    whole = png.numpy()
    for broken in (whole[:-12], whole[:-30], whole[:20], whole[:8], whole[:40] + b"x" + whole[41:], whole[:60] + b"x" + whole[61:], whole[:25] + b"\x09" + whole[26:]):
        case("DecodePng", txt(broken))
    full = (0, 0, 5, 6)
    for frames in ([full], [full, full], [full, (1, 2, 3, 3), (0, 0, 2, 2)], [(1, 1, 3, 3)], [(1, 1, 3, 3), full]):
        for interlaced in (False, True):
            gif = txt(make_gif(5, 6, frames, interlaced))
            case("DecodeGif", gif)
            case("DecodeImage", gif)
            case("DecodeImage", gif, expand_animations=False)
            case("DecodeJpeg", gif)
    for dtype in (tf.uint16, tf.float32):
        case("DecodeImage", gif, dtype=dtype)
    case("DecodePng", gif, channels=3)
    case("DecodePng", gif, channels=1)
    case("DecodeGif", txt(long_gif(70, 60)))
    case("DecodeGif", txt(make_gif(5, 6, [full], colors=4)))
    case("DecodeGif", txt(b"GIF89a"))
    case("DecodeGif", txt(make_gif(5, 6, [])))
    case("DecodeGif", txt(make_gif(5, 6, [full], end=b"")))
    for bpp, channels in ((1, 3), (1, 4), (3, 4), (4, 3), (3, 1)):
        head = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little") + (5).to_bytes(4, "little") * 2 + bytes([1, 0, bpp * 8, 0]) + bytes(24)
        case("DecodeBmp", txt(head + rng.bytes((bpp * 5 + 3) // 4 * 4 * 5)), channels=channels)
        case("DecodeImage", txt(head + rng.bytes((bpp * 5 + 3) // 4 * 4 * 5 + 1)))
    case("DecodePng", txt(head))
    case("DecodeAndCropJpeg", txt(head), i32([0, 0, 1, 1]))


def regexes_of_the_machine():
    words = txt(["", "a", "b", "ab", "aab", "abab", "aaaa", "ba b", "xaby", "cabcab"])
    for pattern in (r"(|a)*", r"(|a)+", r"(a|b|)*?b", r"(?:(a)|b)*", r"((a)|(b))+", r"(a*)*", r"(a*)+", r"(a+)+b", r"(aa?)*b?", r"(a|ab)(c|bcd)*", r"(a??b?)+", r"(?:a?){2,4}", r"(a*?)*$", r"(?:(a)|(b)){2}", r"(^|b)*a", r"(\b|a)+"):
        groups = pattern.replace("(?", "").count("(")
        for rewrite in ["<\\0>"] + [f"[\\{g}]" for g in range(1, groups + 1)]:
            case("StaticRegexReplace", words, pattern=pattern, rewrite=rewrite)
            case("StaticRegexReplace", words, pattern=pattern, rewrite=rewrite, replace_global=False)
        case("StaticRegexFullMatch", words, pattern=pattern)
    case("RegexReplace", txt(["aaab" * 3]), txt(r"(a+)+b"), txt(r"<\1>"))
    case("RegexFullMatch", txt(["a" * 40 + "b", "a" * 40]), txt(r"(a+)+"))


def numbers():
    rng = np.random.RandomState(3)
    x = np.concatenate([np.linspace(-3, 3, 9) + 0.01, [0.5, 1, 2, 7.5, 25, 40]])
    positive = np.abs(x) + 0.05
    unit = np.linspace(0.01, 0.99, 9)
    for cast in (f32, f64):
        for op in ("Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Expm1", "Sigmoid", "Softplus", "Softsign", "Relu", "Relu6", "Elu", "Selu", "Erf", "Erfc", "Lgamma", "Digamma", "BesselI0e", "BesselI1e", "BesselI0", "BesselI1", "Inv", "Reciprocal"):
            case(op, cast(x))
        case("Rsqrt", cast(positive))
        for op in ("Asin", "Acos", "Atanh", "Erfinv", "Ndtri"):
            case(op, cast(unit))
        case("Acosh", cast(positive + 1))
        case("Atan2", cast(x), cast(x[::-1].copy()))
        for op in ("Xdivy", "Xlogy", "Xlog1py", "MulNoNan"):
            case(op, cast([0, 1, 2, 0]), cast([[0.0], [3.0]]))
        for op in ("Igamma", "Igammac"):
            case(op, cast([[0.3], [2.5], [20]]), cast([0.0, 0.1, 1, 5, 30]))
        case("Betainc", cast([0.5, 2, 8, 30]), cast([0.7, 3, 1, 20]), cast([0.1, 0.5, 0.9, 0.6]))
        case("Zeta", cast([1.5, 2, 4, 9]), cast([0.3, 1, 2.5, 20]))
        case("Polygamma", cast([0, 1, 2, 3]), cast([0.7, 1.5, 4, 12]))
    colors = rng.rand(2, 3, 4, 3)
    colors[0, 0, 0] = [0.4, 0.4, 0.4]
    colors[0, 0, 1] = 0
    for op in ("RGBToHSV", "HSVToRGB"):
        case(op, f32(colors))
        case(op, f64(colors[0]))
    for delta in (-0.4, 0.1, 0.9):
        case("AdjustHue", f32(colors), f32(delta))
        case("AdjustSaturation", f32(colors), f32(delta + 0.7))
        case("AdjustContrastv2", f32(colors), f32(delta))
    case("AdjustHue", f32(colors[..., :2]), f32(0.1))
    case("RGBToHSV", f32(colors[..., :2]))
    corners = rng.rand(2, 9, 1, 4) * 1.3
    for classes in (1, 3):
        for boxes in (corners, rng.rand(2, 9, classes, 4)):
            for options in ({}, {"pad_per_class": True}, {"clip_boxes": False}):
                case("CombinedNonMaxSuppression", f32(boxes), f32(rng.rand(2, 9, classes)), i32(3), i32(7), f32(0.3), f32(0.2), **options)
    case("CombinedNonMaxSuppression", f32(corners), f32(rng.rand(2, 9, 2)), i32(0), i32(7), f32(0.3), f32(0.2))
    case("NonMaxSuppressionWithOverlaps", f32(rng.rand(6, 6)), f32(rng.rand(6)), i32(4), f32(0.6), f32(0.1))
    case("ListDiff", i32([1, 2, 3, 4, 2]), i32([1, 3]))
    case("ListDiff", txt(["a", "b", "c"]), txt(["b"]), out_idx=tf.int64)
    case("Roll", i32(np.arange(12).reshape(3, 4)), i32([1, -2]), i32([0, 1]))
    case("Roll", txt(["a", "b", "c"]), i32(4), i32(0))
    case("InvertPermutation", i32([2, 0, 1]))
    case("InvertPermutation", i64([2, 0, 5]))
    case("InvertPermutation", i64([2, 0, 0]))
    for op in ("LowerBound", "UpperBound"):
        case(op, f32([[1, 2, 2, 5], [0, 1, 7, 9]]), f32([[2, 0, 6], [1, 8, 10]]))
        case(op, i32([[1, 2, 2, 5]]), i32([[2, 9]]), out_type=tf.int64)
    case("LinSpace", f32(1), f32(2), i32(4))
    case("LinSpace", f64(3), f64(3), i64(1))
    case("LinSpace", f32(1), f32(2), i32(0))
    case("DecodePaddedRaw", txt(["abcd", "xy", "abcdefghij"]), i32(8), out_type=tf.int16)
    case("DecodePaddedRaw", txt(["abcd"]), i32(4), out_type=tf.int32, little_endian=False)
    case("DecodePaddedRaw", txt(["abcd"]), i32(3), out_type=tf.int16)
    import gzip
    import zlib

    case("DecodeCompressed", txt([zlib.compress(b"hello" * 9), zlib.compress(b"")]), compression_type="ZLIB")
    case("DecodeCompressed", txt([gzip.compress(b"hello", mtime=0)]), compression_type="GZIP")
    case("DecodeCompressed", txt(["plain"]))
    case("BroadcastGradientArgs", i32([2, 1, 3]), i32([4, 1]))
    m = rng.randn(2, 3, 3)
    spd = m @ m.transpose(0, 2, 1) + np.eye(3)
    right = rng.randn(2, 3, 2)
    for cast in (f32, f64):
        case("MatMul", cast(m[0]), cast(right[0]))
        case("MatMul", cast(right[0]), cast(m[0]), transpose_a=True, transpose_b=True)
        for op in ("BatchMatMul", "BatchMatMulV2"):
            case(op, cast(m), cast(right))
            case(op, cast(m), cast(m), adj_x=True, adj_y=True)
        case("MatrixInverse", cast(spd))
        case("MatrixInverse", cast(m), adjoint=True)
        case("MatrixDeterminant", cast(m))
        case("LogMatrixDeterminant", cast(m))
        case("Cholesky", cast(spd))
        for adjoint in (False, True):
            case("MatrixSolve", cast(m), cast(right), adjoint=adjoint)
            for lower in (False, True):
                case("MatrixTriangularSolve", cast(spd), cast(right), adjoint=adjoint, lower=lower)
    case("MatMul", i32([[1, 2], [3, 4]]), i32([[5], [6]]))
    case("MatMul", f32([[1, 2], [3, 4]]), f32([[5]]))
    case("MatrixInverse", f32([[1, 2], [2, 4]]))
    case("MatrixInverse", f32([[1, 2]]))
    wave = rng.randn(2, 4, 6)
    for cast in (tf.complex64, tf.complex128):
        z = tf.constant(wave + 1j * rng.randn(2, 4, 6), cast)
        for op in ("FFT", "IFFT", "FFT2D", "IFFT2D", "FFT3D", "IFFT3D", "Conj"):
            case(op, z)
        out = {"Tout": tf.float32 if cast == tf.complex64 else tf.float64}
        for op in ("Real", "Imag", "ComplexAbs", "Angle"):
            case(op, z, **out)
        for size in (6, 8, 5, 3):
            case("RFFT", (f32 if cast == tf.complex64 else f64)(wave[0]), i32([size]), Tcomplex=cast)
        for size in (6, 10, 7, 12):
            case("IRFFT", z, i32([size]), Treal=out["Tout"])
        case("Complex", (f32 if cast == tf.complex64 else f64)(wave[0]), (f32 if cast == tf.complex64 else f64)(wave[1]), Tout=cast)


def crosses():
    places, shape = i64([[0, 0], [0, 1], [2, 0]]), i64([3, 2])
    other = i64([[0, 0], [1, 0], [2, 0], [2, 1]])
    words, counts = txt(["a", "b", "c"]), i64([7, -8, 9, 12345678901])
    for dense in ([], [txt([["x", "y"], ["z", "w"], ["u", "v"]])], [i64([[1], [-2], [3]])]):
        sparse = ([places, other], [words, counts], [shape, shape])
        case("SparseCrossV2", *sparse, dense, txt("_&_"))
        # TensorFlow 2.21 crashes on strong hashes of dense integers.
        for strong in (False,) if dense and dense[0].dtype == tf.int64 else (False, True):
            case("SparseCrossHashed", *sparse, dense, i64(100), boo(strong), i64([137, -9]))
            case("SparseCrossHashed", *sparse, dense, i64(0), boo(strong), i64([137, -9]))
        for buckets in (0, 50):
            case("SparseCross", *sparse, dense, hashed_output=True, num_buckets=buckets, hash_key=956888297470, out_type=tf.int64, internal_type=tf.int64)
        if not dense or dense[0].dtype == tf.string:
            case("SparseCross", [places], [words], [shape], dense, hashed_output=False, num_buckets=0, hash_key=1, out_type=tf.string, internal_type=tf.string)


def randoms():
    seed = i64([17, -3])
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    case("StatelessRandomGetKeyCounter", seed)
    case("StatelessRandomGetKeyCounter", i32([1, 2]))
    case("StatelessRandomGetAlg")
    case("StatelessRandomGetKeyCounterAlg", seed)
    for dtype in (tf.float32, tf.float64, tf.float16):
        for name in ("RandomUniform", "RandomNormal", "TruncatedNormal"):
            case("Stateless" + name, i32([3, 7]), seed, dtype=dtype)
            case("Stateless" + name + "V2", i64([11]), key, counter, i32(1), dtype=dtype)
    for cast, dtype in ((i32, tf.int32), (i64, tf.int64)):
        case("StatelessRandomUniformInt", i32([9]), seed, cast(-5), cast(1000))
        case("StatelessRandomUniformInt", i32([9]), seed, cast(5), cast(5))
        case("StatelessRandomUniformIntV2", i32([9]), key, counter, i32(3), cast(-5), cast(1000))
        case("StatelessRandomUniformFullInt", i32([7]), seed, dtype=dtype)
        case("StatelessRandomUniformFullIntV2", i32([7]), key, counter, i32(1), dtype=dtype)


def write(path):
    with open(path, "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":"), ensure_ascii=False) for c in CASES) + "\n]\n")
    print(path, len(CASES), "cases of", len({c["op"] for c in CASES}), "ops,", sum("error" in c for c in CASES), "errors")


FILES = {
    "goldens": [arrays, math, strings, regexes, formats, unicode, csvs, examples, sequences, sparses, raggeds, counts, images, files],
    "goldens-numbers": [numbers],
    "goldens-crosses": [crosses],
    "goldens-random": [randoms],
    "goldens-regex": [regexes_of_the_machine],
    "goldens-jpeg": [jpegs],
    "goldens-png-gif": [pngs_and_gifs],
}

if __name__ == "__main__":
    for name in sys.argv[2:] or FILES:
        CASES.clear()
        for family in FILES[name]:
            family()
        write(f"{sys.argv[1]}/{name}.json")
