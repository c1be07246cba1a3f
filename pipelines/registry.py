"""Which tasks there are: rows found in the folder `tasks`, and those that a program registers itself."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from engine import OptionError
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

    Raises OptionError (a ValueError) that lists the known tasks and names the nearest.
    """
    _find_built_in()
    found = _TASKS.get(normal_form(name))
    if found is None:
        names = sorted(_TASKS)
        near = did_you_mean(normal_form(name), names)
        message = f'Unknown task "{name}"{near} Known tasks: {", ".join(names)}.'
        raise OptionError(message)
    return found


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
