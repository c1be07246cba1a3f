"""Trains and quantises the garment detector on synthetic scenes: 10 classes, images of 160 x 160.

    python tools/train/detector.py --images FASHION_MNIST --data DATA --work BUILD [--lock FILE]

FASHION_MNIST holds the idx files (Debian package dataset-fashion-mnist, MIT licence), DATA the generator
make_detection.py. A stopped run goes on where its last checkpoint is.

The model answers in the form of the YOLOv5 family, decoded: f32 [batch, cells, 5 + classes] with centre and
size in pixels of its input, objectness and class scores from 0 to 1. It has no anchors: a cell tells the four
distances from its centre to the sides of the box.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from detector_model import CLASSES, SIDE, STRIDES, Decoded, Detector
from image_export import export_images, quantise_images
from machine import Checkpoint, Slices, arguments, report, session
from measures import mean_average_precision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

# Boxes up to this side belong to the finer grid.
FINE_UP_TO = 44.0
EPOCHS, BATCH, RATE = 9, 32, 2e-3


def targets(boxes: NDArray[np.float32], classes: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
    """For one image and all cells: class or -1, box, and 1 where nothing must be asked of the cell.

    A cell belongs to a box when its centre is in the box's middle: 1.5 cells around the centre at most.
    """
    found_class, found_box, found_skip = [], [], []
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(-1)
    for stride in STRIDES:
        cells = SIDE // stride
        places = (np.arange(cells) + 0.5) * stride
        centres = np.stack([np.tile(places, cells), np.repeat(places, cells)], -1)
        owner, skip = np.full(len(centres), -1), np.zeros(len(centres), dtype=np.float32)
        for index in np.argsort(-sizes):
            box = boxes[index]
            middle = np.abs(centres - (box[:2] + box[2:]) / 2) <= 1.5 * stride
            inside = (centres > box[:2]).all(-1) & (centres < box[2:]).all(-1)
            if (sizes[index] <= FINE_UP_TO) == (stride == STRIDES[0]):
                owner[inside & middle.all(-1)] = index
                skip[inside] = 1.0
        found_class.append(np.where(owner >= 0, classes[owner], -1))
        found_box.append(boxes[owner])
        found_skip.append(np.where(owner >= 0, 0.0, skip))
    return (
        torch.from_numpy(np.concatenate(found_class)),
        torch.from_numpy(np.concatenate(found_box)),
        torch.from_numpy(np.concatenate(found_skip).astype(np.float32)),
    )


def overlaps(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union of corner boxes row by row, and the generalised one (Rezatofighi et al. 2019)."""
    low, high = torch.maximum(ours[:, :2], theirs[:, :2]), torch.minimum(ours[:, 2:], theirs[:, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    union = (ours[:, 2:] - ours[:, :2]).prod(-1) + (theirs[:, 2:] - theirs[:, :2]).prod(-1) - common
    hull = torch.maximum(ours[:, 2:], theirs[:, 2:]) - torch.minimum(ours[:, :2], theirs[:, :2])
    whole = hull.prod(-1) + 1e-6
    share = common / (union + 1e-6)
    return share, share - (whole - union) / whole


def loss_of(model: Detector, images: Tensor, wanted: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Objectness, classes and boxes of one batch; `wanted` are the images' rows of `targets`."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        corners, logits = model(images)
    corners, logits = corners.float(), logits.float()
    classes, boxes, skip = (torch.stack([row[part] for row in wanted]) for part in range(3))
    positive = classes >= 0
    share, generalised = overlaps(corners[positive], boxes[positive])
    objectness = torch.zeros_like(skip)
    objectness[positive] = share.detach().clamp(0, 1)
    asked = F.binary_cross_entropy_with_logits(logits[..., 0], objectness, reduction="none")
    count = positive.sum().clamp(min=1)
    # A cell of a garment outside its middle may answer as it likes.
    there = (asked * (1 - skip)).sum() / count
    kind = F.binary_cross_entropy_with_logits(
        logits[..., 1:][positive], F.one_hot(classes[positive], CLASSES).float(), reduction="sum"
    )
    return there + kind / count + 2.0 * (1 - generalised).mean()


def load_generator(data: Path) -> ModuleType:
    """The module make_detection.py of the data folder. Raises FileNotFoundError."""
    spec = importlib.util.spec_from_file_location("make_detection", data / "make_detection.py")
    if spec is None or spec.loader is None:
        message = f"{data} has no make_detection.py."
        raise FileNotFoundError(message)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scenes(
    generator: ModuleType, images: Path, split: str, count: int, work: Path
) -> dict[str, NDArray[np.generic]]:
    """A set of scenes, made once and kept in the work folder."""
    file = work / f"{split}-{count}.npz"
    if not file.is_file():
        np.savez(file, **generator.make(images, split, count, SIDE))
    with np.load(file) as content:
        return dict(content)


def flipped(
    images: Tensor, wanted: list[tuple[Tensor, Tensor, Tensor]]
) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """The mirror image of a batch; cells and boxes are mirrored alike."""
    mirrored = []
    for classes, corners, skip in wanted:
        begin, parts = 0, []
        for stride in STRIDES:
            cells = SIDE // stride
            order = torch.arange(begin, begin + cells * cells).view(cells, cells).flip(-1).flatten()
            parts.append(order)
            begin += cells * cells
        order = torch.cat(parts)
        boxes = corners[order]
        turned = torch.stack([SIDE - boxes[:, 2], boxes[:, 1], SIDE - boxes[:, 0], boxes[:, 3]], -1)
        mirrored.append((classes[order], turned, skip[order]))
    return images.flip(-1), mirrored


def train(
    model: Detector, data: dict[str, NDArray[np.generic]], work: Path, gate: Slices, epochs: int
) -> None:
    """Train in place; goes on from the checkpoint."""
    checkpoint = Checkpoint(work / "detector.pt")
    state = checkpoint.load()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    if state:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    images, rng = data["images"], np.random.default_rng(5)
    wanted = [
        targets(data["boxes"][data["owner"] == i], data["classes"][data["owner"] == i])
        for i in range(len(images))
    ]
    order = np.concatenate([rng.permutation(len(images)) for _ in range(epochs)])
    steps, begin = len(order) // BATCH, int(state.get("step", 0))
    start, total = time.monotonic(), 0.0
    model.to(memory_format=torch.channels_last)
    for step in range(begin, steps):
        gate.turn()
        for group in optimiser.param_groups:
            group["lr"] = RATE * min((step + 1) / 200, 0.5 * (1 + np.cos(np.pi * step / steps)) + 0.01)
        take = order[step * BATCH : (step + 1) * BATCH]
        batch = torch.from_numpy(images[take]).permute(0, 3, 1, 2).float() / 255.0
        rows = [wanted[i] for i in take]
        if rng.random() < 0.5:
            batch, rows = flipped(batch, rows)
        model.train()
        loss = loss_of(model, batch.contiguous(memory_format=torch.channels_last), rows)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        total += loss.item()
        if step % 50 == 49:
            pace = (step + 1 - begin) * BATCH / (time.monotonic() - start)
            report(f"  step {step + 1}/{steps} loss {total / 50:.4f}, {pace:.0f} images/s")
            total = 0.0
        checkpoint.save(now=step + 1 == steps, model=model, optimiser=optimiser, step=step + 1)
    model.to(memory_format=torch.contiguous_format).eval()


def as_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """f32 [n, 3, SIDE, SIDE] from 0 to 1 of u8 images [n, SIDE, SIDE, 3]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255.0)


def evaluate(path: Path, data: dict[str, NDArray[np.generic]], gate: Slices) -> dict[str, float]:
    """Mean average precision by ONNX Runtime."""
    runner, found = session(path), []
    for begin in range(0, len(data["images"]), 20):
        gate.turn()
        (rows,) = runner.run(None, {"images": as_input(data["images"][begin : begin + 20])})
        found += list(rows)
    return mean_average_precision(found, data["boxes"], data["classes"], data["owner"])


def config(names: list[str]) -> dict[str, object]:
    """The config.json beside the model."""
    return {
        "model_type": "yolo",
        "image_size": [SIDE, SIDE],
        "num_labels": len(names),
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def main() -> None:
    """Train, export, quantise and score."""
    parser = arguments(__doc__, images="folder of Fashion-MNIST", data="folder of make_detection.py")
    parser.add_argument("--scenes", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args: argparse.Namespace = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    gate, generator = Slices(args.lock), load_generator(args.data)
    data = scenes(generator, args.images, "train", args.scenes, args.work)
    model = Detector()
    report(f"{len(data['images'])} scenes, {sum(p.numel() for p in model.parameters())} parameters")
    train(model, data, args.work, gate, args.epochs)
    gate.turn()
    names, some = ("images", "output"), as_input(data["images"][:256])
    export_images(Decoded(model), args.work / "model-f32.onnx", names, (3, SIDE, SIDE))
    # Decoding stays in f32: a box is told to a part of a pixel.
    kinds = ["Conv"]
    quantise_images(
        args.work / "model-f32.onnx", args.work / "model.onnx", names[0], some, op_types_to_quantize=kinds
    )
    (args.work / "config.json").write_text(json.dumps(config(generator.CLASSES), indent=2) + "\n")
    held_out = scenes(generator, args.images, "heldout", 1000, args.work)
    results = {}
    for name in ("model-f32", "model"):
        results[name] = evaluate(args.work / f"{name}.onnx", held_out, gate)
        report(f"{name} {results[name]}")
    gate.drop()
    (args.work / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
