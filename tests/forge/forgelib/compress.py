# SPDX-License-Identifier: MIT
"""Compressed clusters: raw deflate with a 4 KiB window, and zstd frames made by hand.

The zstd frames hold only raw and run-length blocks, so that no library is
needed: RFC 8878, single-segment frames with a 4-byte content size.
"""

import struct
import zlib

BLOCK = 128 << 10


def deflate(data, level=9):
    packer = zlib.compressobj(level, zlib.DEFLATED, -12)
    return packer.compress(data) + packer.flush()


def _block(data, last):
    """One block: run-length if all its bytes agree, else raw."""
    run = data.count(data[:1]) == len(data)
    head = len(data) << 3 | (1 << 1 if run else 0) | (1 if last else 0)
    return head.to_bytes(3, "little") + (data[:1] if run else data)


def zstd_frame(data):
    """Magic, descriptor (4-byte size, single segment), size, blocks."""
    limit = min(BLOCK, len(data))
    out = [struct.pack("<IBI", 0xFD2FB528, 0xA0, len(data))]
    for start in range(0, len(data), limit):
        chunk = data[start:start + limit]
        out.append(_block(chunk, start + limit >= len(data)))
    return b"".join(out)


def zstd(data, frames=1):
    """One cluster as one frame or as several frames in a row."""
    step = -(-len(data) // frames)
    return b"".join(zstd_frame(data[i:i + step]) for i in range(0, len(data), step))
