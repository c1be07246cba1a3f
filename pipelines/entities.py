"""From the scores of pieces to named entities: the aggregation strategies of token classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """A token of a sentence, or a word of several, with its score for each tag.

    index        place of the token in its row, special tokens included
    start, end   characters of the sentence
    continues    whether it goes on the word of the piece before it
    """

    index: int
    word: str
    start: int
    end: int
    scores: Scores
    continues: bool


@dataclass(frozen=True, slots=True)
class Entity:
    """A tagged piece, or a group of them; `tag` is without B- and I- for a group."""

    tag: str
    score: float
    word: str
    start: int
    end: int
    index: int | None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How tags and pieces are written: tag number to name, and pieces to text."""

    tag: Callable[[int], str]
    text: Callable[[list[str]], str]


Strategy = Callable[[list[Piece]], Scores]


def _first(pieces: list[Piece]) -> Scores:
    return pieces[0].scores


def _average(pieces: list[Piece]) -> Scores:
    mean: Scores = np.mean([piece.scores for piece in pieces], axis=0)
    return mean


def _max(pieces: list[Piece]) -> Scores:
    return max(pieces, key=lambda piece: float(piece.scores.max())).scores


# A word's scores from those of its pieces; the strategies none and simple leave the pieces as they are.
WORD_SCORES: dict[str, Strategy] = {"first": _first, "average": _average, "max": _max}
STRATEGIES = ("none", "simple", *WORD_SCORES)


def entities(pieces: Sequence[Piece], strategy: str, vocabulary: Vocabulary) -> list[Entity]:
    """Every tagged piece (`none`), or groups of neighbours with the same tag.

    A group ends before a piece whose tag begins with B-, and its score is the mean of its members'. The
    strategies first, average and max make words of pieces before they group.
    """
    if strategy in WORD_SCORES:
        pieces = _words(pieces, WORD_SCORES[strategy], vocabulary)
    tagged = [_tagged(piece, vocabulary) for piece in pieces]
    return tagged if strategy == "none" else _groups(tagged, vocabulary)


def _words(pieces: Sequence[Piece], scores_of: Strategy, vocabulary: Vocabulary) -> list[Piece]:
    words: list[list[Piece]] = []
    for piece in pieces:
        if words and piece.continues:
            words[-1].append(piece)
        else:
            words.append([piece])
    return [
        replace(
            word[0],
            word=vocabulary.text([piece.word for piece in word]),
            end=word[-1].end,
            scores=scores_of(word),
        )
        for word in words
    ]


def _tagged(piece: Piece, vocabulary: Vocabulary) -> Entity:
    best = int(piece.scores.argmax())
    score = float(piece.scores[best])
    return Entity(vocabulary.tag(best), score, piece.word, piece.start, piece.end, piece.index)


def _groups(tagged: list[Entity], vocabulary: Vocabulary) -> list[Entity]:
    groups: list[list[Entity]] = []
    for entity in tagged:
        begins, kind = _split(entity.tag)
        if groups and not begins and kind == _split(groups[-1][-1].tag)[1]:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return [
        Entity(
            tag=group[0].tag.split("-", 1)[-1],
            score=float(np.mean([entity.score for entity in group])),
            word=vocabulary.text([entity.word for entity in group]),
            start=group[0].start,
            end=group[-1].end,
            index=None,
        )
        for group in groups
    ]


def _split(tag: str) -> tuple[bool, str]:
    """Whether a tag begins an entity, and its type; tags of another form are all of the inside."""
    return tag.startswith("B-"), tag[2:] if tag.startswith(("B-", "I-")) else tag
