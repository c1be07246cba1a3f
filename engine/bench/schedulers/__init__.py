"""What scheduling costs and gains: `python -m engine.bench MODEL --schedulers`.

measure    one caller against the bare walk, latency by cores, many callers under single stream and multi stream
report     tables, advice, plain values
command    flags
"""
