"""Whether the items of a batch can be computed apart, some at a time.

    x [16, 128] ── a request ── y [16, 768]        rows 4 i .. 4 i + 3 of y depend on the same rows of x alone, and
    x [ 4, 128] ── its part ─── y [ 4, 768]        in the same way whatever i is: four parts answer for the whole

The graph is bound to both batches and the two are compared, node by node: the same operators with the same numbers.
A value is either the same in both, or a run of equal parts in memory, one an item, that no operator mixes. What an
operator does to items is said by `RULES`; one without a rule keeps the batch whole. Constants of the batch's size are
either the same numbers for each item or, as exporters of masks write them, the places of its own rows:

    gather(table of rows [batch * 3], [[0, 2], [3, 5], [6, 8] ...])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from engine.graph import OPS, Array, Graph, Node, Value, order

# What is known of a value: the same for all items; a part of it each; numbers that only tell items where their rows are.
SAME, ITEMS, PLACES = "same", "items", "places"

# Operators whose attribute `shape` is their result's.
_SHAPED = ("Expand", "Reshape", "Resize")

# Of these, steps read what input 0 lies in.
_READ_AS_THEY_ARE = ("DequantizeLinear", "windows")

Kinds = Mapping[Value, str]
Rule = Callable[[Node, Kinds], bool]


def items_apart(whole: Graph, part: Graph) -> bool:
    """Whether outputs of `whole` are those of `part` for each part of the inputs, one behind the other.

    whole, part   one model bound to two batches: axis 0 of every input
    """
    nodes, parts = order(whole.outputs), order(part.outputs)
    batches = {value.shape[:1] for value in whole.inputs}, {value.shape[:1] for value in part.inputs}
    if len(nodes) != len(parts) or any(len(sizes) != 1 or () in sizes for sizes in batches):
        return False
    batch, fewer = (sizes.pop()[0] for sizes in batches)
    kinds: dict[Value, str] = {}
    twins: dict[Node, Node] = {}
    for node, twin in zip(nodes, parts, strict=True):
        twins[node] = twin
        kind = _kind(node, twin, kinds, (batch, fewer)) if _alike(node, twin, twins) else None
        if kind is None:
            return False
        kinds.update((node[index], kind) for index in range(len(node.types)))
    ends = zip(whole.outputs, part.outputs, strict=True)
    return all(kinds[a] == ITEMS and twins[a.node] is b.node and a.index == b.index for a, b in ends)


def held_bytes(graph: Graph) -> int:
    """Bytes of activations that the largest step of a graph, after all passes, reads and writes."""
    return max((_held(node) for node in graph.nodes() if node.op not in ("Input", "Constant")), default=0)


def _held(node: Node) -> int:
    values = {value for value in node.inputs if value is not None and value.array is None}
    return sum(map(_bytes, values)) + sum(_bytes(node[index]) for index in range(len(node.types)))


def _bytes(value: Value) -> int:
    if value.op in _READ_AS_THEY_ARE:
        source = value.node.inputs[0]
        return 0 if source is None else _bytes(source)
    return 0 if value.type.shape is None else int(np.prod(value.shape)) * value.dtype.itemsize


# -- two graphs
def _alike(node: Node, twin: Node, twins: Mapping[Node, Node]) -> bool:
    """The same operator on the same values with the same attributes, but for shapes, which types tell."""
    if node is twin:
        return True
    if node.op != twin.op or len(node.inputs) != len(twin.inputs) or len(node.types) != len(twin.types):
        return False
    for mine, its in zip(node.inputs, twin.inputs, strict=True):
        if mine is None or its is None:
            if mine is not its:
                return False
        elif twins[mine.node] is not its.node or mine.index != its.index:
            return False
    if node.op in ("Input", "Constant"):
        return node.name == twin.name or node.op == "Constant"
    names = (node.attrs.keys() | twin.attrs.keys()) - ({"shape"} if node.op in _SHAPED else set())
    return all(_equal(node.attrs.get(name), twin.attrs.get(name)) for name in names)


def _equal(mine: Any, its: Any) -> bool:
    if mine is its:
        return True
    if isinstance(mine, np.ndarray) and isinstance(its, np.ndarray):
        return _equal_arrays(mine, its)
    return type(mine) is type(its) and bool(np.all(mine == its))


def _equal_arrays(mine: Array, its: Array) -> bool:
    same = mine.dtype == its.dtype and mine.shape == its.shape
    return same and (
        mine is its or np.ascontiguousarray(mine).tobytes() == np.ascontiguousarray(its).tobytes()
    )


def _kind(node: Node, twin: Node, kinds: Kinds, batches: tuple[int, int]) -> str | None:
    """What the outputs of a node are; None where nothing is known."""
    if node is twin:
        return SAME
    if node.op == "Constant":
        return _kind_of_constant(node[0], twin[0], batches)
    if node.op == "Input":
        return ITEMS if _in_parts(node, twin, batches) else None
    found = {SAME if value is None else kinds[value] for value in node.inputs}
    if found == {SAME}:
        return SAME if node.op in OPS and node.types == twin.types else None
    if PLACES in found:
        return ITEMS if _in_parts(node, twin, batches) and _own_rows(node, twin, kinds, batches) else None
    row = OPS.get(node.op)
    rule = RULES.get(node.op, _lined_up if row is not None and row.elementwise else None)
    return ITEMS if rule is not None and _in_parts(node, twin, batches) and rule(node, kinds) else None


def _in_parts(node: Node, twin: Node, batches: tuple[int, int]) -> bool:
    """Whether axis 0 of every output goes with the batch, and all other sizes do not."""
    batch, fewer = batches
    for mine, its in zip(node.types, twin.types, strict=True):
        if not mine.shape or not its.shape or mine.dtype != its.dtype or mine.shape[1:] != its.shape[1:]:
            return False
        if mine.shape[0] % batch or its.shape[0] % fewer or mine.shape[0] // batch != its.shape[0] // fewer:
            return False
    return True


def _kind_of_constant(value: Value, twin: Value, batches: tuple[int, int]) -> str | None:
    """The same numbers; or the same for every item, as where one row was spread over a batch; or others for each."""
    mine, its = value.node.attrs["value"], twin.node.attrs["value"]
    if _equal_arrays(mine, its):
        return SAME
    if not _in_parts(value.node, twin.node, batches):
        return None
    rows, fewer = (array.reshape(batch, -1) for array, batch in zip((mine, its), batches, strict=True))
    first = rows[:1].tobytes()
    same = all(row.tobytes() == first for row in (*rows, *fewer))
    return ITEMS if same else PLACES


def _own_rows(node: Node, twin: Node, kinds: Kinds, batches: tuple[int, int]) -> bool:
    """Whether a gather leads each item to rows of its own, and all of them alike."""
    table = node.inputs[0]
    whole_rows = {"Gather": node.attrs.get("axis") == 0, "GatherND": node.attrs.get("batch_dims") == 0}
    if table is None or kinds[table] != ITEMS or not whole_rows.get(node.op, False):
        return False
    mine, its = (_from_first_row(entry, batch) for entry, batch in zip((node, twin), batches, strict=True))
    return mine is not None and its is not None and bool((mine == its).all())


def _from_first_row(node: Node, batch: int) -> Array | None:
    """Where an item's rows lie, counted from its first one; None where items differ in it or leave their rows."""
    table, places = node.inputs
    if table is None or places is None or places.array is None:
        return None
    rows, depth = table.shape[0] // batch, places.shape[-1] if node.op == "GatherND" else 1
    found = places.array.reshape(batch, -1, depth).astype(np.int64)
    found[..., 0] -= rows * np.arange(batch).reshape(-1, 1)
    inside = (found[..., 0] >= 0).all() and (found[..., 0] < rows).all()
    return found[0] if inside and (found == found[0]).all() else None


