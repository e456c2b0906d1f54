"""DeepFaceLab's pickles, read without unpickling: no name in them is ever looked up or called.

A pickle is a program for a small stack machine. This one has the instructions that plain values and numpy
arrays need. A pickle may call the names on an allow-list (`pickled_names`), each replaced by a stand-in that
makes a number, bytes or an array; any other name refuses the whole pickle.
So nothing is executed and numpy's own reconstruction never sees what others wrote. Time and memory stay in
proportion to the file: lengths are checked against what there is, every copy of a value that the memo
repeats is paid for (`Budget`), and dict keys are short strings only, whose hashes are randomised by Python.

The instructions are those of the standard library's pickletools.
"""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from lossarium.facesets.budget import Budget
from lossarium.facesets.decoding.decoded import RefusedError
from lossarium.facesets.formats.pickled_names import (
    ALLOWED_NAMES,
    AllowedName,
    PickledArray,
    PickledDtype,
    damaged,
)
from lossarium.text.wording import printable_name

MAX_VALUES = 8_000_000
"""A pickle that makes more values is refused."""
LONGEST_KEY = 255
"""A dict key of more characters is refused: equal long keys take long to compare."""

_MARK = object()
# Of a point, a list of two floats, DeepFaceLab's pickles make 3 in 22 bytes: a list, a mark and a memo entry.
_OBJECTS_PER_BYTE = 0.5
_COPIED_PER_BYTE = 2.0
_DOUBLE = struct.Struct(">d")


def unpickled(data: bytes, *, most_values: int = MAX_VALUES) -> object:
    """The value of a pickle of protocols 2 to 5; arrays in it are `PickledArray`.

    Raises:
        RefusedError: it has a name that is not on the allow-list, is damaged, cut off or too large, or uses
            instructions that plain values and arrays do not need.

    Example:
        >>> import pickle
        >>> unpickled(pickle.dumps({"face_type": "whole_face", "shape": (256, 256, 3)}))
        {'face_type': 'whole_face', 'shape': (256, 256, 3)}
    """
    try:
        return _Machine(data, most_values).run()
    except (IndexError, struct.error) as error:
        raise damaged("it ends early") from error
    except (TypeError, ValueError, OverflowError, AttributeError, KeyError) as error:
        raise damaged("its instructions do not fit together") from error


def as_array(value: object) -> npt.NDArray[np.generic] | None:
    """The array of a `PickledArray`, or None for any other value."""
    return value.array if isinstance(value, PickledArray) else None


