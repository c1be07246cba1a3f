"""Packed weights on disk: a second load of a model packs nothing, and processes share the pages.

    <cache>/packed/secret             32 random bytes: the key of the hash
                   <name>.weights     name: hash over the weight's bytes, the form it is packed in,
                                      the level, and the sources of the packers

Everything here degrades to "not kept": a folder that cannot be written, a full disk, a file that is
truncated, damaged or foreign, another process that writes or removes the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from engine.jit import active_level
from engine.jit.code_cache import source_stamp
from engine.options import cache_directory, environment_flag, environment_int
from engine.plan import packed_file
from engine.plan.content_hash import SECRET_BYTES, content_hash
from engine.plan.steps import Array

# Smaller weights are packed in less time than a file takes to open.
LEAST_BYTES = 1 << 16
DEFAULT_LIMIT_MB = 4096
SUFFIX, UNFINISHED = ".weights", ".part"
# An unfinished file this old was left by a process that died.
_ABANDONED_S = 3600.0
# The folder is looked through each time that this part of its limit was written.
_LOOKS = 32

Packed = TypeVar("Packed")


@dataclass(frozen=True, slots=True)
class PackedCache:
    """A folder of packed weights that never grows beyond `limit` bytes for long.

    secret   the folder's key of the content hash
    recent   sizes of the files written since the folder was last looked through
    """

    folder: Path
    limit: int
    secret: bytes
    recent: list[int] = field(default_factory=list)

    def content(self, array: Array) -> bytes:
        """What the array holds, as a hash."""
        return content_hash(array, self.secret)

    def key(self, content: bytes, form: Hashable) -> str:
        """The name of an array of this content in this form, for this level and these packers."""
        digest = hashlib.blake2b(content, digest_size=24)
        digest.update(repr((form, active_level().name, source_stamp(), packed_file.FORMAT)).encode())
        return digest.hexdigest()

    def find(self, key: str, kind: type[Packed]) -> Packed | None:
        """The packed weight of that name, mapped; None when there is none, or none that can be trusted."""
        path = self.folder / (key + SUFFIX)
        with contextlib.suppress(OSError):
            found = packed_file.read(path, key, kind)
            if found is not None:
                # The time stamp says when it was last of use: the oldest are removed first.
                with contextlib.suppress(OSError):
                    os.utime(path)
                return found
            path.unlink()
        return None

    def keep(self, key: str, value: Any) -> None:
        """Write a packed weight, atomically; now and then the oldest make room."""
        path = self.folder / (key + SUFFIX)
        with contextlib.suppress(OSError), _unfinished(self.folder) as part:
            with part.open("wb") as file:
                packed_file.write(file, key, value)
            part.replace(path)
            # Looking through thousands of files takes longer than packing a weight.
            if not self.recent or sum(self.recent) > self.limit // _LOOKS:
                self._make_room(path)
                self.recent.clear()
            self.recent.append(path.stat().st_size)

    def _make_room(self, newest: Path) -> None:
        """Remove the files used longest ago until the folder is within its limit."""
        files, now = [], time.time()
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                if path.suffix == UNFINISHED and now - status.st_mtime > _ABANDONED_S:
                    path.unlink()
                elif path.suffix == SUFFIX:
                    files.append((path == newest, status.st_mtime, path, status.st_size))
        excess = sum(size for *_, size in files) - self.limit
        for _, _, path, size in sorted(files):
            if excess <= 0:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= size


@contextlib.contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A new file in the folder, which is gone afterwards unless it was renamed. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(UNFINISHED, dir=folder)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def folder_secret(folder: Path) -> bytes:
    """The folder's secret, made where there is none; one of this process only where it cannot be kept."""
    path, fresh = folder / "secret", os.urandom(SECRET_BYTES)
    with contextlib.suppress(OSError):
        if not path.exists():
            with contextlib.suppress(FileExistsError), _unfinished(folder) as part:
                part.write_bytes(fresh)
                # Unlike a rename, a link never replaces what another process has just made.
                path.hardlink_to(part)
        found = path.read_bytes()
        if len(found) == SECRET_BYTES:
            return found
        path.unlink()
    return fresh


def open_packed_cache() -> PackedCache | None:
    """The cache of this process's settings; None when it is turned off.

    Raises OptionError when ENGINE_PACKED_CACHE or ENGINE_PACKED_CACHE_MB has a value out of its range.
    """
    base = cache_directory()
    if not environment_flag("ENGINE_PACKED_CACHE", default=True) or base is None:
        return None
    limit = environment_int("ENGINE_PACKED_CACHE_MB", DEFAULT_LIMIT_MB, least=1)
    return PackedCache(base / "packed", limit << 20, folder_secret(base / "packed"))
