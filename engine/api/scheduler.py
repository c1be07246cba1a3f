"""How requests of several threads share the cores."""

from __future__ import annotations

from enum import Enum

from engine.errors import OptionError, OptionTypeError


class Scheduler(str, Enum):  # noqa: UP042 - prints as Scheduler.default, as it always did
    """The predecessor's three schedulers, by its names; each member equals its word.

    single_stream   one request at a time on all cores; others wait in order of arrival
    multi_stream    several at once, each on its own cores
    elastic         several at once, spread over memory nodes
    """

    default = "single_stream"
    single_stream = "single_stream"  # noqa: PIE796 - one member, two names
    multi_stream = "multi_stream"
    elastic = "elastic"

    @staticmethod
    def from_str(key: str) -> Scheduler:
        """The scheduler of this name; case does not matter, `-` equals `_`.

        Raises OptionError for another word.
        """
        word = key.strip().lower().replace("-", "_")
        if word not in _WORDS:
            message = f"unsupported scheduler {key!r}. Use one of {', '.join(sorted(_WORDS))}."
            raise OptionError(message)
        return _WORDS[word]


_WORDS = {
    "default": Scheduler.single_stream,
    "single_stream": Scheduler.single_stream,
    "single": Scheduler.single_stream,
    "sync": Scheduler.single_stream,
    "multi_stream": Scheduler.multi_stream,
    "multi": Scheduler.multi_stream,
    "async": Scheduler.multi_stream,
    "elastic": Scheduler.elastic,
}


def scheduler_of(given: object) -> Scheduler:
    """What a `scheduler` argument means; None and "" are the default.

    Raises OptionError for an unknown word, OptionTypeError for another type.
    """
    if given is None or given == "":
        return Scheduler.default
    if isinstance(given, Scheduler):
        return given
    if isinstance(given, str):
        return Scheduler.from_str(given)
    message = f"unsupported type for scheduler: {type(given).__name__}. Give a word or a Scheduler."
    raise OptionTypeError(message)
