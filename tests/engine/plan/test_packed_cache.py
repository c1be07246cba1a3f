"""Packed weights on disk: found again, never trusted, never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.checksum.rows import HASH_BLOCK, KEY_BYTES, shrink
from engine.kernels.row import PackedWeights, ProductRow, aligned
from engine.kernels.weight_only.pack import FewBits
from engine.lowering.choose import PRODUCT_ROWS
from engine.lowering.ops.linear import WeightFacts
from engine.plan import packed_file
from engine.plan.content_hash import content_hash
from engine.plan.packed_cache import SUFFIX, UNFINISHED, PackedCache, folder_secret, open_packed_cache
from engine.plan.weights import WeightStore

KEY = "key of the file"
LIMIT = 1 << 30
SECRET = bytes(range(32))


def weights(operand: str, m: int = 150, k: int = 200) -> np.ndarray:
    source = np.random.default_rng(m + k)
    w = source.integers(-128, 128, (m, k)).astype(np.int8 if operand == "u8" else np.float32)
    w[source.random((m, k)) < 0.7] = 0
    return w


def same(a: PackedWeights, b: PackedWeights) -> bool:
    arrays = ((a.entries, b.entries), (a.index, b.index))
    plain = [(x.m, x.k, x.strips, x.strip_rows, x.nonzeros) for x in (a, b)]
    return plain[0] == plain[1] and all(
        x.dtype == y.dtype and x.shape == y.shape and np.array_equal(x, y) for x, y in arrays
    )


@pytest.mark.parametrize("row", PRODUCT_ROWS, ids=lambda row: row.family)
def test_every_packed_form_comes_back_from_its_file(row: ProductRow, tmp_path: Path) -> None:
    w = weights(row.operand)
    if row.operand in ("w8", "w4"):
        numbers, ones = np.clip(w, -8, 7).astype(np.int8), np.ones((len(w), 1), np.float32)
        packed = row.pack(FewBits(numbers, ones, np.zeros((len(w), 1), np.int8), w.shape[1]))
    else:
        packed = row.pack(w)
    path = tmp_path / "file"
    with path.open("wb") as file:
        packed_file.write(file, KEY, packed)
    found = packed_file.read(path, KEY, PackedWeights)
    assert found is not None
    assert same(found, packed)
    assert not found.entries.flags.writeable
    assert found.entries.ctypes.data % 64 == 0


def test_facts_with_nothing_in_them_come_back() -> None:
    facts = WeightFacts(7, None, np.zeros(0, np.int64))
    found = packed_file.decode(packed_file.encode(KEY, facts), KEY, WeightFacts)
    assert found is not None
    assert (found.nonzeros, found.alive_quads, found.row_sums.shape) == (7, None, (0,))


CONTENT = packed_file.encode(KEY, PRODUCT_ROWS[1].pack(weights("f32", 20, 30)))


@given(st.integers(0, CONTENT.size - 1), st.integers(1, 255))
def test_a_changed_byte_is_detected_wherever_it_is(place: int, change: int) -> None:
    damaged = CONTENT.copy()
    damaged[place] ^= change
    assert packed_file.decode(damaged, KEY, PackedWeights) is None


@given(st.integers(0, CONTENT.size - 1))
def test_a_truncated_file_is_detected(size: int) -> None:
    assert packed_file.decode(CONTENT[:size], KEY, PackedWeights) is None


@given(
    st.lists(
        st.tuples(st.integers(0, CONTENT.size // 512 - 1), st.integers(0, CONTENT.size // 512 - 1)),
        min_size=1,
    )
)
def test_blocks_that_changed_places_are_detected(swaps: list[tuple[int, int]]) -> None:
    blocks = CONTENT.reshape(-1, 512).copy()
    for a, b in swaps:
        blocks[[a, b]] = blocks[[b, a]]
    damaged = blocks.reshape(-1)
    unchanged = np.array_equal(damaged, CONTENT)
    assert (packed_file.decode(damaged, KEY, PackedWeights) is not None) is unchanged


@given(st.binary(max_size=2048))
def test_a_foreign_file_is_no_packed_weight(content: bytes) -> None:
    array = np.frombuffer(content, np.uint8)
    assert packed_file.decode(array, KEY, PackedWeights) is None
    assert packed_file.decode(np.concatenate([CONTENT, array]), KEY, PackedWeights) is None or not content


def test_another_key_or_another_kind_is_not_found() -> None:
    assert packed_file.decode(CONTENT, "another key", PackedWeights) is None
    assert packed_file.decode(CONTENT, KEY, WeightFacts) is None


def test_equal_content_has_equal_names_whatever_the_strides() -> None:
    w = weights("f32")
    names = {content_hash(form, SECRET) for form in (w, np.asfortranarray(w), w.copy())}
    assert len(names) == 1
    assert names != {content_hash(w, bytes(32))}


@pytest.mark.parametrize("size", [1, HASH_BLOCK - 1, HASH_BLOCK, HASH_BLOCK + 1, 3 * HASH_BLOCK])
def test_other_content_has_another_name(size: int) -> None:
    w = np.zeros(size, np.int8)
    names = {content_hash(form, SECRET) for form in (w, w.view(np.uint8), w.reshape(1, size))}
    for place in {0, size // 2, size - 1}:
        changed = w.copy()
        changed[place] = 1
        names.add(content_hash(changed, SECRET))
    assert len(names) == 3 + len({0, size // 2, size - 1})


@given(st.data())
def test_one_changed_byte_of_a_large_array_changes_the_name(data: st.DataObject) -> None:
    w = np.zeros(5 * HASH_BLOCK + 100, np.uint8)
    changed = w.copy()
    changed[data.draw(st.integers(0, w.size - 1))] = data.draw(st.integers(1, 255))
    assert content_hash(w, SECRET) != content_hash(changed, SECRET)


def nh(block: np.ndarray, key: np.ndarray) -> np.ndarray:
    """The hash of one block in NumPy, as its source writes it."""
    words, keys = block.view(np.uint32).reshape(-1, 8, 2), key.view(np.uint32).reshape(-1, 8, 2)
    rounds = []
    for move in range(4):
        moved = (words + keys[move : move + len(words)]).astype(np.uint64)
        rounds.append((moved[..., 0] * moved[..., 1]).sum(axis=0, dtype=np.uint64))
    return np.concatenate(rounds)


def test_blocks_are_shrunk_as_the_source_says() -> None:
    source = np.random.default_rng(0)
    array, key = (
        source.integers(0, 256, 2 * HASH_BLOCK + 9, np.uint8),
        source.integers(0, 256, KEY_BYTES, np.uint8),
    )
    sums = shrink(array, key).view(np.uint64).reshape(2, 32)
    for block in range(2):
        assert np.array_equal(sums[block], nh(array[block * HASH_BLOCK : (block + 1) * HASH_BLOCK], key))


def test_a_folder_keeps_its_secret(tmp_path: Path) -> None:
    secret = folder_secret(tmp_path / "packed")
    assert folder_secret(tmp_path / "packed") == secret
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["secret"]
    assert folder_secret(tmp_path / "other") != secret


def test_a_damaged_secret_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    folder_secret(tmp_path)
    assert folder_secret(tmp_path) == folder_secret(tmp_path)


def store(folder: Path, limit: int = LIMIT) -> WeightStore:
    return WeightStore(PackedCache(folder, limit, SECRET))


def packed_by(weight_store: WeightStore, w: np.ndarray) -> tuple[PackedWeights, int]:
    """(packed form, how often it was packed)."""
    calls = []

    def pack(array: np.ndarray) -> PackedWeights:
        calls.append(1)
        return PRODUCT_ROWS[0].pack(array)

    return weight_store.lasting(w, "form", PackedWeights, pack), len(calls)


def test_a_second_store_packs_nothing(tmp_path: Path) -> None:
    w = weights("f32")
    first, packed_first = packed_by(store(tmp_path), w)
    second, packed_second = packed_by(store(tmp_path), w.copy())
    assert (packed_first, packed_second) == (1, 0)
    assert same(first, second)


def test_the_form_is_part_of_the_name(tmp_path: Path) -> None:
    cache, w = PackedCache(tmp_path, LIMIT, SECRET), weights("f32")
    content = cache.content(w)
    assert cache.key(content, ("dense_f32", "mk")) != cache.key(content, ("dense_f32", "km"))


def test_small_weights_are_not_kept(tmp_path: Path) -> None:
    packed_by(store(tmp_path), weights("f32", 16, 16))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "folder"])
def test_a_damaged_file_is_packed_anew(tmp_path: Path, damage: str) -> None:
    w = weights("f32")
    expected, _ = packed_by(store(tmp_path), w)
    (file,) = tmp_path.glob(f"*{SUFFIX}")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    written: dict[str, bytes] = {
        "truncated": bytes(content[:1000]),
        "flipped": bytes(content),
        "empty": b"",
        "foreign": b"x" * 4096,
    }
    file.unlink()
    if damage == "folder":
        file.mkdir()
    else:
        file.write_bytes(written[damage])
    again, calls = packed_by(store(tmp_path), w)
    assert calls == 1
    assert same(again, expected)
    if damage != "folder":
        assert packed_by(store(tmp_path), w)[1] == 0


def test_the_files_used_longest_ago_make_room(tmp_path: Path) -> None:
    matrices = [weights("f32", 150, 200 + i) for i in range(5)]
    for age, w in enumerate(matrices[:4]):
        packed_by(store(tmp_path), w)
        newest = max(tmp_path.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_ctime_ns)
        os.utime(newest, (1000 + age, 1000 + age))
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    # The first is read once more, so the second is the oldest now.
    packed_by(store(tmp_path), matrices[0])
    packed_by(store(tmp_path, total), matrices[4])
    assert [packed_by(store(tmp_path), matrices[i])[1] for i in (0, 3, 4)] == [0, 0, 0]
    assert packed_by(WeightStore(PackedCache(tmp_path, 1, SECRET)), matrices[1])[1] == 1


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    old, fresh = tmp_path / f"old{UNFINISHED}", tmp_path / f"fresh{UNFINISHED}"
    for path in (old, fresh):
        path.write_bytes(b"unfinished")
    os.utime(old, (1000, 1000))
    packed_by(store(tmp_path), weights("f32"))
    assert not old.exists()
    assert fresh.exists()


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    assert packed_by(store(blocked / "packed"), weights("f32"))[1] == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_no_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert packed_by(store(tmp_path), weights("f32"))[1] == 1


def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed_file, "write", full)
    assert packed_by(store(tmp_path), weights("f32"))[1] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_removed_file_stays_readable_where_it_is_mapped(tmp_path: Path) -> None:
    w = weights("f32")
    packed_by(store(tmp_path), w)
    mapped, _ = packed_by(store(tmp_path), w)
    before = mapped.entries.copy()
    for path in tmp_path.iterdir():
        path.unlink()
    assert np.array_equal(mapped.entries, before)


PROCESS = """
import sys
from pathlib import Path
import numpy as np
from engine.kernels.row import PackedWeights
from engine.lowering.choose import PRODUCT_ROWS
from engine.plan.packed_cache import PackedCache
from engine.plan.weights import WeightStore

