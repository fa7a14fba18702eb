"""mnist: reads a handwritten digit, from 28 x 28 grey values, from a picture's bytes, or from tf.Examples.

    python3 examples/training/mnist.py          (tensorflow, numpy, pillow; half a minute)
"""
import numpy as np
from digits import framed, read_digits
from saved_model import CLASSIFY, example, export, record, save_image, save_request, tf
from layers import Conv, Dense, train

SIDE = 28
STEPS, BATCH = 1200, 64
random = np.random.default_rng(7)


class Net(tf.Module):
    """Two convolutions, two dense layers. Takes ink [N, 28, 28, 1] from 0 to 1, gives logits [N, 10]."""

    def __init__(self):
        self.first, self.second = Conv(random, 5, 1, 8), Conv(random, 3, 8, 16)
        self.hidden, self.logits = Dense(random, 7 * 7 * 16, 32), Dense(random, 32, 10)

    def __call__(self, images, training=False):
        x = tf.nn.max_pool2d(self.first(images, training), 2, 2, "SAME")
        x = tf.nn.max_pool2d(self.second(x, training), 2, 2, "SAME")
        return self.logits(tf.nn.relu(self.hidden(tf.reshape(x, [-1, 7 * 7 * 16]))))


def batch_of(ink, labels):
    chosen = random.integers(len(labels), size=BATCH)
    images = [
        framed(ink[one], size=int(random.integers(22, 29)), shift=random.integers(-2, 3, 2), degrees=random.uniform(-12, 12)) for one in chosen
    ]
    return tf.constant(np.array(images)[..., None]), tf.constant(labels[chosen])


def read_picture(contents):
    """Ink [28, 28, 1] of a PNG, JPEG, BMP or GIF. Dark on light is turned round: the net has learnt light ink on dark paper."""
    picture = tf.io.decode_image(contents, channels=3, expand_animations=False)
    picture.set_shape([None, None, 3])
    grey = tf.reduce_mean(tf.cast(picture, tf.float32), -1, keepdims=True) / 255
    small = tf.image.resize(grey[None], [SIDE, SIDE], "area")[0]
    return tf.where(tf.reduce_mean(small) > 0.5, 1 - small, small)


def signatures_of(net):
    text = tf.TensorSpec([None], tf.string)

    def answer(images):
        scores = tf.nn.softmax(net(images))
        return {"scores": scores, "classes": tf.argmax(scores, -1)}

    def classified(images):
        scores = tf.nn.softmax(net(images))
        names = tf.constant([str(digit) for digit in range(10)])
        return {"scores": scores, "classes": tf.tile(names[None], [tf.shape(scores)[0], 1])}

    def read_pictures(contents):
        return tf.map_fn(read_picture, contents, fn_output_signature=tf.TensorSpec([SIDE, SIDE, 1], tf.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE * SIDE], tf.float32, "images")])
    def pixels(images):
        return answer(tf.reshape(images, [-1, SIDE, SIDE, 1]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def pictures(image_bytes):
        return answer(read_pictures(image_bytes))

    @tf.function(input_signature=[text])
    def classify(inputs):
        features = tf.io.parse_example(inputs, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})
        return classified(read_pictures(features["image/encoded"]))

    @tf.function(input_signature=[text])
    def classify_pixels(inputs):
        features = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([SIDE * SIDE], tf.float32)})
        return classified(tf.reshape(features["x"], [-1, SIDE, SIDE, 1]))

    return {"serving_default": pixels, "image_bytes": pictures, "classify": classify, "classify_pixels": classify_pixels}


def paper(square, scale):
    """Dark ink on white paper, `scale` times as large."""
    return (255 - np.kron(square, np.ones((scale, scale))) * 255).astype(np.uint8)


def main():
    (ink, labels), (held_ink, held_labels) = read_digits()
    net = Net()
    batches = [batch_of(ink, labels) for _ in range(STEPS)]
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    train(net, lambda images, wanted: tf.reduce_mean(cross_entropy(wanted, net(images, True))), batches, 3e-3)
    held = np.array([framed(one) for one in held_ink])
    right = np.mean(np.argmax(net(held[..., None]), -1) == held_labels)
    print(f"{100 * right:.1f} % of {len(held_labels)} held-out digits are read right")
    export("mnist", net, signatures_of(net), {"classify": CLASSIFY, "classify_pixels": CLASSIFY})

    three, seven = (held[list(held_labels).index(digit)] for digit in (3, 7))
    three_file = save_image("three.png", paper(three, 4))
    seven_file = save_image("seven.png", paper(seven, 4))
    grey = np.round(seven.reshape(-1), 3).tolist()
    save_request("mnist", {"instances": [grey]})
    record(
        "mnist",
        [
            ("serving_default", {"images": [grey, np.round(three.reshape(-1), 3).tolist()]}),
            ("image_bytes", {"image_bytes": [three_file, seven_file]}),
            ("classify", {"inputs": [example({"image/encoded": seven_file}), example({"image/encoded": three_file})]}),
            ("classify_pixels", {"inputs": [example({"x": seven})]}),
        ],
    )


main()
