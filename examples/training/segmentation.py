"""segmentation: a small DeepLab that tells circles, squares and triangles from what is behind them, pixel by pixel.

    python3 examples/training/segmentation.py          (tensorflow, numpy, pillow; a few minutes)
"""
import numpy as np
from PIL import Image, ImageDraw
from saved_model import export, record, save_image, save_request, tf
from layers import Conv, Separable, train

CLASSES = ["background", "circle", "square", "triangle"]
SIDE, STEPS, BATCH = 64, 5000, 8
random = np.random.default_rng(11)


class Net(tf.Module):
    """
    Separable convolutions, dilated where they no longer stride; atrous spatial pyramid pooling; a decoder that looks at finer features again.
    Takes [N, H, W, 3] from -1 to 1, gives logits [N, H, W, 4].
    """

    def __init__(self):
        self.stem = Conv(random, 3, 3, 16, stride=2)
        self.low = Separable(random, 16, 32)
        self.down = Separable(random, 32, 64, stride=2)
        self.deep = [Separable(random, 64, 64, rate=rate) for rate in (1, 1, 2, 4)]
        self.point, self.pooled = Conv(random, 1, 64, 24), Conv(random, 1, 64, 24)
        self.atrous = [Separable(random, 64, 24, rate=rate) for rate in (2, 4, 8)]
        self.project, self.finer = Conv(random, 1, 120, 48), Conv(random, 1, 32, 16)
        self.decode = Separable(random, 64, 48)
        self.logits = Conv(random, 1, 48, len(CLASSES), normed=False)

    def __call__(self, images, training=False):
        low = self.low(self.stem(images, training), training)
        x = self.down(low, training)
        for block in self.deep:
            x = block(x, training)
        whole = self.pooled(tf.reduce_mean(x, [1, 2], keepdims=True), training)
        branches = [self.point(x, training), *(branch(x, training) for branch in self.atrous), resized_like(whole, x)]
        x = self.project(tf.concat(branches, -1), training)
        x = self.decode(tf.concat([resized_like(x, low), self.finer(low, training)], -1), training)
        return resized_like(self.logits(x), images)


def resized_like(x, other):
    return tf.compat.v1.image.resize_bilinear(x, tf.shape(other)[1:3], align_corners=True)


def outline(shape, centre, radius, turn):
    """The corners of a square or triangle."""
    corners = {"square": 4, "triangle": 3}[shape]
    angles = turn + 2 * np.pi * np.arange(corners) / corners
    return [(centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)) for angle in angles]


def scene(height, width, shapes):
    """An image uint8 [height, width, 3] of the named shapes, later ones in front, and its map [height, width]."""
    base = random.uniform(20, 235, 3)
    slope = np.linspace(-30, 30, width) * random.uniform(-1, 1) + np.linspace(-30, 30, height)[:, None] * random.uniform(-1, 1)
    image = Image.fromarray(np.clip(base + slope[..., None], 0, 255).astype(np.uint8))
    labels = Image.new("L", (width, height), 0)
    for shape in shapes:
        centre, radius = random.uniform(8, (width - 8, height - 8)), random.uniform(10, 17)
        colour = tuple(int(one) for one in np.clip(base + random.choice([-1, 1], 3) * random.uniform(50, 160, 3), 0, 255))
        corners = None if shape == "circle" else outline(shape, centre, radius * 1.15, random.uniform(0, 2 * np.pi))
        for canvas, fill in ((image, colour), (labels, CLASSES.index(shape))):
            pen = ImageDraw.Draw(canvas)
            if corners is None:
                pen.ellipse([*(centre - radius), *(centre + radius)], fill=fill)
            else:
                pen.polygon(corners, fill=fill)
    noisy = np.asarray(image, np.float32) + random.normal(0, random.uniform(0, 8), (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8), np.asarray(labels, np.int64)


def scaled(images):
    return tf.cast(images, tf.float32) / 127.5 - 1


def batch():
    scenes = [scene(SIDE, SIDE, random.choice(CLASSES[1:], random.integers(1, 4))) for _ in range(BATCH)]
    return tf.constant(np.array([image for image, _ in scenes])), tf.constant(np.array([labels for _, labels in scenes]))


def signatures_of(net):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.uint8, "image"),
            tf.TensorSpec([None], tf.int64, "height"),
            tf.TensorSpec([None], tf.int64, "width"),
        ]
    )
    def segment(image, height, width):
        """Pictures of unequal size share a batch when they lie in the upper left of equal canvases: beyond height and width all is background."""
        canvas = tf.shape(image, tf.int64)
        rows, columns = tf.range(canvas[1])[None, :, None], tf.range(canvas[2])[None, None, :]
        inside = tf.logical_and(rows < tf.reshape(height, [-1, 1, 1]), columns < tf.reshape(width, [-1, 1, 1]))
        logits = net(tf.where(inside[..., None], scaled(image), 0.0))
        labels = tf.argmax(logits, -1)
        return {"segmentation_map": tf.where(inside, labels, tf.zeros_like(labels))}

    return {"serving_default": segment}


def report(net, count=100):
    """Intersection over union of each class on new scenes."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)))
    for _ in range(count):
        image, labels = scene(SIDE, SIDE, random.choice(CLASSES[1:], random.integers(1, 4)))
        found = np.argmax(net(scaled(image[None])), -1)[0]
        np.add.at(matrix, (labels.reshape(-1), found.reshape(-1)), 1)
    for index, name in enumerate(CLASSES):
        union = matrix[index].sum() + matrix[:, index].sum() - matrix[index, index]
        print(f"{name}: intersection over union {matrix[index, index] / union:.3f}")


def main():
    net = Net()
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    batches = [batch() for _ in range(STEPS)]
    train(net, lambda images, labels: tf.reduce_mean(cross_entropy(labels, net(scaled(images), True))), batches, 5e-3)
    report(net)
    export("segmentation", net, signatures_of(net))
    image = example_scene(56, 96)
    save_image("shapes.png", image)
    save_request("segmentation", {"inputs": {"image": [image.tolist()], "height": [56], "width": [96]}})
    parts = np.stack([image[4:40, :48], image[4:40, 48:]])
    parts[1, 30:] = parts[1, :, 40:] = 0
    record(
        "segmentation",
        [
            ("serving_default", {"image": image[None], "height": [56], "width": [96]}),
            ("serving_default", {"image": parts, "height": [36, 30], "width": [48, 40]}),
        ],
    )


def example_scene(height, width):
    """One of each shape side by side, all in view: the first such scene that chance makes."""
    while True:
        image, labels = scene(height, width, CLASSES[1:])
        columns = [np.where((labels == one).any(0))[0] for one in (1, 2, 3)]
        spans = sorted((found[0], found[-1]) for found in columns if len(found))
        apart = len(spans) == 3 and spans[0][1] < spans[1][0] and spans[1][1] < spans[2][0]
        if apart and not (labels[0].any() or labels[-1].any() or labels[:, 0].any() or labels[:, -1].any()):
            return image


if __name__ == "__main__":
    main()
