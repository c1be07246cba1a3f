"""What a pipeline brings into a process: nothing that it does not need, and no changed settings."""

from __future__ import annotations

import subprocess
import sys

SILENT = """
import logging, os, sys, warnings
environment, filters = dict(os.environ), list(warnings.filters)
root = logging.getLogger().level, list(logging.getLogger().handlers)
import pipelines
{more}
assert dict(os.environ) == environment
assert [f for f in filters if f not in warnings.filters] == []
assert (logging.getLogger().level, list(logging.getLogger().handlers)) == root
print(*sorted({{"torch", "transformers", "onnxruntime", "flask", "datasets"}} & set(sys.modules)))
"""
ANSWER = """
class Nothing:
    def __init__(self, arguments): self.batch_size, self.input_shapes = 1, [[1, 128]]
    input_names = ["input_ids"]
    def run(self, arrays):
        import numpy
        return [numpy.zeros((1, 2), numpy.float32)]
pipelines.ENGINES["nothing"] = Nothing
pipelines.Pipeline.create("sentiment-analysis", engine_type="nothing")("text")
"""
FALLBACK = """
import pathlib, tempfile
from pipelines.lengths import Lengths
from pipelines.tokenizer import load_encoder
folder = pathlib.Path(tempfile.mkdtemp())
try:
    load_encoder(folder, Lengths((16,), 16))
except ValueError:
    pass
del sys.modules["transformers"]
"""


def _run(more: str) -> subprocess.CompletedProcess[str]:
    code = SILENT.format(more=more)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_brings_in_no_framework() -> None:
    done = _run("")
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_answering_with_the_embedded_model_brings_in_no_framework() -> None:
    done = _run(ANSWER)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_transformers_advises_nothing_and_leaves_the_environment_alone() -> None:
    done = _run(FALLBACK)
    assert (done.returncode, done.stderr) == (0, "")
    assert "torch" not in done.stdout.split()
