"""How many tokens a row gets: one fixed length, the smallest of several buckets, or as many as it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine import OptionError


@dataclass(frozen=True, slots=True)
class Lengths:
    """Buckets in rising order; none: rows are as long as the longest text of a request, up to `longest`."""

    buckets: tuple[int, ...]
    longest: int

    @classmethod
    def read(cls, sequence_length: Any, positions: int | None) -> Lengths:
        """From the argument `sequence_length` and the model's number of positions, where that is known.

        Raises OptionError for anything but None, a whole number from 1 or a list of such, and for a length
        beyond the model's positions.
        """
        if sequence_length is None:
            return cls((), positions or LONGEST_UNKNOWN)
        given = list(sequence_length) if isinstance(sequence_length, (list, tuple)) else [sequence_length]
        bad = [n for n in given if not isinstance(n, int) or isinstance(n, bool) or n < 1]
        if bad or not given:
            message = (
                f"sequence_length must be a whole number from 1, a list of such numbers (buckets), or None "
                f"(as long as the text); got {sequence_length!r}."
            )
            raise OptionError(message)
        longest = max(given)
        if positions is not None and longest > positions:
            message = (
                f"sequence_length is {longest}, but the model has {positions} positions. "
                f"Take at most {positions}; longer texts are cut."
            )
            raise OptionError(message)
        return cls(tuple(sorted(set(given))), longest)

    @property
    def is_fixed(self) -> bool:
        """Whether every row has the same length."""
        return len(self.buckets) == 1

    def fitting(self, tokens: int) -> int:
        """The length of rows whose longest has this many tokens; the last bucket when none is large enough."""
        if not self.buckets:
            return min(max(tokens, 1), self.longest)
        return next((bucket for bucket in self.buckets if tokens <= bucket), self.longest)


# Where neither the model nor the tokenizer says how much it takes.
LONGEST_UNKNOWN = 512
