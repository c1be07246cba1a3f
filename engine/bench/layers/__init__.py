"""Where the time of a request goes, step by step: `python -m engine.bench MODEL --layers`, `model_debug_analysis`.

measure    each step timed as a request of its own, beside whole requests and register loops
report     the table, and the dictionary by the predecessor's keys
command    flags
"""

from engine.bench.layers.measure import Profile, StepTime, profile
from engine.bench.layers.report import as_json, model_debug_analysis, table

__all__ = ["Profile", "StepTime", "as_json", "model_debug_analysis", "profile", "table"]
