"""Options by ONNX Runtime's names: honoured where they have a meaning here, refused where silence would mislead."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import IntEnum

from engine.errors import OptionError


class GraphOptimizationLevel(IntEnum):
    """Taken and ignored: there is one set of rewrites, all of which keep the results."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(IntEnum):
    """Taken and ignored: the steps of a request run one after another, each on all cores."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


@dataclass(slots=True)
class SessionOptions:
    """Options of a session.

    Honoured:
      intra_op_num_threads      physical cores; 0: all
      add_free_dimension_override_by_name   sizes of open dimensions, compiled for ahead of the first run
    Refused with OptionError, because the file that they ask for would not come:
      enable_profiling          `python -m engine.bench MODEL --layers` has the same
      optimized_model_filepath  no model is written
    All others are kept and change nothing; logging is Python's, by the logger "sparselane".
    """

    intra_op_num_threads: int = 0
    inter_op_num_threads: int = 0
    execution_mode: int = ExecutionMode.ORT_SEQUENTIAL
    graph_optimization_level: int = GraphOptimizationLevel.ORT_ENABLE_ALL
    execution_order: int = 0
    enable_cpu_mem_arena: bool = True
    enable_mem_pattern: bool = True
    enable_mem_reuse: bool = True
    enable_profiling: bool = False
    profile_file_prefix: str = "onnxruntime_profile_"
    optimized_model_filepath: str = ""
    log_severity_level: int = -1
    log_verbosity_level: int = 0
    logid: str = ""
    use_deterministic_compute: bool = False
    _entries: dict[str, str] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Keep an entry, which changes nothing."""
        self._entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """An entry that was added. Raises OptionError for another."""
        if key not in self._entries:
            message = f"no session config entry {key!r} was added."
            raise OptionError(message)
        return self._entries[key]

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Let the open dimension of this symbol have this size."""
        if size < 1:
            message = f"the size of dimension {name!r} must be at least 1; got {size}."
            raise OptionError(message)
        self._sizes[name] = size

    @property
    def free_dimensions(self) -> dict[str, int]:
        """Sizes of open dimensions by symbol."""
        return dict(self._sizes)

    def register_custom_ops_library(self, path: str) -> None:
        """Refused: compiled operators of others cannot be run. Raises OptionError."""
        message = f"{path} holds operators compiled for ONNX Runtime, which this engine cannot run."
        raise OptionError(message)

    def check(self) -> None:
        """Raises OptionError for what is refused, or a negative number of threads."""
        if self.enable_profiling:
            message = (
                "enable_profiling writes no file here; run `python -m engine.bench MODEL --layers` instead."
            )
            raise OptionError(message)
        if self.optimized_model_filepath:
            message = "optimized_model_filepath is not written here; leave it empty."
            raise OptionError(message)
        if self.intra_op_num_threads < 0:
            message = f"intra_op_num_threads must be at least 0; got {self.intra_op_num_threads}."
            raise OptionError(message)


@dataclass(slots=True)
class RunOptions:
    """Options of one run. `terminate = True`, from any thread, ends the run between two steps; others change nothing."""

    log_severity_level: int = 2
    log_verbosity_level: int = 0
    logid: str = ""
    only_execute_path_to_fetches: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def terminate(self) -> bool:
        """Whether the run is to end."""
        return self.cancelled.is_set()

    @terminate.setter
    def terminate(self, value: bool) -> None:
        if value:
            self.cancelled.set()
        else:
            self.cancelled.clear()

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Taken and ignored."""
