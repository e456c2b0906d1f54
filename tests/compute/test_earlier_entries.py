"""What earlier versions left in Numba's own cache goes, and nothing else."""

import pytest
from numba.core.caching import _CacheLocator

from lossarium.compute.earlier_entries import remove_earlier_entries

ENTRIES = ("halving._halve-63.py311.nbi", "halving._halve-63.py311.1.nbc", "m.f.locals.g-3.py313t.12.nbc")
OTHERS = ("halving.cpython-311.pyc", "notes.nbi", "mine-1.nbc", "a-1.py311.nbi.txt", "kernel.py311.nbi")


def fill(folder):
    folder.mkdir(parents=True)
    for name in (*ENTRIES, *OTHERS):
        (folder / name).write_text("")


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_numbas_entries_beside_the_sources_are_removed_and_no_other_file(tmp_path):
    package = tmp_path / "lossarium"
    folders = [package / "kernels" / "__pycache__", package / "__pycache__"]
    others = [tmp_path / "__pycache__", package / "kernels" / "other"]
    for folder in (*folders, *others):
        fill(folder)
    remove_earlier_entries(package)
    assert [names(folder) for folder in folders] == [set(OTHERS)] * 2
    assert [names(folder) for folder in others] == [{*ENTRIES, *OTHERS}] * 2


def test_numbas_entries_in_its_own_cache_folder_are_removed_for_this_package_alone(tmp_path):
    package, cache = tmp_path / "lossarium", tmp_path / "cache"
    own, other = (
        cache / _CacheLocator.get_suitable_cache_subpath(str(folder / "halving.py"))
        for folder in (package / "kernels", tmp_path / "elsewhere" / "kernels")
    )
    for folder in (own, other):
        fill(folder)
        for name in OTHERS:
            (folder / name).unlink()
    remove_earlier_entries(package, str(cache))
    assert not own.exists()
    assert names(other) == set(ENTRIES)


@pytest.mark.parametrize("cache", ["", "missing"])
def test_where_there_are_none_nothing_happens(tmp_path, cache):
    remove_earlier_entries(tmp_path / "lossarium", cache and str(tmp_path / cache))
    assert list(tmp_path.iterdir()) == []
