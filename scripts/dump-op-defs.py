"""Writes the facts of TensorFlow's OpDefs that flattening needs into savedmodel/op-defs/tables/: one file per family of ops.

A line is `name|inputs|outputs|defaults`, where an argument is `name:type` with type `1` (a DataType number), `$T` (the attribute that
names the dtype), `$T*N` or `1*N` (as many as attribute N says) or `[T]` (a list attribute of dtypes), and defaults are JSON.

Run with a Python that has TensorFlow: python scripts/dump-op-defs.py
"""
import importlib
import json
import os
import re

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

FAMILIES = {
    "array": ["array", "manip", "bitwise", "set"],
    "math": ["math", "linalg", "spectral", "clustering"],
    "nn": ["nn", "cudnn_rnn", "rnn", "candidate_sampling", "ctc"],
    "control": ["control_flow", "functional", "list", "script", "logging", "user", "checkpoint", "no", "batch"],
    "data": ["data_flow", "lookup", "map", "io", "parsing", "decode_proto", "encode_proto", "stateless_random", "stateless_random_v2",
             "random", "stateful_random", "random_index_shuffle"],
    "state": ["state", "resource_variable", "training"],
    "text": ["string", "sparse", "sparse_csr_matrix", "ragged_array", "ragged_conversion", "ragged_math", "ragged", "count", "image",
             "audio", "boosted_trees"],
}
# Families whose generated module also holds what no served graph has: keep these.
DATASET = ["IteratorGetNext", "IteratorV2", "Iterator", "OneShotIterator", "MakeIterator", "TensorDataset", "TensorSliceDataset", "BatchDataset",
           "BatchDatasetV2", "MapDataset", "RepeatDataset", "PrefetchDataset", "OptionalFromValue", "OptionalGetValue", "OptionalHasValue"]
EXTRA = ["_Arg", "_Retval", "NormalizeUTF8"]
SKIP = re.compile(r"^(Mkl|_Mkl|TPU|Xla|Collective|Nccl|Debug|Stats|DeleteRandomSeed|Sdca)")


def arg(a):
    dtype = str(a.type) if a.type else "$" + a.type_attr
    if a.type_list_attr:
        return f"{a.name}:[{a.type_list_attr}]"
    return f"{a.name}:{dtype}*{a.number_attr}" if a.number_attr else f"{a.name}:{dtype}"


def value(v):
    kind = v.WhichOneof("value")
    if kind is None or kind == "list":
        items = []
        if kind == "list":
            for k in ("s", "i", "f", "b", "type", "shape"):
                for x in getattr(v.list, k):
                    items.append(scalar(k, x))
        return items
    return scalar(kind, getattr(v, kind))


def scalar(kind, x):
    if kind == "s":
        return {"s": x.decode("utf-8")}
    if kind == "shape":
        return {"h": None if x.unknown_rank else [d.size for d in x.dim]}
    if kind == "f":
        return {"f": float(f"{x:.9g}") if x == x and abs(x) != float("inf") else str(x)}
    return {{"i": "i", "b": "b", "type": "t"}[kind]: x}


def line(d):
    defaults = {}
    for a in d.attr:
        if a.HasField("default_value"):
            if a.default_value.WhichOneof("value") in ("tensor", "func"):
                continue
            defaults[a.name] = value(a.default_value)
    text = json.dumps(defaults, separators=(",", ":"), sort_keys=True) if defaults else ""
    return "|".join([d.name, ",".join(map(arg, d.input_arg)), ",".join(map(arg, d.output_arg)), text])


def definition(name):
    return op_def_registry.get(name)


def main():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "savedmodel", "op-defs", "tables")
    os.makedirs(here, exist_ok=True)
    seen = set()
    names = {}
    for family, modules in FAMILIES.items():
        names[family] = []
        for module in modules:
            try:
                m = importlib.import_module(f"tensorflow.python.ops.gen_{module}_ops")
            except ImportError:
                continue
            for name in sorted(set(dir(m)) & set(dir(tf.raw_ops))):
                if name not in seen and not SKIP.match(name) and definition(name) is not None and definition(name).name == name:
                    seen.add(name)
                    names[family].append(name)
    for name in DATASET + EXTRA:
        if name not in seen and definition(name) is not None:
            seen.add(name)
            names["control"].append(name)
    for family, ops in names.items():
        lines = [line(definition(name)) for name in sorted(ops)]
        assert all("`" not in one and "${" not in one for one in lines)
        with open(os.path.join(here, f"{family}-ops.ts"), "w") as f:
            f.write("/* Written by scripts/dump-op-defs.py from TensorFlow's op registry: change that, not this. */\n\n")
            f.write(f"/** OpDef facts of the {family} ops, in the notation of `parse-op-def.ts`, one op a line. */\n")
            raw = "String.raw" if any("\\" in one for one in lines) else ""
            f.write(f"export const {family.upper()}_OPS = {raw}`\n" + "\n".join(lines) + "\n`;\n")
        print(family, len(ops))


main()
