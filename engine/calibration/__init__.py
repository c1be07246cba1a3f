"""Measuring product kernels as a model runs them, and the coefficients of the cost model that follow.

case.py        what is measured: sizes, lanes, zeros
product.py     one product, or the peak loop, as a plan that the team walks
timing.py      calls in turns against the clock
fit.py         coefficients from measured times
calibrate.py   the short calibration of this machine, and its file in the cache directory
"""
