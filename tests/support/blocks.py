# SPDX-License-Identifier: MIT
# The rule of the pictures of `qcow2 layout`, as docs/layout.md tells it, written a second time: what
# each block shows, from the runs of the JSON document. And images whose pictures have much to show.
"""Blocks of pictures."""
from collections import Counter
from dataclasses import dataclass, field

KINDS = ("header", "refcount-table", "refcount-block", "l1-table", "l2-table", "data", "compressed",
         "snapshot-only", "shared", "snapshot-table", "bitmap-directory", "bitmap-table",
         "bitmap-data", "crypto", "conflict", "leaked", "free", "hole")
GLYPHS = dict(zip(KINDS, "HRr12█▚▒▓SBtbKX!░·"))
ALARMS = ("conflict", "leaked")


@dataclass
class Block:
    start: int
    length: int
    bytes: Counter = field(default_factory=Counter)
    shown: str = ""
    taken: bool = False

    @property
    def mark(self):
        return next((kind for kind in ALARMS if self.bytes[kind]), None)

    def glyph(self):
        """What the terminal shows."""
        return GLYPHS[self.mark or self.shown]


def easy_number(least):
    """The least number from there on that is at most 8, or 4 to 8 times a power of two."""
    power = 1
    while -(-least // power) > 8:
        power *= 2
    return -(-least // power) * power


def blocks_of(runs, size, length):
    """The first `size` bytes of a file as blocks of so many bytes."""
    blocks = [Block(at, min(length, size - at)) for at in range(0, size, length)]
    for run in runs:
        at, end = run["start"], min(run["start"] + run["length"], size)
        while at < end:
            block = blocks[at // length]
            upto = min(end, block.start + block.length)
            block.bytes[run["kind"]] += upto - at
            at = upto
    _choose(blocks)
    return blocks


def _choose(blocks):
    for block in blocks:
        block.shown = max(KINDS, key=lambda kind: block.bytes[kind])  # pylint: disable=W0640
    totals = sum((block.bytes for block in blocks), Counter())
    for kind in sorted(totals, key=lambda kind: (totals[kind], KINDS.index(kind))):
        showing = Counter(block.shown for block in blocks)
        showing.update(block.mark for block in blocks if block.mark not in (None, block.shown))
        if showing[kind]:
            continue
        free = [block for block in blocks
                if block.bytes[kind] and not block.taken and showing[block.shown] > 1]
        if free:
            best = max(free, key=lambda block: block.bytes[kind])  # pylint: disable=W0640
            best.shown, best.taken = kind, True


# An image with a cluster of each kind at least: 16 KiB clusters, about 1,300 of them.
ALL_KINDS = """# every kind that a layout knows
cluster_bits 14
size 32M
luks1
write 0 3M
compressed 3M 2M pattern=mixed
write 5M 1M
snapshot 1 name=installed
write 512k 768k
gap 96
repeat 26 write {*212992} 32k
write 9M 2M
unmap 9792k 320k
leak 3
compressed 12M 2M pattern=mixed
gap 60
write 14M 2M
bitmap nightly granularity=64k bits=0-90,200-300
bitmap weekly granularity=64k bits=12-400
set l2/0/0 @bitmaps/1/data/0 | 1<<63
"""
