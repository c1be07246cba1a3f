"""Speed-up over the best dense row against the share of zeros, as a picture."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.bench.kernels.measure import Figure
from engine.bench.kernels.report import overtakes, time_curves
from engine.errors import OptionError


def check_plotting(path: Path) -> None:
    """Raise OptionError where no picture can be written."""
    if importlib.util.find_spec("matplotlib") is None:
        message = "--plot needs matplotlib; pip install 'sparselane[plot]' brings it."
        raise OptionError(message)
    if not path.absolute().parent.is_dir():
        message = f"cannot write {path}: its folder does not exist."
        raise OptionError(message)


def draw(figures: Sequence[Figure], title: str, path: Path) -> None:
    """Write the picture: one panel an operand, on one core."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = [figure for figure in figures if figure.cores == 1 and figure.against_dense is not None]
    operands = sorted({figure.operand for figure in shown})
    sheet, axes = pyplot.subplots(
        1, max(1, len(operands)), figsize=(8 * max(1, len(operands)), 6), squeeze=False
    )
    for operand, panel in zip(operands, axes[0], strict=False):
        panel.set_title(f"{operand}: every line a layer and a number of lanes")
        _panel(panel, [figure for figure in shown if figure.operand == operand])
    sheet.suptitle(title)
    sheet.tight_layout()
    sheet.savefig(path, dpi=120)
    pyplot.close(sheet)


def _panel(panel: Any, figures: Sequence[Figure]) -> None:
    """One colour a family and pattern; its lines are the layers and numbers of lanes."""
    curves = time_curves(figures)
    kinds = sorted({(family, pattern) for family, pattern, *_ in curves})
    panel.axhline(1, color="black", linewidth=1)
    for (family, pattern, *_), curve in curves.items():
        index = kinds.index((family, pattern))
        points = [100 * zeros for zeros, _ in curve], [1 / time for _, time in curve]
        panel.plot(*points, marker=".", linewidth=1, color=f"C{index}")
        crossing = overtakes(curve)
        if crossing:
            panel.plot([100 * crossing], [1], marker="o", color=f"C{index}")
    for index, (family, pattern) in enumerate(kinds):
        panel.plot([], [], color=f"C{index}", label=f"{family}, zeros {pattern}")
    panel.set_yscale("log")
    panel.set_xlabel("zeros, %")
    panel.set_ylabel("times the best dense kernel")
    panel.grid(visible=True, which="both", alpha=0.3)
    panel.legend()
