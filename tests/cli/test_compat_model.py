# SPDX-License-Identifier: MIT
# A second statement of what `qcow2 compat` prints, made of struct.unpack and json.dumps alone and
# sharing nothing with the C code, and the comparison of both over many images: forged ones, the
# good recipes of the forge, and what qemu-img makes.
"""The text and JSON of compat against an independent model."""
import json
import os
import random
import re
import struct
import subprocess

import pytest

from tests import forge
from tests.support.programs import QCOW2

PRINTABLE = set(range(0x20, 0x7f)) | set(b"\t\n\r\x0b\x0c")
HEADER = (("magic", "x", 4), ("version", "d", 4), ("backing_file_offset", "x", 8),
          ("backing_file_size", "x", 4), ("cluster_bits", "d", 4), ("size", "d", 8),
          ("crypt_method", "d", 4), ("l1_size", "d", 4), ("l1_table_offset", "x", 8),
          ("refcount_table_offset", "x", 8), ("refcount_table_clusters", "d", 4),
          ("nb_snapshots", "d", 4), ("snapshot_offset", "x", 8),
          ("incompatible_features", "bits", 8), ("compatible_features", "bits", 8),
          ("autoclear_features", "bits", 8), ("refcount_order", "d", 4),
          ("header_length", "d", 4))
BITMAPS = (("nb_bitmaps", "d", 4), ("reserved32", "d", 4), ("bitmap_directory_size", "x", 8),
           ("bitmap_directory_offset", "x", 8))
ENTRY = (("bitmap_table_offset", "x", 8), ("bitmap_table_size", "d", 4), ("flags", "flags", 4),
         ("type", "d", 1), ("granularity_bits", "d", 1), ("name_size", "d", 2),
         ("extra_data_size", "d", 4))
EXTENSIONS = {0xe2792aca: "Backing format", 0x6803f857: "Feature table",
              0x0537be77: "Crypto header", 0x23852875: "Bitmaps", 0x44415441: "Data file"}


def unpack(fields, data):
    letters = {1: "B", 2: "H", 4: "I", 8: "Q"}
    values = struct.unpack(">" + "".join(letters[width] for _, _, width in fields), data)
    return {name: value for (name, _, _), value in zip(fields, values)}


def bits(value):
    return [bit for bit in range(64) if value >> bit & 1]


def shown(kind, value):
    if kind == "bits":
        return str(bits(value))
    if kind == "flags":
        names = {0: "in-use", 1: "auto"}
        return f"{value:#x} ({[names.get(bit, f'bit-{bit}') for bit in bits(value)]})"
    return f"{value:#x}" if kind == "x" else str(value)


