"""Are the answers right? The same inputs through ONNX Runtime, output by output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.bench.engines import open_engine
from engine.bench.job import Array, Job
from engine.errors import EngineError

REFERENCE = "onnxruntime"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one output compares with the reference's.

    difference    the largest, absolute
    largest       magnitude in the reference
    correlation   of all elements; None where one side is constant
    """

    index: int
    difference: float
    largest: float
    correlation: float | None

    def __str__(self) -> str:
        correlation = "none" if self.correlation is None else f"{self.correlation:.6f}"
        return (
            f"output {self.index}: largest difference {self.difference:.3g} of {self.largest:.3g}, "
            f"correlation {correlation}"
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def reference_outputs(job: Job) -> list[Array]:
    """What ONNX Runtime answers to the job's inputs. Raises OptionError when it is not installed."""
    return open_engine(REFERENCE, job).run(job.inputs())


def compare(outputs: Sequence[Array], reference: Sequence[Array]) -> list[Agreement]:
    """One row per output. Raises EngineError when counts or shapes differ."""
    shapes, expected = [a.shape for a in outputs], [a.shape for a in reference]
    if shapes != expected:
        message = f"outputs have shapes {shapes}; {REFERENCE}'s have {expected}."
        raise EngineError(message)
    return [_agreement(i, a, b) for i, (a, b) in enumerate(zip(outputs, reference, strict=True))]


def _agreement(index: int, output: Array, reference: Array) -> Agreement:
    got, wanted = (np.asarray(array, np.float64).ravel() for array in (output, reference))
    if not got.size:
        return Agreement(index, 0.0, 0.0, None)
    varied = got.std() > 0 and wanted.std() > 0
    correlation = float(np.corrcoef(got, wanted)[0, 1]) if varied else None
    return Agreement(index, float(np.abs(got - wanted).max()), float(np.abs(wanted).max()), correlation)
