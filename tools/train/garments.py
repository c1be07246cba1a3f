"""Trains and quantises the garment classifier: Fashion-MNIST, 10 classes.

    python tools/train/garments.py --images FOLDER --work BUILD [--lock FILE]

FOLDER holds the four idx files (Debian package dataset-fashion-mnist, MIT licence). A residual network of 3x3
convolutions; batch normalisation is folded on export. The last 5,000 training images are for choosing settings, the
10,000 test images are read once, after training. BUILD becomes the folder of the model, apart from its README.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path

import numpy as np
import torch
from image_export import export_images, quantise_images
from machine import Slices, arguments, report, session
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
MEAN, STD, SIDE, VALID = 0.2860, 0.3530, 28, 5000
EPOCHS, BATCH, RATE = 8, 128, 4e-3


def conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """A convolution with batch normalisation."""
    plain = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(plain, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two 3x3 convolutions beside one of 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv(inputs, outputs, stride), conv(outputs, outputs)
        self.short = conv(inputs, outputs, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.short(x))


class Garments(nn.Module):
    """f32 [batch, 1, 28, 28] to f32 [batch, 10] logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(1, 16)
        self.blocks = nn.Sequential(Block(16, 32, 2), Block(32, 64, 2))
        self.classifier = nn.Linear(64, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.stem(x)))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """An idx file, plain or gzipped: two zero bytes, type, rank, big-endian sizes, then u8 values."""
    path = next(path for path in (folder / name, folder / f"{name}.gz") if path.exists())
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = np.frombuffer(raw, ">u4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """u8 [n, 28, 28] to f32 [n, 1, 28, 28] of mean 0 and deviation 1."""
    return ((images.astype(np.float32) / 255.0 - MEAN) / STD)[:, None]


def augmented(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of the images mirrored, and the batch shifted by up to one pixel each way."""
    flip = torch.from_numpy(rng.random(len(x)) < 0.5)
    x = torch.where(flip[:, None, None, None], x.flip(-1), x)
    down, right = (int(v) for v in rng.integers(0, 3, 2))
    return F.pad(x, (1, 1, 1, 1), value=-MEAN / STD)[:, :, down : down + SIDE, right : right + SIDE]


def train(model: Garments, images: Tensor, labels: Tensor, gate: Slices) -> None:
    """Train in place; the whole run takes minutes, and begins anew when it was stopped."""
    rng = np.random.default_rng(3)
    steps = EPOCHS * (len(images) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.2)
    start, total, step = time.monotonic(), 0.0, 0
    model.to(memory_format=torch.channels_last).train()
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for begin in range(0, len(order) - BATCH + 1, BATCH):
            gate.turn()
            take = torch.from_numpy(order[begin : begin + BATCH])
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(augmented(images[take], rng))
            loss = F.cross_entropy(logits.float(), labels[take])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total, step = total + loss.item(), step + 1
            if step % 200 == 0:
                pace = step * BATCH / (time.monotonic() - start)
                report(f"  step {step}/{steps} loss {total / 200:.4f}, {pace:.0f} images/s")
                total = 0.0
    model.to(memory_format=torch.contiguous_format).eval()


def accuracy(path: Path, images: NDArray[np.float32], labels: NDArray[np.uint8], gate: Slices) -> float:
    """Share of images with the right class, by ONNX Runtime."""
    runner, right = session(path), 0
    for begin in range(0, len(images), 250):
        gate.turn()
        logits = runner.run(None, {"input": images[begin : begin + 250]})[0]
        right += int((logits.argmax(-1) == labels[begin : begin + 250]).sum())
    return right / len(images)


def write_configs(work: Path) -> None:
    """config.json and preprocessor_config.json."""
    names = {str(index): name for index, name in enumerate(CLASSES)}
    config = {
        "model_type": "residual-cnn",
        "num_channels": 1,
        "image_size": SIDE,
        "num_labels": len(CLASSES),
        "id2label": names,
        "label2id": {name: index for index, name in enumerate(CLASSES)},
    }
    steps = {
        "do_resize": True,
        "size": {"height": SIDE, "width": SIDE},
        "do_convert_grayscale": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN],
        "image_std": [STD],
    }
    for name, content in (("config", config), ("preprocessor_config", steps)):
        (work / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Train, export, quantise and score."""
    args: argparse.Namespace = arguments(__doc__, images="folder of Fashion-MNIST").parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    gate = Slices(args.lock)
    images, labels = (read_idx(args.images, f"train-{part}-ubyte") for part in ("images-idx3", "labels-idx1"))
    inputs, targets = normalise(images), torch.from_numpy(labels.astype(np.int64))
    model = Garments()
    train(model, torch.from_numpy(inputs[:-VALID]), targets[:-VALID], gate)
    gate.turn()
    names = ("input", "logits")
    export_images(model, args.work / "model-f32.onnx", names, (1, SIDE, SIDE))
    quantise_images(args.work / "model-f32.onnx", args.work / "model.onnx", names[0], inputs[:1024])
    write_configs(args.work)
    report(f"valid {accuracy(args.work / 'model-f32.onnx', inputs[-VALID:], labels[-VALID:], gate)}")
    test, truth = (read_idx(args.images, f"t10k-{part}-ubyte") for part in ("images-idx3", "labels-idx1"))
    results = {
        name: accuracy(args.work / f"{name}.onnx", normalise(test), truth, gate)
        for name in ("model-f32", "model")
    }
    gate.drop()
    report(str(results))
    (args.work / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
