"""Every error the engine raises, in one tree.

    SparselaneError
    ├── EngineError (RuntimeError)            something went wrong while compiling or running
    │   ├── UnsupportedOpError                an operator that no kernel, step or reference knows
    │   ├── WorkerError                       a worker thread died at work on the request
    │   ├── DeadlineError (TimeoutError)      the request's time was over before it was finished
    │   ├── RequestCancelledError             the caller called it off
    │   ├── ClosedError                       the engine or its context was closed
    │   └── InternalError                     a broken promise between two rooms: please report it
    ├── ModelError (ValueError)               the file is not a model we can read
    │   └── ModelNotFoundError (FileNotFoundError)
    ├── OptionError (ValueError)              an argument, option or environment variable out of range
    └── InputError (ValueError)               what was given to run() does not fit the model
        ├── InputTypeError                    not a list, not contiguous
        └── TensorError (RuntimeError)        dtype, shape or count; old code catches either kind

Messages have three parts: what happened, where, what to do next.
"""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """What an error of another package says first, or of a file: for our messages of one line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A line that ends so says nothing without those it announces.
    count = next((count for count, line in enumerate(lines, 1) if not line.endswith(":")), len(lines))
    return " ".join(lines[:count]).rstrip(".") or type(error).__name__


class SparselaneError(Exception):
    """Root of all errors that the engine, the pipelines and the server raise on purpose."""


class EngineError(SparselaneError, RuntimeError):
    """Compiling or running a model failed."""


class UnsupportedOpError(EngineError):
    """An operator of the model is known to no kernel and to no reference."""


class WorkerError(EngineError):
    """A worker thread died while it worked on this request; the next request starts another worker."""


class DeadlineError(EngineError, TimeoutError):
    """A request's time was over, while it waited or between two of its steps."""

    # OSError would format itself from errno; the message is all there is here.
    __str__ = Exception.__str__


class RequestCancelledError(EngineError):
    """A request was cancelled by its caller, while it waited or between two of its steps."""


class ClosedError(EngineError):
    """A request came after its engine or context was closed."""


class InternalError(EngineError):
    """One room of the engine broke its promise to another."""


class ModelError(SparselaneError, ValueError):
    """A model file cannot be read: missing, truncated, or not ONNX."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """No model at the given path, folder or stub."""

    # OSError would format itself from errno; the message is all there is here.
    __str__ = Exception.__str__


class OptionError(SparselaneError, ValueError):
    """An argument, option or environment variable has a value out of its range."""


class OptionTypeError(OptionError, TypeError):
    """An argument is of a type that the parameter does not take."""


class InputError(SparselaneError, ValueError):
    """The arrays given to a model do not fit it."""


class InputTypeError(InputError):
    """The inputs are not a list of C-contiguous arrays."""


class TensorError(InputError, RuntimeError):
    """An input has the wrong dtype or shape, or there are too many or too few."""
