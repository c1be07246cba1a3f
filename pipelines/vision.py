"""What all image tasks share: images in many forms, read side by side, and the size that the model takes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engine import ModelError, OptionError
from engine.utils import generate_random_inputs
from pipelines.deployment import read_json
from pipelines.images import open_image
from pipelines.labels import labels_of
from pipelines.pipeline import Pipeline

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]
# Reading a file and undoing its compression leave the interpreter free; more threads than this do not help.
_READERS = 4


class ImageInput(BaseModel):
    """One image or several: paths, data URLs, bytes, arrays, Pillow images."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    images: Any = Field(
        description="A path, a data URL (data:image/png;base64,...), bytes, pixels as nested lists, or a list "
        "of such.",
        examples=["garment.png", ["one.png", "two.png"]],
    )

    @classmethod
    def from_files(cls, files: Iterable[Any], *, from_server: bool = False, **fields: Any) -> Self:
        """A request of opened files or paths; one that came to a server asks for no masks."""
        if from_server and "return_masks" in cls.model_fields:
            fields.setdefault("return_masks", False)
        return cls(images=[file.read() if hasattr(file, "read") else file for file in files], **fields)


class ImagePipeline(Pipeline):
    """A pipeline over a model of images, f32 or u8 [batch, channels, height, width]."""

    def __init__(
        self,
        model_path: str | Path | None = None,
        *,
        class_names: str | Path | list[str] | Mapping[Any, str] | None = None,
        image_size: int | tuple[int, int] | list[int] | None = None,
        **arguments: Any,
    ) -> None:
        """Read what lies beside the model, then compile it; the other keywords are those of `Pipeline`.

        class_names   a JSON file, a list, a dictionary from number to name, or "coco"; None: those of the
                      folder's config.json, if it has any
        image_size    one side or (height, width); None: the model's own, or the folder's

        Raises OptionError for names of another form, and where neither the model nor anything else says a size.
        """
        self._asked_size = image_size
        self.class_names = class_names
        super().__init__(model_path, **arguments)
        self.names = read_names(class_names, self.config)

    @property
    def input_schema(self) -> type[ImageInput]:
        return ImageInput

    def setup_onnx_file_path(self) -> str:
        folder = self.deployment.folder
        self.config = read_json(folder / "config.json")
        self.preprocessor = read_json(folder / "preprocessor_config.json")
        path = super().setup_onnx_file_path()
        # The engine's four names say no dtype; the file's own inputs do.
        example = generate_random_inputs(path, 1)[0]
        if example.ndim != 4:
            message = (
                f"The task {self.task} takes a model of images [batch, channels, height, width]; {path} takes "
                f"{example.dtype} with {example.ndim} axes. Give a model that was trained for this task."
            )
            raise ModelError(message)
        self.input_dtype, self.channels = example.dtype, int(example.shape[1])
        return path

    def engine_shapes(self, batch_size: int | None) -> list[list[int]] | None:
        size = self._size_asked_for()
        if size is None or not isinstance(batch_size, int) or batch_size < 1:
            return None
        return [[batch_size, self.channels, *size]]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the model's input. Raises OptionError when nothing says them."""
        asked = self._size_asked_for()
        if asked is not None:
            return asked
        height, width = list(self.engine.input_shapes[0])[2:4]
        if height < 1 or width < 1:
            message = (
                f"The model {self.onnx_file_path} takes images of any size; give image_size=(height, width)."
            )
            raise OptionError(message)
        return height, width

    def parse_inputs(self, *args: Any, **keywords: Any) -> BaseModel:
        if not args or isinstance(args[0], BaseModel):
            return super().parse_inputs(*args, **keywords)
        return self.input_schema(images=args[0] if len(args) == 1 else list(args), **keywords)

    def each(self, sources: list[Any], step: Callable[[Image], Any]) -> list[Any]:
        """A step for every image, in order; several are opened and prepared side by side."""

        def opened(source: Any) -> Any:
            return step(open_image(source))

        if len(sources) < 2:
            return [opened(source) for source in sources]
        with ThreadPoolExecutor(min(_READERS, len(sources)), thread_name_prefix="images") as readers:
            return list(readers.map(opened, sources))

    def _size_asked_for(self) -> tuple[int, int] | None:
        size = self._asked_size
        if size is None:
            size = self.config.get("image_size")
        if size is None:
            return None
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
            message = (
                f"image_size must be a whole number from 1, or two of them (height, width); got {size!r}."
            )
            raise OptionError(message)
        return sides[0], sides[1]


def image_list(images: Any) -> tuple[list[Any], bool]:
    """The images of a request, and whether it was a list; an array with four axes is a list, too."""
    if isinstance(images, np.ndarray):
        return (list(images), True) if images.ndim == 4 else ([images], False)
    if isinstance(images, (list, tuple)):
        # A nested list of numbers is one image, or four deep several.
        depth = _depth(images)
        return ([np.asarray(images)], False) if depth in (2, 3) else (list(images), True)
    return [images], False


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, (list, tuple)) and value:
        value, depth = value[0], depth + 1
    return depth if isinstance(value, (int, float)) else 0


def read_names(source: Any, config: Mapping[str, Any]) -> dict[int, str]:
    """Class number to name; empty when nothing names the classes.

    Raises OptionError for a source that is no JSON file, list, dictionary or "coco".
    """
    if source is None:
        return labels_of(config) if config.get("id2label") else {}
    if isinstance(source, str) and source.lower() == "coco":
        return dict(enumerate(COCO.split(",")))
    if isinstance(source, (str, os.PathLike)):
        if not Path(source).is_file():
            message = (
                f'class_names must be "coco", a JSON file, a list or a dictionary; there is no file {source}.'
            )
            raise OptionError(message)
        source = json.loads(Path(source).read_text(encoding="utf-8"))
    if isinstance(source, Mapping):
        return {int(number): str(name) for number, name in source.items()}
    if isinstance(source, (list, tuple)):
        return {number: str(name) for number, name in enumerate(source)}
    message = f'class_names must be "coco", a JSON file, a list or a dictionary; got {type(source).__name__}.'
    raise OptionError(message)


# The 80 classes of COCO 2017 in the order of their ids (Lin et al. 2014).
COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,"
    "tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,"
    "keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,"
    "hair drier,toothbrush"
)
