"""The passes: families of rewrite rules in a fixed order, each run to its end, each verified.

A family is a folder; its rules stand in the modules of the folder, each with a drawing of what it does.
Only the order is written out here, because order is meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from engine.errors import InternalError
from engine.graph import Graph, Record, Rule, rewrite, verify
from engine.graph.collect import collect
from engine.passes.mask import find_padding_masks
from engine.passes.share import share

__all__ = ["PASSES", "Pass", "run"]


@dataclass(frozen=True)
class Pass:
    """One step of the pipeline: its name, why it stands where it does, and the function."""

    name: str
    reason: str
    apply: Callable[[Graph, Record], Graph]


def _family(name: str, reason: str) -> Pass:
    rules = collect(import_module(f"engine.passes.{name}"), "RULES", Rule)
    return Pass(name, reason, lambda graph, record: rewrite(graph, rules, record))


PASSES = (
    _family("simplify", "fewer movements, rounding beside its readers: the patterns below see one form"),
    _family("images", "convolutions are products of pixels from here on, and what lies between has no axes"),
    Pass(
        "share images",
        "each convolution has its own pixels now; scales found at run time serve them once",
        share,
    ),
    _family("integer", "products take integer weights while these are still dequantised in the open"),
    _family("weight_only", "integer products have taken theirs: what is left has float activations"),
    _family("fold", "a constant still behind a dequantisation is used as f32: now it may be computed"),
    Pass("share", "writers and rules repeat nodes; patterns with private interiors need them once", share),
    _family("fuse", "groups of f32 nodes become our operators; epilogues grow onto products"),
    Pass(
        "mask",
        "what feeds an attention is known now: its mask is recognised by running it",
        find_padding_masks,
    ),
    _family("tables", "chains between roundings, while the first and the last still stand in the graph"),
    _family("quantize", "what rounds moves into what computes, when it is known who computes"),
    Pass("share again", "fusing leaves equal steps where it replaced readers one by one", share),
)


def run(graph: Graph, record: Record | None = None, *, check: bool = False) -> Graph:
    """`graph` in the form that lowering takes; equal to it in value up to the order of f32 sums.

    record  gains (rule, node name) for each rewrite
    check   verify the graph after every pass

    Raises InternalError, naming the pass, when a rewrite was wrong.
    """
    steps: Record = [] if record is None else record
    for entry in PASSES:
        graph = entry.apply(graph, steps)
        if check:
            try:
                verify(graph)
            except InternalError as error:
                message = f"pass {entry.name!r} left an illegal graph: {error}"
                raise InternalError(message) from error
    return graph
