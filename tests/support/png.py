# SPDX-License-Identifier: MIT
# Pictures in PNG files as browsers write them: eight bits a channel, not interlaced. Standard
# library alone, and fast enough for a page.
"""Reading PNG files."""
import itertools
import struct
import zlib
from collections import Counter
from dataclasses import dataclass

MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass
class Picture:
    """Rows of pixels, each a tuple (red, green, blue)."""
    width: int
    height: int
    rows: list

    def colours(self, left=0, top=0, right=None, bottom=None):
        """How many pixels of a rectangle have which colour."""
        found = Counter()
        for row in self.rows[top:bottom]:
            found.update(row[left:right])
        return found


def read(path):
    with open(path, "rb") as stream:
        data = stream.read()
    assert data.startswith(MAGIC), path
    at, packed = len(MAGIC), []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IHDR":
            width, height, bits, colour, _, _, interlaced = struct.unpack_from(
                ">IIBBBBB", data, at + 8)
        elif kind == b"IDAT":
            packed.append(data[at + 8:at + 8 + length])
        at += 12 + length
    assert bits == 8 and colour in (2, 6) and not interlaced, (bits, colour, interlaced)
    return Picture(width, height, list(_rows(zlib.decompress(b"".join(packed)), width,
                                             3 if colour == 2 else 4)))


def _rows(data, width, channels):
    before = bytes(width * channels)
    for at in range(0, len(data), width * channels + 1):
        before = _row(data[at], data[at + 1:at + 1 + width * channels], before, channels)
        yield list(zip(*(before[channel::channels] for channel in range(3))))


def _row(kind, row, above, channels):
    """Takes the filter off a row; most rows of flat pictures are quick."""
    if kind == 0:
        return row
    if kind == 2:
        return bytes(a + b & 255 for a, b in zip(row, above)) if any(row) else above
    if kind == 1:
        sums = [itertools.accumulate(row[channel::channels]) for channel in range(channels)]
        return bytes(value & 255 for pixel in zip(*sums) for value in pixel)
    return _slow_row(kind, row, above, channels)


def _slow_row(kind, row, above, channels):
    out = bytearray(channels) + row
    above = bytes(channels) + above
    for i in range(channels, len(out)):
        left, up, corner = out[i - channels], above[i], above[i - channels]
        if kind == 3:
            guess = left + up >> 1
        else:
            to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(
                left + up - 2 * corner)
            guess = (left if to_left <= to_up and to_left <= to_corner
                     else up if to_up <= to_corner else corner)
        out[i] = out[i] + guess & 255
    return bytes(out[channels:])
