"""Hostile files of every format are read or refused in a sentence, in time and memory by their size.

Two kinds are made. *Repeated* files say a unit of their format's vocabulary again and again, up to a
megabyte, after a random beginning: first every word alone, then random phrases. Whatever costs more than its
own length each time (a reference to something large, a scan from the start, a hash that collides) shows.
*Damaged* files are good ones with flipped, lost, doubled or foreign bytes.
"""

import json
import pickle
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.facesets.handmade_faces import (
    dfl_fields,
    dfl_jpeg,
    face,
    faceset_pak,
    faceswap_header,
    faceswap_mask,
    faceswap_png,
    itxt_png,
)
from tests.facesets.handmade_folders import write_faceset
from tests.facesets.handmade_pictures import chunk, encoded, smooth

ROOT = Path(__file__).parents[2]
REPEATED, DAMAGED = 80, 150
LARGE = 2**20

# CPU seconds that a small file may take, and a megabyte; the slowest seen on a busy core take 1.3 a megabyte.
BASE_SECONDS, SECONDS_PER_MB = 2.0, 6.0
# Memory that a small picture takes with its decoder and threads, and a byte of a file: one of a pickle may be
# an empty dict of 64 bytes. The most seen is 39.
BASE_BYTES, BYTES_PER_BYTE = 150 * 2**20, 80

Ask = Callable[..., dict[str, object]]


