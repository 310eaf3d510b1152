# SPDX-License-Identifier: MIT
# Bitmaps in files: what export writes, import takes, on disks of any size and with any granularity;
# what was damaged on the way is refused; raw bits are still there for other tools.
"""bitmap export and import."""
import os
import random
import struct
import zlib

import pytest

from tests.support import breadth
from tests.support.bitmaps import changed, read, refused, shown, states, valid
from tests.support.programs import document, image, run

MAGIC = b"\x89QBM\r\n\x1a\n"
SIZES = (512, 513, 1000, 1023, 1024, 4096, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 33333 * 1024 + 511,
         (1 << 31) - 512, (1 << 31) + 12345, (1 << 40) + 777)
EVERY_GRANULARITY = (1000, 33333 * 1024 + 511)


def export_of(bits, disk, granularity_bits, flags=1, version=1, zeros=bytes(24)):
    """A file as docs/bitmap.md describes it, put together by hand."""
    count = -(-(disk // 512 * 512) // (1 << granularity_bits))
    head = MAGIC + struct.pack(">IIQQI", version, granularity_bits, disk, count, flags) + zeros
    return head + struct.pack(">I", zlib.crc32(head)) + bits + struct.pack(">I", zlib.crc32(bits))


def dirty(path, name):
    return [(e["start"], e["length"]) for e in valid("extents", path, name, "--dirty")]


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(copy, tmp_path, size):
    """Bits at random, the last one set, of some disks with every granularity that fits."""
    numbers = random.Random(size)
    bits_file = tmp_path / "raw"
    for granularity_bits in range(9, 32) if size in EVERY_GRANULARITY and breadth.ALL else (9, 12, 16, 17, 31):
        count = -(-(size // 512 * 512) // (1 << granularity_bits))
        if count > 1 << 22:
            continue
        path = copy(image(f"size {size}\n")[0])
        bits = bytearray(numbers.randbytes(-(-count // 8)))
        if count % 8:
            bits[-1] &= (1 << count % 8) - 1
        bits[(count - 1) // 8] |= 1 << (count - 1) % 8
        bits_file.write_bytes(bits)
        words = ("--disabled",) if granularity_bits % 2 else ()
        assert run("bitmap", "import", "--no-undo", "--raw", "-g", 1 << granularity_bits, *words, path,
                   "a", bits_file).returncode == 0
        to = tmp_path / f"export{granularity_bits}"
        shown("export", path, "a", "-o", to)
        assert read(to) == export_of(bits, size, granularity_bits, flags=not words)
        assert run("bitmap", "export", "--raw", path, "a").stdout == bits
        assert run("bitmap", "import", "--no-undo", path, "b", to).returncode == 0
        row = valid("list", path)["bitmaps"][1]
        assert row["granularity"] == 1 << granularity_bits
        assert row["state"] == ("disabled" if words else "enabled")
        assert run("bitmap", "compare", path, "a", "b").returncode == 0
        to.unlink()


def test_over_one_that_is_there(two, tmp_path):
    to = tmp_path / "export"
    shown("export", two, "a", "-o", to)
    changed(two, "import", "b", str(to))
    assert dirty(two, "b") == dirty(two, "a") and states(two)["b"] == "disabled"
    changed(two, "add", "fine", "-g", "4k")
    refused(two, "import", two, "fine", to,
            says="its granularity is 2^12 bytes, and the export's 2^16: import it under a new name")
    refused(two, "import", two, "new", to, "-g", "4k", says="its granularity is 2^12 bytes")
    refused(two, "import", two, "b", to, "-g", "64k", says="there is a bitmap of that name already")
    changed(two, "import", "new", str(to), "-g", "64k", "--disabled")
    assert states(two)["new"] == "disabled"


def test_from_a_pipe_and_a_script(two, tmp_path):
    to = tmp_path / "export"
    shown("export", two, "a", "-o", to)
    assert run("bitmap", "export", two, "a").stdout == read(to)
    script = tmp_path / "script"
    (tmp_path / "raw").write_bytes(b"\x23\0")
    script.write_text(f"import c {to}\nimport d --raw {tmp_path}/raw\nimport --raw -g 64k e {tmp_path}/raw\n")
    changed(two, "script", str(script))
    assert dirty(two, "a") == dirty(two, "c") == dirty(two, "d") == dirty(two, "e")
    script.write_text("add --raw x\n")
    refused(two, "script", two, script, says="that action does not take that option")


def test_of_another_disk(two, copy, tmp_path):
    to = tmp_path / "export"
    other = copy(image("size 2M\nbitmap a bits=1\n")[0], "other.qcow2")
    shown("export", other, "a", "-o", to)
    refused(two, "import", two, "x", to,
            says="the export is of a disk of 2097152 bytes, and this one has 1048576")
    # Half a sector is not tracked: it is the same disk to a bitmap.
    to.write_bytes(export_of(b"\x23\0", (1 << 20) + 100, 16))
    changed(two, "import", "x", str(to))


@pytest.mark.parametrize("text", [
    "size 1M\nbitmap a flags=in_use,auto bits=3\n",
    "size 1M\nbitmap a bits=3\nset header/autoclear_features 0\n",
    "size 1M\nbitmap a bits=3 granularity=512\nset bitmaps/0/table/0 1<<40\n"])
def test_stale(two, copy, tmp_path, text):
    """What may lack bits is not taken for whole on the other side."""
    path, to = copy(image(text)[0], "stale.qcow2"), tmp_path / "export"
    refused(path, "export", path, "a", "--to", to, says="a")
    shown("export", path, "a", "--to", to, "--force")
    assert struct.unpack(">I", read(to)[32:36])[0] & 2
    refused(two, "import", two, "x", to, says="bits may be missing (--force takes it)")
    changed(two, "import", "x", str(to), "--force")


def test_forced_but_whole(two, tmp_path):
    shown("export", two, "a", "--to", tmp_path / "export", "--force")
    assert read(tmp_path / "export") == export_of(b"\x23\0", 1 << 20, 16)


def damaged():
    good = export_of(b"\x23\0", 1 << 20, 16)
    yield "cut", good[:-1], "the export is cut: it has 69 bytes of 70"
    yield "long", good + b"\0", "the export is too long: it has 71 bytes of 70"
    yield "only a magic", good[:8], "the export is cut: it has 8 bytes, and its header has 64"
    yield "a bit of the data", good[:64] + b"\x22" + good[65:], "the checksum of its bits is wrong"
    yield "the checksum", good[:-1] + bytes([good[-1] ^ 1]), "the checksum of its bits is wrong"
    yield "version", export_of(b"\x23\0", 1 << 20, 16, version=2), "is of version 2"
    yield "flags", export_of(b"\x23\0", 1 << 20, 16, flags=5), "flags that are not known: 0x5"
    yield "zeros", export_of(b"\x23\0", 1 << 20, 16, zeros=bytes(23) + b"x"), "something in byte 59"
    yield "past the end", export_of(b"\x23\x04", 640 << 10, 16), "bits past the end of the disk"
    yield "granularity", export_of(b"", 1 << 20, 32, flags=0), "the export is cut"
    yield "too coarse", export_of(b"\x01", 1 << 20, 32), "not from 512 bytes to 2 GiB"
    count = bytearray(good[:60])
    count[31] += 1
    yield "count", bytes(count) + struct.pack(">I", zlib.crc32(count)) + good[64:], "makes no sense"
    huge = bytearray(good[:60])
    huge[12:16] = b"\xff" * 4
    yield "shift", bytes(huge) + struct.pack(">I", zlib.crc32(huge)) + good[64:], "makes no sense"


@pytest.mark.parametrize("name, data, says", list(damaged()), ids=[d[0] for d in damaged()])
def test_damaged(two, tmp_path, name, data, says):
    (tmp_path / "export").write_bytes(data)
    refused(two, "import", two, "x", tmp_path / "export", says=says)


def test_every_byte_of_the_header_counts(two, tmp_path):
    """One bit of each, another one in each; of two all."""
    good = export_of(b"\x23\0", 1 << 20, 16)
    for at in range(8, 64):
        for bit in range(8) if at in (11, 35) else (at % 8,):
            (tmp_path / "export").write_bytes(
                good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1:])
            refused(two, "import", two, "x", tmp_path / "export", says="the export")


@pytest.mark.parametrize("size, data, says", [
    ("1M", 32, "where the bitmap has 2; a new bitmap with -g 4096 would fit"),
    ("1M", 1, "where the bitmap has 2; a new bitmap with -g 131072 to 2147483648 would fit"),
    ("1M", 3, "no granularity gives a disk of 1048576 bytes so many: they are of another disk"),
    ("1M", 0, "no granularity gives"),
    ("1001", 2, "no granularity gives"),
])
def test_raw_bits_of_a_wrong_size(copy, tmp_path, size, data, says):
    path = copy(image(f"size {size}\n")[0])
    (tmp_path / "raw").write_bytes(bytes(data))
    refused(path, "import", path, "x", tmp_path / "raw", says=says)
    found = says.split("-g ")[1:]
    for text in found:
        changed(path, "import", "x", str(tmp_path / "raw"), "-g", text.split()[0])


def test_raw_bits_that_look_like_an_export(copy, tmp_path):
    """Only --raw takes them, and the message of a damaged export says so."""
    path = copy(image("size 64M\n")[0])
    (tmp_path / "raw").write_bytes(MAGIC + bytes(120))
    refused(path, "import", path, "x", tmp_path / "raw", says="begin like an export need --raw")
    changed(path, "import", "x", str(tmp_path / "raw"), "--raw")
    assert run("bitmap", "export", path, "x", "--raw").stdout == MAGIC + bytes(120)


def test_sparse(copy, tmp_path):
    path = copy(image("size 8T\nbitmap a bits=5\n")[0])
    to, holes = tmp_path / "export", tmp_path / "holes"
    shown("export", path, "a", "--to", to)
    shown("export", path, "a", "--to", holes, "--sparse")
    assert read(to) == read(holes) and os.stat(holes).st_blocks * 512 < 1 << 20
    changed(path, "import", "b", str(holes))
    assert dirty(path, "b") == dirty(path, "a") == [(5 << 16, 1 << 16)]


def test_nothing_to_track(copy):
    path = copy(image("size 300\n")[0])
    assert document(path)["header"]["size"] == 300
    refused(path, "add", path, "x", says="the disk has no bytes")


def test_usage(two):
    for words in (("list", two), ("add", two, "x"), ("merge", two, "a", "b")):
        done = run("bitmap", *words, "--raw")
        assert done.returncode == 1 and b"does not take --raw" in done.stderr
