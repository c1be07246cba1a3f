"""The table of environment variables: complete, without rows that nothing reads, and printed in the documentation."""

from __future__ import annotations

import re

from source_sizes import PRODUCTS, ROOT, sources

from engine.options import OPTIONS

READ = re.compile(r"(?:environ\.get|environment_(?:option|flag|int))\(\s*((?:\"[A-Z_]+\"(?:,\s*)?)+)")
# Not ours: where caches go on every Linux machine, and what SageMaker tells a container.
OTHERS = {"XDG_CACHE_HOME", "SAGEMAKER_BIND_TO_PORT"}


def test_every_variable_that_is_read_is_in_the_table_and_the_other_way_round() -> None:
    read = {
        name
        for product in PRODUCTS
        for path in sources(product)
        for names in READ.findall(path.read_text(encoding="utf-8"))
        for name in re.findall(r"[A-Z_]{3,}", names)
    }
    assert read - OTHERS == {option.name for option in OPTIONS}


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs" / "variables.md").read_text(encoding="utf-8")
    rows = [f"| `{option.name}` | {option.values} | {option.meaning} |" for option in OPTIONS]
    assert re.findall(r"^\| `.*$", page, re.MULTILINE) == rows
