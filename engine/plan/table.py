"""The words that the plan writes and the team reads.

step      64 bytes   kernel | args | tiles | grain | wait from
counter   64 bytes   claim: generation << 32 | next tile;   done: tiles finished
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
COUNTER = np.dtype([("claim", np.int64), ("done", np.int64), ("unused", np.int64, (6,))])
ROW = 64
KERNEL, ARGS, TILES, GRAIN, WAIT_FROM = range(0, 40, 8)
CLAIM, DONE = 0, 8

REQUEST_WORDS = 6
