"""The words that callers and workers share: a mailbox for each stream, a bell for each worker.

    mailbox   sequence | table | counters | scratch, bytes of a member | steps from, to
              of this request: the caller's part | ticks when the last one ended | 1 while one runs
              of this stream: parts | bells of the crew | first worker, workers | mailboxes, streams | node
              members that sleep | how long they do at most: seconds, nanoseconds
    request   table .. steps to: kept by the plan, copied into the mailbox
    bell      times it was raised | parked | busy: the mailbox at work on | stop | cpu | part | mailbox to help | node

The sequence is odd while the mailbox is being written, so a worker that wakes late can tell a torn
reading from a whole one.
"""

from __future__ import annotations

SEQUENCE, TABLE, COUNTERS, SCRATCH, SCRATCH_BYTES, FROM, TO, CALLER_PART, ENDED, ACTIVE = range(0, 80, 8)
PARTS, BELLS, FIRST, WORKERS, MAILBOXES, STREAMS, NODE = range(128, 184, 8)
WAITERS, PATIENCE = 192, 200
MAILBOX = 256

RAISED, PARKED, BUSY, STOP, CPU, PART, HELP, BELL_NODE = range(0, 64, 8)
BELL = 64

# A sleeper looks again after so many nanoseconds: nothing hangs on a signal that was lost.
NAP_NS = 1_000_000
