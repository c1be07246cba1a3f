"""One polite thread: a machine-wide lock taken in slices, checkpoints, sessions of ONNX Runtime."""

from __future__ import annotations

import argparse
import fcntl
import time
from pathlib import Path
from typing import Any

import onnxruntime
import torch

LONGEST_BETWEEN_CHECKPOINTS_S = 120.0


class Slices:
    """Holds a file lock for some 20 seconds at a time, so that timings elsewhere get their turn.

    Call `turn` once per step. Without a path it does nothing.
    """

    def __init__(self, path: str | None, seconds: float = 20.0) -> None:
        self._file = Path(path).open("a", encoding="utf-8") if path else None  # noqa: SIM115 - held for good
        self._seconds = seconds
        self._until = 0.0
        self._held = False

    def turn(self) -> None:
        """Give the lock up when the slice is over, and wait for the next one."""
        if self._file is None or (self._held and time.monotonic() < self._until):
            return
        if self._held:
            self.drop()
            # Who waits for a flock needs a moment to be woken; without it the next line takes the lock back.
            time.sleep(1.0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._held, self._until = True, time.monotonic() + self._seconds

    def drop(self) -> None:
        if self._file is not None and self._held:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._held = False


class Checkpoint:
    """What a stopped run goes on from: written every two minutes, and at the end of a stage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = time.monotonic()

    def load(self) -> dict[str, Any]:
        return torch.load(self.path, weights_only=False) if self.path.is_file() else {}

    def save(self, *, now: bool = False, **state: Any) -> None:
        """Write the state, if it is time; `state` holds objects with `state_dict`, or plain values."""
        if not now and time.monotonic() - self._written < LONGEST_BETWEEN_CHECKPOINTS_S:
            return
        content = {
            name: value.state_dict() if hasattr(value, "state_dict") else value
            for name, value in state.items()
        }
        part = self.path.with_suffix(".part")
        torch.save(content, part)
        part.replace(self.path)
        self._written = time.monotonic()


def arguments(description: str | None, **defaults: str) -> argparse.ArgumentParser:
    """The options that all scripts share, one thread, and a fixed seed."""
    torch.set_num_threads(1)
    torch.manual_seed(7)
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, meaning in defaults.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=meaning)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and the model")
    parser.add_argument("--lock", help="file lock to take in slices of 20 s")
    return parser


def session(path: Path) -> onnxruntime.InferenceSession:
    """A quiet session of ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def report(line: str) -> None:
    """One line of progress, at once: the logs of long runs are read while they grow."""
    print(line, flush=True)  # noqa: T201
