"""Speed-up over the best dense row against the share of zeros, as a picture."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.bench.arguments import check_export_path
from engine.bench.kernels.measure import Figure
from engine.bench.kernels.report import overtakes, time_curves
from engine.errors import OptionError


def check_plotting(path: Path) -> None:
    """Raise OptionError where no picture can be written."""
    if importlib.util.find_spec("matplotlib") is None:
        message = "--plot needs matplotlib; pip install 'sparselane[plot]' brings it."
        raise OptionError(message)
    check_export_path(str(path))


# Lines by lanes: up to 8, up to 64, more.
_STYLES = ((8, "dotted", "up to 8"), (64, "dashed", "up to 64"), (None, "solid", "more"))
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


def draw(figures: Sequence[Figure], title: str, path: Path) -> None:
    """Write the picture: one panel an operand that has sparse rows, on one core."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    curves = {key: curve for key, curve in time_curves(figures).items() if key[2] == 1}
    operands = sorted({cell.operand for *_, cell in curves})
    columns = max(1, len(operands))
    sheet, axes = pyplot.subplots(1, columns, figsize=(9 * columns, 7), squeeze=False)
    for operand, panel in zip(operands, axes[0], strict=False):
        panel.set_title(f"{operand}: a line for each layer and number of lanes, a circle where it overtakes")
        _panel(panel, {key: curve for key, curve in curves.items() if key[3].operand == operand})
    sheet.suptitle(title)
    sheet.tight_layout()
    sheet.savefig(path, dpi=120)
    pyplot.close(sheet)


def _panel(panel: Any, curves: Mapping[Any, Sequence[tuple[float, float]]]) -> None:
    """One colour a family and pattern, one style a class of lanes."""
    kinds = sorted({(family, pattern) for family, pattern, *_ in curves})
    crossings: dict[int, list[float]] = {index: [] for index in range(len(kinds))}
    panel.axhline(1, color="black", linewidth=1)
    for (family, pattern, _, cell), curve in curves.items():
        index = kinds.index((family, pattern))
        style = next(name for most, name, _ in _STYLES if most is None or cell.lanes <= most)
        points = [100 * zeros for zeros, _ in curve], [1 / time for _, time in curve]
        panel.plot(*points, linestyle=style, linewidth=1, color=f"C{index}")
        crossing = overtakes(curve)
        if crossing is not None:
            crossings[index].append(100 * crossing)
            panel.plot([100 * crossing], [1], marker="o", markeredgecolor="black", color=f"C{index}")
    for index, (family, pattern) in enumerate(kinds):
        panel.plot([], [], color=f"C{index}", label=f"{family}, zeros {pattern}: {_range(crossings[index])}")
    for _, style, name in _STYLES:
        panel.plot([], [], color="grey", linestyle=style, label=f"{name} lanes")
    panel.set_yscale("log")
    panel.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    panel.minorticks_off()
    panel.set_ylim(0.2, None)
    panel.set_xlabel("zeros, %")
    panel.set_ylabel("times the best dense kernel")
    panel.grid(visible=True, alpha=0.3)
    panel.legend()


def _range(crossings: Sequence[float]) -> str:
    if not crossings:
        return "never faster"
    least, most = f"{min(crossings):.0f}", f"{max(crossings):.0f}"
    return f"faster from {least} %" if least == most else f"faster from {least} to {most} %"