@contextmanager
def reader() -> Iterator[Ask]:
    """Asks a process that forks for each folder."""
    command = [sys.executable, "-m", "tests.soak.hostile_reader"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(folder: Path, kind: str = "folder") -> dict[str, object]:
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            seconds = BASE_SECONDS + SECONDS_PER_MB * size / 2**20
            memory = BASE_BYTES + BYTES_PER_BYTE * size
            print(json.dumps([str(folder), kind, seconds, memory]), file=process.stdin, flush=True)
            answer: dict[str, object] = json.loads(process.stdout.readline())
            assert answer["outcome"] in ("read", "refused"), answer["outcome"]
            assert float(str(answer["seconds"])) < seconds, answer
            assert int(str(answer["bytes"])) < memory, answer
            return answer

        yield ask
        process.stdin.close()


def text(content: bytes) -> bytes:
    """A text of a pickle."""
    return b"X" + struct.pack("<I", len(content)) + content


def pickles(numbers: random.Random, size: int, number: int) -> bytes:
    """A pickle: values that the memo keeps, then instructions again and again."""
    large = numbers.choice([0, 10, 1000, size // 4])
    kept = [
        text(b"x" * large),
        text(b"latin1"),
        b"c_codecs\nencode\n",
        b"B" + struct.pack("<I", large) + bytes(large),
        b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R",
        b"]",
        b"}",
        b"(" + b"K\x01" * min(large, 50_000) + b"t",
        b"\x8a\x08" + struct.pack("<q", 2**61 - 1),
        b"G" + struct.pack(">d", 0.5),
        b"cnumpy.core.multiarray\nscalar\n",
        b"cnumpy.core.numeric\n_frombuffer\n",
    ]
    head = b"\x80\x04" + b"".join(value + b"q" + bytes((i,)) for i, value in enumerate(kept))
    words = [
        *(b"h" + bytes((i,)) for i in range(len(kept))),
        *(b"]", b"}", b")", b"(", b"t", b"e", b"a", b"s", b"u", b"\x94", b"0", b"N", b"R", b"b"),
        *(b"\x85", b"\x86", b"\x87", b"K\x01", b"h\x02h\x00h\x01\x86R", b"h\x06", b"h\x08Ns", b"h\x00Ns"),
        *(b"h\x0ah\x04h\x03\x86R", b"h\x0bh\x03h\x04h\x07N(tR", b"\x8c\x01a", b"c_codecs\nencode\n"),
    ]
    return repeated(numbers, head, words, size, number) + numbers.choice([b".", b"e.", b"u.", b"t."])


def repeated(numbers: random.Random, head: bytes, words: list[bytes], size: int, number: int) -> bytes:
    """The file of a number: a unit again and again, each word alone before phrases of them."""
    unit = b"".join(numbers.choices(words, k=numbers.randint(2, 6)))
    if number < len(words):
        unit = words[number]
    return head + unit * max((size - len(head)) // len(unit), 1)


def literals(numbers: random.Random, size: int, number: int) -> bytes:
    words = [bytes((c,)) for c in b"'\"\\[](){},:=.-+ 0a\n\0"]
    words += [
        b"b'",
        b"\\'",
        b'\\"',
        b"\\x00",
        b"\\u1234",
        b"1e5",
        b"np.int64(1)",
        b"array(",
        b"dtype=",
        b"True",
    ]
    words += ["é".encode(), b"nan", b"'a': ", b"1,", b"''", b"9" * 50, b"#", b"not ", b"lambda"]
    head = numbers.choice(
        [b"", b"{", b"{'a': ", b"{'alignments': {'landmarks_xy': [", b"'", b"{'", b"b'", b"["]
    )
    return repeated(numbers, head, words, size, number)


def tomls(numbers: random.Random, size: int, number: int) -> bytes:
    words = [bytes((c,)) for c in b"'\"\\[]{},=.-+ 0a\n#_:"]
    words += [
        b"'''",
        b'"""',
        b"a.",
        b"a = 1\n",
        b"[a]\n",
        b"[[a]]\n",
        b"\\u0041",
        b"[a.a.a]\n",
        b"{a=",
        b"\\\n",
    ]
    words += [b"'a'.", b'"a" . ', b"1_0", b"0x", b"1.5,", b"1979-05-27", b"inf", b"a.b=1\n", b"[[a.b.c]]\n"]
    heads = [
        b"",
        b"a = ",
        b"a = [",
        b"a = '''",
        b'a = """',
        b"[" + b"a." * 15 + b"a]\n",
        b"a = {",
        b'a = "',
        b"# ",
    ]
    tail = numbers.choice([b"", b"a = 1\n", b"a]\n", b"'\n", b'"""\n'])
    return repeated(numbers, numbers.choice(heads), words, size, number) + tail


def jsons(numbers: random.Random, size: int, number: int) -> bytes:
    words = [bytes((c,)) for c in b'"\\[]{},:.-+ 0a\n']
    words += [
        b'"a":',
        b"[[",
        b"{}",
        b"[],",
        b"1,",
        b"1e9,",
        b"1" * 100,
        b"null,",
        b"\\u0041",
        b"\\ud800",
        b'"",',
    ]
    heads = [b"", b"{", b'{"0000": ', b'{"0000": {"state": ', b'{"0000": [[', b'"', b'{"a": "']
    tail = numbers.choice([b"", b"}", b"]}", b'": 1}'])
    return repeated(numbers, numbers.choice(heads), words, size, number) + tail


def bomb(numbers: random.Random, size: int) -> bytes:
    """A decompression bomb: a thousand times its size."""
    return zlib.compress(numbers.choice([b"\0", b" ", b"'", b"[", b"(1,"]) * (200 * size), 9)


def pngs(numbers: random.Random, size: int) -> bytes:
    """A good PNG with chunks between its header and its pixels, or after them."""
    good = itxt_png(b"Comment\0\0\0\0\0hello")
    header, rest = good[:33], good[33:]
    packed = bomb(numbers, size // 20)
    keyword = numbers.choice([b"faceswap", b"Comment", b""]) + b"\0"
    kinds = [
        b"IDAT",
        b"tEXt",
        b"zTXt",
        b"iTXt",
        b"iCCP",
        b"eXIf",
        b"PLTE",
        b"tRNS",
        b"acTL",
        b"fdAT",
        b"abCd",
        b"IHDR",
    ]
    bodies = [b"", b"\0", bytes(13), keyword, keyword + b"\0\1\0\0\0" + packed, keyword + b"\0" + packed]
    bodies += [b"II*\0\x08\0\0\0\xff\xff" + bytes(1000), keyword + b"\0" + b"\0" * 100, packed]
    many = chunk(numbers.choice(kinds), numbers.choice(bodies))
    many += chunk(numbers.choice(kinds), numbers.choice(bodies)) if numbers.random() < 0.5 else b""
    middle = many * max(size // len(many), 1)
    return header + middle + rest if numbers.random() < 0.7 else good[:-12] + middle + good[-12:]


def jpegs(numbers: random.Random, size: int) -> bytes:
    good = dfl_jpeg(dfl_fields(face(64.0)))
    if numbers.random() < 0.5:
        good = encoded(Image.fromarray(smooth(64, 64)), "JPEG", progressive=True)
    markers = [0x00, 0x01, 0xC0, 0xC2, 0xC4, 0xD0, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE, 0xFF, 0xDA]
    bodies = [
        b"",
        b"\0",
        bytes(100),
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"ICC_PROFILE\0\x01\x01",
        b"\x80\x04}.",
    ]
    bodies += [pickles(numbers, 60_000, numbers.randrange(80))[:65_000]]
    body = numbers.choice(bodies)
    segment = b"\xff" + bytes((numbers.choice(markers),)) + struct.pack(">H", len(body) + 2) + body
    unit = numbers.choice([segment, b"\xff", b"\xff\x00", b"\xff\xd0", b"\0", last_scan(good)])
    scan = good.index(b"\xff\xda")
    place = numbers.choice([2, 20, scan, len(good) - 2])
    return good[:place] + unit * max(size // len(unit), 1) + good[place:]


def last_scan(good: bytes) -> bytes:
    return good[good.rindex(b"\xff\xda") : -2]


def webps(numbers: random.Random, size: int) -> bytes:
    picture = Image.fromarray(smooth(64, 64))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [picture.rotate(turn) for turn in range(3)]
    good = numbers.choice(
        [
            encoded(picture, "WEBP", lossless=True),
            encoded(picture, "WEBP", icc_profile=profile, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
            encoded(picture, "WEBP", save_all=True, append_images=frames),
        ]
    )
    kinds = [b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ", b"abcd"]
    body = numbers.choice([b"", bytes(10), bytes(100), b"\x2f" + bytes(9), bytes(16) + good[12:]])
    part = numbers.choice(kinds) + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    place = numbers.choice([12, 30, len(good)])
    middle = good[12:place] + part * max(size // len(part), 1) + good[place:]
    return b"RIFF" + struct.pack("<I", len(middle) + 4) + b"WEBP" + middle


def configurations(numbers: random.Random, size: int) -> bytes:
    """Of a pack: the dicts of pictures, shared, or with shared names."""
    name = "n" * numbers.choice([1, 100, size // 2]) + ".jpg"
    one = {"filename": name, "person_name": numbers.choice([None, name])}
    count = max(size // 4, 1)
    lists: list[Callable[[], list[dict[str, object]]]] = [
        lambda: [one] * count,
        lambda: [{"filename": name, "person_name": one["person_name"]} for _ in range(count // 4)],
        lambda: [{"filename": f"{i}.jpg", "person_name": name} for i in range(count // 4)],
        lambda: [{"filename": f"{i}.jpg", "landmarks": name} for i in range(count // 4)],
    ]
    return pickle.dumps(numbers.choice(lists)(), 4)


def in_folder(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write(kind: str, folder: Path, numbers: random.Random, size: int, number: int) -> None:
    """A folder with one hostile file, by its number."""
    if kind == "pickle":
        in_folder(folder, "faceset.pak", faceset_pak([b"a"], pickles(numbers, size, number)))
    elif kind == "pack":
        in_folder(folder, "faceset.pak", faceset_pak([b"a"], configurations(numbers, size)))
    elif kind == "literal":
        in_folder(folder, "a.png", faceswap_png(literals(numbers, size, number)[: 2**20 - 14]))
    elif kind == "trial":
        in_folder(folder, "trial.toml", tomls(numbers, size, number)[: 2**20])
    elif kind == "toml":
        write_faceset(folder, frames=8)
        good = (folder / "faceset.toml").read_bytes()
        in_folder(folder, "faceset.toml", tomls(numbers, size, number) + numbers.choice([b"", b"\n" + good]))
    elif kind == "json":
        write_faceset(folder, frames=8)
        in_folder(folder, numbers.choice(["states.json", "landmarks.json"]), jsons(numbers, size, number))
    else:
        make = {"png": pngs, "jpeg": jpegs, "webp": webps}[kind]
        in_folder(folder, f"a.{kind}", make(numbers, size))


@pytest.mark.parametrize(
    "kind", ["pickle", "pack", "literal", "toml", "trial", "json", "png", "jpeg", "webp"]
)
def test_files_that_repeat_themselves(kind: str, tmp_path: Path) -> None:
    numbers = random.Random(kind)
    outcomes = set()
    with reader() as ask:
        for number in range(REPEATED):
            folder = tmp_path / str(number)
            write(kind, folder, numbers, LARGE if number % 3 else LARGE // 16, number)
            outcomes.add(ask(folder, "toml" if kind == "trial" else "folder")["outcome"])
    assert "refused" in outcomes


def good_folder(kind: str, folder: Path) -> str:
    """A folder that is read, and the file in it that is to be damaged."""
    header = faceswap_header(
        face(64.0), extended=faceswap_mask(np.zeros((16, 16), np.uint8), np.eye(2, 3) * 0.25)
    )
    picture = Image.fromarray(smooth(64, 64))
    pictures = {
        "faceswap": ("a.png", lambda: faceswap_png(header)),
        "dfl": ("a.jpg", lambda: dfl_jpeg(dfl_fields(face(64.0)))),
        "progressive": ("a.jpg", lambda: encoded(picture, "JPEG", progressive=True)),
        "webp": ("a.webp", lambda: encoded(picture, "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")),
        "animation": (
            "a.webp",
            lambda: encoded(picture, "WEBP", save_all=True, append_images=[picture.rotate(9)]),
        ),
        "palette": ("a.png", lambda: encoded(picture.quantize(16), "PNG", transparency=3)),
        "pak": (
            "faceset.pak",
            lambda: faceset_pak(
                [dfl_jpeg(dfl_fields(face(64.0)))], [{"filename": "a.jpg", "mask": np.arange(9)}]
            ),
        ),
    }
    if kind in pictures:
        name, make = pictures[kind]
        in_folder(folder, name, make())
        return name
    write_faceset(folder, frames=8)
    return kind


def damaged(content: bytes, numbers: random.Random) -> bytes:
    """Some bytes of it changed, lost, doubled, moved, or made extreme numbers."""
    data = bytearray(content)
    for _ in range(numbers.choice([1, 1, 2, 5, 20])):
        place = numbers.randrange(len(data) or 1)
        length = numbers.choice([1, 2, 4, 8, 100])
        choice = numbers.randrange(6)
        if choice == 0 and data:
            data[place] ^= 1 << numbers.randrange(8)
        elif choice == 1 and data:
            data[place] = numbers.choice([0, 1, 0x7F, 0x80, 0xFF, numbers.randrange(256)])
        elif choice == 2:
            del data[place : place + length]
        elif choice == 3:
            data[place:place] = data[place : place + length] * numbers.choice([1, 1, 300])
        elif choice == 4:
            data[place : place + length] = b"\xff" * length
        else:
            data[place : place + 4] = struct.pack(
                numbers.choice("<>") + "I", numbers.choice([0, 2**31 - 1, 2**32 - 1])
            )
    return bytes(data)


DAMAGED_FILES = ["faceswap", "dfl", "progressive", "webp", "animation", "palette", "pak"]
DAMAGED_FILES += ["faceset.toml", "states.json", "landmarks.json", "frames/0003.webp", "masks/0003.png"]


def mended(content: bytes) -> bytes:
    """A PNG whose checksums are right again, so that the damage is seen by what comes after them."""
    parts, offset = [content[:8]], 8
    while offset + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, offset)
        parts.append(chunk(kind, content[offset + 8 : offset + 8 + length]))
        offset += 12 + length
    return b"".join(parts)


@pytest.mark.parametrize("kind", DAMAGED_FILES)
def test_damaged_files(kind: str, tmp_path: Path) -> None:
    numbers = random.Random(kind)
    folder = tmp_path / "folder"
    name = good_folder(kind, folder)
    good = (folder / name).read_bytes()
    before, after = b"", b""
    if kind == "faceswap":
        # Only what faceswap wrote: the pixels are most of the file, and damaged ones are always refused.
        start, end = good.index(b"faceswap\0"), good.index(b"IDAT") - 8
        before, good, after = good[:start], good[start:end], good[end:]
    outcomes = set()
    with reader() as ask:
        assert ask(folder)["outcome"] == "read"
        for number in range(DAMAGED):
            content = before + damaged(good, numbers) + after
            if name.endswith(".png") and number % 2:
                content = mended(content)
            (folder / name).write_bytes(content)
            outcomes.add(ask(folder)["outcome"])
    assert outcomes == {"read", "refused"}
