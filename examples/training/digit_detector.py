"""digit_detector: finds handwritten digits in a picture and reads them. One box for every cell of a grid, then non-maximum suppression.

    python3 examples/training/digit_detector.py          (tensorflow, numpy, pillow; some minutes)
"""
import numpy as np
from digits import draw, ink_box, read_digits
from saved_model import export, record, save_image, save_request, tf
from layers import Conv, Separable, train

STRIDE, SIDE = 8, 96
STEPS, BATCH = 5000, 12
MOST, OVERLAP, SURE = 20, 0.4, 0.4
random = np.random.default_rng(13)


class Net(tf.Module):
    """Takes [N, H, W, 3] from -1 to 1; gives for every cell of 8 x 8 pixels logits of ten digits, and the way to the four sides of its box in cells."""

    def __init__(self):
        self.blocks = [
            Conv(random, 3, 3, 16, stride=2),
            Conv(random, 3, 16, 32, stride=2),
            Separable(random, 32, 48),
            Conv(random, 3, 48, 64, stride=2),
            Separable(random, 64, 96),
            Separable(random, 96, 96),
            Separable(random, 96, 96),
        ]
        self.digit, self.sides = Conv(random, 1, 96, 10, normed=False), Conv(random, 1, 96, 4, normed=False)
        self.digit.bias.assign(tf.fill([10], -4.0))

    def __call__(self, images, training=False):
        x = images
        for block in self.blocks:
            x = block(x, training)
        return self.digit(x), tf.nn.softplus(self.sides(x))


def scene(ink, labels, height, width, count):
    """An image uint8 [height, width, 3] with up to `count` digits, and [(digit, top, left, bottom, right)] in pixels."""
    base = random.uniform(0, 255, 3)
    slope = np.linspace(-25, 25, width) * random.uniform(-1, 1) + np.linspace(-25, 25, height)[:, None] * random.uniform(-1, 1)
    image = np.broadcast_to(base + slope[..., None], (height, width, 3)).astype(np.float32).copy()
    taken = np.zeros((height, width), bool)
    found = []
    for _ in range(count):
        one, size = random.integers(len(labels)), int(random.integers(28, 49))
        drawn = draw(ink[one], size, random.uniform(-12, 12))
        y, x = int(random.integers(0, height - size + 1)), int(random.integers(0, width - size + 1))
        top, left, bottom, right = ink_box(drawn)
        box = (y + top, x + left, y + bottom, x + right)
        if taken[box[0] : box[2], box[1] : box[3]].any():
            continue
        taken[box[0] : box[2], box[1] : box[3]] = True
        colour = base + np.where(base > 127, -1, 1) * random.uniform(70, 180, 3)
        patch = image[y : y + size, x : x + size]
        patch += drawn[..., None] * (colour - patch)
        found.append((int(labels[one]), *box))
    image += random.normal(0, random.uniform(0, 10), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), found


def targets(found, height, width):
    """What the net is to say: digits [h, w, 10], sides [h, w, 4] in cells, and which cells have a box [h, w]. A cell near a digit's middle has one."""
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    y, x = np.mgrid[:rows, :columns] * STRIDE + STRIDE / 2
    digits, sides, boxed = np.zeros((rows, columns, 10)), np.zeros((rows, columns, 4)), np.zeros((rows, columns))
    for digit, top, left, bottom, right in found:
        near = (abs(y - (top + bottom) / 2) < 6) & (abs(x - (left + right) / 2) < 6)
        digits[near], digits[near, digit], boxed[near] = 0, 1, 1
        sides[near] = np.stack([y - top, x - left, bottom - y, right - x], -1)[near] / STRIDE
    return [one.astype(np.float32) for one in (digits, sides, boxed)]


def batch(ink, labels):
    scenes = [scene(ink, labels, SIDE, SIDE, random.integers(0, 8)) for _ in range(BATCH)]
    wanted = [targets(found, SIDE, SIDE) for _, found in scenes]
    return tuple(tf.constant(np.array(part)) for part in ([image for image, _ in scenes], *zip(*wanted)))


def loss_of(net):
    def loss(images, digits, sides, boxed):
        logits, found = net(scaled(images), True)
        chance = tf.sigmoid(logits)
        miss = digits * (1 - chance) + (1 - digits) * chance
        focal = miss**2 * tf.nn.sigmoid_cross_entropy_with_logits(digits, logits)
        far = tf.reduce_sum(abs(found - sides), -1) * boxed
        return (tf.reduce_sum(focal) + 0.3 * tf.reduce_sum(far)) / (tf.reduce_sum(boxed) + 1)

    return loss


