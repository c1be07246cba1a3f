"""The words that the plan writes and the team reads.

step      64 bytes   kernel | args | tiles | grain | wait from
counter   64 bytes   done: tiles finished;   a claim for each part of the tiles: generation << 32 | next tile
request              table | counters | scratch | scratch bytes of a member | first step | last step + 1
"""

from __future__ import annotations

import numpy as np

STEP = np.dtype(
    [
        ("kernel", np.int64),
        ("args", np.int64),
        ("tiles", np.int64),
        ("grain", np.int64),  # tiles taken at once
        ("wait_from", np.int64),  # this step needs all from that one up to itself finished; -1: none
        ("unused", np.int64, (3,)),
    ]
)
# A counter is one cache line: so many parts at most.
MOST_PARTS = 7
COUNTER = np.dtype([("done", np.int64), ("claims", np.int64, (MOST_PARTS,))])
ROW = 64
KERNEL, ARGS, TILES, GRAIN, WAIT_FROM = range(0, 40, 8)
DONE, CLAIMS = 0, 8

REQUEST_WORDS = 6
