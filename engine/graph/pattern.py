"""What rules are written with: operands either way round, constants by value, private interiors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator

import numpy as np

from engine.graph.ir import Array, Node, Value
from engine.graph.rewrite import Uses

# Constants such as 1.4142 are written with as few as four digits.
TOLERANCE = 1e-3


def is_op(value: Value | None, *ops: str) -> bool:
    """Whether `value` is computed by one of these operators."""
    return value is not None and value.node.op in ops


def operands(node: Node) -> tuple[Value, Value]:
    """Both inputs of a binary node. Raises ValueError when there are not two."""
    first, second = node.inputs
    if first is None or second is None:
        message = f"{node!r} has an absent operand"
        raise ValueError(message)
    return first, second


def either_way(node: Node) -> Iterator[tuple[Value, Value]]:
    """The operands of a commutative node in both orders."""
    first, second = operands(node)
    yield first, second
    if first != second:
        yield second, first


def first_input(value: Value) -> Value:
    """Input 0 of the node that computes `value`. Raises ValueError when it is absent."""
    source = value.node.inputs[0]
    if source is None:
        message = f"{value.node!r} has no first input"
        raise ValueError(message)
    return source


def scalar(value: Value | None) -> float | None:
    """The number that a constant of one element holds, whatever its rank; else None."""
    array = None if value is None else value.array
    return (
        float(array.reshape(()))
        if array is not None and array.size == 1 and array.dtype.kind in "fiub"
        else None
    )


def is_scalar(value: Value | None, number: float, tolerance: float = 0.0) -> bool:
    """Whether `value` is the constant `number`, within a relative tolerance (exactly, if none is given)."""
    found = scalar(value)
    return found is not None and abs(found - number) <= tolerance * abs(number)


def with_scalar(node: Node) -> tuple[Value, float] | None:
    """Operand and number of a commutative node that has one constant operand of one element.

    None where the constant would add axes to the operand.
    """
    for operand, other in either_way(node):
        number = scalar(other)
        if number is not None and operand.array is None and operand.type == node.types[0]:
            return operand, number
    return None


def row_constant(value: Value | None, width: int) -> Array | None:
    """An f32 constant with one number for each of the last axis' `width` places, as [width]; else None.

    One number alone serves all places. Axes of one in front are dropped: the caller looks at the result's type.
    """
    array = None if value is None else value.array
    if array is None or array.dtype != np.float32:
        return None
    if array.size == 1:
        return np.broadcast_to(array.reshape(()), (width,)).copy()
    return array.reshape(width) if array.size == width and array.shape[-1] == width else None


def is_private(root: Node, leaves: Collection[Value], uses: Uses) -> bool:
    """Whether nobody outside reads what lies between `root` and `leaves`.

    Then replacing `root` by a function of the leaves leaves nothing behind that is still needed.
    """
    reads: Counter[Value] = Counter()
    seen: set[Node] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for value in node.inputs:
            if value is None or value in leaves or value.node.op in ("Constant", "Input"):
                continue
            reads[value] += 1
            stack.append(value.node)
    return all(uses[value] == count for value, count in reads.items())


def find(value: Value, wanted: Callable[[Value], bool], depth: int) -> Value | None:
    """The first value that is `wanted` among `value` and what feeds it, at most `depth` nodes up."""
    layer = [value]
    for _ in range(depth + 1):
        for candidate in layer:
            if wanted(candidate):
                return candidate
        layer = [source for candidate in layer for source in candidate.node.inputs if source is not None]
    return None


def polynomial(value: Value, x: Value, degree: int = 3, depth: int = 8) -> tuple[float, ...] | None:
    """Coefficients of `value` as a polynomial in `x`, lowest power first; None if it is none up to `degree`.

    Reads Add, Sub, Mul, Div by a number, Pow by a whole number and Neg, so that one comparison of
    coefficients covers every way of writing 0.7978 * (x + 0.0447 * x^3).
    """
    return _trimmed(_coefficients(value, x, depth), degree)


def _trimmed(found: np.ndarray | None, degree: int) -> tuple[float, ...] | None:
    if found is None or len(found) > degree + 1:
        return None
    return (*found.tolist(), *(0.0,) * (degree + 1 - len(found)))


def _coefficients(value: Value, x: Value, depth: int) -> np.ndarray | None:
    if value == x:
        return np.array([0.0, 1.0])
    number = scalar(value)
    if number is not None:
        return np.array([number])
    if depth == 0 or value.op not in ("Add", "Sub", "Mul", "Div", "Pow", "Neg"):
        return None
    parts = [None if source is None else _coefficients(source, x, depth - 1) for source in value.node.inputs]
    if any(part is None for part in parts):
        return None
    return _combined(value.op, [part for part in parts if part is not None])


def _combined(op: str, parts: list[np.ndarray]) -> np.ndarray | None:
    if op == "Neg":
        return -parts[0]
    left, right = parts
    if op == "Mul":
        return np.asarray(np.convolve(left, right))
    if op in ("Div", "Pow") and len(right) != 1:
        return None
    if op == "Div":
        return left / right[0] if right[0] else None
    if op == "Pow":
        return (
            np.array(np.polynomial.polynomial.polypow(left, int(right[0]))) if right[0] in (1, 2, 3) else None
        )
    size = max(len(left), len(right))
    left, right = (np.pad(part, (0, size - len(part))) for part in (left, right))
    return np.asarray(left + right if op == "Add" else left - right)
