# SPDX-License-Identifier: MIT
# `qcow2 compat` on images on which qcow2.py itself dies or never ends: what can be read is shown,
# what is missing is said on stderr with exit status 2, and the terminal gets no control bytes.
"""compat on broken and hostile images."""
import json
import resource
import struct
import subprocess
import time

import pytest

from tests.cli.test_compat_model import Bits, Model, compat
from tests.support.measure import peak
from tests.support.programs import RELEASE


def parts(text):
    """The documents that -j printed, of which there must be nothing else."""
    found, decoder = [], json.JSONDecoder()
    text.encode("ascii")
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:].lstrip("\n")
    return found


def flawed(path, *words):
    """Text and JSON of an image of which something is missing."""
    text, data = compat(path, "dump-header"), compat(path, "dump-header", "-j")
    for done in (text, data, compat(path, "dump-header", "--layout=v7")):
        assert done.returncode == 2, done
        for word in words:
            assert word in done.stderr.decode()
    return text.stdout.decode(), parts(data.stdout.decode())


def poke(path, offset, form, *values):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(struct.pack(form, *values))


def one_bitmap(folder, table=(0,), name=b"b"):
    bits = Bits()
    bits.bitmaps = [(name, 2, 16, b"", list(table))]
    return bits.write(folder)


# Where things are in one_bitmap(): the extension behind the header, the directory behind the table.
EXTENSION = 112
DIRECTORY = 6 * 4096


def named(folder, name):
    path = one_bitmap(folder, name=name)
    text, data = compat(path, "dump-header-exts"), compat(path, "dump-header-exts", "-j")
    assert text.returncode == data.returncode == 0 and text.stderr == data.stderr == b""
    line = [line for line in text.stdout.split(b"\n") if line.startswith(b"Bitmap name")]
    bitmap = parts(data.stdout.decode())[0][0]["data"]["bitmap_directory"][0]
    return line[0][26:].decode(), bitmap


@pytest.mark.parametrize("name,shown", [
    (b"a\nflags 0", "a\\nflags 0"), (b"\x1b[2J", "\\u{1b}[2J"), (b"\r\t\0", "\\r\\t\\u{0}"),
    (b"\x7f", "\\u{7f}"), ("\u202eabc".encode(), "\\u{202e}abc"), (b"\\", "\\"),
    ("é".encode(), "é"), ("\u009b".encode(), "\\u{9b}"), (b"\\\n\\n", "\\\\n\\n"),
    (b"", ""), (b"\n" * 1023, "\\n" * 1023), ("€".encode() * 341, "€" * 341),
    (b"x" + "€".encode() * 340, "x" + "€" * 340)])
def test_names_are_safe(tmp_path, name, shown):
    text, bitmap = named(tmp_path, name)
    assert text == shown
    assert bitmap["name"] == name.decode() and "name-hex" not in bitmap


@pytest.mark.parametrize("name,shown,replaced", [
    (b"\xff", "\\xff", "\ufffd"), (b"caf\xe9", "caf\\xe9", "caf\ufffd"),
    (b"\xc0\xaf!", "\\xc0\\xaf!", "\ufffd\ufffd!"), (b"\xed\xa0\x80", "\\xed\\xa0\\x80",
                                                      "\ufffd\ufffd\ufffd"),
    (b"\xe2\x82", "\\xe2\\x82", None), (b"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", None)])
def test_names_that_are_not_utf8(tmp_path, name, shown, replaced):
    text, bitmap = named(tmp_path, name)
    assert text == shown
    assert bitmap["name-hex"] == name.hex()
    assert "\ufffd" in bitmap["name"] and replaced in (None, bitmap["name"])


def test_text_of_extensions_is_safe(tmp_path):
    bits = Bits()
    bits.extensions = [(5, b"one\n\tmagic\r\x0b\x0cend")]
    path = bits.write(tmp_path)
    text = compat(path, "dump-header-exts").stdout.decode()
    assert text.splitlines()[3] == f"{'data':<25} 'one\\n\\tmagic\\r\\u{{b}}\\u{{c}}end'"
    # In JSON there is nothing to be afraid of: exactly what qcow2.py prints.
    assert compat(path, "dump-header-exts", "-j").stdout.decode() == Model(path).json(header=False)