class Model:
    """All that compat shows of a valid image, read with pread."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDONLY)
        try:
            self.load()
        finally:
            os.close(self.file)

    def read(self, offset, size):
        """Bytes of the image; a cluster that the end of the file cuts goes on with zeros."""
        return os.pread(self.file, size, offset).ljust(size, b"\0")

    def load(self):
        self.header = unpack(HEADER, self.read(0, 104))
        if self.header["version"] == 2:
            self.header.update(incompatible_features=0, compatible_features=0,
                               autoclear_features=0, refcount_order=4, header_length=72)
        self.cluster = 1 << self.header["cluster_bits"]
        at = self.header["header_length"]
        end = min(self.cluster, self.header["backing_file_offset"] or self.cluster)
        self.extensions = []
        while at < end:
            magic, length = struct.unpack(">II", self.read(at, 8))
            if magic == 0:
                break
            self.extensions.append((magic, self.read(at + 8, length)))
            at += 8 + length + -length % 8
        self.bitmaps = []
        for magic, data in self.extensions:
            if magic == 0x23852875:
                self.load_bitmaps(unpack(BITMAPS, data))

    def load_bitmaps(self, extension):
        at = extension["bitmap_directory_offset"]
        for _ in range(extension["nb_bitmaps"]):
            entry = unpack(ENTRY, self.read(at, 24))
            extra, name = entry["extra_data_size"], entry["name_size"]
            text = self.read(at + 24 + extra, name).decode("utf-8", "surrogateescape")
            at += 24 + extra + name + -(extra + name) % 8
            words = self.read(entry["bitmap_table_offset"], 8 * entry["bitmap_table_size"])
            self.bitmaps.append((text, entry, struct.unpack(f">{len(words) // 8}Q", words)))

    def lines_of(self, fields, values, **kinds):
        return [f"{name:<25} {shown(kinds.get(name, kind), values[name])}"
                for name, kind, _ in fields]

    def lines_of_bitmap(self, bitmap, layout):
        name, entry, table = bitmap
        lines = ["", f"{'Bitmap name':<25} {name}"]
        if layout == "v7":
            lines += [f"{'flag':<25} {text}" for bit, text in ((0, "in-use"), (1, "auto"))
                      if entry["flags"] >> bit & 1]
            lines.append(f"{'table size':<25} {8 * entry['bitmap_table_size']} (bytes)")
            return lines + self.lines_of(ENTRY, entry, flags="d")
        lines += self.lines_of(ENTRY, entry)
        lines.append("Bitmap table   type            size         offset")
        for index, word in enumerate(table):
            kind, offset, _ = self.table_entry(word)
            size = self.cluster if kind == "serialized" else 0
            lines.append(f"{index:<14} {kind:<15} {size:<12} {offset}")
        return lines

    @staticmethod
    def table_entry(word):
        offset = word & 0x00fffffffffffe00
        kinds = ("serialized", "invalid") if offset else ("all-zeroes", "all-ones")
        return kinds[word & 1], offset, word & 0xff000000000001fe

    @staticmethod
    def data_text(data):
        return f"'{data.decode()}'" if set(data) <= PRINTABLE else "<binary>"

    def texts(self):
        """Every text of the image that is shown."""
        return [name for name, _, _ in self.bitmaps] + [
            data.decode() for _, data in self.extensions if set(data) <= PRINTABLE]

    def text(self, layout="qemu", header=True):
        lines = self.lines_of(HEADER, self.header) + [""] if header else []
        for magic, data in self.extensions:
            lines += ["Header extension:",
                      f"{'magic':<25} {magic:#x} ({EXTENSIONS.get(magic, '<unknown>')})",
                      f"{'length':<25} {len(data)}"]
            if magic == 0x23852875:
                lines += self.lines_of(BITMAPS, unpack(BITMAPS, data))
                for bitmap in self.bitmaps:
                    lines += self.lines_of_bitmap(bitmap, layout)
            else:
                lines.append(f"{'data':<25} {self.data_text(data)}")
            lines.append("")
        return "".join(line + "\n" for line in lines)

    def document(self, magic, data):
        """The JSON object of an extension."""
        result = {"name": EXTENSIONS.get(magic, "<unknown>"), "magic": magic, "length": len(data)}
        if magic != 0x23852875:
            result["data_str"] = self.data_text(data)
            return result
        keys = ("type", "offset", "reserved")
        result["data"] = dict(unpack(BITMAPS, data), bitmap_directory=[
            dict([("name", name), *entry.items()],
                 bitmap_table=[dict(zip(keys, self.table_entry(word))) for word in table])
            for name, entry, table in self.bitmaps])
        return result

    def json(self, header=True):
        start = json.dumps(self.header, indent=4) + "\n\n" if header else ""
        return start + json.dumps([self.document(*e) for e in self.extensions], indent=4) + "\n"


def compat(*arguments):
    return subprocess.run([QCOW2, "compat", *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120, check=False)


def same(path):
    """compat agrees with the model about the image, in every layout."""
    model = Model(path)
    # What a terminal must not get is escaped, and names that are not UTF-8 have a form of their
    # own in JSON: test_compat_hostile.py.
    safe = all(text.isprintable() for text in model.texts())
    utf8 = not any("\udc80" <= letter <= "\udcff" for text in model.texts() for letter in text)
    for arguments, comparable, expected in (
            (("dump-header",), safe, model.text()),
            (("dump-header-exts",), safe, model.text(header=False)),
            (("dump-header", "-j"), utf8, model.json()),
            (("dump-header-exts", "-j"), utf8, model.json(header=False)),
            (("dump-header", "--layout=v7"), safe, model.text("v7"))):
        done = compat(path, *arguments)
        assert not comparable or done.stdout.decode() == expected, arguments
        assert (done.returncode, done.stderr) == (0, b""), arguments
    return safe and utf8


class Bits:
    """An image made of a header, extensions and bitmaps; nothing else is in it."""

    def __init__(self, cluster_bits=12, version=3, header_length=112):
        self.cluster_bits, self.version = cluster_bits, version
        self.header_length = 72 if version == 2 else header_length
        self.cluster = 1 << cluster_bits
        self.extensions, self.bitmaps = [], []
        self.features = (0, 0, 1)
        self.end = True
        self.backing = b""

    def directory(self):
        """Bitmap tables from cluster 5 on, and the directory that names them."""
        entries, tables = b"", b""
        for name, flags, granularity, extra, table in self.bitmaps:
            offset = 5 * self.cluster + len(tables)
            words = struct.pack(f">{len(table)}Q", *table)
            tables += words + bytes(-len(words) % self.cluster)
            entry = struct.pack(">QIIBBHI", offset, len(table), flags, 1, granularity, len(name),
                                len(extra)) + extra + name
            entries += entry + bytes(-len(entry) % 8)
        return entries, tables

    def image(self):
        entries, tables = self.directory()
        offset = 5 * self.cluster + len(tables)
        extensions = list(self.extensions)
        if self.bitmaps:
            extensions.append((0x23852875, struct.pack(">IIQQ", len(self.bitmaps), 0, len(entries),
                                                       offset)))
        area = b"".join(struct.pack(">II", magic, len(data)) + data + bytes(-len(data) % 8)
                        for magic, data in extensions)
        if self.end:
            area += bytes(8)
        backing = self.header_length + len(area) if self.backing else 0
        head = struct.pack(">IIQIIQIIQQIIQ", 0x514649fb, self.version, backing, len(self.backing),
                           self.cluster_bits, 1 << 20, 0, 1, 3 * self.cluster, self.cluster, 1,
                           0, 0)
        if self.version > 2:
            head += struct.pack(">QQQII", *self.features, 4, self.header_length)
            head += bytes(self.header_length - len(head))
        head += area + self.backing
        assert len(head) <= self.cluster
        return head + bytes(5 * self.cluster - len(head)) + tables + entries

    def write(self, folder):
        path = folder / "image.qcow2"
        path.write_bytes(self.image())
        return path


@pytest.mark.parametrize("cluster_bits", [9, 10, 12, 16, 21])
@pytest.mark.parametrize("version,header_length", [(2, 72), (3, 104), (3, 112), (3, 128)])
def test_headers(tmp_path, version, header_length, cluster_bits):
    bits_ = Bits(cluster_bits, version, header_length)
    bits_.bitmaps = [(b"b", 2, 16, b"", [0])]
    assert same(bits_.write(tmp_path))


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 4, 7, 8, 0x80000001, 0xffffffff])
def test_bitmap_flags(tmp_path, flags):
    bits_ = Bits()
    bits_.bitmaps = [(b"flags", flags, 9, b"", [0, 1])]
    assert same(bits_.write(tmp_path))


@pytest.mark.parametrize("features", [(0, 0, 0), (3, 1, 3), (1 << 63, 1 << 62, 1 << 61),
                                      ((1 << 64) - 1,) * 3, (0, 0x8000000000000001, 0)])
def test_feature_bits(tmp_path, features):
    bits_ = Bits()
    bits_.features = features
    assert same(bits_.write(tmp_path))


def test_version_2_has_no_feature_bits(tmp_path):
    """Bytes 72 and up of a version 2 image are extensions, not features."""
    bits_ = Bits(version=2)
    bits_.extensions = [(0xe2792aca, b"raw"), (0x12345678, bytes(range(200)))]
    model = Model(bits_.write(tmp_path))
    assert model.header["incompatible_features"] == 0
    assert same(bits_.write(tmp_path))


@pytest.mark.parametrize("word", [0, 1, 512, 513, 0x00fffffffffffe00, 0x00fffffffffffe01, 2,
                                  0xff000000000001fe, (1 << 64) - 1, 0x8000000000010000])
def test_table_entries(tmp_path, word):
    bits_ = Bits(9)
    bits_.bitmaps = [(b"words", 0, 16, b"", [0, word, 1, word])]
    assert same(bits_.write(tmp_path))


@pytest.mark.parametrize("data", [b"", b"a", b"raw", b"0123456", b"01234567", b"it's",
                                  b'a "quoted" \\ word', b"caf\xc3\xa9", b"\0", b"tail\0",
                                  b"\x7f", b"\x1b[0m", bytes(range(256)), bytes(range(0x20, 0x7f))])
@pytest.mark.parametrize("magic", [0xe2792aca, 0x6803f857, 0x0537be77, 0x44415441, 1, 0x76617465])
def test_extension_data(tmp_path, data, magic):
    bits_ = Bits()
    bits_.extensions = [(magic, data), (0xffffffff, b"next")]
    assert same(bits_.write(tmp_path))


@pytest.mark.parametrize("name", ["b", "with space", "quote\"s and 'these'", "back\\slash",
                                  "x" * 1023, "żółw", "バックアップ", "😀", "~", "<b>&amp;"])
def test_names(tmp_path, name):
    bits_ = Bits()
    bits_.bitmaps = [(name.encode(), 2, 16, b"", [0]), (b"next", 0, 16, b"", [])]
    assert same(bits_.write(tmp_path))


@pytest.mark.parametrize("extra", [b"", b"x", b"\0" * 8, bytes(range(256)) * 8])
def test_extra_data(tmp_path, extra):
    bits_ = Bits()
    bits_.bitmaps = [(b"one", 6, 16, extra, [0]), (b"other", 2, 16, b"", [1])]
    assert same(bits_.write(tmp_path))


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("backing", [b"", b"base.raw", b"/a/longer/name"])
def test_end_of_the_extensions(tmp_path, end, backing):
    bits_ = Bits(9)
    bits_.end, bits_.backing = end, backing
    bits_.extensions = [(0xe2792aca, b"raw")]
    if not end and not backing:  # then only the end of the cluster ends them
        bits_.extensions.append((7, bytes(512 - 112 - 16 - 8)))
    assert same(bits_.write(tmp_path))


@pytest.mark.parametrize("seed", range(40))
def test_random_mixtures(tmp_path, seed):
    dice = random.Random(seed)
    bits_ = Bits(dice.choice([9, 10, 13, 16]), dice.choice([2, 3, 3]), dice.choice([104, 112, 120]))
    bits_.features = tuple(dice.getrandbits(64) & dice.getrandbits(64) for _ in range(3))
    for _ in range(dice.randrange(4)):
        data = dice.choice([dice.randbytes, lambda n: b"text " * n])(dice.randrange(9))
        bits_.extensions.append((dice.choice([*EXTENSIONS, 5]), data))
    bits_.extensions = [e for e in bits_.extensions if e[0] != 0x23852875]
    for index in range(dice.randrange(6)):
        words = [dice.choice([0, 1, 512 * dice.getrandbits(40), dice.getrandbits(64)])
                 for _ in range(dice.randrange(200))]
        bits_.bitmaps.append((f"bitmap {index}{'é' * dice.randrange(9)}".encode(),
                              dice.choice([0, 1, 2, 3, dice.getrandbits(32)]), dice.randrange(64),
                              dice.randbytes(dice.choice([0, 0, 0, 5, 16])), words))
    assert same(bits_.write(tmp_path))


@pytest.mark.parametrize("recipe", forge.recipes("good-"))
def test_good_recipes(tmp_path, recipe):
    path = tmp_path / "image.qcow2"
    forge.build_named(recipe, str(path))
    assert same(path) or "name" in recipe or "control" in recipe


@pytest.mark.parametrize("options", [
    "compat=0.10", "compat=1.1", "lazy_refcounts=on", "cluster_size=512", "cluster_size=2M",
    "refcount_bits=1", "refcount_bits=64", "extended_l2=on,cluster_size=64k",
    "compression_type=zstd", "data_file=df.raw,data_file_raw=on",
    "backing_file=some/base.qcow2,backing_fmt=qcow2", "compat=0.10,backing_file=b,backing_fmt=raw"])
def test_qemu_img_makes(tmp_path, options):
    path = tmp_path / "made.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-o", options, path, "16M"],
                   check=True, cwd=tmp_path)
    assert same(path)


@pytest.mark.parametrize("cluster_size", ["512", "4k", "64k", "2M"])
def test_qemu_img_bitmaps(tmp_path, cluster_size):
    path = tmp_path / "made.qcow2"
    run = {"check": True, "cwd": tmp_path}
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster_size}",
                    path, "64M"], **run)
    subprocess.run(["qemu-img", "bitmap", "--add", "-g", "64k", path, "first"], **run)
    subprocess.run(["qemu-io", "-c", "write 1M 3M", path], stdout=subprocess.DEVNULL, **run)
    subprocess.run(["qemu-img", "bitmap", "--add", "-g", "512", path, "second one"], **run)
    subprocess.run(["qemu-img", "bitmap", "--disable", path, "first"], **run)
    subprocess.run(["qemu-io", "-c", "write 32M 64k", path], stdout=subprocess.DEVNULL, **run)
    model = Model(path)
    assert [name for name, _, _ in model.bitmaps] == ["first", "second one"]
    assert any(word for _, _, table in model.bitmaps for word in table)
    assert same(path)


# What reads the library's lists of fields, so that a new field would change what it prints.
LISTS = re.compile(r"qcow2_(?:field|structure|names)\w*\(|qcow2_\w+_structure\b|QCOW2_STYLE_|"
                   r"struct qcow2_(?:field|structure|names)\b|qcow2_(?:extension_types|bitmap_flags)|"
                   r"qcow2/def/")


def test_names_are_frozen():
    """compat knows qcow2.py's fields by itself: a field added to a list changes none of its bytes."""
    folder = os.path.join(os.path.dirname(__file__), "../../cmd/compat")
    table = ""
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as stream:
            text = stream.read()
        assert not LISTS.search(text), name
        table += text if name == "fields.c" else ""
    rows = [(name, int(at), int(width)) for name, at, width in re.findall(
        r'\{"(\w+)", (\d+), (\d+), COMPAT_\w+\}', table)]
    expected = []
    for fields in (HEADER, (("magic", "x", 4), ("length", "d", 4)), BITMAPS, ENTRY):
        at = 0
        for name, _, width in fields:
            expected.append((name, at, width))
            at += width
    assert rows == expected
