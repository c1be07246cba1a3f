"""Padding masks that writers compute by way of indices and expansions, recognised by what they compute.

    attention_mask ── Cast ── Gather by b * s + i ── And(i >= 0) ── Expand[b,1,s,s] ── Where(0, low) ── attention

    =>   attention_mask ── Cast(bool) ── Reshape[b,1,1,s] ── Where(0, low) ── attention

A window of the keys next to each query is recognised with it, and becomes the attention's own:

    And(attention_mask, |i - j| <= w) ── Where(0, low)[b,1,s,s] ── attention
    =>   attention_mask ── Cast(bool) ── Reshape[b,1,1,s] ── Where(0, low) ── attention(window = (w, w, low))

Rounded by parameters of a calibration that saw no padding, a mask may be 0 throughout: such a one is dropped.

Newer exporters write some eighty nodes for it, each version its own. So the part of the graph between the integer
input and the attention is run on probes: masks of ones, of zeros, with a wholly masked row, with other numbers. It is
replaced only where every probe gives exactly 0 where the mask is nonzero (or: is one) and `low` elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.graph import OPS, Array, Graph, Node, Record, Value, constant, evaluate, node, order, substitute
from engine.graph.ops.attention import in_window

# Cheap at run time as they stand, if nothing was expanded.
PLAIN = frozenset({"Constant", "Input", "Reshape"})
# Which input of attention the mask is.
MASK = 3
# Adding so low a number to a finite score gives the number itself.
LOWEST = -1e30
# [b, h, s, t]: what the mask is added to.
RANK = 4


@dataclass(frozen=True)
class _Plain:
    """A mask written plainly: one number a key, None where it adds nothing; the queries' window (before, behind, low)."""

    keys: Value | None
    window: tuple[int, int, float] | None = None


def find_padding_masks(graph: Graph, record: Record) -> Graph:
    """`graph` with masks of attention that are padding masks, or windows, in disguise written plainly."""
    readers = [found for found in graph.nodes() if found.op == "attention" and len(found.inputs) > MASK]
    plain = {
        mask: _plain(mask)
        for mask in dict.fromkeys(found.inputs[MASK] for found in readers)
        if mask is not None
    }
    replaced: dict[Value, Value] = {}
    for reader in readers:
        mask = reader.inputs[MASK]
        written = None if mask is None else plain[mask]
        if written is not None and (written.window is None or _takes_window(reader)):
            # The plain mask has another shape, so the reader is exchanged and not the mask.
            rest = reader.inputs[MASK + 1 :]
            inputs = (*reader.inputs[:MASK], *((written.keys, *rest) if rest or written.keys else ()))
            window = {} if written.window is None else {"window": written.window}
            replaced[reader[0]] = node(reader.op, *inputs, name=reader.name, **{**reader.attrs, **window})[0]
            record.append(("find_padding_masks", reader.name))
    return substitute(graph, replaced) if replaced else graph


def _takes_window(reader: Node) -> bool:
    """Whether queries and keys are the same positions, and nothing is rounded between the products."""
    q, k = reader.inputs[:2]
    is_plain = reader.attrs["scores"] is None and reader.attrs["probability"] is None
    is_plain = is_plain and "buckets" not in reader.attrs
    return is_plain and q is not None and k is not None and q.shape[1] == k.shape[1]


def _plain(mask: Value) -> _Plain | None:
    if mask.array is not None:
        return _windowed_constant(mask.array)
    nodes = order([mask])
    sources = [entry for entry in nodes if entry.op == "Input"]
    if len(sources) != 1 or not _is_roundabout(mask, nodes):
        return None
    source = sources[0][0]
    fits = source.dtype.kind in "ib" and len(source.shape) == 2 and mask.type.shape is not None
    return _recognised(mask, source) if fits and mask.shape[-1:] == source.shape[1:] else None


