# SPDX-License-Identifier: MIT
# The commands of `qcow2 compat` that change an image, against a second statement of what qcow2.py
# leaves behind: made of struct and sharing nothing with the C code. What it says to wrong arguments,
# and what happens where it dies.
"""compat's editing commands."""
import os
import random
import shutil
import struct
import subprocess
import unicodedata

import pytest

from tests.forge import recipes
from tests.support.answers import text_is_safe
from tests.support.programs import QCOW2, image, recipe_image, run

NAMES = ("magic", "version", "backing_file_offset", "backing_file_size", "cluster_bits", "size",
         "crypt_method", "l1_size", "l1_table_offset", "refcount_table_offset",
         "refcount_table_clusters", "nb_snapshots", "snapshot_offset", "incompatible_features",
         "compatible_features", "autoclear_features", "refcount_order", "header_length")
LAYOUT = ">IIQIIQIIQQIIQQQQII"
PLAIN = "cluster_bits 12\nsize 1M\nwrite 0 8k\n"
SMALL = 1 << 20
ROUNDS = int(os.environ.get("COMPAT_ROUNDS", "150"))


class Dies(Exception):
    """Where qcow2.py ends in an exception; ours changes nothing."""


class Model:
    """An image as bytes, and what the script does to it."""

    def __init__(self, data):
        self.data = bytearray(data)
        if len(data) < 104:
            raise Dies
        self.header = dict(zip(NAMES, struct.unpack(LAYOUT, data[:104])))
        if self.header["version"] == 2:
            self.header.update(incompatible_features=0, compatible_features=0,
                               autoclear_features=0, refcount_order=4, header_length=72)
        self.cluster = 1 << self.header["cluster_bits"]
        self.load()

    def load(self):
        at, backing = self.header["header_length"], self.header["backing_file_offset"]
        end = min(self.cluster, backing or self.cluster)
        self.extensions = []
        while at < end:
            head = bytes(self.data[at:at + 8])
            if len(head) < 8:
                raise Dies
            magic, length = struct.unpack(">II", head)
            if magic == 0:
                break
            padded = (length + 7) // 8 * 8
            self.extensions.append((magic, length, bytes(self.data[at + 8:at + 8 + padded])))
            at += 8 + padded
        self.backing = None
        if backing:
            self.backing = bytes(self.data[backing:backing + self.header["backing_file_size"]])

    def put(self, at, data):
        self.data.extend(bytes(max(0, at + len(data) - len(self.data))))
        self.data[at:at + len(data)] = data

    def update(self):
        length = self.header["header_length"]
        area = b"".join(struct.pack(">II", magic, size) + data
                        for magic, size, data in (*self.extensions, (0, 0, b"")))
        if self.backing is not None:
            self.header["backing_file_offset"] = length + len(area)
            area += self.backing
        if length + len(area) > self.cluster:
            raise Dies
        try:
            fields = struct.pack(LAYOUT, *(self.header[name] for name in NAMES))
        except struct.error:
            raise Dies from None
        self.put(length, area)
        self.put(0, fields[:length - 1])
        return bytes(self.data)

    def set_header(self, name, value):
        self.header[name] = value

    def add(self, magic, data):
        if not 0 <= magic < 1 << 32:
            raise Dies
        self.extensions.append((magic, len(data), data + bytes(-len(data) % 8)))

    def delete(self, magic):
        """Of neighbours of one type, every other one stays."""
        kept, passed = [], False
        for extension in self.extensions:
            passed = extension[0] == magic and not passed
            if not passed:
                kept.append(extension)
        found = len(kept) < len(self.extensions)
        self.extensions = kept
        return found

    def set_bit(self, group, bit):
        self.header[f"{group}_features"] |= 1 << bit


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def small_images():
    return [name for name in recipes() if "hostile" not in name]


def compare(path, change, *words, stdin=b""):
    """Runs a command on a copy of an image, and what the model makes of it."""
    before = read(path)
    try:
        model = Model(before)
        change(model)
        wanted = model.update()
    except Dies:
        wanted = None
    done = subprocess.run([QCOW2, "compat", path, *words], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False)
    now = read(path)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    if wanted is None:
        assert done.returncode == 1 and done.stderr and now == before, done
        text_is_safe(done.stderr)
    else:
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
        assert now == wanted


def random_change(dice):
    """(what the model does, words of the command, standard input)"""
    kind = dice.randrange(5)
    magic = dice.choice((0xe2792aca, 0x6803f857, 0x23852875, 0x12345678, 0x44415441, 1, 1 << 32))
    data = dice.randbytes(dice.choice((0, 1, 5, 8, 40, 600, 5000)))
    if kind == 0:
        name = dice.choice(NAMES)
        value = dice.choice((0, 1, 2, 3, 9, 72, 104, 112, 120, 1 << 16, (1 << 32) - 1, 1 << 32,
                             (1 << 64) - 1, 1 << 64, -1))
        return (lambda m: m.set_header(name, value)), ("set-header", name, str(value)), b""
    if kind == 1:
        text = data.hex()[:len(data)] + dice.choice(("", "\u00e4"))
        return ((lambda m: m.add(magic, text.encode())), ("add-header-ext", hex(magic), text), b"")
    if kind == 2:
        return (lambda m: m.add(magic, data)), ("add-header-ext-stdio", str(magic)), data
    if kind == 3:
        group, bit = dice.choice(("incompatible", "compatible", "autoclear")), dice.randrange(64)
        return (lambda m: m.set_bit(group, bit)), ("set-feature-bit", group, str(bit)), b""
    return None, ("del-header-ext", hex(magic)), b""


