"""What all tests share: one cache that is kept between runs, profiles, marks that skip with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "tests"

# Before the engine is imported: compiled code is kept here, whatever the user's own setting.
os.environ["ENGINE_CACHE_DIR"] = str(CACHE / "engine")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Compiling is slow and happens within the first example, hence no deadline.
_SLOW = [HealthCheck.too_slow]
settings.register_profile("ci", derandomize=True, max_examples=50, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("deep", max_examples=2000, deadline=None, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_ISA_SWEEP = ("tests/engine/kernels/**/*.py", "tests/engine/test_engine*.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs again at a lower instruction set level; tests elsewhere ask by the mark itself."""
    swept = {path for pattern in _ISA_SWEEP for path in ROOT.glob(pattern)}
    for item in items:
        if item.path in swept:
            item.add_marker("isa_sweep")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("isa"):
        _skip_below(mark.args[0])


def _skip_below(name: str) -> None:
    from engine.jit.target import LEVELS, active_level

    level = next(level for level in LEVELS if level.name == name)
    active = active_level()
    if level.arch not in ("any", active.arch) or not set(level.needs) <= set(active.needs):
        pytest.skip(f"needs {name}; this run is at {active.name}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of larger models and references beside the checkout; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder {os.path.relpath(folder, ROOT)}, which is not here")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every kernel row that nothing in this run executed natively."""
    ran = {
        report.nodeid
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
    }
    if not any("tests/engine/kernels/test_products.py" in nodeid for nodeid in ran):
        return
    from engine.jit.target import LEVELS, active_level
    from engine.lowering.choose import ALL_ROWS

    terminalreporter.section("kernel rows that this run did not execute natively")
    emulated = [row.family for row in ALL_ROWS if row.emulated]
    terminalreporter.write_line(f"emulated at {active_level().name}: {', '.join(emulated) or 'none'}")
    others = [level.name for level in LEVELS if level.name != active_level().name]
    terminalreporter.write_line(f"all rows of: {', '.join(others)}")