def scaled(images):
    return tf.cast(images, tf.float32) / 127.5 - 1


def boxes_of(sides, size):
    """Corners [N, cells, 4] as (top, left, bottom, right), in shares of the picture's height and width."""
    rows, columns = tf.shape(sides)[1], tf.shape(sides)[2]
    y = (tf.cast(tf.range(rows), tf.float32) + 0.5)[None, :, None]
    x = (tf.cast(tf.range(columns), tf.float32) + 0.5)[None, None, :]
    top, left, bottom, right = tf.unstack(sides, axis=-1)
    corners = tf.stack([y - top, x - left, y + bottom, x + right], -1) * STRIDE / tf.tile(size, [2])
    return tf.reshape(tf.clip_by_value(corners, 0.0, 1.0), [tf.shape(sides)[0], -1, 4])


def chosen(one):
    """The best boxes of one picture, filled up to MOST with zeros, and how many there are."""
    boxes, scores, digits = one
    best, _ = tf.image.non_max_suppression_with_scores(boxes, scores, MOST, OVERLAP, SURE)
    rest = MOST - tf.size(best)

    def filled(values, *dimensions):
        taken = tf.pad(tf.gather(values, best), [[0, rest]] + [[0, 0]] * len(dimensions))
        return tf.ensure_shape(taken, [MOST, *dimensions])

    return filled(boxes, 4), filled(scores), filled(tf.cast(digits, tf.float32)), tf.cast(tf.size(best), tf.float32)


def signatures_of(net):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "inputs")])
    def detect(inputs):
        logits, sides = net(scaled(inputs))
        chances = tf.reshape(tf.sigmoid(logits), [tf.shape(logits)[0], -1, 10])
        boxes = boxes_of(sides, tf.cast(tf.shape(inputs)[1:3], tf.float32))
        kinds = [tf.TensorSpec([MOST, 4]), tf.TensorSpec([MOST]), tf.TensorSpec([MOST]), tf.TensorSpec([])]
        found = tf.map_fn(chosen, (boxes, tf.reduce_max(chances, -1), tf.argmax(chances, -1)), fn_output_signature=tuple(kinds))
        names = ["detection_boxes", "detection_scores", "detection_classes", "num_detections"]
        return dict(zip(names, found))

    return {"serving_default": detect}


def report(detect, ink, labels, count=150):
    """How many digits of new scenes are found where they are and read right, and how many are found that are not there."""
    there = right = wrong = 0
    for _ in range(count):
        image, wanted = scene(ink, labels, 112, 144, 7)
        answer = {key: value.numpy()[0] for key, value in detect(tf.constant(image[None])).items()}
        there += len(wanted)
        for index in range(int(answer["num_detections"])):
            box = answer["detection_boxes"][index] * [112, 144, 112, 144]
            digit = int(answer["detection_classes"][index])
            if any(digit == one[0] and shared(box, one[1:]) > 0.5 for one in wanted):
                right += 1
            else:
                wrong += 1
    print(f"{there} digits: {right} found and read right, {wrong} found that are not there or another digit")


def shared(one, other):
    """Intersection over union."""
    height, width = (min(one[side + 2], other[side + 2]) - max(one[side], other[side]) for side in (0, 1))
    if height <= 0 or width <= 0:
        return 0
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return height * width / (area - height * width)


def main():
    (ink, labels), (held_ink, held_labels) = read_digits()
    net = Net()
    train(net, loss_of(net), [batch(ink, labels) for _ in range(STEPS)], 4e-3)
    signatures = signatures_of(net)
    report(signatures["serving_default"], held_ink, held_labels)
    export("digit_detector", net, signatures)
    image, empty = example_scene(held_ink, held_labels, 64, 104), np.full((64, 104, 3), 128, np.uint8)
    save_image("digits.png", image)
    save_request("digit_detector", {"instances": [image.tolist()]})
    record("digit_detector", [("serving_default", {"inputs": image[None]}), ("serving_default", {"inputs": [image, empty]})])


def example_scene(ink, labels, height, width):
    """Four digits that differ, with little noise: the first such scene that chance makes."""
    while True:
        image, found = scene(ink, labels, height, width, 9)
        if len(found) == 4 and len({one[0] for one in found}) == 4 and grain(image) < 2:
            print("the example has", found)
            return image


def grain(image):
    """How much neighbouring pixels differ, mostly."""
    return np.median(abs(np.diff(image.astype(np.float32), axis=1)))


if __name__ == "__main__":
    main()