@pytest.mark.parametrize("number", range(ROUNDS))
def test_model(number, tmp_path):
    dice = random.Random(number)
    source = recipe_image(dice.choice(small_images()))[0]
    if os.path.getsize(source) > SMALL:
        source = image(PLAIN)[0]
    path = str(tmp_path / "a.img")
    shutil.copyfile(source, path)
    change, words, stdin = random_change(dice)
    if change:
        compare(path, change, *words, stdin=stdin)
        return
    before = read(path)
    try:
        found = Model(before).delete(int(words[1], 0))
    except Dies:
        found = True
    if found:
        compare(path, lambda m: m.delete(int(words[1], 0)), *words)
        return
    done = run("compat", path, *words)
    assert (done.returncode, done.stdout) == (0, b"No such header extension\n")
    assert read(path) == before


def test_neighbours(tmp_path):
    path = str(tmp_path / "a.img")
    shutil.copyfile(image(PLAIN + "extension 7 a\nextension 7 b\nextension 7 c\n")[0], path)
    compare(path, lambda m: m.delete(7), "del-header-ext", "7")
    assert [e[:2] for e in Model(read(path)).extensions] == [(7, 1)]


@pytest.mark.parametrize("words, said", [
    (("set-header", "size", "abc"), "'abc' is not a valid number"),
    (("set-header", "nonsense", "abc"), "'abc' is not a valid number"),
    (("set-header", "nonsense", "1"), "'nonsense' is not a known header field"),
    (("set-header", "compression_type", "1"), "'compression_type' is not a known header field"),
    (("add-header-ext", "x", "y"), "'x' is not a valid magic number"),
    (("add-header-ext-stdio", "x"), "'x' is not a valid magic number"),
    (("del-header-ext", "x"), "'x' is not a valid magic number"),
    (("set-feature-bit", "compatible", "x"), "'x' is not a valid bit number in range [0, 64)"),
    (("set-feature-bit", "compatible", "0x40"), "'64' is not a valid bit number in range [0, 64)"),
    (("set-feature-bit", "compatible", "-1"), "'-1' is not a valid bit number in range [0, 64)"),
    (("set-feature-bit", "other", "1"),
     "'other' is not a valid group, try 'incompatible', 'compatible', or 'autoclear'"),
    (("set-header", "size", "\x1b[2J"), "'\\u{1b}[2J' is not a valid number"),
])
def test_messages(tmp_path, words, said):
    path = str(tmp_path / "a.img")
    shutil.copyfile(image(PLAIN)[0], path)
    done = run("compat", path, *words)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (1, said + "\n", b"")
    assert read(path) == read(image(PLAIN)[0])


@pytest.mark.parametrize("text, value", [
    ("0x10", 16), ("0X1f", 31), ("0o17", 15), ("0b101", 5), ("  7\t", 7), ("+7", 7), ("1_000", 1000),
    ("0x_ff", 255), ("0", 0), ("00", 0), ("0_0", 0), ("-0", 0),
    ("010", None), ("1__0", None), ("_1", None), ("1_", None), ("0x", None), ("", None),
    (" ", None), ("1e3", None), ("1.0", None), ("0b2", None), ("--1", None), ("- 1", None),
    ("1 2", None), ("0x1_", None), ("\u0663", 3), ("\uff11\u0662\u096a", 124), ("0x\u0669f", 159),
    ("\u0660x1f", 31), ("\u0660b1", 1), ("\u00a0\u20095\u3000", 5), ("-\u0660", 0), ("1_\u0663", 13),
    ("\u06601", None), ("\u0660", 0), ("\u00b2", None), ("\u2160", None), ("\u0bf0", None),
    ("\uff10\uff58\uff11", None), ("\x1c5", None), ("\x1c\u0663", None), ("\x7f5", None),
    ("\x0b5\x0c", 5), ("5\u200b", None), ("\u2212\u0665", None), ("\U0001d7d9\U0001fbf3", 13),
    ("\udcff1", None), ("1\udc80", None), ("\ud7ff", None), ("0_\u0660", 0), ("0x_\u0663", 3),
    ("0x__3", None), ("+ \u0663", None), ("9" * 19, 9999999999999999999), ("0" * 4300, 0),
    ("0" * 4301, None), ("0x" + "0" * 5000 + "1", 1),
])
def test_numbers(tmp_path, text, value):
    """Numbers are what Python's int(text, 0) reads."""
    try:
        assert int(text, 0) == value
    except ValueError:
        assert value is None
    path = str(tmp_path / "a.img")
    shutil.copyfile(image(PLAIN)[0], path)
    done = run("compat", path, "set-header", "size", text)
    assert done.returncode == (1 if value is None else 0)
    if value is not None:
        assert struct.unpack(">Q", read(path)[24:32])[0] == value


