"""Which tasks there are: rows found in the folder `tasks`, and those that a program registers itself."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from engine import OptionError, OptionTypeError
from pipelines.names import did_you_mean, normal_form

if TYPE_CHECKING:
    from pipelines.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Task:
    """One row: what a task is called, the class that serves it, and the model it takes when none is given."""

    name: str
    pipeline: type[Pipeline]
    aliases: tuple[str, ...] = ()
    default_model_path: str | None = None


_TASKS: dict[str, Task] = {}
_IMPORT, _CUSTOM = "import:", "custom"
# Tasks of the predecessor that are left out on purpose.
_NOT_SERVED = (
    *("text_generation", "code_generation", "chat", "opt", "mpt", "llama", "bloom", "code_gen", "codegen"),
    *("information_retrieval_haystack", "haystack", "open_pif_paf"),
    *("clip_text", "clip_visual", "clip_zeroshot", "clip_caption", "clip_decoder"),
)


def add_task(task: Task) -> None:
    """Make a task known under its name and aliases, and write them on its class.

    The same class may be added again. Raises RuntimeError when a name belongs to another class.
    """
    names = (normal_form(task.name), *map(normal_form, task.aliases))
    for name in names:
        known = _TASKS.get(name)
        if known is not None and known.pipeline is not task.pipeline:
            owner = known.pipeline.__name__
            message = (
                f'Task "{name}" already belongs to {owner}. Register {task.pipeline.__name__} otherwise.'
            )
            raise RuntimeError(message)
    task.pipeline.task = names[0]
    task.pipeline.task_aliases = names[1:]
    task.pipeline.default_model_path = task.default_model_path
    _TASKS.update(dict.fromkeys(names, task))


def register(task: Task) -> None:
    """Make a program's own task known beside the built-in ones. Raises as `add_task` does."""
    _find_built_in()
    add_task(task)


def find_task(name: str) -> Task:
    """The task of this name or alias, in any spelling.

    `import:<module>` and `import:<file.py>` load the module, which defines TASK: a Task, or the name of a task
    that it registers. A name that begins with "custom" and is no task's is the task custom.

    Raises OptionError (a ValueError) that lists the known tasks and names the nearest; for a module, RuntimeError
    without TASK, FileNotFoundError without the file, and what loading it raises; NotImplementedError for a task of
    the predecessor that is left out.
    """
    _find_built_in()
    if not isinstance(name, str):
        message = f"task must be a name, for example sentiment-analysis; got {name!r}."
        raise OptionTypeError(message)
    if name.strip().lower().startswith(_IMPORT):
        return _imported(name.strip()[len(_IMPORT) :].strip())
    known = normal_form(name)
    found = _TASKS.get(known) or (_TASKS.get(_CUSTOM) if known.startswith(_CUSTOM) else None)
    if found is None and known in _NOT_SERVED:
        message = f'The task "{name}" is not served; Pipeline.tasks() lists those that are.'
        raise NotImplementedError(message)
    if found is None:
        names = sorted(_TASKS)
        near = did_you_mean(known, names)
        message = f'Unknown task "{name}"{near} Known tasks: {", ".join(names)}.'
        raise OptionError(message)
    return found


def _imported(place: str) -> Task:
    row = getattr(load_module(place), "TASK", None)
    if isinstance(row, Task):
        add_task(row)
        return row
    if not isinstance(row, str) or not row:
        message = f"{place} defines no TASK: a pipelines.Task, or the name of a task that it registers."
        raise RuntimeError(message)
    return find_task(row)


def load_module(place: str) -> ModuleType:
    """A module by its dotted name, or a Python file by its path (`.py` may be left out).

    Raises FileNotFoundError when there is neither.
    """
    file = next((file for file in (Path(place), Path(f"{place}.py")) if file.is_file()), None)
    if file is None:
        try:
            return importlib.import_module(place)
        except (ModuleNotFoundError, TypeError, ValueError) as error:
            message = f'"{place}" is neither a Python file nor a module: {error}'
            raise FileNotFoundError(message) from error
    name = f"pipelines_from_file_{abs(hash(file.resolve()))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        message = f"{file} is not a Python file."
        raise FileNotFoundError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def all_tasks() -> tuple[Task, ...]:
    """Every known task once, by name."""
    _find_built_in()
    return tuple(sorted({task.name: task for task in _TASKS.values()}.values(), key=lambda task: task.name))


@cache
def _find_built_in() -> None:
    import pipelines.tasks as folder  # the tasks import this module

    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda entry: entry.name):
        row = getattr(importlib.import_module(f"{folder.__name__}.{module.name}"), "TASK", None)
        if not isinstance(row, Task):
            message = f"pipelines/tasks/{module.name}.py has no constant TASK of type Task."
            raise TypeError(message)
        add_task(row)