# -- operators
def _lined_up(node: Node, kinds: Kinds) -> bool:
    """Operands that broadcast: those with items line up on axis 0, and others have no such axis, or one for all."""
    rank = len(node.types[0].shape or ())
    for value in node.inputs:
        if value is None:
            continue
        shape = value.shape
        if kinds[value] == ITEMS and (len(shape) != rank or shape[0] != node[0].shape[0]):
            return False
        if kinds[value] == SAME and len(shape) == rank and shape[0] != 1:
            return False
    return True


def _first_alone(node: Node, kinds: Kinds) -> bool:
    """Input 0 has items, and whatever else goes in is the same for all."""
    first, *rest = node.inputs
    return first is not None and all(value is None or kinds[value] == SAME for value in rest)


def _not_along_items(name: str) -> Rule:
    """Input 0 alone, along other axes than 0; attribute `name` says which."""

    def rule(node: Node, kinds: Kinds) -> bool:
        axes, rank = node.attrs[name], len(node.inputs[0].shape) if node.inputs[0] is not None else 0
        along = axes if isinstance(axes, (tuple, list)) else (axes,)
        return rank > 0 and _first_alone(node, kinds) and all(axis % rank for axis in along)

    return rule


def _per_channel(node: Node, kinds: Kinds) -> bool:
    """A scale of one number, or one along another axis than 0."""
    scale = node.inputs[1]
    return (
        scale is not None
        and _first_alone(node, kinds)
        and (scale.shape in ((), (1,)) or _not_along_items("axis")(node, kinds))
    )


