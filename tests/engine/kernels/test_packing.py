"""What is packed can be unpacked to the same matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_runs import sparse_matrix

from engine.kernels.block4_int8 import pack as block4
from engine.kernels.csr_f32 import pack as csr
from engine.kernels.products import strips
from engine.kernels.sparse_int8 import pack as pairs

SIZES = st.tuples(st.integers(1, 140), st.integers(1, 210))


@given(SIZES, st.sampled_from([0.0, 0.05, 0.5, 1.0]), st.booleans())
def test_csr_round_trip(sizes: tuple[int, int], density: float, transposed: bool) -> None:
    m, k = sizes
    source = np.random.default_rng(m + 1000 * k)
    w = sparse_matrix(source, k, m, density).T if transposed else sparse_matrix(source, m, k, density)
    packed = csr.pack(w, 24, 32)
    assert np.array_equal(csr.unpack(packed, 32), w)
    assert packed.nonzeros == np.count_nonzero(w)


@given(SIZES)
def test_dense_round_trip(sizes: tuple[int, int]) -> None:
    m, k = sizes
    source = np.random.default_rng(m + 1000 * k)
    w = source.standard_normal((m, k)).astype(np.float32)
    assert np.array_equal(strips.unpack_f32(strips.pack_f32(w)), w)
    signed = source.integers(-128, 128, (k, m)).astype(np.int8).T
    assert np.array_equal(strips.unpack_quads(strips.pack_quads(signed)), signed)


@given(SIZES, st.sampled_from([0.0, 0.05, 0.5, 1.0]), st.booleans())
def test_sparse_int8_round_trips(sizes: tuple[int, int], density: float, transposed: bool) -> None:
    m, k = sizes
    source = np.random.default_rng(m + 1000 * k)
    w = source.integers(-128, 128, (m, k)).astype(np.int8)
    w[source.random((m, k)) >= density] = 0
    if transposed:
        w = np.asfortranarray(w)
    for family, block in ((pairs, 32), (block4, 8)):
        packed = family.pack(w, 24, block)
        assert np.array_equal(family.unpack(packed, block), w)
        assert packed.nonzeros == np.count_nonzero(w)


@pytest.mark.parametrize("density", [0.05, 0.1, 0.2])
def test_csr_padding_is_small(density: float) -> None:
    w = sparse_matrix(np.random.default_rng(0), 768, 768, density)
    assert csr.pack(w, 96, 96).entries.size < 1.05 * np.count_nonzero(w)
