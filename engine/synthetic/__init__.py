"""Benchmark models made on the spot: random weights, real graphs, no training framework.

spec.py          what is asked for: a query or a name
builder.py       nodes, names, random numbers          layers.py     layers in every form
weights.py       pruning, symmetric quantisation       quantise.py   scales and what carries them
transformer.py   classifiers.py   yolo.py              architectures
calibrate.py     a run for ranges and statistics       build.py      spec -> model
store.py         the file, made once
"""

from engine.synthetic.spec import PREFIX, is_synthetic
from engine.synthetic.store import open_synthetic

__all__ = ["PREFIX", "is_synthetic", "open_synthetic"]
