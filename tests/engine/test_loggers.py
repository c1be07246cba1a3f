"""One logger for the engine, so that one level silences it."""

from __future__ import annotations

import logging
import re

import pytest
from source_sizes import ROOT

from engine.compat.helpers import get_nm_root_logger, set_logging_level

ROOMS = ("engine", "pipelines", "serve", "sparselane")


def test_all_rooms_log_by_two_names() -> None:
    pages = [path.read_text(encoding="utf-8") for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    names = {name for page in pages for name in re.findall(r"getLogger\(([^)]*)\)", page)}
    assert names == {'"sparselane"', '"serve"', '"__main__"'}


def test_the_predecessors_level_is_the_engines(caplog: pytest.LogCaptureFixture) -> None:
    before = {name: logging.getLogger(name).level for name in ("sparselane", "serve", "__main__")}
    try:
        set_logging_level("ERROR")
        logging.getLogger("sparselane").warning("num_cores exceeds")
        assert not caplog.records
        assert get_nm_root_logger().level == logging.ERROR
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
