"""Weights of 8 or 4 bits with a scale and a zero point for every block of k, in strips of 48 rows.

    w[m, k] = (number[m, k] - zero[m, k / block]) * scale[m, k / block]

    strip 0, block 0:  scale   48 float32, one a row         byte 0
                       zero    48 u8, then 16 unused         192
                       numbers                               256
             block 1:  ...                                   one stream, in the order in which it is read

    8 bits   numbers[k / 4][48]     u32 of four k's, the first in the lowest bits
    4 bits   numbers[k / 8][48]     u32 of eight k's
    signed   numbers and zero points are raised by half of the range: all are unsigned here

Forty-eight rows are three vectors, and a multiple of every register tile's rows: one packing serves the kernel that
has rows in its vectors (one to eight lanes) and the one that has lanes. Rows beyond m have scales of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.kernels.row import Array, PackedWeights, aligned

STRIP, VECTORS = 48, 3
SCALE_BYTES, HEAD_BYTES = 4 * STRIP, 256
# k's of one 32-bit value of 4-bit numbers, and of one step of the kernels' inner loops.
GROUP = 8
# Places of the index.
BLOCK, BLOCK_BYTES, STRIP_BYTES = range(3)


@dataclass(frozen=True, slots=True)
class FewBits:
    """Weights as a file has them.

    numbers   int8 or uint8 [m, k], any strides
    scale     float32 [m, blocks]
    zero      as `numbers`, [m, blocks]
    block     features that share a scale: blocks = ceil(k / block)
    """

    numbers: Array
    scale: Array
    zero: Array
    block: int

    def dequantised(self) -> Array:
        """float32 [m, k]."""
        difference = self.numbers.astype(np.float32) - self._spread(self.zero).astype(np.float32)
        return np.asarray(difference * self._spread(self.scale), np.float32)

    def alive(self) -> Array:
        """bool [m, k]: where weights are not zero."""
        return np.asarray(self.numbers != self._spread(self.zero))

    def _spread(self, parameter: Array) -> Array:
        """[m, blocks] as an array that broadcasts against [m, k]."""
        blocks, k = parameter.shape[1], self.numbers.shape[1]
        return parameter if blocks == 1 else np.repeat(parameter, self.block, axis=1)[:, :k]


def bits_of(w: FewBits) -> int:
    """4 where all numbers and zero points are 4-bit ones and blocks are whole groups; else 8."""
    low = -8 if w.numbers.dtype == np.int8 else 0
    if w.block % GROUP != 0 and w.scale.shape[1] > 1:
        return 8
    fits = (part.size == 0 or (part.min() >= low and part.max() < low + 16) for part in (w.zero, w.numbers))
    return 4 if all(fits) else 8


def number_bytes(steps: int, bits: int) -> int:
    """Bytes of the numbers of so many steps of k in a strip."""
    return -(-steps * bits // 32) * 4 * STRIP


def packed_bytes(m: int, k: int, block: int, bits: int) -> int:
    """Bytes of a packed matrix."""
    return -(-m // STRIP) * -(-k // block) * (HEAD_BYTES + number_bytes(block, bits))


def pack(w: FewBits, bits: int) -> PackedWeights:
    """The weights as kernels of 8 or 4 bits read them; for 4, `bits_of` must say so."""
    m, k = w.numbers.shape
    strips, blocks, block = -(-m // STRIP), w.scale.shape[1], w.block
    steps = -(-block * bits // 32) * 32 // bits
    block_bytes = HEAD_BYTES + number_bytes(block, bits)
    entries = aligned((strips, blocks, block_bytes), np.uint8)
    raised = np.uint8(1 << (bits - 1) if w.numbers.dtype == np.int8 else 0)
    head, numbers = entries[..., :HEAD_BYTES], entries[..., HEAD_BYTES:]
    scale, zero = np.zeros((strips * STRIP, blocks), np.float32), np.zeros((strips * STRIP, blocks), np.uint8)
    scale[:m], zero[:m] = w.scale, w.zero.view(np.uint8) + raised
    head[..., :SCALE_BYTES] = _by_strip(scale, strips).view(np.uint8)
    head[..., SCALE_BYTES : SCALE_BYTES + STRIP] = _by_strip(zero, strips)
    whole = np.zeros((strips * STRIP, blocks, steps), np.uint8)
    _fill(whole, w.numbers.view(np.uint8) + raised, block)
    by_step = whole.reshape(strips, STRIP, blocks, steps).transpose(0, 2, 3, 1)
    numbers[:] = _words(by_step, bits).reshape(numbers.shape)
    index = aligned(3, np.int64)
    index[:] = block, block_bytes, blocks * block_bytes
    return PackedWeights(entries, index, m, k, strips, STRIP, int(np.count_nonzero(w.alive())))


def _by_strip(rows: Array, strips: int) -> Array:
    """[strips * 48, blocks] as [strips, blocks, 48]."""
    return np.ascontiguousarray(rows.reshape(strips, STRIP, -1).transpose(0, 2, 1))


def _fill(whole: Array, source: Array, block: int) -> None:
    """source[m, k] into whole[rows, blocks, steps], whose blocks may be padded."""
    m, k = source.shape
    blocks = k // block
    whole[:m, :blocks, :block] = source[:, : blocks * block].reshape(m, blocks, block)
    if k % block != 0:
        whole[:m, blocks, : k % block] = source[:, blocks * block :]


def _words(by_step: Array, bits: int) -> Array:
    """Numbers [strips, blocks, steps, 48] as u32, a byte at a time: [strips, blocks, steps * bits / 32, 48, 4]."""
    parts = by_step if bits == 8 else by_step[:, :, 0::2] | by_step[:, :, 1::2] << np.uint8(4)
    strips, blocks, count, rows = parts.shape
    return np.ascontiguousarray(parts.reshape(strips, blocks, count // 4, 4, rows).transpose(0, 1, 2, 4, 3))


def unpack(packed: PackedWeights, bits: int) -> Array:
    """float32 [m, k]: the matrix that `pack` was given, dequantised."""
    entries, block = packed.entries, int(packed.index[BLOCK])
    strips, blocks = entries.shape[:2]
    head, numbers = entries[..., :HEAD_BYTES], entries[..., HEAD_BYTES:]
    scale = np.ascontiguousarray(head[..., :SCALE_BYTES]).view(np.float32)
    zero = np.ascontiguousarray(head[..., SCALE_BYTES : SCALE_BYTES + STRIP]).astype(np.float32)
    words = np.ascontiguousarray(numbers).view("<u4").reshape(strips, blocks, -1, 1, STRIP)
    shifts = np.arange(0, 32, bits, dtype=np.uint32)[:, None]
    by_step = (words >> shifts & np.uint32(2**bits - 1)).reshape(strips, blocks, -1, STRIP)
    differences = by_step[:, :, :block].astype(np.float32) - zero[:, :, None]
    rows = (differences * scale[:, :, None]).transpose(0, 3, 1, 2).reshape(strips * STRIP, -1)
    return np.ascontiguousarray(rows[: packed.m, : packed.k])
