"""The training loop of the text models: AdamW, a warm-up and a linear fall, magnitude pruning on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from encoder import TextModel
from machine import Checkpoint, Slices, report
from torch import Tensor, nn
from vocabulary import Int64, batches

Loss = Callable[[TextModel, Int64], Tensor]


@dataclass(frozen=True)
class Stage:
    """One run over the training rows. With `sparsity`, the share of zeros grows over the first 55 % of it.

    `stop` ends it after so many steps of its schedule, as a run that was broken off.
    """

    name: str
    epochs: float
    rate: float
    size: int = 32
    sparsity: float = 0.0
    seed: int = 0
    stop: int | None = None


def run_stage(
    stage: Stage, model: TextModel, lengths: list[int], loss_of: Loss, work: Path, gate: Slices
) -> None:
    """Train in place; goes on from the stage's checkpoint, and returns at once when the stage was finished."""
    checkpoint = Checkpoint(work / f"{stage.name}.pt")
    state = checkpoint.load()
    plan = _plan(stage, lengths)
    optimiser = _optimiser(model, stage.rate)
    if state:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    masks: list[Tensor] = []
    begin, start, total = int(state.get("step", 0)), time.monotonic(), 0.0
    for step in range(begin, len(plan) if stage.stop is None else min(stage.stop, len(plan))):
        gate.turn()
        for group in optimiser.param_groups:
            group["lr"] = stage.rate * _share_of_rate(step, len(plan))
        model.train()
        loss = loss_of(model, plan[step])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if stage.sparsity:
            masks = _prune(model, masks, stage.sparsity, step / len(plan))
        total += loss.item()
        if step % 50 == 49:
            pace = (step + 1 - begin) * stage.size / (time.monotonic() - start)
            report(f"  {stage.name} {step + 1}/{len(plan)} loss {total / 50:.4f}, {pace:.0f} rows/s")
            total = 0.0
        last = step + 1 == len(plan)
        checkpoint.save(now=last, model=model, optimiser=optimiser, step=step + 1)
    model.eval()


def is_finished(stage: Stage, rows: int, work: Path) -> bool:
    """Whether a stage over so many rows has its last checkpoint."""
    return int(Checkpoint(work / f"{stage.name}.pt").load().get("step", 0)) >= int(
        stage.epochs * rows / stage.size
    )


def _plan(stage: Stage, lengths: list[int]) -> list[Int64]:
    rng = np.random.default_rng(stage.seed)
    steps = int(stage.epochs * len(lengths) / stage.size)
    plan: list[Int64] = []
    while len(plan) < steps:
        plan += batches(lengths, stage.size, rng)
    return plan[:steps]


def _optimiser(model: TextModel, rate: float) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def _share_of_rate(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    return min((step + 1) / warm, max(0.02, (steps - step) / (steps - warm)))


def _prune(model: TextModel, masks: list[Tensor], sparsity: float, done: float) -> list[Tensor]:
    """Put the smallest magnitudes of each matrix to zero: a cubic schedule, then fixed places."""
    progress = min(1.0, done / 0.55)
    due = sparsity * (1.0 - (1.0 - progress) ** 3)
    zero = float((masks[0] == 0).float().mean()) if masks else -1.0
    # Choosing sorts every matrix: only when the share has moved enough to matter, or has come to its end.
    if not masks or due - zero > 0.005 or (progress == 1.0 and zero < sparsity - 1e-4):
        masks = [_largest(weight.detach(), due) for weight in model.prunable()]
    with torch.no_grad():
        for weight, mask in zip(model.prunable(), masks, strict=True):
            weight.mul_(mask)
    return masks


def _largest(weight: Tensor, sparsity: float) -> Tensor:
    cut = round(sparsity * weight.numel())
    if cut < 1:
        return torch.ones_like(weight)
    return (weight.abs() > weight.abs().flatten().kthvalue(cut).values).float()


@torch.no_grad()
def logits_of(
    model: TextModel, inputs: Callable[[Int64], list[Tensor]], lengths: list[int], gate: Slices
) -> list[Tensor]:
    """Each row's logits, padding cut off, in bfloat16 products as in training."""
    model.eval()
    order = np.argsort(lengths, kind="stable")
    found: list[Tensor] = [torch.empty(0)] * len(lengths)
    for begin in range(0, len(order), 64):
        gate.turn()
        take = order[begin : begin + 64]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(*inputs(take)).float()
        for row, index in zip(logits, take, strict=True):
            found[index] = row[: lengths[index]].clone()
    return found