def test_extension_beyond_the_area(tmp_path):
    bits = Bits()
    bits.extensions = [(0xe2792aca, b"raw"), (0x12345678, b"cut")]
    path = bits.write(tmp_path)
    poke(path, 112 + 16 + 4, ">I", 0xfffffff0)
    text, (header, extensions) = flawed(path, "cut")
    assert text.startswith(Model(path_of_good(tmp_path)).text()[:300]) and header["version"] == 3
    assert [e["name"] for e in extensions] == ["Backing format", "<unknown>"]
    assert extensions[1]["length"] == 0xfffffff0 and extensions[1]["data_str"] == "<binary>"


def path_of_good(folder):
    bits = Bits()
    bits.features = (0, 0, 1)
    good = folder / "good"
    good.mkdir(exist_ok=True)
    return bits.write(good)


def test_short_bitmaps_extension(tmp_path):
    path = one_bitmap(tmp_path)
    poke(path, EXTENSION + 4, ">I", 16)
    _, (_, extensions) = flawed(path, "cut")
    assert extensions[0]["data"] == {"nb_bitmaps": 1, "reserved32": 0, "bitmap_directory_size": 32,
                                     "bitmap_directory": []}


@pytest.mark.parametrize("offset", [1 << 40, (1 << 64) - 512, DIRECTORY + 4096])
def test_directory_beyond_the_end(tmp_path, offset):
    path = one_bitmap(tmp_path)
    poke(path, EXTENSION + 8 + 16, ">Q", offset)
    text, (_, extensions) = flawed(path)
    assert extensions[0]["data"]["bitmap_directory"] == []
    assert f"bitmap_directory_offset   {offset:#x}\n\n" in text


@pytest.mark.parametrize("count", [2, 65535, 0xffffffff])
def test_more_bitmaps_claimed_than_there_are(tmp_path, count):
    path = one_bitmap(tmp_path)
    good = compat(path, "dump-header").stdout.decode()
    poke(path, EXTENSION + 8, ">I", count)
    text, (_, extensions) = flawed(path)
    assert text == good.replace(f"{'nb_bitmaps':<25} 1\n", f"{'nb_bitmaps':<25} {count}\n")
    assert len(extensions[0]["data"]["bitmap_directory"]) == 1


def test_entry_is_cut(tmp_path):
    path = one_bitmap(tmp_path, name=b"a name that is cut")
    with open(path, "r+b") as file:
        file.truncate(DIRECTORY + 24 + 6)
    text, _ = flawed(path, "cut")
    assert "a name" in text and "that is cut" not in text


@pytest.mark.parametrize("size", [DIRECTORY + 3, DIRECTORY + 23])
def test_fixed_part_of_an_entry_is_cut(tmp_path, size):
    path = one_bitmap(tmp_path)
    with open(path, "r+b") as file:
        file.truncate(size)
    flawed(path)


@pytest.mark.parametrize("offset,count,shown", [
    (5 * 4096, 0xffffffff, (4096 + 4096) // 8), (1 << 50, 3, 0), ((1 << 64) - 8, 9, 0),
    (DIRECTORY + (1 << 20), 1, 0)])
def test_table_beyond_the_end(tmp_path, offset, count, shown):
    """The short last cluster counts as if filled with zeros."""
    path = one_bitmap(tmp_path, [512, 1])
    poke(path, DIRECTORY, ">QI", offset, count)
    text, (_, extensions) = flawed_tables(path)
    table = extensions[0]["data"]["bitmap_directory"][0]["bitmap_table"]
    assert len(table) == shown == len(text.split("offset\n")[-1].splitlines()) - 1


def flawed_tables(path):
    """As flawed(), for what the layout v7 does not look at."""
    text, data = compat(path, "dump-header"), compat(path, "dump-header", "-j")
    assert (text.returncode, data.returncode) == (2, 2)
    assert text.stderr != b"" and data.stderr != b""
    assert compat(path, "dump-header", "--layout=v7").returncode == 0
    return text.stdout.decode(), parts(data.stdout.decode())


@pytest.mark.parametrize("bits", [0, 8, 31, 32, 63, 64, 0xffffffff])
def test_absurd_cluster_bits(tmp_path, bits):
    path = one_bitmap(tmp_path)
    poke(path, 20, ">I", bits)
    done = compat(path, "dump-header")
    assert f"{'cluster_bits':<25} {bits}\n" in done.stdout.decode()
    assert done.returncode == 2 and b"cluster_bits" in done.stderr


def test_second_directory(tmp_path):
    bits = Bits()
    bits.extensions = [(0x23852875, struct.pack(">IIQQ", 1, 0, 32, DIRECTORY))]
    bits.bitmaps = [(b"b", 2, 16, b"", [0])]
    text, (_, extensions) = flawed(bits.write(tmp_path), "second")
    assert [len(e["data"]["bitmap_directory"]) for e in extensions] == [1, 0]
    assert text.count("Bitmap name") == 1


def shared_tables(folder, bitmaps, entries):
    """Many bitmaps on one table: what they say together is far more than what is stored."""
    path = one_bitmap(folder, [0] * entries)
    directory = 5 * 4096 + -(-entries * 8 // 4096) * 4096
    entry = struct.pack(">QIIBBHI", 5 * 4096, entries, 2, 1, 16, 8, 0)
    with open(path, "r+b") as file:
        file.seek(directory)
        file.write(b"".join(entry + b"%08d" % i for i in range(bitmaps)))
    poke(path, EXTENSION + 8, ">IIQQ", bitmaps, 0, 32 * bitmaps, directory)
    return path


def test_shared_tables_are_repeated(tmp_path):
    path = shared_tables(tmp_path, 100, 50)
    assert compat(path, "dump-header").stdout.decode() == Model(path).text()


def limited_memory():
    resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))


