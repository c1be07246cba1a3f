"""`python -m serve`."""

import sys

from serve.command import main

sys.exit(main())