class _Machine:
    """The stack machine; each instruction is a method by its code in `_INSTRUCTIONS`."""

    def __init__(self, data: bytes, most_values: int) -> None:
        self.data = data
        self.place = 0
        self.values = 0
        self.most_values = most_values
        self.objects = Budget(len(data), per_byte=_OBJECTS_PER_BYTE)
        self.copied = Budget(len(data), per_byte=_COPIED_PER_BYTE)
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        data, instructions, stop = self.data, _INSTRUCTIONS, ord(".")
        while True:
            code = data[self.place]
            self.place += 1
            if code == stop:
                break
            instruction = instructions.get(code)
            if instruction is None:
                raise damaged(f"it uses the instruction {bytes((code,))!r}, which plain data has no need of")
            instruction(self)
            self.values += 1
            if self.values > self.most_values:
                raise RefusedError("carries a pickle of too many values")
        if len(self.stack) != 1:
            raise damaged("its instructions do not fit together")
        return self.stack[0]

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return int(value)

    def take(self, length: int) -> bytes:
        if length < 0 or self.place + length > len(self.data):
            raise damaged(f"it claims {length} bytes where {len(self.data) - self.place} are left")
        taken = self.data[self.place : self.place + length]
        self.place += length
        return taken

    def line(self) -> str:
        end = self.data.index(b"\n", self.place)
        return self.take(end + 1 - self.place)[:-1].decode("utf-8")

    def above_mark(self) -> list[object]:
        mark = len(self.stack) - 1
        while self.stack[mark] is not _MARK:
            mark -= 1
            if mark < 0:
                raise damaged("its instructions do not fit together")
        above = self.stack[mark + 1 :]
        del self.stack[mark:]
        return above

    def skip(self, length: int) -> None:
        self.take(length)

    def push_float(self) -> None:
        self.stack.append(_DOUBLE.unpack_from(self.data, self.place)[0])
        self.place += 8

    def push_long(self) -> None:
        self.stack.append(int.from_bytes(self.take(self.number("<B")), "little", signed=True))

    def push_text(self, form: str) -> None:
        self.stack.append(self.take(self.number(form)).decode("utf-8", "surrogatepass"))

    def push_bytes(self, form: str) -> None:
        self.stack.append(self.take(self.number(form)))

    def push_container(self, container: object) -> None:
        self.objects.spend(1)
        self.stack.append(container)

    def push_tuple(self, length: int) -> None:
        if length > len(self.stack):
            raise damaged("its instructions do not fit together")
        items = tuple(self.stack[len(self.stack) - length :])
        del self.stack[len(self.stack) - length :]
        self.push_container(items)

    def append(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise damaged("its instructions do not fit together")
        target.extend(items)

    def set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise damaged("its instructions do not fit together")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Numbers can be chosen so that all their hashes are equal. Hashing a tuple that holds the same
            # tuple twice, forty levels deep, would never end.
            if not isinstance(key, str) or len(key) > LONGEST_KEY:
                raise damaged("a dict has keys that are not short text")
            target[key] = value

    def remember(self, index: int) -> None:
        self.objects.spend(1)
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def pop(self, count: int) -> list[object]:
        popped = self.stack[len(self.stack) - count :]
        if len(popped) != count:
            raise damaged("its instructions do not fit together")
        del self.stack[len(self.stack) - count :]
        return popped

    def name(self, module: str, name: str) -> None:
        allowed = ALLOWED_NAMES.get((module, name))
        if allowed is None:
            shown = printable_name(f"{module}.{name}"[:100])
            raise RefusedError(
                f"carries a pickle that names {shown}, which could run code; it is not read, so remove it"
            )
        self.stack.append(allowed)

    def name_from_stack(self) -> None:
        module, name = self.pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise damaged("its instructions do not fit together")
        self.name(module, name)

    def reduce(self) -> None:
        called, arguments = self.pop(2)
        if not isinstance(called, AllowedName) or not isinstance(arguments, tuple):
            raise damaged("it calls something that is not a name")
        # Every call copies its text; arrays share their bytes.
        self.copied.spend(sum(len(text) for text in arguments if isinstance(text, str)))
        self.stack.append(called.call(*arguments))

    def build(self) -> None:
        (state,) = self.pop(1)
        target = self.stack[-1]
        if not isinstance(target, PickledArray | PickledDtype):
            raise damaged("it sets the state of something other than an array or its type")
        target.build(state)


_INSTRUCTIONS: Mapping[int, Callable[[_Machine], object]] = MappingProxyType(
    {
        0x80: lambda m: m.skip(1),  # PROTO
        0x95: lambda m: m.skip(8),  # FRAME
        ord("("): lambda m: m.push_container(_MARK),
        ord("0"): lambda m: m.pop(1),
        ord("N"): lambda m: m.stack.append(None),
        0x88: lambda m: m.stack.append(True),
        0x89: lambda m: m.stack.append(False),
        ord("K"): lambda m: m.stack.append(m.number("<B")),
        ord("M"): lambda m: m.stack.append(m.number("<H")),
        ord("J"): lambda m: m.stack.append(m.number("<i")),
        0x8A: _Machine.push_long,
        ord("G"): _Machine.push_float,
        0x8C: lambda m: m.push_text("<B"),
        ord("X"): lambda m: m.push_text("<I"),
        0x8D: lambda m: m.push_text("<Q"),
        ord("C"): lambda m: m.push_bytes("<B"),
        ord("B"): lambda m: m.push_bytes("<I"),
        0x8E: lambda m: m.push_bytes("<Q"),
        0x96: lambda m: m.push_bytes("<Q"),  # a bytearray; nothing here changes it
        ord("]"): lambda m: m.push_container([]),
        ord("}"): lambda m: m.push_container({}),
        ord(")"): lambda m: m.push_tuple(0),
        0x85: lambda m: m.push_tuple(1),
        0x86: lambda m: m.push_tuple(2),
        0x87: lambda m: m.push_tuple(3),
        ord("t"): lambda m: m.push_container(tuple(m.above_mark())),
        ord("a"): lambda m: m.append(m.pop(1)),
        ord("e"): lambda m: m.append(m.above_mark()),
        ord("s"): lambda m: m.set_items(m.pop(2)),
        ord("u"): lambda m: m.set_items(m.above_mark()),
        0x94: lambda m: m.remember(len(m.memo)),
        ord("q"): lambda m: m.remember(m.number("<B")),
        ord("r"): lambda m: m.remember(m.number("<I")),
        ord("h"): lambda m: m.recall(m.number("<B")),
        ord("j"): lambda m: m.recall(m.number("<I")),
        ord("c"): lambda m: m.name(m.line(), m.line()),
        0x93: _Machine.name_from_stack,
        ord("R"): _Machine.reduce,
        ord("b"): _Machine.build,
    }
)
