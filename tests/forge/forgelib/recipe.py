# SPDX-License-Identifier: MIT
"""Recipes: the text, line by line, as data.

The first line is a comment, the sentence that says what the image is.  A line
`# qemu: no, …` says that QEMU cannot vouch for the image and why.
"""

import re

from . import extensions
from .errors import ForgeError
from .values import number, to_bytes, words

BREAKAGES = ("set", "poke", "truncate", "append", "sparse", "trim", "copy", "erase")
DISK = ("write", "zero", "compressed", "subclusters", "unmap", "alias", "share_l2", "snapshot",
        "gap", "leak", "align")
NUMBERS = ("version", "cluster_bits", "size", "refcount_order", "crypt_method", "header_length",
           "l1_size", "refcount_table_clusters", "incompatible", "compatible", "autoclear")
SWITCHES = ("extended_l2", "dirty", "corrupt", "lazy_refcounts", "refcounts_first", "saturate")


def options(tokens):
    """Split into plain words and key=value pairs."""
    plain, named = [], {}
    for token in tokens:
        match = re.match(r"([a-z_0-9]+)=(.*)", token, re.S)
        if match:
            named[match[1]] = match[2]
        else:
            plain.append(token)
    return plain, named


def guest_range(args):
    """(where, start, length, snapshot or None, L1 entries that lead to the table) of a comment."""
    plain, named = options(args)
    return (plain[0], number(plain[1]), number(plain[2]), named.get("snapshot"),
            number(named.get("times", "1")))


class Recipe:
    def __init__(self, text):
        self.text, self.name, self.sentence, self.qemu = text, None, "", None
        self.shows, self.finds, self.guest = [], [], []
        for key in NUMBERS:
            setattr(self, key, None)
        for key in SWITCHES:
            setattr(self, key, False)
        self.version, self.cluster_bits, self.size, self.refcount_order = 3, 16, 1 << 20, 4
        self.crypt_method = self.incompatible = self.compatible = self.autoclear = 0
        self.compression, self.header_tail, self.end_extension = None, b"", True
        self.backing = self.data_file = self.luks = None
        self.feature_names, self.extensions, self.bitmaps = [], [], []
        self.disk, self.breakages, self.line_of = [], [], {}
        for count, line in enumerate(text.splitlines(), 1):
            try:
                self._line(line.strip(), count)
            except (ForgeError, ValueError, IndexError, KeyError) as err:
                raise ForgeError(f"line {count}: {line.strip()[:80]}: {err}") from err

    def _line(self, line, count):
        if line.startswith("#"):
            if not self.sentence:
                self.sentence = line.lstrip("# ")
            elif line.startswith("# shows:"):
                self.shows += line[8:].split()
            elif line.startswith("# finds:"):
                self.finds += line[8:].split()
            elif line.startswith("# guest:"):
                self.guest.append(guest_range(words(line[8:])))
            elif line.startswith("# qemu:"):
                self.qemu = line[7:].strip()
            return
        if not line:
            return
        word, _, rest = line.partition(" ")
        if word == "repeat":
            times, _, rest = rest.strip().partition(" ")
            for index in range(number(times)):
                self._line(expand(rest, index), count)
        elif word in BREAKAGES:
            self.breakages.append((word, rest.strip(), count))
        elif word in DISK:
            plain, named = options(words(rest))
            self.disk.append((word, plain, named, count))
        else:
            self._setting(word, words(rest))

    def _setting(self, word, args):
        if word in NUMBERS:
            setattr(self, word, number(args[0]))
        elif word in SWITCHES:
            setattr(self, word, True)
        else:
            handler = getattr(self, "_do_" + word, None)
            if handler is None:
                raise ForgeError("nobody knows this word")
            handler(args)

    def _do_compression(self, args):
        names = {"deflate": 0, "zlib": 0, "zstd": 1}
        self.compression = names[args[0]] if args[0] in names else number(args[0])

    def _do_header_tail(self, args):
        self.header_tail = to_bytes(args[0] if ":" in args[0] else "hex:" + args[0])

    def _do_end_extension(self, args):
        self.end_extension = args[0] not in ("no", "off")

    def _do_backing(self, args):
        plain, named = options(args)
        self.backing = {"name": to_bytes(plain[0]), "make": named.get("make"),
                        "format": to_bytes(plain[1]) if len(plain) > 1 else None}

    def _do_data_file(self, args):
        plain, _ = options(args)
        raw, absent = "raw" in plain[1:], "absent" in plain[1:]
        name = None if plain[0] == "-" else to_bytes(plain[0])
        self.data_file = {"name": name, "raw": raw, "make": not absent}

    def _do_luks1(self, args):
        self.luks, self.crypt_method = (1, options(args)[1]), 2

    def _do_luks2(self, args):
        self.luks, self.crypt_method = (2, options(args)[1]), 2

    def _do_feature_names(self, _args):
        self.feature_names += extensions.DEFAULT_NAMES

    def _do_feature_name(self, args):
        kinds = {"incompatible": 0, "compatible": 1, "autoclear": 2}
        kind = kinds[args[0]] if args[0] in kinds else number(args[0])
        self.feature_names.append((kind, number(args[1]), to_bytes(args[2])))

    def _do_extension(self, args):
        kind = extensions.TYPES.get(args[0])
        kind = number(args[0]) if kind is None else kind
        self.extensions.append((kind, to_bytes(args[1]) if len(args) > 1 else b""))

    def _do_bitmap(self, args):
        plain, named = options(args[1:])
        if plain:
            raise ForgeError(f"bitmap options are key=value, not {plain[0]}")
        self.bitmaps.append((args[0], named))


def expand(line, index):
    """Put the turn of a repeat for {} (or {:04x}; {*8} multiplies)."""
    def swap(match):
        times = number(match[1]) if match[1] else 1
        return format(index * times, match[2] or "")
    return re.sub(r"\{(?:\*(\w+))?(?::([^}]*))?\}", swap, line)
