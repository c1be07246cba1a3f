"""How large the rooms are: lines per room, largest files and functions. Run as a program, it prints them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCTS = ("engine", "pipelines", "serve")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50


def sources(folder: str) -> list[Path]:
    """Python files below a folder of the repository, in order of their names."""
    return sorted((ROOT / folder).rglob("*.py"))


def lines(path: Path) -> int:
    """Lines of a file, blank ones and comments included."""
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name with line, and length from `def` to the last line, of every function of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def _room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def report() -> str:
    """The table that `make size` prints."""
    files = {path: lines(path) for product in PRODUCTS for path in sources(product)}
    rooms: Counter[str] = Counter()
    for path, count in files.items():
        rooms[_room(path)] += count
    long = Counter(dict(pair for path in files for pair in functions(path)))
    biggest = Counter({str(path.relative_to(ROOT)): count for path, count in files.items()})
    tests = sum(map(lines, sources("tests")))
    parts = [
        *(f"{count:7,}  {room}" for room, count in sorted(rooms.items())),
        f"{sum(files.values()):7,}  product, in {len(files)} files",
        f"{tests:7,}  tests",
        "",
        f"largest files (at most {MAX_FILE_LINES})",
        *(f"{count:7}  {name}" for name, count in biggest.most_common(5)),
        f"largest functions (at most {MAX_FUNCTION_LINES})",
        *(f"{count:7}  {name}" for name, count in long.most_common(5)),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    print(report())
