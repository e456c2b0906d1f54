"""The kernel cache: each kernel is compiled once per machine; the cache is bounded and never half-written."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from lossarium.compute import kernel_cache
from lossarium.compute.compiling import compiled, floats_at, inlined

TINY = """
    from lossarium.compute.compiling import compiled
    from numba.core import event

    class Listener(event.Listener):
        def on_start(self, event):
            print("compiles")

        def on_end(self, event):
            pass

    event.register("numba:compile", Listener())

    @compiled
    def half(x):
        return x / 2

    assert half(4.0) == 2
"""


@pytest.fixture
def tiny(tmp_path):
    """Run a kernel from a file of its own in a new process; returns how often it compiled."""
    file = tmp_path / "tiny.py"

    def compilations(before: str = "", cache: str = "cache", **environment: str) -> int:
        file.write_text(textwrap.dedent(before) + textwrap.dedent(TINY))
        process = subprocess.run(
            [sys.executable, str(file)],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / cache), **environment},
        )
        return process.stdout.count("compiles")

    return compilations


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_no_later_process_compiles_anything_or_adds_a_file(tmp_path):
    """One kernel of each kind; `tests/soak/test_kernels.py` asks for every loss with every option.

    Those are a plain function, and native ones that close over a compiled function or over numbers.
    """
    compiled = check_second_process(tmp_path, "linf", "mae", "ssim(window=3)")
    assert {name.partition("_")[0] for name in compiled} >= {"", "tiles"}


def test_options_weights_and_gradients_compile_no_kernel_anew(tmp_path):
    """They are arguments; `tests.compute.every_kernel` asks for values and gradients, weighted or not."""
    specs = ("huber(delta=0.5)", "huber(delta=2)", "smooth_l1(beta=0.1)", "general(alpha=2, c=0.3)")
    compiled = check_second_process(tmp_path, *specs, "ssim(window=3, sigma=1)", "ssim(window=3, sigma=2)")
    # One kernel for all losses that are Huber's in other units, one for the windows.
    assert sum(name.startswith("tiles_") for name in compiled) == 2


def check_second_process(folder: Path, *specs: str) -> list[str]:
    """Run two processes; returns what the first compiles, and checks that the second compiles nothing and
    adds no file."""
    command = [sys.executable, "-m", "tests.compute.every_kernel", str(folder / "pictures"), *specs]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    compiled, files = [], []
    for _ in range(2):
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=900, check=True, env=environment
        )
        compiled.append(json.loads(process.stdout.splitlines()[-1]))
        files.append(entries(folder / "cache"))
    assert compiled[1] == []
    assert files[0] == files[1]
    assert {path.suffix for path in files[0]} == {".kernel"}
    return compiled[0]


def test_processes_that_compile_at_the_same_time_all_keep_what_they_compiled(tmp_path):
    cache = tmp_path / "cache"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    files = []
    for number in (2, 3, 2, 3):
        files.append(tmp_path / f"own{len(files)}" / f"divide{number}.py")
        files[-1].parent.mkdir()
        files[-1].write_text(
            textwrap.dedent(TINY).replace("half", "part").replace("/ 2", f"/ {number} * {number} / 2")
        )
    processes = [subprocess.Popen([sys.executable, str(file)], env=environment) for file in files]
    assert [process.wait(300) for process in processes] == [0] * 4
    assert {path.suffix for path in entries(cache)} == {".kernel"}
    for file in files:
        again = subprocess.run([sys.executable, str(file)], env=environment, capture_output=True, check=True)
        assert again.stdout == b""


def test_processors_that_share_a_folder_keep_their_entries_side_by_side(tiny):
    one = {"NUMBA_CPU_NAME": "core2", "NUMBA_CPU_FEATURES": ""}
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert [tiny(**one), tiny(**other), tiny(**one), tiny(**other)] == [1, 1, 0, 0]


@pytest.mark.parametrize("what", ["the sources", "numba"])
def test_entries_of_other_sources_and_versions_are_removed_and_nothing_else(tmp_path, tiny, what):
    change = {
        "the sources": "import lossarium.compute.kernel_cache as k\nk._digest_of_files = lambda _: 'f'\n",
        "numba": "import numba\nnumba.__version__ = '0.0.0'\n",
    }[what]
    assert tiny() == 1
    (before,) = entries(tmp_path / "cache")
    others = [before.parent.parent / "kernels-notes", before.parent.parent / "mine" / before.name]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert tiny(change) == 1
    (after,) = set(entries(tmp_path / "cache")) - set(others)
    assert after.parent != before.parent
    assert not before.parent.exists()
    assert all(path.read_text() == "mine" for path in others)


def test_entries_of_another_python_stay_as_long_as_the_sources_do():
    own = kernel_cache._Folder("kernels", "a" * 16, "cpython311", "b" * 16)
    folder = kernel_cache._Folder
    assert not folder("kernels", "a" * 16, "cpython312", "c" * 16).is_replaced_by(own)
    assert folder("kernels", "d" * 16, "cpython312", "c" * 16).is_replaced_by(own)
    assert not folder("rendering", "d" * 16, "cpython311", "b" * 16).is_replaced_by(own)


def test_a_kernel_keeps_no_more_than_its_newest_entries(tmp_path):
    current = Path("kernels-a-b-c")
    (tmp_path / current).mkdir()
    for build in range(30):
        path = tmp_path / current / f"file.function.kernel.{build:02}.kernel"
        path.write_text("")
        os.utime(path, (build, build))
    other = tmp_path / current / "file.function.other.00.kernel"
    other.write_text("")
    kernel_cache._prune(tmp_path, current / "file.function.kernel.29.kernel")
    kept = sorted(path.name for path in (tmp_path / current).glob("file.function.kernel.*"))
    assert kept == [f"file.function.kernel.{build}.kernel" for build in range(14, 30)]
    assert other.exists()


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    current = tmp_path / "kernels-a-b-c"
    current.mkdir()
    old, new = current / "x.tmp", current / "y.tmp"
    for path in (old, new):
        path.write_text("")
    os.utime(old, (0, 0))
    kernel_cache._prune(tmp_path, Path(current.name) / "file.function.kernel.build.kernel")
    assert entries(tmp_path) == [new]


@pytest.mark.parametrize("damage", ["truncated", "a flipped bit", "empty"])
def test_a_damaged_entry_is_recompiled_and_replaced(tmp_path, tiny, damage):
    tiny()
    (entry,) = entries(tmp_path / "cache")
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    entry.write_bytes({"truncated": whole[:-100], "a flipped bit": bytes(flipped), "empty": b""}[damage])
    assert [tiny(), tiny()] == [1, 0]
    assert entries(tmp_path / "cache") == [entry]


NOWHERE = """
    import os, sys
    from pathlib import Path
    import numba
    import lossarium.compute.compiling
    import lossarium.compute.kernel_cache as kept
    # As a user without a home directory finds a read-only installation.
    kept._PACKAGE = Path(sys.argv[1]) / "installed"
    # The compiler's own modules may be out of the reach of such a user of this machine.
    numba.njit(nogil=True, error_model="numpy")(lambda x: x / 2)(4.0)
    if os.getuid() == 0:
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="there are no users of this kind")
def test_without_a_writable_folder_it_works_and_reports_the_remedy_once(tmp_path):
    closed = tmp_path / "closed"
    (closed / "installed" / "compute").mkdir(parents=True)
    for path in (closed / "installed" / "compute", closed / "installed", closed):
        path.chmod(0o555)
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(NOWHERE)
        + textwrap.dedent(TINY)
        + "assert compiled(lambda x: x + 1)(1) == 2\nassert half(4) == 2\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA", "XDG"))}
    environment.update(HOME=str(closed / "nobody"), PYTHONDONTWRITEBYTECODE="1")
    for _ in range(2):
        process = subprocess.run(
            [sys.executable, str(program), str(closed)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment,
        )
        assert process.returncode == 0, process.stderr
        assert process.stdout.count("compiles") == 3
        assert process.stderr.count("NUMBA_CACHE_DIR") == 1
        assert "cannot be kept" in process.stderr


def test_kernels_that_came_with_a_read_only_installation_are_found(tmp_path):
    first, second = tmp_path / "installed", tmp_path / "user"
    places = kernel_cache._Places([first, second])
    assert (places.writable, places.readable) == (first, (first,))
    blocked = tmp_path / "file"
    blocked.write_text("")
    places = kernel_cache._Places([blocked / "installed", second])
    assert (places.writable, places.readable) == (second, (blocked / "installed", second))


def test_what_a_kernel_closes_over_is_part_of_its_name():
    def kernel_of(number, function, precision):
        def kernel(x):
            return precision(function(x) * number)

        return kernel_cache.describe(kernel)

    def one(x):
        return x

    def two(x):
        return x

    names = {
        kernel_of(1, one, np.float32),
        kernel_of(2, one, np.float32),
        kernel_of(1, two, np.float32),
        kernel_of(1, one, np.float64),
        kernel_of(1.0, one, np.float32),
        kernel_of(1, compiled(one), np.float64),
        kernel_of(1, inlined(two), np.float64),
        kernel_of(1, floats_at, np.float64),
    }
    assert len(names) == 7, "compiled or not, a function is the same function"


def test_values_that_the_cache_cannot_distinguish_are_refused():
    array = np.zeros(3)

    def kernel(x):
        return x + array[0]

    with pytest.raises(TypeError, match="pass it as an argument"):
        kernel_cache.describe(kernel)


SPECIALISED = """
    import ctypes, sys
    from lossarium.compute.compiling import native

    def storing(number):
        def store(numbers):
            numbers[0] = number
        return native(store)

    kernels = {number: storing(number)() for number in map(int, sys.argv[1:])}
    for number, kernel in kernels.items():
        stored = (ctypes.c_int64 * 1)()
        kernel(ctypes.addressof(stored))
        assert stored[0] == number, (number, stored[0])
"""


def test_specialisations_that_different_processes_compiled_are_not_confused(tmp_path):
    """Their symbols would be the same: named after the function, and numbered from 1 in each process."""
    file = tmp_path / "specialised.py"
    file.write_text(textwrap.dedent(SPECIALISED))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for numbers in (["3"], ["5"], ["3", "5"], ["5", "3"]):
        subprocess.run([sys.executable, str(file), *numbers], timeout=300, check=True, env=environment)
    assert len(entries(tmp_path / "cache")) == 2
