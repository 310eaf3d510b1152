#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Makes the seeds of the targets that read images: small images, from recipes alone.
"""tests/fuzz/seeds.py DIR: forges the seeds into DIR.

Each recipe of the forge is built with clusters of 512 bytes, and with lengths divided accordingly;
what then has no more than 16 KiB is a seed. Images with extended L2 entries need clusters of
16 KiB: they may have 96 KiB, most of it zeros. To these come the recipes of tests/fuzz/corpus.
"""
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP)
# The path that the script's folder has given comes first, and is not that of the package.
from tests.forge.forgelib import ForgeError, build, load, recipes  # noqa: E402
from tests.forge.forgelib.recipe import Recipe  # noqa: E402
from tests.forge.forgelib.sweep import everything  # noqa: E402

CORPUS = os.path.join(TOP, "tests/fuzz/corpus/image")
SMALL_BYTES = 16 << 10
EXTENDED_BYTES = 96 << 10
# Recipes that are large whatever their clusters, and take long to forge.
LARGE = ("bad-hostile-bitmap-names-equal", "bad-hostile-bitmaps-65535",
         "bad-hostile-bitmaps-65536", "bad-hostile-bitmaps-long-names",
         "good-hostile-extensions-262130", "good-hostile-shared-l2", "good-hostile-shared-l2-2m",
         "good-hostile-snapshots", "good-hostile-sparse-terabytes", "good-sparse-terabytes")
SIZES = {"k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# Words whose numbers are places or lengths of the guest.
LENGTHS = ("size", "write", "zero", "compressed", "subclusters", "unmap", "alias")


def shrunk_number(word, shift):
    """A length divided by 1 << shift, in whole sectors; other words stay as they are."""
    match = re.fullmatch(r"(\d+|0x[0-9a-f]+)([kMGT]?)", word)
    if not match:
        return word
    value = int(match[1], 0) * SIZES.get(match[2], 1)
    return str(-(-value // (512 << shift)) * 512) if value % 512 == 0 else word


def shrunk(text, bits):
    """The recipe with clusters of 1 << bits bytes, its guest shrunk as its clusters are."""
    was = re.search(r"^cluster_bits (\d+)$", text, re.M)
    old = int(was[1]) if was else 16
    lines = [f"cluster_bits {bits}"]
    for line in text.splitlines():
        words = line.split(" ")
        if words[0] == "cluster_bits":
            continue
        if words[0] in LENGTHS and old > bits:
            line = " ".join([words[0]] + [shrunk_number(w, old - bits) for w in words[1:]])
        lines.append(line)
    return "# A seed.\n" + "\n".join(lines) + "\n"


def texts():
    """(name, text, most bytes) of all that might be a seed."""
    for name in recipes():
        if name in LARGE:
            continue
        recipe = load(name)
        bits = 14 if recipe.extended_l2 else 9
        most = EXTENDED_BYTES if recipe.extended_l2 else SMALL_BYTES
        if recipe.cluster_bits in (9, 16) or recipe.extended_l2:
            yield name, shrunk(recipe.text, bits), most
        else:
            yield name, recipe.text, most
    for order in range(7):
        yield f"everything-{order}", everything(9, order, False, 3), 2 * SMALL_BYTES
    yield "everything-extended", everything(14, 4, True, 3), EXTENDED_BYTES
    yield "everything-v2", everything(9, 4, False, 2), 2 * SMALL_BYTES
    for name in sorted(os.listdir(CORPUS)) if os.path.isdir(CORPUS) else ():
        if name.endswith(".recipe"):
            with open(os.path.join(CORPUS, name), encoding="utf-8") as stream:
                yield "corpus-" + name[:-7], stream.read(), EXTENDED_BYTES


def forge(text, most):
    """The bytes of an image of at most so many bytes, or None. LUKS headers are cut: keys are long."""
    for cut in ("", "size 2M\n"):
        try:
            store = build(Recipe(text + cut)).store
        except ForgeError:  # a breakage that clusters of 512 bytes have no room for
            continue
        if store.size <= most or "\nluks" in text:
            return store.read(0, min(store.size, most))
    return None


def make(folder):
    """Forges all seeds; returns how many there are."""
    os.makedirs(folder, exist_ok=True)
    count = 0
    for name, text, most in texts():
        image = forge(text, most)
        if image is not None:
            count += 1
            with open(os.path.join(folder, name), "wb") as stream:
                stream.write(image)
    return count


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(make(sys.argv[1]), "seeds")
