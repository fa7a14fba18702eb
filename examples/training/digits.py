"""Handwritten digits as training data: the 8 x 8 images of ../digits/digits.csv.gz, drawn larger."""
import gzip
import os

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))


def read_digits():
    """(training, held out), each a pair of ink [count, 8, 8] from 0 to 1 and labels [count]. Every fifth image is held out, as in ../digits/dataset.ts."""
    with gzip.open(os.path.join(HERE, "..", "digits", "digits.csv.gz"), "rt") as lines:
        table = np.loadtxt(lines, delimiter=",")
    ink, labels = table[:, :64].reshape(-1, 8, 8) / 16, table[:, 64].astype(np.int64)
    held_out = np.arange(len(labels)) % 5 == 4
    return (ink[~held_out], labels[~held_out]), (ink[held_out], labels[held_out])


def draw(ink, size, degrees=0.0):
    """One digit of [8, 8] at [size, size] with a margin, turned by `degrees`: smooth strokes, 0 paper to 1 ink."""
    image = Image.fromarray((np.pad(ink, 1) * 255).astype(np.uint8))
    image = image.resize((size, size), Image.BICUBIC)
    if degrees:
        image = image.rotate(degrees, Image.BICUBIC)
    return np.clip(np.asarray(image, np.float32) / 255 * 1.6 - 0.3, 0, 1)


def framed(ink, side=28, size=26, shift=(0, 0), degrees=0.0):
    """A digit in the middle of an empty [side, side] square, moved by `shift` (down, right), which is no more than its margin."""
    square = np.zeros((side, side), np.float32)
    corner = (side - size) // 2
    square[corner : corner + size, corner : corner + size] = draw(ink, size, degrees)
    return np.roll(square, shift, (0, 1))


def ink_box(drawn):
    """(top, left, bottom, right) of what is ink."""
    rows, columns = np.where(drawn.max(1) > 0.3)[0], np.where(drawn.max(0) > 0.3)[0]
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
