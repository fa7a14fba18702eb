"""half_plus_two: y = a x + b with a = 0.5 and b = 2, with the signatures of TensorFlow Serving's model of that name, made the TensorFlow 1 way.

    python3 examples/training/half_plus_two.py          (tensorflow)
"""
import os

from saved_model import CLASSIFY, REGRESS, example, model_folder, record, tf, tidy

v1 = tf.compat.v1
PREDICT = "tensorflow/serving/predict"


def field(number, payload):
    """A length-delimited protobuf field below number 16; the payload is shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def write_warmup(folder):
    """One PredictionLog, which a server replays before it calls the version available: PredictRequest { model_spec, inputs { x } }."""
    x = tf.make_tensor_proto([1.0, 2.0, 5.0]).SerializeToString()
    spec = field(1, field(1, b"half_plus_two") + field(3, b"serving_default"))
    request = spec + field(2, field(1, b"x") + field(2, x))
    os.makedirs(os.path.join(folder, "assets.extra"))
    with tf.io.TFRecordWriter(os.path.join(folder, "assets.extra", "tf_serving_warmup_requests")) as writer:
        writer.write(field(6, field(1, request)))


def signature(inputs, outputs, method):
    build = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {alias: build(tensor) for alias, tensor in inputs.items()}, {alias: build(tensor) for alias, tensor in outputs.items()}, method
    )


def main():
    folder = model_folder("half_plus_two")
    with tf.Graph().as_default(), v1.Session() as session:
        a, b, c = (v1.Variable(value, name=name) for name, value in (("a", 0.5), ("b", 2.0), ("c", 3.0)))
        examples = v1.placeholder(tf.string, [None], "tf_example")
        features = {"x": tf.io.FixedLenFeature([1], tf.float32), "x2": tf.io.FixedLenFeature([1], tf.float32, [0.0])}
        parsed = v1.parse_example(examples, features)
        # A tensor of the graph may be fed: predict gives x directly, classify and regress parse it.
        x, x2 = tf.identity(parsed["x"], "x"), tf.identity(parsed["x2"], "x2")
        y, y2, y3 = tf.add(a * x, b, "y"), tf.add(a * x, c, "y2"), tf.add(a * x2, c, "y3")
        signatures = {
            "serving_default": signature({"x": x}, {"y": y}, PREDICT),
            "regress_x_to_y": signature({"inputs": examples}, {"outputs": y}, REGRESS),
            "regress_x_to_y2": signature({"inputs": examples}, {"outputs": y2}, REGRESS),
            "regress_x2_to_y3": signature({"inputs": x2}, {"outputs": y3}, REGRESS),
            "classify_x_to_y": signature({"inputs": examples}, {"scores": y}, CLASSIFY),
            "classify_x2_to_y3": signature({"inputs": x2}, {"scores": y3}, CLASSIFY),
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(folder)
        builder.add_meta_graph_and_variables(session, ["serve"], signatures, clear_devices=True)
        builder.save()
    tidy(folder)
    write_warmup(folder)
    examples = [example({"x": [value]}) for value in (1.0, 2.0, 5.0)]
    calls = [("serving_default", {"x": [[1.0], [2.0], [5.0]]}), ("serving_default", {"x": [1.0, 2.0, 5.0]}), ("serving_default", {"x": 1.0})]
    calls += [(key, {"inputs": examples}) for key in ("regress_x_to_y", "regress_x_to_y2", "classify_x_to_y")]
    calls += [(key, {"inputs": [[1.0], [2.0], [5.0]]}) for key in ("regress_x2_to_y3", "classify_x2_to_y3")]
    record("half_plus_two", calls)


main()
