"""What is installed: every file that the code reads, and not more than fits into a wheel of 60 MB."""

from __future__ import annotations

import configparser
from glob import glob
from pathlib import Path

import pytest
from source_sizes import ROOT

LARGEST_BYTES = 60_000_000
# Made by running the code.
_NOT_OURS = ("__pycache__",)


def _data() -> dict[str, list[str]]:
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg")
    return {package: lines.split() for package, lines in read["options.package_data"].items()}


def _files(package: str) -> set[Path]:
    return {
        file
        for file in (ROOT / package).rglob("*")
        if file.is_file() and not any(part in _NOT_OURS for part in file.parts)
    }


@pytest.mark.parametrize("package", _data())
def test_every_file_beside_the_code_is_package_data(package: str) -> None:
    found = (glob(pattern, root_dir=ROOT / package, recursive=True) for pattern in _data()[package])  # noqa: PTH207 - as setuptools
    named = {ROOT / package / name for names in found for name in names}
    left_out = {file for file in _files(package) if file.suffix != ".py"} - named
    assert sorted(str(file.relative_to(ROOT)) for file in left_out) == []
    assert ROOT / package / "py.typed" in named


def test_every_default_model_is_installed() -> None:
    from pipelines import Pipeline

    models = ROOT / "pipelines" / "models"
    defaults = [task.default_model_path or "" for task in Pipeline.tasks()]
    names = [path.removeprefix("embedded:") for path in defaults if path.startswith("embedded:")]
    assert sorted(file.parent.name for file in models.glob("*/model.onnx")) == sorted(names)


def test_what_is_installed_is_not_large() -> None:
    files = [file for package in _data() for file in _files(package)]
    assert sum(file.stat().st_size for file in files if file.suffix != ".py") < LARGEST_BYTES
