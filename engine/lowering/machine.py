"""What lowering knows of where a program will run, and of what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from engine.kernels.layout import WIDTHS


@dataclass(frozen=True, slots=True)
class Machine:
    """What lowering must know: members of the team, bytes of a core's L2, and what the user asked for.

    helpers     members of other teams that may take part: each needs a place in memory, none counts on it
    widest      lanes of a panel at most: less than a kernel could take, for requests of few tokens
    skip_padding  whether no lanes are spent on positions that the attention mask leaves out
    parts       into which the tiles of a step are cut, one for each core or group of cores
    part_bytes  that the largest step of a part of a batch should read and write; 0: batches are computed whole
    share       items of the part that is lowered, and of the batch
    precision   "f32", or "bf16": products and attention of float32 may round their operands to bfloat16
    family      of product kernels, taken wherever it fits; None leaves the choice to the cost model
    """

    members: int
    l2_bytes: int
    precision: str = "f32"
    family: str | None = None
    parts: int = 1
    skip_padding: bool = False
    helpers: int = 0
    widest: int = WIDTHS[-1]
    part_bytes: int = 0
    share: tuple[int, int] = (1, 1)

    @property
    def cores(self) -> int:
        """Cores that work at once: each has a worker, and beside workers there is the caller."""
        return max(1, self.members - 1)
