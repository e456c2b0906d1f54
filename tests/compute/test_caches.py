"""The caches of a core, found in made-up systems."""

import os

import pytest

from lossarium.compute import caches as found
from lossarium.compute.caches import ASSUMED, Caches, caches, from_sysfs, parse_sysctl

KIB, MIB = 1 << 10, 1 << 20


def add_cpu(root, number, *listed):
    """Caches as (level, type, size, mask of the CPUs that share it)."""
    for place, (level, kind, size, mask) in enumerate(listed):
        folder = root / f"cpu{number}" / "cache" / f"index{place}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("type", kind), ("size", size), ("shared_cpu_map", mask)):
            (folder / name).write_text(f"{text}\n")


def core(number, first, second, mask=None):
    own = f"{1 << number:x}"
    return (
        (1, "Data", first, own),
        (1, "Instruction", "8K", own),
        (2, "Unified", second, mask or own),
        (3, "Unified", "480M", "ffffffff"),
    )


def test_the_data_caches_of_a_core_are_found(tmp_path):
    add_cpu(tmp_path, 0, *core(0, "48K", "2048K"))
    assert from_sysfs(tmp_path, None) == Caches(48 * KIB, 2 * MIB)


def test_hybrid_cores_give_the_smallest_that_the_process_may_run_on(tmp_path):
    add_cpu(tmp_path, 0, *core(0, "48K", "2M"))
    add_cpu(tmp_path, 10, *core(10, "32K", "1280K"))
    assert from_sysfs(tmp_path, None) == Caches(32 * KIB, 1280 * KIB)
    assert from_sysfs(tmp_path, frozenset({0})) == Caches(48 * KIB, 2 * MIB)
    assert from_sysfs(tmp_path, frozenset({10})) == Caches(32 * KIB, 1280 * KIB)


@pytest.mark.parametrize(("mask", "sharing"), [("f", 4), ("00000001,00000001", 2), ("0", 1), ("?", 1)])
def test_a_shared_cache_is_divided(tmp_path, mask, sharing):
    add_cpu(tmp_path, 0, *core(0, "32K", "2M", mask))
    assert from_sysfs(tmp_path, None) == Caches(32 * KIB, 2 * MIB // sharing)


@pytest.mark.parametrize("size", ["", "K", "-1K", "0K", "1.5M", "huge", "12X", "4KK"])
def test_a_size_that_is_none_is_as_good_as_missing(tmp_path, size):
    add_cpu(tmp_path, 0, *core(0, size, "1M"))
    assert from_sysfs(tmp_path, None) == Caches(ASSUMED.first, MIB)


def test_what_is_missing_or_unreadable_is_assumed(tmp_path):
    assert from_sysfs(tmp_path / "nowhere", None) == ASSUMED
    (tmp_path / "cpufreq").mkdir()
    (tmp_path / "cpu0").mkdir()
    assert from_sysfs(tmp_path, None) == ASSUMED
    add_cpu(tmp_path, 1, (1, "Data", "64K", "2"))
    assert from_sysfs(tmp_path, None) == Caches(64 * KIB, ASSUMED.second)
    (tmp_path / "cpu1" / "cache" / "index0" / "level").write_bytes(b"\xff\x00")
    assert from_sysfs(tmp_path, None) == ASSUMED
    size = tmp_path / "cpu1" / "cache" / "index0" / "size"
    size.unlink()
    size.mkdir()
    assert from_sysfs(tmp_path, frozenset({1})) == ASSUMED


def test_a_cpu_that_lists_nothing_hides_no_other(tmp_path):
    (tmp_path / "cpu0").mkdir()
    add_cpu(tmp_path, 1, *core(1, "48K", "1M"))
    assert from_sysfs(tmp_path, None) == Caches(48 * KIB, MIB)


def test_macos_gives_the_smaller_kind_of_core_its_share_of_the_second_level():
    output = """hw.perflevel0.l1dcachesize: 131072
hw.perflevel0.l2cachesize: 16777216
hw.perflevel0.cpusperl2: 4
hw.perflevel1.l1dcachesize: 65536
hw.perflevel1.l2cachesize: 4194304
hw.perflevel1.cpusperl2: 4
"""
    assert parse_sysctl(output) == Caches(64 * KIB, MIB)
    assert parse_sysctl("sysctl: unknown oid 'hw.perflevel0.l1dcachesize'\n") == ASSUMED


def test_a_macos_without_sysctl_is_assumed(monkeypatch):
    def refused(*_, **__):
        raise FileNotFoundError("no sysctl")

    monkeypatch.setattr(found.sys, "platform", "darwin")
    monkeypatch.setattr(found.subprocess, "run", refused)
    caches.cache_clear()
    assert caches() == ASSUMED
    caches.cache_clear()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not say")
def test_only_cores_that_the_process_may_run_on_count(tmp_path, monkeypatch):
    add_cpu(tmp_path, 3, *core(3, "48K", "2M"))
    add_cpu(tmp_path, 4, *core(4, "16K", "128K"))
    monkeypatch.setattr(found, "_SYSFS", tmp_path)
    monkeypatch.setattr(found.sys, "platform", "linux")
    monkeypatch.setattr(found.os, "sched_getaffinity", lambda _: {3})
    caches.cache_clear()
    assert caches() == Caches(48 * KIB, 2 * MIB)
    caches.cache_clear()
