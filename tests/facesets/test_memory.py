"""The available memory, from files like those of Linux."""

import sys

import pytest

from lossarium.facesets.memory import available_memory

GIGABYTE = 2**30

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files as Linux has them")


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path):
    """16 GiB of memory, 8 available."""
    write(tmp_path, "proc/meminfo", "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n")
    return tmp_path


def test_this_machine_says_how_much_it_has():
    available = available_memory()
    assert available is not None
    assert 10 * 2**20 < available < 2**50


def test_what_the_machine_has_available(machine):
    assert available_memory(machine) == 8 * GIGABYTE


@pytest.mark.parametrize("at", ["", "a/", "a/b/"])
def test_a_containers_limit(machine, at):
    write(machine, "proc/self/cgroup", "0::/a/b\n")
    folder = f"sys/fs/cgroup/{at}"
    write(machine, f"{folder}memory.max", f"{4 * GIGABYTE}\n")
    write(machine, f"{folder}memory.current", f"{3 * GIGABYTE}\n")
    write(machine, f"{folder}memory.stat", f"anon 5\ninactive_file {GIGABYTE}\nactive_file 7\n")
    assert available_memory(machine) == 2 * GIGABYTE
    write(machine, f"{folder}memory.max", "max\n")
    assert available_memory(machine) == 8 * GIGABYTE


def test_a_containers_limit_in_the_first_version(machine):
    write(machine, "proc/self/cgroup", "4:memory:/outside/name\n1:cpu:/\n")
    folder = "sys/fs/cgroup/memory"
    write(machine, f"{folder}/memory.limit_in_bytes", f"{4 * GIGABYTE}\n")
    write(machine, f"{folder}/memory.usage_in_bytes", f"{5 * GIGABYTE}\n")
    assert available_memory(machine) == 0


def test_a_system_that_says_nothing(tmp_path):
    physical = available_memory(tmp_path)
    assert physical is None or physical > 10 * 2**20
