# SPDX-License-Identifier: MIT
# The header's part of a repair. Most damages here are undone by what the rest of the image proves, so
# that the repaired file has to equal the one that was never damaged; then the undo file has to bring
# the damage back.
"""Repairs of header fields, header extensions, LUKS pointers and names of other files."""
import json
import os

import pytest

from tests.support.programs import image, recipe_image, run

BACKING = "size 4M\nbacking base.raw raw\nwrite 64k 100k\n"
PLAIN = "size 4M\nwrite 0 64k pattern=0x41\n"
BITMAPS = "size 4M\nwrite 0 64k\nbitmap first bits=0\nbitmap second bits=1\n"
LUKS = "size 4M\nluks1 slots=2\nwrite 0 64k\n"
DATA_FILE = "size 4M\ndata_file far.raw\nwrite 0 128k\nwrite 3M 64k\n"
ZSTD = "size 16M\ncompressed 0 256k zstd\n"
ZLIB = "size 16M\ncompressed 0 256k\n"
EXTENDED = "extended_l2\ncluster_bits 16\nsize 16M\nwrite 0 64k\n" \
           "subclusters 64k alloc=0-3,31 pattern=0x41\nzero 1M 128k\n"


def repair(path, *options, code=0):
    """The document of a repair; the image is repaired."""
    done = run("repair", "-j", "--yes", "--undo-file=" + path + ".undo", *options, path)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def undo(path, damaged):
    """A guest may write to a data file that the damaged image would not lead to: --exact."""
    done = run("undo", "--exact", path + ".undo", path)
    assert done.returncode == 0, done.stderr
    assert read(path) == damaged
    os.remove(path + ".undo")


def damage(path, *changes):
    content = bytearray(read(path))
    for at, data in changes:
        content[at:at + len(data)] = data
    with open(path, "wb") as stream:
        stream.write(content)
    return bytes(content)


def number(value, size):
    return value.to_bytes(size, "big")


def offset_of(content, magic):
    at = content.find(number(magic, 4))
    assert at >= 0
    return at


@pytest.mark.parametrize("recipe, changes", [
    (BACKING, [(8, number(1 << 40, 8))]),          # the name lies past the cluster
    (BACKING, [(8, number(16, 8))]),               # in the header
    (BACKING, [(8, number(0, 8))]),                # nowhere, with its length and format
    (BACKING, [(8, number(115, 8))]),              # among the extensions
    (BACKING, [(16, number(1 << 31, 4))]),         # a length past the cluster
    (BACKING, [(16, number(20, 4))]),              # a length with NULs behind the name
    (PLAIN, [(20, number(18, 4))]),                # clusters of another size
    (PLAIN, [(20, number(15, 4))]),
    (PLAIN, [(20, number(63, 4))]),
    (EXTENDED, [(20, number(12, 4))]),
    (EXTENDED, [(72, number(0, 8))]),              # no extended L2 entries
    (PLAIN, [(96, number(9, 4))]),                 # refcounts of 512 bits
    (PLAIN, [(32, number(3, 4))]),                 # no encryption that is known
    (PLAIN, [(32, number(2, 4))]),                 # LUKS without any header
    (PLAIN, [(36, number(1 << 24 | 1, 4))]),       # an L1 table of 128 MiB
    (PLAIN, [(60, number(1 << 20, 4))]),           # snapshots without a table
    (PLAIN, [(24, number(1 << 47 | 4 << 20, 8))]), # a disk of 128 TiB
    (LUKS, [(32, number(0, 4))]),
    (LUKS, [(32, number(77, 4))]),
    (ZSTD, [(104, b"\0")]),
    (ZSTD, [(104, b"\x09")]),
    (ZSTD, [(72, number(0, 8))]),
    (ZLIB, [(104, b"\1")]),
    (ZLIB, [(104, b"\x81")]),
    (ZLIB, [(72, number(8, 8))]),
    (DATA_FILE, [(72, number(0, 8))]),
    (BITMAPS, [(100, number(200, 4))]),            # a header that ends behind the extensions
    (BITMAPS, [(100, number(96, 4))]),
    (BITMAPS, [(100, number(1 << 30, 4))]),
])
def test_header_is_as_before(copy, recipe, changes):
    path = copy(image(recipe)[0])
    whole = read(path)
    damaged = damage(path, *changes)
    said = repair(path)
    assert said["steps"]
    assert read(path) == whole
    assert run("check", path).returncode == 0
    undo(path, damaged)


