"""List the files below a folder without recursion, with defined behaviour for links."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from lossarium.errors import LossariumError
from lossarium.text.wording import counted, listed, printable_name, reason_of

MOST_DEPTH = 100
"""Folders nested deeper are refused."""


@dataclass
class Walk:
    """The files below a folder."""

    files: list[str] = field(default_factory=list)
    """Paths relative to the folder, with forward slashes, including linked files."""
    unfollowed: list[str] = field(default_factory=list)
    """Linked folders that were skipped."""
    broken: list[str] = field(default_factory=list)
    """Links that lead nowhere or to something unreadable."""
    repeated: list[str] = field(default_factory=list)
    """Links to files or folders that are listed already."""

    def notes(self) -> Iterator[str]:
        """What the user should know about the links."""
        if self.unfollowed:
            are = "is" if len(self.unfollowed) == 1 else "are"
            yield (
                f"{counted(len(self.unfollowed), 'linked folder')} {are} not followed "
                f"({listed(self.unfollowed)}); with --follow-links they are read, too"
            )
        if self.broken:
            lead = "leads" if len(self.broken) == 1 else "lead"
            yield (
                f"{counted(len(self.broken), 'link')} {lead} nowhere or to something unreadable "
                f"({listed(self.broken)})"
            )
        if self.repeated:
            lead = "leads" if len(self.repeated) == 1 else "lead"
            yield (
                f"{counted(len(self.repeated), 'link')} {lead} to files that are read already "
                f"({listed(self.repeated)})"
            )


def walk(folder: Path, *, follow_links: bool, endings: tuple[str, ...]) -> Walk:
    """List the files below a folder; names that begin with a dot and `__MACOSX` are skipped.

    Real folders come before linked ones, so that a file is listed under its real path; with `follow_links`
    every folder and file is listed once, however many links lead to it, even in a cycle.

    Args:
        folder: The top.
        follow_links: Whether linked folders are entered. Linked files are listed either way.
        endings: Broken links whose names end like this are listed as files.

    Raises:
        LossariumError: a folder cannot be read, or folders are nested deeper than `MOST_DEPTH`.
    """
    walker = _Walker(folder, endings, follow_links=follow_links)
    walker.enter_all("", linked=False)
    while walker.linked_folders:
        first = min(walker.linked_folders)
        walker.linked_folders.remove(first)
        walker.enter_all(first, linked=True)
    walker.take_linked_files()
    return walker.found


class _Walker:
    """Enters folders and sorts their content. Paths are strings, not `Path`s: there may be millions."""

    def __init__(self, folder: Path, endings: tuple[str, ...], *, follow_links: bool) -> None:
        self.folder = folder
        self.endings = endings
        self.follow_links = follow_links
        self.found = Walk()
        self.linked_folders: list[str] = []
        self.linked_files: list[str] = []
        self.entered: set[tuple[int, int]] = set()
        self.real_files: set[str] = set()

    def enter_all(self, top: str, *, linked: bool) -> None:
        """Enter a folder and the real folders below it."""
        waiting = [top]
        while waiting:
            place = waiting.pop()
            try:
                entries = self.entries_of(place)
                real = os.path.realpath(self.full(place)) if self.follow_links else ""
            except OSError as error:
                if not linked:
                    refuse_folder(self.full(place), error)
                self.found.broken.append(place)
                continue
            if place.count("/") >= MOST_DEPTH:
                raise LossariumError(
                    f"The folder {printable_name(self.folder)} holds folders nested more than {MOST_DEPTH} "
                    "deep; move the pictures up, or give the folder that they are in."
                )
            for entry in entries:
                path = f"{place}/{entry.name}" if place else entry.name
                if entry.is_symlink():
                    self.take_link(entry, path)
                elif entry.is_dir():
                    waiting.append(path)
                else:
                    self.found.files.append(path)
                    if self.follow_links:
                        self.real_files.add(os.path.join(real, entry.name))  # noqa: PTH118

    def full(self, path: str) -> str:
        return os.path.join(self.folder, path)  # noqa: PTH118

    def entries_of(self, place: str) -> list["os.DirEntry[str]"]:
        """The entries of a folder; none if it was entered already."""
        if self.follow_links:
            status = os.stat(self.full(place))  # noqa: PTH116
            identity = status.st_dev, status.st_ino
            if identity in self.entered:
                self.found.repeated.append(place)
                return []
            self.entered.add(identity)
        with os.scandir(self.full(place)) as entries:
            return [entry for entry in entries if not is_skipped(entry.name)]

    def take_link(self, entry: "os.DirEntry[str]", path: str) -> None:
        if _is_folder(entry):
            (self.linked_folders if self.follow_links else self.found.unfollowed).append(path)
        elif entry.name.lower().endswith(self.endings) or os.path.exists(entry.path):  # noqa: PTH110
            self.linked_files.append(path)
        else:
            self.found.broken.append(path)

    def take_linked_files(self) -> None:
        """After all real files are known, add linked files; with `follow_links` only those not listed yet."""
        for path in sorted(self.linked_files):
            real = os.path.realpath(self.full(path)) if self.follow_links else path
            if real in self.real_files:
                self.found.repeated.append(path)
                continue
            self.real_files.add(real)
            self.found.files.append(path)
        for several in (self.found.unfollowed, self.found.broken, self.found.repeated):
            several.sort()


def is_skipped(name: str) -> bool:
    """Whether a name is skipped: hidden files and what archive programs add."""
    # Archives packed on a Mac carry a __MACOSX folder, and ._names beside the real files.
    return name.startswith(".") or name == "__MACOSX"


def refuse_folder(shown: Path | str, error: Exception) -> NoReturn:
    """Refuse a folder that cannot be read; skipping it would silently make the faceset smaller.

    Raises:
        LossariumError: always.
    """
    raise LossariumError(
        f"The folder {printable_name(shown)} cannot be read: {reason_of(error)}; "
        "allow it or move the pictures."
    ) from error


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A cycle of links.
        return False
