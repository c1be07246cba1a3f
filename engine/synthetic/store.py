"""Where made models are kept: one file per model in the cache, under a stamp of this room's sources."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import threading
from pathlib import Path

from engine.errors import ModelError
from engine.options import cache_directory
from engine.synthetic.spec import Spec, parse


def open_synthetic(model: str) -> Path:
    """The file of a model `synthetic:...`, made on first use.

    Raises OptionError for a description that cannot be read, ModelError where the file cannot be written.
    """
    spec = parse(model)
    path = _folder() / f"{spec.name}.{_stamp()}.onnx"
    if not path.is_file():
        _make(spec, path)
    return path


@functools.cache
def _stamp() -> str:
    digest = hashlib.blake2b(digest_size=6)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


@functools.cache
def _process_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes away with the process, for when there is no cache."""
    return tempfile.TemporaryDirectory(prefix="sparselane-")


def _folder() -> Path:
    base = cache_directory()
    if base is not None:
        folder = base / "synthetic"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            pass
        else:
            if os.access(folder, os.W_OK):
                return folder
    return Path(_process_folder().name)


def _make(spec: Spec, path: Path) -> None:
    """Write the model beside its name and move it there: a reader sees all of it or nothing."""
    from engine.synthetic.build import build_model

    data = build_model(spec).SerializeToString()
    temporary = path.with_name(f".{spec.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        message = (
            f"cannot write {path}: {error.strerror}. Free some space, or point ENGINE_CACHE_DIR elsewhere."
        )
        raise ModelError(message) from error
    for older in path.parent.glob(f"{spec.name}.*.onnx"):
        if older != path:
            older.unlink(missing_ok=True)