def _windowed_constant(mask: Array) -> _Plain | None:
    """What a constant mask says: nothing at all, or a window."""
    low = mask.min(initial=0)
    if not mask.any():
        return _Plain(None)
    is_square = mask.ndim >= 2 and mask.size == mask.shape[-2] * mask.shape[-1]
    if not is_square or not ((mask == 0) | (mask == low)).all():
        return None
    window = _window(mask.reshape(mask.shape[-2:]) == 0, float(low))
    return None if window is None else _Plain(None, window)


def _window(inside: Array, low: float) -> tuple[int, int, float] | None:
    """The window that is inside; None if there is none, all is, or something that no window is."""
    queries, keys = np.nonzero(inside)
    if queries.size in (0, inside.size) or low > LOWEST:
        return None
    before, behind = int((queries - keys).max()), int((keys - queries).max())
    if before < 0 or behind < 0 or not np.array_equal(inside, in_window(before, behind, *inside.shape)):
        return None
    return before, behind, low


def _is_roundabout(mask: Value, nodes: list[Node]) -> bool:
    """Whether more is computed than one number per token, or by other means than element by element."""
    expanded = mask.type.shape is None or int(np.prod(mask.shape[-3:-1])) > 1
    return expanded or any(entry.op not in PLAIN and not _is_elementwise(entry) for entry in nodes)


def _is_elementwise(entry: Node) -> bool:
    return entry.op in OPS and OPS[entry.op].elementwise


def _recognised(mask: Value, source: Value) -> _Plain | None:
    """The mask written plainly; no mask where it is 0 for every probe."""
    cone = Graph((source,), (mask,), ("mask",))
    probes = _probes(source)
    try:
        found = [evaluate(cone, {source.node.name: probe})[0] for probe in probes]
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        # A mask that is used as an index, say, need not take the probes' numbers.
        return None
    if not any(y.any() for y in found):
        return _Plain(None)
    if found[0].ndim != RANK or found[0].shape[0] != source.shape[0] or not found[0].flat[:1] < 0:
        return None
    low = np.asarray(found[0].flat[0])
    # Of the probe of ones, nothing is masked but what a window leaves out.
    inside = found[1][:1, :1] == 0
    window = _window(inside[0, 0], float(low))
    if window is None and not inside.all():
        return None
    for keeps in (_is_nonzero, _is_one):
        expected = [np.where(keeps(probe)[:, None, None, :] & inside, np.float32(0), low) for probe in probes]
        if all(np.array_equal(y, np.broadcast_to(z, y.shape)) for y, z in zip(found, expected, strict=True)):
            keys = _written(source, low, mask.node.name, exactly_one=keeps is _is_one)
            return _Plain(keys, window)
    return None


def _is_nonzero(probe: Array) -> Array:
    return np.asarray(probe != 0)


def _is_one(probe: Array) -> Array:
    return np.asarray(probe == 1)


def _probes(source: Value) -> list[Array]:
    """Zeros first: they show what is added where the mask is zero. A seeded generator: compiling is repeatable."""
    rng = np.random.default_rng(20)
    shape = source.shape
    partly = rng.integers(0, 2, shape)
    partly[-1] = 0
    numbers = [np.zeros(shape), np.ones(shape), partly, rng.integers(0, 2, shape), rng.integers(-1, 4, shape)]
    return [probe.astype(source.dtype) for probe in numbers]


def _written(source: Value, low: Array, name: str, *, exactly_one: bool) -> Value:
    if exactly_one and source.dtype != np.bool_:
        kept = node("Equal", source, constant(np.ones((), source.dtype)), name=name)[0]
    else:
        kept = (
            source if source.dtype == np.bool_ else node("Cast", source, name=name, to=np.dtype(np.bool_))[0]
        )
    wide = node("Reshape", kept, name=name, shape=(source.shape[0], 1, 1, source.shape[1]))[0]
    return node("Where", wide, constant(np.zeros((), np.float32)), constant(low), name=name)[0]
