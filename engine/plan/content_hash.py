"""What an array holds, as a short name: equal names mean equal bytes.

Every byte counts: sampling, or a file's time stamp, could take one model's weights for another's. The bytes are
shrunk by a hash with a secret key (see kernels/checksum), whose result BLAKE2b, keyed too, turns into the name.
Two different arrays share a name with a chance of 2**-128, and nobody who lacks the key can look for such a pair;
BLAKE2b alone, or SHA-256, reads 1 to 2 GB a second of one core, this as much as memory gives.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np

from engine.kernels.checksum.rows import HASH_BLOCK, KEY_BYTES, shrink
from engine.plan.steps import Array

SECRET_BYTES = 32


@functools.lru_cache(maxsize=4)
def _key(secret: bytes) -> Array:
    return np.frombuffer(hashlib.shake_256(secret).digest(KEY_BYTES), np.uint8)


def content_hash(array: Array, secret: bytes) -> bytes:
    """32 bytes that stand for dtype, shape and every element.

    secret   SECRET_BYTES bytes; names under one secret say nothing about those under another
    """
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    digest = hashlib.blake2b(f"{array.dtype.str} {array.shape}".encode(), key=secret, digest_size=32)
    digest.update(shrink(content, _key(secret)).data)
    digest.update(content[content.size // HASH_BLOCK * HASH_BLOCK :].data)
    return digest.digest()
