"""The arena: buffers alive together never share a byte, those that are not may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.plan.arena import Life, place
from engine.plan.steps import Buffer

BUFFERS = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 20), st.integers(0, 20), st.booleans()), max_size=30
)


@given(BUFFERS)
def test_buffers_alive_together_do_not_overlap(rows: list[tuple[int, int, int, bool]]) -> None:
    buffers = [Buffer(size, permanent) for size, _, _, permanent in rows]
    life = {id(b): Life(min(f, t), max(f, t)) for b, (_, f, t, _) in zip(buffers, rows, strict=True)}
    offsets, total = place(buffers, life)
    for i, a in enumerate(buffers):
        assert offsets[id(a)] % 64 == 0
        assert offsets[id(a)] + a.size <= total
        for b in buffers[:i]:
            together = (
                a.permanent
                or b.permanent
                or not (life[id(a)].last < life[id(b)].first or life[id(b)].last < life[id(a)].first)
            )
            apart = offsets[id(a)] + a.size <= offsets[id(b)] or offsets[id(b)] + b.size <= offsets[id(a)]
            assert apart or not together


def test_bytes_are_used_again() -> None:
    buffers = [Buffer(1000) for _ in range(10)]
    life = {id(b): Life(i, i + 1) for i, b in enumerate(buffers)}
    _, total = place(buffers, life)
    assert total == 2 * 1024


def test_a_buffer_nobody_reads_lives_throughout() -> None:
    lonely, other = Buffer(64), Buffer(64)
    offsets, total = place([lonely, other], {id(other): Life(3, 4)})
    assert offsets[id(lonely)] != offsets[id(other)]
    assert total == 128
