"""Times of steps add up, whatever disturbs single steps."""

from __future__ import annotations

import pytest

from engine.bench.layers.measure import typical


def test_the_middle_half_of_the_walks_is_averaged() -> None:
    walks = [[1.0, 2.0], [1.0, 2.5], [1.5, 2.0], [2.0, 2.0], [90.0, 2.0]]
    assert typical(walks) == pytest.approx([1.5, (2.5 + 2.0 + 2.0) / 3])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_walks_are_all_kept(count: int) -> None:
    assert typical([[float(i), 1.0] for i in range(count)]) == [sum(range(count)) / count, 1.0]


def test_one_disturbance_in_each_walk_stays_in_the_sum() -> None:
    steps = 8
    walks = [[5.0 if step == turn else 1.0 for step in range(steps)] for turn in range(steps)]
    assert sum(typical(walks)) == pytest.approx(steps + 4)
