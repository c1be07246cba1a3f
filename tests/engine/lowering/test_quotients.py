"""Two operations by a constant's inverse give the whole numbers that a division does, where lowering says so."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from engine.lowering.quotients import two_part_inverse


def _float32(number: Fraction) -> np.float32:
    """The float32 next to it, half to even."""
    guess = np.float32(float(number))
    around = [np.nextafter(guess, np.float32(side)) for side in (-np.inf, np.inf)]
    return min(
        (guess, *around),
        key=lambda x: (abs(Fraction(float(x)) - number), int(np.float32(x).view(np.int32)) & 1),
    )


def _differences(step: float, inverse: float, rest: float) -> int:
    """Numbers near halves whose quotients round to other whole numbers."""
    halves = ((np.arange(256) + 0.5) * np.float64(step)).astype(np.float32)
    count = 0
    for offset in (-2, -1, 0, 1, 2):
        for x in (halves.view(np.int32) + offset).view(np.float32):
            product = np.float32(x) * np.float32(rest)
            total = Fraction(float(x)) * Fraction(inverse) + Fraction(float(product))
            count += int(np.rint(_float32(total)) != np.rint(x / np.float32(step)))
    return count


@pytest.mark.parametrize("step", [0.037, 1 / 3, 0.1, 0.75, 2.0**-7, 1e-9, 12345.678, 1.25])
def test_whole_numbers_are_those_of_the_division(step: float) -> None:
    step = float(np.float32(step))
    found = two_part_inverse(step)
    assert found is not None
    assert _differences(step, *found) == 0


def test_powers_of_two_have_no_rest() -> None:
    assert two_part_inverse(2.0**-7) == (128.0, 0.0)


def test_the_inverse_alone_would_not_do() -> None:
    step = float(np.float32(0.037))
    assert _differences(step, float(np.float32(1) / np.float32(step)), 0.0) > 0


def test_most_steps_are_taken() -> None:
    steps = np.random.default_rng(4).uniform(0.001, 1, 400).astype(np.float32)
    assert sum(two_part_inverse(float(step)) is None for step in steps) < 4


@pytest.mark.parametrize("step", [1.0000001, 0.99999994, 0.9726562])
def test_a_step_with_quotients_too_near_to_call_is_refused(step: float) -> None:
    assert two_part_inverse(step) is None
