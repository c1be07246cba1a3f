"""Files and functions stay small enough to be read at one go."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_sizes import MAX_FILE_LINES, MAX_FUNCTION_LINES, PRODUCTS, ROOT, functions, lines, report, sources

FILES = [path for product in PRODUCTS for path in sources(product)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_its_functions_are_short(path: Path) -> None:
    assert lines(path) <= MAX_FILE_LINES, f"{path} holds two things: split it"
    assert [name for name, length in functions(path) if length > MAX_FUNCTION_LINES] == []


def test_every_folder_with_code_is_a_package() -> None:
    """Else it works in a checkout and is missing where it was installed."""
    assert [
        folder for folder in {path.parent for path in FILES} if not (folder / "__init__.py").is_file()
    ] == []


def test_test_files_have_names_of_their_own() -> None:
    """The test folders are no packages, so two files of one name would be one module."""
    names = [path.name for path in sources("tests") if path.name != "__init__.py"]
    assert sorted(set(names)) == sorted(names)


def test_report_counts_every_room() -> None:
    text = report()
    assert all(product in text for product in PRODUCTS if sources(product))
