# SPDX-License-Identifier: MIT
"""Images that are broken at random, the same in every run: a number says which."""

import random

from tests.forge import build

# What a mutation may hit: the fields of a forged image whose path begins so.
TARGETS = ("header/l1_size", "header/l1_table_offset", "header/refcount_table", "header/snapshot",
           "header/nb_snapshots", "header/size", "l1/", "l2/", "refcount", "snapshots/", "bitmaps/",
           "extensions/bitmaps")
BASES = (
    "cluster_bits 9\nsize 512k\nwrite 0 64k\nwrite 100k 9k\nzero 200k 10k\nsnapshot 1 name=one\n"
    "write 4k 8k\n",
    "cluster_bits 12\nsize 1M\nwrite 0 100k\ncompressed 200k 40k pattern=mixed\nsnapshot 1 name=a\n"
    "snapshot 2 name=b\nwrite 0 4k\nbitmap b0 bits=1-9\nbitmap b1 granularity=4k bits=3\n",
    "cluster_bits 14\nextended_l2\nsize 2M\nwrite 0 100k\nsubclusters 256k alloc=0-3 zero=4-7\n"
    "compressed 512k 32k\n",
    "cluster_bits 10\nrefcount_order 6\nsize 300k\nwrite 0 50k\nalias 100k 4k 0\nleak 3\n",
    "cluster_bits 12\nrefcount_order 1\nversion 3\nsize 1M\nwrite 0 64k\nsnapshot 1 name=x\n",
    "version 2\ncluster_bits 12\nsize 1M\nwrite 0 64k\nsnapshot 1 name=x\nwrite 8k 4k\n",
)


def value(rng, old, width, layout):
    """Another number for a field: a near one, a flipped bit, or one from elsewhere."""
    limit = (1 << 8 * width) - 1
    places = list(layout.offsets.values())
    return rng.choice((
        old ^ 1 << rng.randrange(8 * width),
        old + rng.choice((-1, 1)),
        old + rng.choice((-1, 1)) * (1 << layout.recipe.cluster_bits),
        (old & ~0xfffffffffffe00) | rng.choice(places) & 0xfffffffffffe00,
        0,
        rng.randrange(1 << 8 * width),
    )) & limit


def mutated(number, path):
    """Builds image number at path; what was changed."""
    rng = random.Random(number)
    base = BASES[number % len(BASES)]
    layout = build(base, path)
    fields = [(name, field) for name, field in sorted(layout.fields.items())
              if name.startswith(TARGETS) and field.width <= 8]
    entries = [(f"l2/0/{i}", None) for i in range(0, 40, 3)] + [("l1/0", None)]
    changes = []
    for _ in range(rng.randint(1, 3)):
        name, field = rng.choice(fields + entries)
        width = field.width if field else 8
        old = layout.value(name)
        if not isinstance(old, int):
            continue
        new = value(rng, old, width, layout)
        at = field.offset if field else layout.where(name)
        with open(path, "r+b") as image:
            image.seek(at)
            image.write(new.to_bytes(width, "big"))
        changes.append(f"{name}: {old:#x} -> {new:#x}")
    return base, changes
