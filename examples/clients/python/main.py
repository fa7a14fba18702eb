"""Asks the example models over gRPC and prints what they answer.

    python3 examples/clients/python/main.py half_plus_two 1 2 5
    python3 examples/clients/python/main.py mnist examples/images/seven.png ...
    python3 examples/clients/python/main.py classify examples/images/seven.png ...
    python3 examples/clients/python/main.py segmentation examples/images/shapes.png
    python3 examples/clients/python/main.py digit_detector examples/images/digits.png

--server HOST:PORT before the model's name; the default is localhost:8500. Needs grpcio, grpcio-tools, numpy and pillow.
"""
import argparse
import os
import sys

import grpc
import numpy as np
from PIL import Image
from prediction_service import PredictionService

SHAPES = ["background", "circle", "square", "triangle"]
MARKS = ".o#^"


def half_plus_two(service, words):
    x = np.array(words, np.float32)
    y = service.predict("half_plus_two", {"x": x})["y"]
    return [f"{one:g} / 2 + 2 = {answer:g}" for one, answer in zip(x, y)]


def mnist(service, files):
    answer = service.predict("mnist", {"image_bytes": [contents(file) for file in files]}, "image_bytes")
    best = zip(files, answer["classes"], answer["scores"])
    return [f"{os.path.basename(file)}: {digit} ({percent(scores[digit])})" for file, digit, scores in best]


def classify(service, files):
    answers = service.classify("mnist", [{"image/encoded": contents(file)} for file in files], "classify")
    best = [sorted(classes, key=lambda one: -one[1])[:3] for classes in answers]
    told = [", ".join(f"{label} ({percent(score)})" for label, score in classes) for classes in best]
    return [f"{os.path.basename(file)}: {text}" for file, text in zip(files, told)]


def segmentation(service, files):
    image = pixels(files[0])
    height, width = image.shape[:2]
    found = service.predict("segmentation", {"image": image[None], "height": np.array([height]), "width": np.array([width])})
    labels = found["segmentation_map"][0]
    # Letters are twice as high as they are wide: one for every 4 x 2 pixels.
    drawn = ["".join(MARKS[label] for label in row[::2]) for row in labels[::4]]
    counts = ", ".join(f"{mark} {shape} {np.sum(labels == index)}" for index, (mark, shape) in enumerate(zip(MARKS, SHAPES)))
    return [*drawn, f"pixels: {counts}"]


def digit_detector(service, files):
    image = pixels(files[0])
    answer = service.predict("digit_detector", {"inputs": image[None]})
    lines = []
    for index in range(int(answer["num_detections"][0])):
        height, width = image.shape[:2]
        top, left, bottom, right = (int(one + 0.5) for one in answer["detection_boxes"][0, index] * [height, width, height, width])
        digit, score = answer["detection_classes"][0, index], answer["detection_scores"][0, index]
        lines.append(f"{digit:g} ({percent(score)}): rows {top} to {bottom}, columns {left} to {right}")
    return lines


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def pixels(path):
    """uint8 [height, width, 3]."""
    return np.asarray(Image.open(path).convert("RGB"))


def percent(share):
    return f"{100 * share:.1f} %"


def main():
    commands = {one.__name__: one for one in (half_plus_two, mnist, classify, segmentation, digit_detector)}
    parser = argparse.ArgumentParser(description="Asks the example models over gRPC.")
    parser.add_argument("--server", default="localhost:8500")
    parser.add_argument("model", choices=commands)
    parser.add_argument("words", nargs="+", metavar="NUMBER|FILE")
    given = parser.parse_args()
    try:
        print("\n".join(commands[given.model](PredictionService(given.server), given.words)))
    except grpc.RpcError as refusal:
        sys.exit(f"{refusal.code().name}: {refusal.details()}")


main()
