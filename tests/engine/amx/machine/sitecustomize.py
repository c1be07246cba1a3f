"""Run by every Python that has this folder in its path: see `pretence`."""

import os
import sys
import traceback
from pathlib import Path

try:
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    import pretence

    pretence.begin()
except BaseException:  # Python would print a line and go on as an ordinary process.
    traceback.print_exc()
    os._exit(70)
