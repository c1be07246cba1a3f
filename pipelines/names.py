"""Spelling of names: one normal form for task names, and the known name that a wrong one was meant to be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


def normal_form(name: str) -> str:
    """`Sentiment-Analysis`, `sentiment analysis` and `sentiment_analysis` are one name."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The sentence part `; did you mean "..."?` for the nearest known word, or a full stop without one."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{near[0]}"?' if near else "."
