"""explain: what a model was compiled to, one line a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.api.engine import Engine
from engine.errors import EngineError, OptionError
from engine.graph import show
from engine.jit import active_level, tile_permission
from engine.plan.build import Plan
from engine.plan.steps import Layer

STAGES = ("plan", "graph", "rules")
_NAME_WIDTH = 48


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `explain` found; prints as a table.

    layers                      one a step, in order: name, op, kernel, sparsity, reason, runners-up
    fraction_of_supported_ops   share of the nodes that run in compiled steps
    amx_permission              "granted", "denied", "not asked" (ENGINE_ISA is lower) or "unsupported"
    """

    layers: tuple[Layer, ...]
    fraction_of_supported_ops: float
    isa_level: str
    arena_bytes: int
    text: str
    amx_permission: str = "unsupported"

    def __str__(self) -> str:
        return self.text

    @property
    def on_host(self) -> tuple[Layer, ...]:
        """Steps without a kernel: they run in Python."""
        return tuple(layer for layer in self.layers if layer.kernel == "host")


def explain(model: Any, stage: str = "plan", **options: Any) -> Explanation:
    """The steps of a model: layer, op, kernel, sparsity, and why a step has no kernel.

    model    an Engine, or anything an Engine takes
    stage    "plan": the steps; "graph": the nodes after all passes; "rules": the rewrites that fired, in order
    options  the Engine's, when the model is not an Engine yet

    Raises OptionError for an unknown stage, EngineError for open shapes that no request has fixed yet.
    """
    if stage not in STAGES:
        message = f"stage must be one of {', '.join(STAGES)}; got {stage!r}."
        raise OptionError(message)
    engine = model if isinstance(model, Engine) else Engine(model, **options)
    compiled = engine.compiled
    if compiled is None:
        message = "nothing is compiled yet: the model's open dimensions are known with the first request. Give input_shapes."
        raise EngineError(message)
    if stage == "plan":
        text = _plan_table(compiled.plan, compiled.supported)
    elif stage == "graph":
        text = show(compiled.graph)
    else:
        text = "\n".join(f"{rule:32}  {node}" for rule, node in compiled.record)
    return Explanation(
        compiled.plan.layers,
        compiled.supported,
        active_level().name,
        compiled.plan.arena_bytes,
        text,
        tile_permission(),
    )


def _row(layer: Layer) -> tuple[str, ...]:
    sparsity = "" if layer.sparsity is None else f"{100 * layer.sparsity:.1f} %"
    reason = layer.reason
    if layer.predicted_ns is not None:
        reason += f", {_time(layer.predicted_ns)}"
    if layer.runners_up:
        reason += "; then " + ", ".join(f"{family} {_time(ns)}" for family, ns in layer.runners_up)
    name = layer.name if len(layer.name) <= _NAME_WIDTH else "..." + layer.name[3 - _NAME_WIDTH :]
    return name, layer.op, layer.kernel, sparsity, reason


def _time(ns: float) -> str:
    """Predicted time of one core."""
    return f"{ns / 1e6:.2f} ms" if ns >= 1e6 else f"{ns / 1e3:.1f} us"


def _plan_table(plan: Plan, supported: float) -> str:
    layers = plan.layers
    rows = [("layer", "op", "kernel", "zeros", "reason"), *(_row(layer) for layer in layers)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    on_host = sum(layer.kernel == "host" for layer in layers)
    share = f"{100 * supported:.1f} % of the nodes are accelerated"
    summary = f"{len(layers)} steps, {on_host} of them without a kernel; {share}"
    level = f"instruction set {active_level().name}; AMX tiles: {tile_permission()}"
    return "\n".join([*lines, *_parts(plan), summary, level])


def _parts(plan: Plan) -> list[str]:
    if not plan.batch:
        return []
    items = len(plan.inputs[0][1])
    return [
        f"a batch of {plan.batch} is computed in {len(plan.starts)} parts of {items}, one after the other"
    ]
