"""Change the colours of one 8-bit frame: brightness, contrast, tint by tables; then CIELAB jitter and CLAHE.

`facesets.batches.augmentation` defines these changes, `facesets.colour` defines CIELAB.
"""

import numpy as np

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.elementary import exp, log
from lossarium.facesets.batches.contrast_cpu import equalise

# Linear sRGB to X, Y and Z as shares of white's (D65), row by row, and back.
LIGHT_TO_XYZ = (
    *(0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    *(0.2126729, 0.7151522, 0.0721750),
    *(0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
XYZ_TO_LIGHT = (
    *(3.2404542 * 0.95047, -1.5371385, -0.4985314 * 1.08883),
    *(-0.9692660 * 0.95047, 1.8760108, 0.0415560 * 1.08883),
    *(0.0556434 * 0.95047, -0.2040259, 1.0572252 * 1.08883),
)
# Indices into a frame's array of colour changes: where each kind begins, and how long the array is.
BRIGHTNESS, CONTRAST, RED, KEPT, ADDED, CHANGES = 0, 1, 2, 5, 8, 11

_TO_XYZ = tuple(np.float32(number) for number in LIGHT_TO_XYZ)
_TO_LIGHT = tuple(np.float32(number) for number in XYZ_TO_LIGHT)
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_THIRD = np.float32(1 / 3)
_KNEE, _KNEE_CUBED = np.float32(6 / 29), np.float32((6 / 29) ** 3)
_SLOPE, _FOOT = np.float32(3 * (6 / 29) ** 2), np.float32(4 / 29)
_FLATTER = np.float32(1 / (3 * (6 / 29) ** 2))
_L_SCALE, _L_FOOT, _L_BACK = np.float32(1.16), np.float32(0.16), np.float32(1 / 1.16)
_A_SCALE, _B_SCALE = np.float32(500), np.float32(200)
_A_BACK, _B_BACK = np.float32(1 / 500), np.float32(1 / 200)
_ENCODED_KNEE, _LIGHT_KNEE = np.float32(0.04045), np.float32(0.0031308)
_STRAIGHT, _STRAIGHT_BACK = np.float32(12.92), np.float32(1 / 12.92)
_SHIFT, _GAIN, _GAIN_BACK = np.float32(0.055), np.float32(1.055), np.float32(1 / 1.055)
_POWER = np.float32(2.4)


@inlined
def learn_table(frame: Reals, change: Reals, table: Reals) -> None:
    """Fill the table of what brightness, contrast and tint make of 256 values, (3, 256) in [0, 1]."""
    total = np.int64(0)
    values = frame.reshape(frame.size)
    for j in range(values.size):
        total += np.int64(values[j])
    middle = np.float32(total / (255 * values.size))
    for channel in range(3):
        row, tint = table[channel], change[RED + channel]
        for value in range(256):
            level = np.float32(value) / np.float32(255)
            changed = (middle + change[BRIGHTNESS] + (level - middle) * change[CONTRAST]) * tint
            row[value] = min(max(changed, _ZERO), _ONE)


@compiled
def colour_by_table(frame: Reals, change: Reals, table: Reals, sheet: Reals) -> None:
    """Change brightness, contrast and tint.

    Args:
        frame: (H, W, 3), 8-bit sRGB.
        change: (`CHANGES`,), see the indices above.
        table: Scratch, (3, 256).
        sheet: Gets the colours in [0, 1], (H + 4, W + 4, 4), inside a border of two pixels.
    """
    learn_table(frame, change, table)
    height, width, _ = frame.shape
    for i in range(height):
        row, out = frame[i], sheet[i + 2]
        for j in range(width):
            for channel in range(3):
                out[j + 2, channel] = table[channel, row[j, channel]]


@compiled
def colour_in_lab(
    frame: Reals,
    change: Reals,
    tiles: int,
    clip: Real,
    table: Reals,
    curves: Reals,
    lines: Reals,
    lab: Reals,
    sheet: Reals,
) -> None:
    """Change brightness, contrast and tint, then jitter in CIELAB, then apply CLAHE unless `tiles` is 0.

    Arguments as `colour_by_table`, with scratch `lab`, (3, H, W), and the scratch of `equalise`.
    """
    learn_table(frame, change, table)
    for channel in range(3):
        row = table[channel]
        for value in range(256):
            encoded = row[value]
            power = exp(_POWER * log((encoded + _SHIFT) * _GAIN_BACK))
            row[value] = power if encoded > _ENCODED_KNEE else encoded * _STRAIGHT_BACK
    height, width, _ = frame.shape
    for i in range(height):
        row = frame[i]
        for channel in range(3):
            light = lab[channel, i]
            for j in range(width):
                light[j] = table[channel, row[j, channel]]
        _jitter(lab[0, i], lab[1, i], lab[2, i], change)
    if tiles:
        equalise(lab[0], tiles, clip, curves, lines)
    for i in range(height):
        _encode(lab[0, i], lab[1, i], lab[2, i])
        first, second, third, out = lab[0, i], lab[1, i], lab[2, i], sheet[i + 2, 2:]
        for j in range(width):
            out[j, 0] = first[j]
            out[j, 1] = second[j]
            out[j, 2] = third[j]
            out[j, 3] = _ZERO


@inlined
def _jitter(first: Reals, second: Reals, third: Reals, change: Reals) -> None:
    """Rows of linear red, green and blue to changed L* / 100, a* and b*, in place."""
    keep_l, keep_a, keep_b = change[KEPT], change[KEPT + 1], change[KEPT + 2]
    add_l, add_a, add_b = change[ADDED], change[ADDED + 1], change[ADDED + 2]
    for j in range(first.size):
        red, green, blue = first[j], second[j], third[j]
        x = _root(_TO_XYZ[0] * red + _TO_XYZ[1] * green + _TO_XYZ[2] * blue)
        y = _root(_TO_XYZ[3] * red + _TO_XYZ[4] * green + _TO_XYZ[5] * blue)
        z = _root(_TO_XYZ[6] * red + _TO_XYZ[7] * green + _TO_XYZ[8] * blue)
        first[j] = (_L_SCALE * y - _L_FOOT) * keep_l + add_l
        second[j] = _A_SCALE * (x - y) * keep_a + add_a
        third[j] = _B_SCALE * (y - z) * keep_b + add_b


@inlined
def _encode(first: Reals, second: Reals, third: Reals) -> None:
    """Rows of L* / 100, a* and b* to sRGB, in place."""
    for j in range(first.size):
        root = (first[j] + _L_FOOT) * _L_BACK
        x, y, z = _cube(root + second[j] * _A_BACK), _cube(root), _cube(root - third[j] * _B_BACK)
        first[j] = _encoded(_TO_LIGHT[0] * x + _TO_LIGHT[1] * y + _TO_LIGHT[2] * z)
        second[j] = _encoded(_TO_LIGHT[3] * x + _TO_LIGHT[4] * y + _TO_LIGHT[5] * z)
        third[j] = _encoded(_TO_LIGHT[6] * x + _TO_LIGHT[7] * y + _TO_LIGHT[8] * z)


@inlined
def _root(share: Real) -> Real:
    return _cube_root(max(share, _KNEE_CUBED)) if share > _KNEE_CUBED else share * _FLATTER + _FOOT


@inlined
def _cube(root: Real) -> Real:
    return root * root * root if root > _KNEE else _SLOPE * (root - _FOOT)


@inlined
def _encoded(light: Real) -> Real:
    light = min(max(light, _ZERO), _ONE)
    safe = max(light, _LIGHT_KNEE)
    # x^(1 / 2.4) is the cube root of x^(5 / 4).
    power = _cube_root(safe * np.sqrt(np.sqrt(safe)))
    return _GAIN * power - _SHIFT if light > _LIGHT_KNEE else light * _STRAIGHT


@inlined
def _cube_root(x: Real) -> Real:
    """To 3e-7 of its value, for normal positive numbers: a third of the bits, then Halley's step twice."""
    bits = np.float32(x).view(np.int32)
    guess = np.int32(np.int32(np.float32(bits) * _THIRD) + 709958130).view(np.float32)
    for _ in range(2):
        cube = guess * guess * guess
        guess = guess * (cube + _TWO * x) / (_TWO * cube + x)
    return guess
