"""Context and MultiModelEngine: several models on one set of threads and streams."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from engine.api.engine import Engine
from engine.api.placement import Placement, place
from engine.api.scheduler import Scheduler
from engine.errors import OptionTypeError


class Context:
    """Cores and streams that several engines share; always elastic.

    num_cores     physical cores; None: all that this process may use
    num_streams   requests at once, of all engines together; None: one for each last-level cache

    Requests of all engines are served in order of arrival, so heavy traffic on one model delays the others. Engines
    of the same model share its packed weights. Raises OptionError, OptionTypeError as an Engine.
    """

    def __init__(self, num_cores: int | None = None, num_streams: int | None = None) -> None:
        self._placement = place(num_cores, num_streams, Scheduler.elastic, own=True)
        self._placement.streams.join(self)

    @property
    def value(self) -> Placement:
        """What engines of this context are placed on; opaque."""
        return self._placement

    @property
    def num_cores(self) -> int:
        return self._placement.num_cores

    @property
    def num_streams(self) -> int:
        """Requests that really run at once."""
        return len(self._placement.streams)

    @property
    def scheduler(self) -> Scheduler:
        return self._placement.scheduler

    def close(self) -> None:
        """Stop the threads, once requests in line are served; engines of this context refuse further ones."""
        self._placement.streams.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Context(num_cores={self.num_cores}, num_streams={self.num_streams}, scheduler=Scheduler.elastic)"


class MultiModelEngine(Engine):
    """An Engine on the threads and streams of a context; cores, streams and scheduler are the context's.

    Everything else as Engine. Raises OptionTypeError for a context of another type.
    """

    def __init__(
        self,
        model: Any,
        batch_size: int | None,
        context: Context,
        input_shapes: Sequence[Any] | None = None,
        cached_outputs: Sequence[bool] | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(context, Context):
            message = f"context must be a Context; got {type(context).__name__}."
            raise OptionTypeError(message)
        self._context = context
        super().__init__(
            model, batch_size, input_shapes=input_shapes, cached_outputs=cached_outputs, **options
        )

    def _place(self, num_cores: object, num_streams: object, scheduler: object) -> Placement:  # noqa: ARG002 - the context's
        return self._context.value
