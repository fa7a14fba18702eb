"""The few layers that the examples are made of, and Adam. Written out, so that a graph holds what it serves and nothing else."""
import numpy as np
import tensorflow as tf

EPSILON = 1e-3


def _normal(random, shape, fan_in):
    return tf.Variable(random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32))


class BatchNorm(tf.Module):
    """Batch statistics while training, their running mean when serving (FusedBatchNormV3)."""

    def __init__(self, channels):
        self.scale = tf.Variable(tf.ones([channels]))
        self.offset = tf.Variable(tf.zeros([channels]))
        self.mean = tf.Variable(tf.zeros([channels]), trainable=False)
        self.variance = tf.Variable(tf.ones([channels]), trainable=False)

    def __call__(self, x, training):
        fused = tf.compat.v1.nn.fused_batch_norm
        if not training:
            return fused(x, self.scale, self.offset, self.mean, self.variance, epsilon=EPSILON, is_training=False)[0]
        y, mean, variance = fused(x, self.scale, self.offset, epsilon=EPSILON, is_training=True)
        self.mean.assign(0.95 * self.mean + 0.05 * mean)
        self.variance.assign(0.95 * self.variance + 0.05 * variance)
        return y


class Conv(tf.Module):
    """Convolution with a bias, or with batch normalisation and ReLU."""

    def __init__(self, random, size, inputs, outputs, stride=1, normed=True):
        self.kernel = _normal(random, (size, size, inputs, outputs), size * size * inputs)
        self.bias = None if normed else tf.Variable(tf.zeros([outputs]))
        self.norm = BatchNorm(outputs) if normed else None
        self.stride = stride

    def __call__(self, x, training=False):
        y = tf.nn.conv2d(x, self.kernel, self.stride, "SAME")
        return tf.nn.bias_add(y, self.bias) if self.norm is None else tf.nn.relu(self.norm(y, training))


class Separable(tf.Module):
    """Depthwise 3 x 3, dilated by `rate`, then pointwise; each with batch normalisation and ReLU."""

    def __init__(self, random, inputs, outputs, stride=1, rate=1):
        self.kernel = _normal(random, (3, 3, inputs, 1), 9)
        self.norm = BatchNorm(inputs)
        self.pointwise = Conv(random, 1, inputs, outputs)
        self.stride, self.rate = stride, rate

    def __call__(self, x, training=False):
        y = tf.nn.depthwise_conv2d(x, self.kernel, [1, self.stride, self.stride, 1], "SAME", dilations=[self.rate, self.rate])
        return self.pointwise(tf.nn.relu(self.norm(y, training)), training)


class Dense(tf.Module):
    def __init__(self, random, inputs, outputs):
        self.kernel = _normal(random, (inputs, outputs), inputs)
        self.bias = tf.Variable(tf.zeros([outputs]))

    def __call__(self, x):
        return tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)


def train(net, loss, batches, rate):
    """Minimises loss(*batch) over the batches with Adam; the rate falls to nothing along a half cosine."""
    variables = net.trainable_variables
    first = [tf.Variable(tf.zeros_like(v)) for v in variables]
    second = [tf.Variable(tf.zeros_like(v)) for v in variables]

    @tf.function
    def step(number, learning_rate, batch):
        with tf.GradientTape() as tape:
            value = loss(*batch)
        for v, g, m, s in zip(variables, tape.gradient(value, variables), first, second):
            m.assign(0.9 * m + 0.1 * g)
            s.assign(0.999 * s + 0.001 * g * g)
            v.assign_sub(learning_rate * (m / (1 - 0.9**number)) / (tf.sqrt(s / (1 - 0.999**number)) + 1e-7))
        return value

    count = len(batches)
    recent = []
    for number in range(count):
        learning_rate = rate * 0.5 * (1 + np.cos(np.pi * number / count))
        recent.append(float(step(tf.constant(number + 1.0), tf.constant(learning_rate, tf.float32), batches[number])))
        if (number + 1) % 100 == 0:
            print(f"step {number + 1} of {count}: loss {np.mean(recent):.4f}", flush=True)
            recent = []