# QEMU opens the image without a backing file: a name would change what the guest reads.
def test_a_name_without_length_is_asked_for(copy):
    path = copy(image(BACKING)[0])
    whole = read(path)
    damaged = damage(path, (16, number(0, 4)))
    for options in (), ("--all",):
        said = repair(path, *options)
        assert not said["steps"] and "backing set" in said["left"][0]["why"]
        assert read(path) == damaged
    said = repair(path, "--only=backing-name-empty")
    assert (said["steps"][0]["before"], said["steps"][0]["after"]) == ("zeros", "backing")
    assert read(path) == whole
    undo(path, damaged)


@pytest.mark.parametrize("recipe, magic, at, data", [
    (BITMAPS, 0x23852875, 4, number(8, 4)),        # lengths
    (BITMAPS, 0x23852875, 4, number(23, 4)),
    (BITMAPS, 0x23852875, 4, number(1 << 30, 4)),
    (BITMAPS, 0x23852875, 0, number(0x23852874, 4)),  # types
    (LUKS, 0x0537be77, 0, number(0x0537be76, 4)),
    (LUKS, 0x0537be77, 4, number(15, 4)),
    (LUKS, 0x0537be77, 8, number(512, 8)),         # where the LUKS header is
    (LUKS, 0x0537be77, 8, number(1 << 40, 8)),
    (LUKS, 0x0537be77, 16, number(1 << 60, 8)),
    (DATA_FILE, 0x44415441, 4, number(1 << 24, 4)),
    (DATA_FILE, 0x44415441, 0, number(0x44415440, 4)),
    (BACKING, 0xe2792aca, 4, number(40, 4)),
])
def test_extension_is_as_before(copy, recipe, magic, at, data):
    path = copy(image(recipe)[0])
    whole = read(path)
    damaged = damage(path, (offset_of(whole, magic) + at, data))
    repair(path)
    assert read(path) == whole
    undo(path, damaged)


@pytest.mark.parametrize("name, options, code, word", [
    ("bad-backing-size-1024", (), 2, "backing set"),
    ("bad-backing-size-1024", ("--all",), 2, "backing set"),
    ("bad-extension-duplicate", (), 2, "differ"),
    ("bad-luks-no-key", ("--all",), 2, "backup"),
    ("bad-luks-magic", ("--all",), 2, "backup"),
    ("bad-data-file-snapshots", ("--all",), 2, "dropped"),
    ("good-warn-header-padding", (), 0, "newer program"),
    ("good-warn-unknown-autoclear-bit", (), 0, "--all"),
    ("good-warn-unknown-compatible-bit", ("--all",), 0, "no harm"),
    ("good-warn-backing-format-long", ("--all",), 0, "backing set"),
])
def test_what_is_left_has_a_reason(copy, name, options, code, word):
    path = copy(recipe_image(name)[0])
    before = read(path)
    said = repair(path, *options, code=code)
    assert any(word in left["why"] for left in said["left"]), said["left"]
    assert read(path) == before


@pytest.mark.parametrize("name", [
    "good-warn-header-padding", "good-warn-unknown-autoclear-bit", "bad-extension-duplicate",
    "bad-extension-duplicate-feature-names", "bad-data-file-without-bit", "bad-crypto-missing",
    "good-warn-backing-format-without-backing"])
def test_all_gives_up_what_nobody_reads(copy, name):
    path = copy(recipe_image(name)[0])
    damaged = read(path)
    said = repair(path, "--all")
    assert [step for step in said["steps"] if step["costs"]]
    assert json.loads(run("check", "-j", path).stdout)["problems"] == []
    undo(path, damaged)


def test_an_equal_extension_is_no_loss(copy):
    path = copy(image('size 1M\nextension 0x12345678 "same"\nextension 0x12345678 "same"\n')[0])
    assert not [step for step in repair(path)["steps"] if step["costs"]]


def test_unknown_extensions_and_the_name_stay(copy):
    path = copy(image('size 1M\nextension 0x12345678 "keep me"\nbacking base.raw raw\n'
                      'set header/header_length 109\n')[0])
    damaged = read(path)
    repair(path)
    content = read(path)[:4096]
    assert b"keep me" in content and b"base.raw" in content
    undo(path, damaged)