total = 0.0
for turn in range(5):
    for seed in range(6):
        w = np.random.default_rng(seed).standard_normal((150, 200 + seed), np.float32)
        # A limit of a few files: each process also removes what the other has just written.
        store = WeightStore(PackedCache(Path(sys.argv[1]), 700_000, bytes(32)))
        packed = store.lasting(w, "form", PackedWeights, PRODUCT_ROWS[0].pack)
        total += float(packed.entries.astype(np.float64).sum())
print(repr(total))
"""


def test_processes_at_once_disturb_nobody(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(answers) == 1


def test_the_cache_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_PACKED_CACHE", "0")
    assert open_packed_cache() is None
    monkeypatch.setenv("ENGINE_PACKED_CACHE", "1")
    assert open_packed_cache() is not None
    monkeypatch.setenv("ENGINE_CACHE_DIR", "off")
    assert open_packed_cache() is None


def test_arrays_of_a_file_have_room_after_them() -> None:
    """Kernels may load a whole vector at the end of a stream."""
    value = WeightFacts(1, 2, aligned(64, np.int64))
    found = packed_file.decode(packed_file.encode(KEY, value), KEY, WeightFacts)
    assert found is not None
    content = packed_file.encode(KEY, value)
    assert content.size * content.itemsize >= 64 + value.row_sums.nbytes + 512
