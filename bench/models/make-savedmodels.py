"""Makes the SavedModels that the bench imports: nets as Keras exports them, with random weights from a fixed seed. See bench/models/direct.ts.

    python3 bench/models/make-savedmodels.py          (tensorflow; some seconds)
"""
import os
import pathlib
import shutil

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import keras
import numpy as np
import tensorflow as tf
from keras import layers

INTO = pathlib.Path(__file__).parent / "savedmodels"
random = np.random.default_rng(3)


def cnn():
    """MobileNet-like: depthwise separable blocks with batch normalisation, a pooling, a classifier."""
    x = image = keras.Input([96, 96, 3], name="image")
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(2)(x)
    for channels, stride in [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (192, 1)]:
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(channels, 1, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(100, activation="softmax", name="scores")(x))


def mlp():
    x = features = keras.Input([784], name="features")
    for units in [200, 100]:
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(features, layers.Dense(10, activation="softmax", name="scores")(x))


def lstm():
    x = series = keras.Input([48, 24], name="series")
    x = layers.LSTM(96, return_sequences=True)(x)
    x = layers.LSTM(64)(x)
    return keras.Model(series, layers.Dense(5, name="scores")(x))


def transformer():
    """Two encoder layers over 64 tokens, then a classifier on their mean."""
    ids = keras.Input([64], dtype="int32", name="ids")
    x = layers.Embedding(500, 64)(ids)
    for _ in range(2):
        attended = layers.MultiHeadAttention(4, 16)(x, x)
        x = layers.LayerNormalization(epsilon=1e-5)(layers.Add()([x, attended]))
        wide = layers.Dense(256, activation="gelu")(x)
        x = layers.LayerNormalization(epsilon=1e-5)(layers.Add()([x, layers.Dense(64)(wide)]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(ids, layers.Dense(5, activation="softmax", name="scores")(x))


def weight_like(variable):
    """Scales and variances near 1, offsets near 0, kernels that keep the size of signals."""
    shape = variable.shape
    if variable.name in ("gamma", "moving_variance"):
        return random.uniform(0.7, 1.3, shape)
    if len(shape) == 1 or variable.name == "bias":
        return random.uniform(-0.1, 0.1, shape)
    fan_in = np.prod(shape[:-1])
    if "depthwise" in variable.path:
        fan_in = np.prod(shape[:2])
    if "attention" in variable.path and "output" not in variable.path:
        fan_in = shape[0]
    return random.normal(0, 1.2 / np.sqrt(fan_in), shape)


def export(model, folder):
    """One serving signature with the input's name; each variable once, as `variables_of_net/N` (Keras' own export writes them twice)."""
    module = tf.Module()
    module.variables_of_net = [variable.value for variable in model.variables if variable.name != "seed_generator_state"]
    [wanted] = model.inputs
    spec = tf.TensorSpec(wanted.shape, wanted.dtype, wanted.name)
    scores = tf.function(lambda given: {"scores": model(given, training=False)}, input_signature=[spec])
    options = tf.saved_model.SaveOptions(experimental_debug_stripper=True)
    shutil.rmtree(folder, ignore_errors=True)
    tf.saved_model.save(module, folder, {"serving_default": scores}, options)
    for left in ["debug", "assets"]:
        shutil.rmtree(folder / left, ignore_errors=True)


for name, build in {"cnn": cnn, "mlp": mlp, "lstm": lstm, "transformer": transformer}.items():
    keras.utils.clear_session()
    model = build()
    model.set_weights([weight_like(variable).astype(np.float32) for variable in model.weights])
    export(model, INTO / name / "1")
    print(name, model.count_params(), "weights")
