"""The pickle reader: plain values and arrays of numbers only."""

import builtins
import os
import pickle
import struct
import time
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest

from lossarium.facesets.decoding.decoded import RefusedError
from lossarium.facesets.formats.dfl_pickle import as_array, unpickled

PROTOCOLS = (2, 3, 4, 5)
PLAIN = {
    "a": [1, -1, 255, 65535, -70000, 2**40, True, False, None],
    "b": (0.5, -1e300, "ß\n", b"\x00\xff" * 200, ()),
    "c": {"d": [[1.0, 2.0]] * 3, "e" * 255: "x" * 300},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_come_back(protocol: int) -> None:
    assert unpickled(pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["u1", "i8", "<f4", ">f4", "f8", "?"])
def test_arrays_come_back(protocol: int, dtype: str) -> None:
    for array in (
        np.arange(12).reshape(3, 4).astype(dtype),
        np.asfortranarray(np.arange(12).reshape(3, 4).astype(dtype)),
        np.zeros((0, 2), dtype),
    ):
        found = as_array(unpickled(pickle.dumps(array, protocol)))
        assert found is not None
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_come_back(protocol: int) -> None:
    value = unpickled(pickle.dumps([np.float32(0.5), np.int64(-3), np.bool_(True)], protocol))
    assert value == [0.5, -3, True]


class _Runs:
    def __init__(self, called: Callable[..., object], *arguments: object) -> None:
        self.called, self.arguments = called, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.called, self.arguments


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_code_is_never_run_and_its_name_is_told(protocol: int, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for called, arguments, name in (
        (os.system, (f"touch {ran}",), f"{os.system.__module__}.system"),
        (builtins.eval, (f"open({str(ran)!r}, 'w')",), "eval"),
        (os.mkdir, (str(ran),), f"{os.mkdir.__module__}.mkdir"),
        (getattr, (os, "system"), "getattr"),
        (np.load, (str(ran),), "numpy.load"),
    ):
        try:
            data = pickle.dumps({"landmarks": _Runs(called, *arguments)}, protocol)
        except TypeError:
            # Modules cannot be pickled.
            data = pickle.dumps({"landmarks": _Runs(called, "os", "system")}, protocol)
        with pytest.raises(RefusedError) as caught:
            unpickled(data)
        assert (
            f"names {'' if '.' in name else '__builtin__.' if protocol == 2 else 'builtins.'}{name}, which"
            in (caught.value.reason)
        )
    assert not ran.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_objects_are_refused(protocol: int) -> None:
    for value in (Path("x"), OrderedDict(a=1), {1, 2}, 1j, np.array([object()]), np.array(["a"]), IntEnum):
        with pytest.raises(RefusedError):
            unpickled(pickle.dumps(value, protocol))


def test_every_other_way_to_name_or_call_something_is_refused() -> None:
    for data in (
        b"cos\nsystem\n(S'true'\ntR.",
        b"(ios\nsystem\n.",
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02]cnumpy\nndarray\n)\x81.",
        b"\x80\x02cnumpy\nndarray\n)R.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02Pabc\n.",
    ):
        with pytest.raises(RefusedError):
            unpickled(data)


def test_every_cut_is_refused() -> None:
    whole = pickle.dumps({"landmarks": [[1.0, 2.0]] * 5, "mask": np.arange(9)}, 4)
    for length in range(len(whole)):
        with pytest.raises(RefusedError):
            unpickled(whole[:length])


def test_random_damage_is_refused_or_harmless() -> None:
    whole = pickle.dumps({"landmarks": [[1.0, 2.0]] * 5, "mask": np.arange(9)}, 4)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(0, 256)
        try:
            unpickled(bytes(damaged))
        except RefusedError:
            refused += 1
    assert refused > 500


def test_pickles_that_would_take_much_memory_or_time_are_refused() -> None:
    hash_bomb = b"\x80\x04}K\x01\x94" + b"".join(
        b"h" + bytes((i,)) + b"h" + bytes((i,)) + b"\x86\x94" for i in range(60)
    )
    dtype = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    hostile = (
        b"\x80\x04X" + struct.pack("<I", 2**32 - 1) + b"x.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b"x.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**34) + b"x.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**34) + b"N",
        b"\x80\x04Nr\xff\xff\xff\x7f0.",
        b"\x80\x04Nj\xff\xff\xff\x7f.",
        b"\x80\x02" + array + b"(K\x01J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86" + dtype + b"\x89C\x00tb.",
        hash_bomb + b"K\x01s.",
        b"\x80\x04" + b"]" * 2_000_000 + b".",
        b"\x80\x04" + b"(" * 2_000_000 + b".",
    )
    start = time.perf_counter()
    for data in hostile:
        tracemalloc.start()
        with pytest.raises(RefusedError):
            unpickled(data, most_values=100_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**25
    assert time.perf_counter() - start < 20


def filled(head: bytes, unit: bytes, size: int = 300_000, end: bytes = b".") -> bytes:
    """A pickle of a megabyte or less that repeats a unit."""
    return head + unit * (size // len(unit)) + end


def text(content: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(content)) + content


@pytest.mark.parametrize(
    "data",
    [
        # One text, encoded again and again.
        filled(
            b"\x80\x02]q\x00(c_codecs\nencode\nq\x01"
            + text(b"x" * 100_000)
            + b"q\x02"
            + text(b"latin1")
            + b"q\x03",
            b"h\x01h\x02h\x03\x86R",
            end=b"e.",
        ),
        # A memo entry for every byte.
        filled(b"\x80\x04N", b"\x94"),
        # A list for every byte, and a dict.
        filled(b"\x80\x04", b"]"),
        filled(b"\x80\x04", b"}"),
    ],
    ids=["copies", "memo", "lists", "dicts"],
)
def test_work_beyond_the_size_of_the_file_is_refused(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="far more work than a file of its size"):
            unpickled(data)
        assert tracemalloc.get_traced_memory()[1] < 100 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "key",
    [b"\x8a\x08" + struct.pack("<q", 2**61 - 1), b"K\x07", b"\x88", b"N", b"C\x01a", text(b"k" * 256)],
    ids=["colliding", "number", "true", "none", "bytes", "long"],
)
def test_keys_are_short_text(key: bytes) -> None:
    with pytest.raises(RefusedError, match="keys that are not short text"):
        unpickled(b"\x80\x04}" + key + b"Ns.")


def test_a_real_pickle_stays_far_below_the_limits() -> None:
    landmarks = np.random.default_rng(0).uniform(0, 256, (68, 2)).tolist()
    for protocol in PROTOCOLS:
        value = {
            "landmarks": landmarks,
            "rect": [1, 2, 3, 4],
            "points": [[i, i + 1] for i in range(1000)],
            "mask": np.arange(5000, dtype=np.uint8),
            "shared": [landmarks] * 5000,
        }
        assert isinstance(unpickled(pickle.dumps(value, protocol)), dict)


def test_a_list_in_itself_is_harmless() -> None:
    value = unpickled(b"\x80\x04]\x94h\x00a.")
    assert isinstance(value, list)
    assert value[0] is value
