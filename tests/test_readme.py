"""The first page's examples run as they are printed."""

from __future__ import annotations

import re

import pytest
from source_sizes import ROOT

MODEL = "synthetic:minilm-l6?sparsity=0.8&quantized=1&layers=1"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.split()[3])
def test_snippet_runs_and_prints(snippet: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(snippet.replace("model.onnx", MODEL), {})  # noqa: S102 - our own page
    assert capsys.readouterr().out


def test_commands_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for module in set(re.findall(r"python -m ([a-z.]+)", README)):
        assert (ROOT / module.replace(".", "/") / "__main__.py").is_file(), module
