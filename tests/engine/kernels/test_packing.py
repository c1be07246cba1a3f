"""What is packed can be unpacked to the same matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_runs import Array, sparse_matrix

from engine.kernels.bf16_planes.split import bf16_parts
from engine.kernels.block4_int8 import pack as block4
from engine.kernels.column_blocks_f32 import pack as columns
from engine.kernels.csr_f32 import pack as csr
from engine.kernels.matrix_vector_f32 import rows as vector_f32
from engine.kernels.matrix_vector_int8 import rows as vector_int8
from engine.kernels.products import strips, tile_packing
from engine.kernels.sparse4_int8 import pack as fours
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


@given(SIZES, st.booleans())
def test_vector_strips_round_trip(sizes: tuple[int, int], transposed: bool) -> None:
    m, k = sizes
    source = np.random.default_rng(m + 1000 * k)
    w = source.standard_normal((m, k)).astype(np.float32, order="F" if transposed else "C")
    assert np.array_equal(vector_f32.unpack(vector_f32.pack(w)), w)
    signed = source.integers(-128, 128, (k, m)).astype(np.int8).T
    assert np.array_equal(vector_int8.unpack(vector_int8.pack(signed)), signed)
    # A classifier of few rows is not padded to a whole strip.
    assert vector_f32.pack(w).entries.size == -(-m // 16) * 16 * k


@given(SIZES, st.sampled_from([0.0, 0.05, 0.5, 1.0]), st.booleans())
def test_sparse_int8_round_trips(sizes: tuple[int, int], density: float, transposed: bool) -> None:
    m, k = sizes
    source = np.random.default_rng(m + 1000 * k)
    w = source.integers(-128, 128, (m, k)).astype(np.int8)
    w[source.random((m, k)) >= density] = 0
    if transposed:
        w = np.asfortranarray(w)
    for family, block in ((pairs, 32), (fours, 32), (block4, 8)):
        packed = family.pack(w, 24, block)
        assert np.array_equal(family.unpack(packed, block), w)
        assert packed.nonzeros == np.count_nonzero(w)


def _grouped_plainly(
    values: Array, band_rows: int, block: int
) -> tuple[list[int], list[list[tuple[int, int]]]]:
    """(index, entries of every group as (value, k)) of [m, k], said once more without arrays."""
    m, k = values.shape
    places: list[int] = []
    headers: list[list[int]] = []
    entries: list[list[tuple[int, int]]] = []
    for band in range(0, m, band_rows):
        present, groups = range(min(band_rows, m - band)), []
        header: list[int] = []
        for first in range(0, k, block):
            units = [
                [(int(v), first + i) for i, v in enumerate(values[band + r, first : first + block]) if v]
                for r in present
            ]
            ranked = sorted((r for r in present if first == 0 or units[r]), key=lambda r: -len(units[r]))
            ranked += [band_rows] * (len(ranked) % 2)
            groups.append(len(ranked) // 2)
            for i, j in zip(ranked[::2], ranked[1::2], strict=True):
                length = len(units[i])
                header += [length, i, j]
                sides = [
                    [*(units[r] if r < band_rows else []), *[(0, first)] * length][:length] for r in (i, j)
                ]
                entries.append([pair for both in zip(*sides, strict=True) for pair in both])
        done = sum(map(len, entries)) - 2 * sum(header[::3])
        places.append(sum(map(len, headers)))
        headers.append([done, *groups, *header])
    bands = len(headers)
    return [*(bands + place for place in places), *(n for part in headers for n in part)], entries


@given(st.tuples(st.integers(1, 60), st.integers(1, 80)), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_grouped_streams_are_what_their_description_says(sizes: tuple[int, int], density: float) -> None:
    m, k = sizes
    source = np.random.default_rng(m + 1000 * k)
    w = sparse_matrix(source, m, k, density)
    w[source.random((m, k)) < 0.1] = -0.0
    index, groups = _grouped_plainly(np.where(w == 0, 0, w.view(np.int32)), 24, 32)
    packed = csr.pack(w, 24, 32)
    assert packed.index.tolist() == index
    flat = [entry for group in groups for entry in group]
    assert (
        list(zip(packed.entries["weight"].view(np.int32), packed.entries["k"], strict=True))[: len(flat)]
        == flat
    )
    assert len(packed.entries) == max(1, len(flat))


@given(SIZES, st.sampled_from([0.0, 0.05, 0.5, 1.0]), st.sampled_from([4, 8]))
def test_column_blocks_round_trip(sizes: tuple[int, int], density: float, rows: int) -> None:
    m, k = sizes
    w = sparse_matrix(np.random.default_rng(m + 1000 * k), m, k, density)
    packed = columns.pack(w, rows, 48)
    assert np.array_equal(columns.unpack(packed), w)
    assert packed.nonzeros == np.count_nonzero(w)


@pytest.mark.parametrize("rows", [4, 8])
def test_column_blocks_hold_what_is_alive_alone(rows: int) -> None:
    alive = sparse_matrix(np.random.default_rng(0), 96 // rows, 50, 0.2)
    w = np.repeat(alive, rows, axis=0)[:93]
    assert columns.alive_blocks(w, rows) == np.count_nonzero(alive)
    assert len(columns.pack(w, rows, 48).entries) == np.count_nonzero(alive)


@pytest.mark.parametrize("density", [0.05, 0.1, 0.2])
def test_csr_padding_is_small(density: float) -> None:
    w = sparse_matrix(np.random.default_rng(0), 768, 768, density)
    assert csr.pack(w, 96, 96).entries.size < 1.05 * np.count_nonzero(w)


@given(SIZES, st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([0, 1, 3]))
def test_tile_round_trip(sizes: tuple[int, int], density: float, planes: int) -> None:
    m, k = sizes
    w = sparse_matrix(np.random.default_rng(m + 1000 * k), m, k, density)
    if planes == 0:
        w = np.clip(w * 50, -128, 127).astype(np.int8)
    element = np.dtype(np.uint16 if planes else np.int8)

    def split(part: Array) -> list[Array]:
        return bf16_parts(part, planes) if planes else [part]

    parts = split(w)
    dense = tile_packing.pack_tiles(w, element, split)
    compressed = tile_packing.compress_tiles(w, element, split)
    for unpacked in (
        tile_packing.unpack_tiles(dense),
        tile_packing.unpack_compressed(compressed, len(parts)),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(unpacked, parts, strict=True))
    assert dense.nonzeros == compressed.nonzeros == np.count_nonzero(w)


def test_compressed_tiles_are_a_bit_and_the_nonzeros() -> None:
    w = (sparse_matrix(np.random.default_rng(0), 768, 768, 0.1) * 50).astype(np.int8)
    packed = tile_packing.compress_tiles(w, w.dtype, lambda part: [part])
    assert packed.entries.nbytes + packed.index.nbytes <= np.count_nonzero(w) + w.size / 8 + 8 * 24
