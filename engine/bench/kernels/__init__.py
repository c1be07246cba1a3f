"""Timing product kernels: `python -m engine.bench --kernels`.

arguments.py   flags                       layers.py     layers of models, lanes, shares of zeros
measure.py     figures of a layer          report.py     table, exported keys, crossing points
choice.py      is the pick the fastest     check.py      that of all layers, again where it stopped
plot.py        speed-up against zeros      command.py    what the flags ask for
"""
