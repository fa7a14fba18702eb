"""TensorFlow itself, for the bench: calls one signature of a SavedModel on one thread. Reads a JSON object per line and answers each with one.

    python3 tensorflow-run.py FOLDER SIGNATURE

    {"inputs": {NAME: {"dtype": NUMPY_NAME, "shape": [...], "base64": BYTES}}}   -> {"outputs": {NAME: the same}}
    {"milliseconds": N}                                                          -> {"times": [milliseconds of each call, for about N]}
"""
import base64
import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


def tensor_of(stored):
    array = np.frombuffer(base64.b64decode(stored["base64"]), stored["dtype"]).reshape(stored["shape"])
    return tf.constant(array)


def stored(tensor):
    array = np.ascontiguousarray(tensor.numpy())
    return {"dtype": array.dtype.name, "shape": list(tensor.shape), "base64": base64.b64encode(array.tobytes()).decode()}


def timed(call, limit):
    times, until = [], time.perf_counter() + limit / 1000
    while not times or time.perf_counter() < until:
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return times


def answer(message):
    print(json.dumps(message), flush=True)


folder, key = sys.argv[1:]
loaded = tf.saved_model.load(folder)
signature = loaded.signatures[key]
inputs = {}
answer({"version": tf.__version__})
for line in sys.stdin:
    request = json.loads(line)
    if "inputs" in request:
        inputs = {name: tensor_of(one) for name, one in request["inputs"].items()}
        answer({"outputs": {name: stored(one) for name, one in signature(**inputs).items()}})
    else:
        answer({"times": timed(lambda: signature(**inputs), request["milliseconds"])})