def measured(*arguments):
    """Seconds and output of a run within 256 MiB of address space."""
    start = time.monotonic()
    done = subprocess.run([RELEASE, "compat", *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=300, check=False,
                          preexec_fn=limited_memory)
    return time.monotonic() - start, done


def test_shared_tables_are_bounded(tmp_path):
    path = shared_tables(tmp_path, 5000, 50000)  # 250 million entries in half a megabyte
    limit = path.stat().st_blocks * 64 + 1114112
    for arguments in ((), ("-j",)):
        _, done = measured(path, "dump-header", *arguments)
        assert done.returncode == 2 and b"left out" in done.stderr
        assert done.stderr.count(b"\n") <= 20
        assert 0.9 * limit < done.stdout.count(b"all-zeroes") <= limit
    parts(done.stdout.decode())


def test_sparse_table(tmp_path):
    path = one_bitmap(tmp_path, [0])
    with open(path, "r+b") as file:
        file.truncate(1 << 42)
    poke(path, DIRECTORY, ">QI", 1 << 30, 0xffffffff)
    seconds, done = measured(path, "dump-header")
    assert done.returncode == 2 and seconds < 20
    assert done.stdout.count(b"all-zeroes") <= 1120000


def test_sparse_directory(tmp_path):
    path = one_bitmap(tmp_path, [0])
    with open(path, "r+b") as file:
        file.truncate(1 << 42)
    poke(path, EXTENSION + 8, ">IIQQ", 0xffffffff, 0, 1 << 41, 1 << 30)
    limit = (path.stat().st_blocks * 512 + (2 << 20)) // 24 + 1
    for options in (["--layout=v7"], [], ["-j"]):
        seconds, done = measured(path, "dump-header", *options)
        assert done.returncode == 2 and seconds < 20
        assert b"more bitmaps than a file of this size stores" in done.stderr
        shown = done.stdout.count(b'"name": ""' if "-j" in options else b"Bitmap name")
        assert 0.9 * limit < shown <= limit


def test_cut_by_the_file(tmp_path):
    """What is said of a directory that ends with the file is not that it is left out."""
    path = one_bitmap(tmp_path, [0])
    poke(path, DIRECTORY + 20, ">I", 0xfffffff0)
    poke(path, EXTENSION + 8, ">I", 9)
    _, done = measured(path, "dump-header")
    assert done.returncode == 2
    assert b"is cut" in done.stderr and b"left out" not in done.stderr


def test_the_largest_directory(tmp_path):
    path = shared_tables(tmp_path, 65535, 1)
    seconds, done = measured(path, "dump-header", "-j")
    assert done.returncode == 0 and seconds < 20
    assert done.stdout.decode() == Model(path).json()


def test_memory(tmp_path):
    """Peak memory stays flat."""
    path = shared_tables(tmp_path, 65535, 1)
    code, memory, size = peak("compat", path, "dump-header", "-j")
    assert code == 0 and size > 65535 and memory <= 64 << 20


@pytest.mark.parametrize("cut", list(range(104, 200, 8)) + [4096, 5 * 4096, 5 * 4096 + 8])
def test_truncated_anywhere(tmp_path, cut):
    """Never a crash, always the header, always complete JSON."""
    path = one_bitmap(tmp_path, [512, 1])
    with open(path, "r+b") as file:
        file.truncate(cut)
    for arguments in ((), ("-j",), ("--layout=v7",)):
        done = compat(path, "dump-header", *arguments)
        assert done.returncode in (0, 2)
        assert b"autoclear_features" in done.stdout
    parts(compat(path, "dump-header", "-j").stdout.decode())