def said_of(path, texts):
    """For each text what set-header makes of it: a value, "none" or "no room"."""
    for text in texts:
        done = run("compat", path, "set-header", "size", text)
        if done.returncode == 0:
            yield struct.unpack(">Q", read(path)[24:32])[0]
        else:
            assert done.returncode == 1
            yield "none" if done.stdout.endswith(b" is not a valid number\n") else "no room"


def python_says(text):
    try:
        value = int(text, 0)
    except ValueError:
        return "none"
    return value if 0 <= value < 1 << 64 else "no room"


def test_digits_of_every_script(tmp_path):
    """Each kind of digit that this Python knows, its neighbours, and all white space."""
    path = str(tmp_path / "a.img")
    shutil.copyfile(image(PLAIN)[0], path)
    known = [c for c in range(0x80, 0x110000) if unicodedata.decimal(chr(c), -1) == 0]
    assert len(known) > 50
    texts = ["1" + "".join(chr(c + i) for i in range(10)) for c in known]
    texts += [chr(c + i) for c in known for i in (-1, 10)
              if unicodedata.category(chr(c + i)) not in ("Cn", "Nd")]
    texts += [chr(c) + "7" for c in range(0x21, 0x110000)
              if chr(c).isspace() or unicodedata.category(chr(c)) in ("Zs", "Zl", "Zp")]
    # A later Python may know digits that Unicode 15 has not.
    later = tuple(map(int, unicodedata.unidata_version.split("."))) > (15, 1)
    for text, said in zip(texts, said_of(path, texts)):
        assert said == python_says(text) or (later and said == "none"), text


def test_random_numbers(tmp_path):
    path = str(tmp_path / "a.img")
    shutil.copyfile(image(PLAIN)[0], path)
    dice = random.Random(13)
    letters = list("00011279afxXoObB_+- \t\x0b\x1c\x7f\xa0.eE") + [
        "\u0660", "\u0663", "\u0669", "\uff10", "\uff19", "\u2003", "\u3000", "\u00b2", "\udcff",
        "\U0001d7ce", "0x", "0b", "0o", "_1", "1_0"]
    texts = ["".join(dice.choice(letters) for _ in range(dice.randint(1, 7))) for _ in range(ROUNDS)]
    assert list(said_of(path, texts)) == [python_says(t) for t in texts]


def test_under_its_own_name(tmp_path):
    """As scripts call it."""
    path, name = str(tmp_path / "a.img"), str(tmp_path / "qcow2.py")
    shutil.copyfile(image(PLAIN)[0], path)
    os.symlink(QCOW2, name)
    subprocess.run([name, path, "set-header", "size", "4096"], check=True)
    assert struct.unpack(">Q", read(path)[24:32])[0] == 4096
    done = subprocess.run([name, path, "set-header", "size"], stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0 and done.stdout.startswith(b"Usage: ")


def test_undo_file(tmp_path):
    path, undo = str(tmp_path / "a.img"), str(tmp_path / "undo")
    shutil.copyfile(image(PLAIN)[0], path)
    for words in ((f"--undo-file={undo}",), ("--undo-file", undo)):
        assert run("compat", *words, path, "set-header", "magic", "1").returncode == 0
        assert run("undo", undo).returncode == 0
        assert read(path) == read(image(PLAIN)[0])
        os.remove(undo)
    lacking = run("compat", "--undo-file")
    assert lacking.returncode == 1 and b"'--undo-file' needs an argument" in lacking.stderr


def test_any_magic_will_do(tmp_path):
    """What is no image any more can be made one again."""
    path = str(tmp_path / "a.img")
    shutil.copyfile(image(PLAIN)[0], path)
    assert run("compat", path, "set-header", "magic", "0").returncode == 0
    assert run("dump", path).returncode == 1
    assert run("compat", path, "set-header", "magic", "0x514649fb").returncode == 0
    assert read(path) == read(image(PLAIN)[0])


def test_what_cannot_be(tmp_path):
    path = str(tmp_path / "a.img")
    with open(path, "wb") as stream:
        stream.write(bytes(50))
    done = run("compat", path, "set-header", "size", "1")
    assert done.returncode == 1 and b"ends inside the header" in done.stderr
    shutil.copyfile(image(PLAIN)[0], path)
    with open(path, "r+b") as stream:
        stream.truncate(3 << 12)
    done = run("compat", path, "set-header", "header_length", str(1 << 20))
    assert done.returncode == 1 and b"do not fit the header cluster" in done.stderr
