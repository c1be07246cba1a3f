"""Timing models: `python -m engine.bench MODEL -e engine -e onnxruntime`.

arguments.py   flags                          job.py       what is timed, with concrete shapes
engines.py     ours and others', one way in   timing.py    calls against the clock, figures
turns.py       alone, or A B A B              worker.py    one engine in its own process
validate.py    are the answers right          machine.py   what the figures hold for
report.py      block, table, exported keys    table.py     exported files as a Markdown table
suite.py       every row of BENCHMARKS.md     sweep.py     throughput against latency
kernels/       single product kernels         layers/      the steps of one model
schedulers/    what streams and callers cost  foreign/     engines with an interpreter of their own
"""
