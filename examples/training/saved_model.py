"""Writes an example as a SavedModel, and what TensorFlow answers as golden.json beside the version folder. Import it before TensorFlow: it sets how that computes."""
import base64
import json
import os
import shutil

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import config_pb2  # noqa: E402

tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def model_folder(name):
    """The folder of version 1, empty."""
    folder = os.path.join(EXAMPLES, "savedmodels", name, "1")
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def export(name, module, signatures, methods=None):
    """Saves the variables of `module` and the tf.functions `signatures`; `methods` names those that are no predict signatures."""
    folder = model_folder(name)
    tf.saved_model.save(module, folder, signatures, tf.saved_model.SaveOptions(experimental_debug_stripper=True))
    if methods:
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(folder)
        for signature, method in methods.items():
            updater.replace_method_name(signature, method, "serve")
        updater.save()
    tidy(folder)


def tidy(folder):
    """Removes folders that hold nothing, and what only a debugger reads."""
    shutil.rmtree(os.path.join(folder, "debug"), ignore_errors=True)
    for part in os.listdir(folder):
        path = os.path.join(folder, part)
        if os.path.isdir(path) and not os.listdir(path):
            os.rmdir(path)


def record(name, calls):
    """Runs (signature, {input: value}) on the model as it lies on the disk and writes the answers to golden.json."""
    recorded = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], os.path.join(EXAMPLES, "savedmodels", name, "1")).signature_def
        for key, inputs in calls:
            signature = signatures[key]
            arrays = {alias: as_array(value, signature.inputs[alias].dtype) for alias, value in inputs.items()}
            # Unlike session.run, a callable does not hold what is fed to the shape that the signature tells: nor does a server.
            options = config_pb2.CallableOptions(
                feed=[signature.inputs[alias].name for alias in arrays], fetch=[info.name for info in signature.outputs.values()]
            )
            outputs = dict(zip(signature.outputs, session._make_callable_from_options(options)(*arrays.values())))
            recorded.append(
                {
                    "signature": key,
                    "method_name": signature.method_name,
                    "inputs": {alias: tensor_json(array) for alias, array in sorted(arrays.items())},
                    "outputs": {alias: tensor_json(array) for alias, array in sorted(outputs.items())},
                }
            )
    golden = {"slug": name, "tensorflow": tf.__version__, "tags": ["serve"], "signatures": recorded}
    with open(os.path.join(EXAMPLES, "savedmodels", name, "golden.json"), "w") as file:
        json.dump(golden, file)
        file.write("\n")


def as_array(value, dtype):
    return np.array(value, tf.dtypes.as_dtype(dtype).as_numpy_dtype)


def tensor_json(array):
    array = np.asarray(array)
    if array.dtype == object:
        return {"dtype": "DT_STRING", "shape": list(array.shape), "b64s": [base64.b64encode(one).decode() for one in array.reshape(-1)]}
    name = {"float32": "FLOAT", "float64": "DOUBLE"}.get(array.dtype.name, array.dtype.name.upper())
    return {"dtype": "DT_" + name, "shape": list(array.shape), "b64": base64.b64encode(array.tobytes()).decode()}


def example(features):
    """A serialized tf.Example; bytes become a bytes_list, numbers a float_list."""
    kinds = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value)))
        for key, value in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=kinds)).SerializeToString(deterministic=True)


def save_image(name, pixels):
    """Writes uint8 [height, width] or [height, width, 3] as ../images/<name> and returns the file's bytes."""
    from PIL import Image

    folder = os.path.join(EXAMPLES, "images")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    Image.fromarray(pixels).save(path, optimize=True)
    with open(path, "rb") as file:
        return file.read()


def save_request(name, request):
    """Writes a REST request as ../requests/<name>.json."""
    folder = os.path.join(EXAMPLES, "requests")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name + ".json"), "w") as file:
        json.dump(request, file, separators=(",", ":"))
        file.write("\n")