def _running_sum(node: Node, kinds: Kinds) -> bool:
    axis = node.inputs[1]
    return axis is not None and axis.array is not None and int(axis.array) > 0 and _first_alone(node, kinds)


def _product(node: Node, kinds: Kinds) -> bool:
    """Rows of a on one b, or matrix by matrix."""
    a, b, *rest = node.inputs
    if a is None or b is None or any(value is not None and kinds[value] != SAME for value in rest):
        return False
    ranks = len(a.shape), len(b.shape)
    if kinds[a] == kinds[b] == ITEMS:
        return ranks[0] == ranks[1] > 2 and a.shape[0] == b.shape[0]
    if kinds[a] == ITEMS:
        return ranks[0] > 1 and (ranks[1] < ranks[0] or ranks == (2, 2) or b.shape[0] == 1)
    return ranks[1] > 2 and (ranks[0] < ranks[1] or a.shape[0] == 1)


def _quantised_product(node: Node, kinds: Kinds) -> bool:
    a, a_scale, a_zero, b, *rest = node.inputs
    plain = Node("MatMul", (a, b, a_scale, a_zero, *rest), node.types)
    return _product(plain, kinds)


def _gemm(node: Node, kinds: Kinds) -> bool:
    a, b, *addend = node.inputs
    if a is None or b is None or kinds[a] != ITEMS or kinds[b] != SAME or node.attrs["transA"]:
        return False
    return all(c is None or kinds[c] == ITEMS or len(c.shape) < 2 or c.shape[0] == 1 for c in addend)


def _gathered(node: Node, kinds: Kinds) -> bool:
    """Rows of one table for each item; or the same places of every item."""
    table, places = node.inputs
    if table is None or places is None:
        return False
    axis = node.attrs["axis"] % len(table.shape)
    return axis == 0 if kinds[table] == SAME else axis > 0 and kinds[places] == SAME


def _gathered_by_tuples(node: Node, kinds: Kinds) -> bool:
    first, second = (None if value is None else kinds[value] for value in node.inputs)
    return second == ITEMS and first == (ITEMS if node.attrs["batch_dims"] else SAME)


def _all_with_items(node: Node, kinds: Kinds) -> bool:
    """Inputs that have items, and as many rows of each; GatherElements would take fewer places than rows."""
    values = [value for value in node.inputs if value is not None]
    return (
        node.attrs["axis"] > 0
        and all(kinds[value] == ITEMS for value in values)
        and len({value.shape[0] for value in values}) == 1
    )


def _padded(node: Node, kinds: Kinds) -> bool:
    pads = node.attrs["pads"]
    return pads[0] == pads[len(pads) // 2] == 0 and _first_alone(node, kinds)


def _attention(node: Node, kinds: Kinds) -> bool:
    q, k, v, *rest = node.inputs
    mask = rest[0] if rest else None
    if any(value is None or kinds[value] != ITEMS for value in (q, k, v)):
        return False
    return mask is None or kinds[mask] == ITEMS or len(mask.shape) < 4 or mask.shape[0] == 1


def _behind_items(node: Node, kinds: Kinds) -> bool:
    """Matrices of the last two axes."""
    return _first_alone(node, kinds) and len(node.types[0].shape or ()) > 2


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "AveragePool", "MaxPool"), _first_alone),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization", "linear"), _first_alone),
    **dict.fromkeys(("weight_only_linear", "Reshape"), _first_alone),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _product),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _per_channel),
    **dict.fromkeys(("Softmax", "LogSoftmax", "ArgMax", "ArgMin"), _not_along_items("axis")),
    **{op: _not_along_items("axes") for op in OPS if op.startswith("Reduce")},
    "attention": _attention,
    "Concat": _all_with_items,
    "CumSum": _running_sum,
    "Expand": _lined_up,
    "Gather": _gathered,
    "GatherElements": _all_with_items,
    "GatherND": _gathered_by_tuples,
    "Gemm": _gemm,
    "LayerNormalization": _not_along_items("axis"),
    "Pad": _padded,
    "QLinearMatMul": _quantised_product,
    "Resize": lambda node, kinds: _first_alone(node, kinds) and node[0].shape[0] == _rows(node),
    "Slice": _not_along_items("axes"),
    "Tile": lambda node, kinds: node.attrs["repeats"][0] == 1 and _first_alone(node, kinds),
    "Transpose": lambda node, kinds: node.attrs["perm"][0] == 0 and _first_alone(node, kinds),
    "Trilu": _behind_items,
}


def _rows(node: Node) -> int:
    value = node.inputs[0]
    return -1 if value is None else value.shape[0]
