"""Boxes, labels and masks drawn on images and folders of images: `python -m pipelines.annotate SOURCE ...`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import OptionError
from pipelines.command import Parser, exit_code
from pipelines.images import open_image
from pipelines.pipeline import Pipeline

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Ten colours that are told apart on light and on dark ground; a class keeps its own.
COLOURS = (
    "#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c", "#fabebe",
)  # fmt: skip
_MASK_SHARE = 0.4
# Sum of red, green and blue from which a ground takes black letters.
_LIGHT = 400


def annotate(
    image: Any, boxes: Sequence[Any], labels: Sequence[Any], scores: Sequence[float], masks: Any = None
) -> Image:
    """A copy of an image with boxes drawn on it.

    image    anything `pipelines.images.open_image` takes
    boxes    x1, y1, x2, y2 in pixels, one per label and score
    masks    u8 [boxes, height, width], or None
    """
    from PIL import ImageColor, ImageDraw, ImageFont

    drawn: Image = open_image(image).convert("RGB").copy()
    kinds = {label: COLOURS[_colour(label)] for label in labels}
    if masks is not None and len(masks):
        drawn = _with_masks(drawn, masks, [kinds[label] for label in labels])
    pen, width = ImageDraw.Draw(drawn), max(1, round(max(drawn.size) / 300))
    font = ImageFont.load_default(max(10, round(max(drawn.size) / 45)))
    # The best box last, so that no other covers it.
    for box, label, score in reversed(list(zip(boxes, labels, scores, strict=True))):
        pen.rectangle(list(box), outline=kinds[label], width=width)
        text = f"{label} {score:.2f}"
        left, top, right, bottom = pen.textbbox((box[0], box[1]), text, font=font, anchor="lb")
        down, back = max(0.0, -top), min(max(0.0, right - drawn.width), left)
        pen.rectangle([left - back, top + down, right - back, bottom + down], fill=kinds[label])
        ink = "black" if sum(ImageColor.getrgb(kinds[label])) > _LIGHT else "white"
        pen.text((box[0] - back, box[1] + down), text, fill=ink, font=font, anchor="lb")
    return drawn


def annotate_all(
    pipeline: Pipeline, source: str | Path, target: Path, **options: Any
) -> Iterator[tuple[Path, int]]:
    """Draw what a detector finds on an image or on all of a folder; yields each new file and its number of boxes.

    options   fields of the task's request: conf_thres, iou_thres

    Raises FileNotFoundError without images.
    """
    files = _images(Path(source))
    target.mkdir(parents=True, exist_ok=True)
    taken: set[Path] = set()
    answers = pipeline.map({"images": [str(file)], **options} for file in files)
    for file, answer in zip(files, answers, strict=True):
        masks = None if getattr(answer, "masks", None) is None else answer.masks[0]
        labels = answer.labels if hasattr(answer, "labels") else answer.classes
        drawn = annotate(file, answer.boxes[0], labels[0], answer.scores[0], masks)
        new = _unused(target, file.stem, taken)
        drawn.save(new)
        yield new, len(answer.boxes[0])


def _unused(folder: Path, stem: str, taken: set[Path]) -> Path:
    """A file that no other image of the same name was drawn into; what is there from before is replaced."""
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 2)))
    found = next(folder / f"{name}.png" for name in names if folder / f"{name}.png" not in taken)
    taken.add(found)
    return found


def _images(source: Path) -> list[Path]:
    files = (
        sorted(file for file in source.rglob("*") if file.suffix.lower() in SUFFIXES)
        if source.is_dir()
        else [source]
    )
    if not files or not all(file.is_file() for file in files):
        message = f"{source} is neither an image nor a folder of images ({', '.join(SUFFIXES)})."
        raise FileNotFoundError(message)
    return files


def _colour(label: Any) -> int:
    return sum(map(ord, str(label))) % len(COLOURS)


def _with_masks(image: Image, masks: Any, colours: list[str]) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageColor

    pixels = np.asarray(image).astype(np.float32)
    for mask, colour in zip(masks, colours, strict=True):
        tint = np.array(ImageColor.getrgb(colour), dtype=np.float32)
        inside = np.asarray(mask, dtype=bool)
        pixels[inside] += (tint - pixels[inside]) * _MASK_SHARE
    return Pillow.fromarray(np.rint(pixels).astype(np.uint8))


def _parser(program: str) -> Parser:
    parser = Parser(program, __doc__)
    parser.add_argument("source", help="an image, or a folder whose images are all taken")
    parser.add_argument("--task", default="object-detection", help="a task that answers with boxes")
    parser.add_argument("--model-path", "--model_filepath", help="the model; without it, the task's own")
    parser.add_argument(
        "--save-dir", "--save_dir", type=Path, default=Path("annotated"), help="folder for the copies"
    )
    parser.add_argument(
        "--conf-thres", "--conf_thres", type=float, default=0.45, help="least score of a detection"
    )
    parser.add_argument(
        "--iou-thres", "--iou_thres", type=float, default=0.25, help="most overlap of two boxes"
    )
    parser.add_argument(
        "--image-size", "--image_shape", type=int, nargs="+", help="side, or height and width"
    )
    parser.add_argument("--class-names", help="JSON file with the classes' names, or coco")
    parser.add_argument("--engine", default="engine", help="engine or onnxruntime")
    return parser


def main(arguments: Sequence[str] | None = None, program: str = "python -m pipelines.annotate") -> int:
    """The command; its exit code."""
    return exit_code(lambda: _annotate(_parser(program).parse_args(arguments)))


def _annotate(given: Any) -> None:
    _images(Path(given.source))
    size = given.image_size[0] if given.image_size and len(given.image_size) == 1 else given.image_size
    limits = {"conf_thres": given.conf_thres, "iou_thres": given.iou_thres}
    pipeline = Pipeline.create(
        given.task,
        given.model_path,
        engine_type=given.engine,
        **({"image_size": size} if size else {}),
        **({"class_names": given.class_names} if given.class_names else {}),
    )
    if not set(limits) <= set(pipeline.input_schema.model_fields):
        message = f"The task {given.task} does not answer with boxes; take object-detection."
        raise OptionError(message)
    for file, count in annotate_all(pipeline, given.source, given.save_dir, **limits):
        sys.stdout.write(f"{file}: {count} found\n")


if __name__ == "__main__":
    sys.exit(main())
