# SPDX-License-Identifier: MIT
# Every number that a command line or a script can have is read in the same way: one table of
# spellings, tried at every place that takes a number. A place that reads numbers by itself fails here.
"""One way to read numbers."""
import json
import os
import re
import shutil

import pytest

from tests.support.programs import TOP, document, recipe_image, run

# Spellings of 4096, and of what is no number anywhere.
FOUR_KIB = ("4096", "004096", "0x1000", "0X1000", "0x01000", "0o10000", "0b1000000000000", "4k", "4K",
            "4KiB", "4kib", "04k", "4.0k", "4096B", "4096.0", "0.00390625M")
BAD = ("", "x", "0x", "0xg", "0b2", "0o8", "-4096", "+4096", " 4096", "4096 ", "4,096", "4_096",
       "4kB", "4KB", "4kk", "4ki", "4.", ".5k", "4e3", "1.5", "1.1k", "0x1000k", "18446744073709551616",
       "0x10000000000000000", "16E", "99999999999999999999999999", "\u00e9")
# Where only indexes make sense, as names may stand there too: no units and no fractions.
INDEXES = ("3", "003", "0x3", "0X03", "0o3", "0b11")
NO_INDEXES = ("3B", "3.0", "0x", "-3", "+3", "18446744073709551619", "0x10000000000000003")


@pytest.fixture(name="path")
def fixture_path(tmp_path):
    return shutil.copy(recipe_image("good-default")[0], tmp_path / "i.qcow2")


def granularity(path):
    done = run("bitmap", "list", "-j", path)
    assert done.returncode == 0, done
    return json.loads(done.stdout)["bitmaps"][0]["granularity"]


def with_script(path, *words):
    script = os.path.join(os.path.dirname(path), "script")
    with open(script, "w", encoding="utf-8") as stream:
        stream.write(" ".join(f'"{w}"' for w in words) + "\n")
    return script


def bitmap_add(path, text):
    return run("bitmap", "add", "--no-undo", path, "a", "-g", text)


def bitmap_add_long(path, text):
    return run("bitmap", "add", "--no-undo", path, "a", f"--granularity={text}")


def bitmap_import(path, text):
    bits = os.path.join(os.path.dirname(path), "bits")
    with open(bits, "wb") as stream:
        stream.write(bytes(-(-document(path)["header"]["size"] // 4096 // 8)))
    return run("bitmap", "import", "--no-undo", path, "a", bits, "-g", text)


def bitmap_script(path, text):
    return run("bitmap", "script", "--no-undo", path, with_script(path, "add", "a", "-g", text))


def set_field(path, text):
    return run("edit", "--no-undo", "--force", "--yes", path, "set", f"header/size={text}")


def set_in_script(path, text):
    return run("edit", "--no-undo", "--force", "--yes", path,
               f"--script={with_script(path, 'set', f'header/size={text}')}")


def set_entry(path, text):
    return run("edit", "--no-undo", "--force", "--yes", path, "set", f"refcounts/0/500={text}")


def extension(path, text):
    return run("edit", "--no-undo", "--data=x", "--", path, "extension", "add", text)


SIZES = {
    "bitmap add -g": (bitmap_add, granularity),
    "bitmap add --granularity": (bitmap_add_long, granularity),
    "bitmap import -g": (bitmap_import, granularity),
    "bitmap script -g": (bitmap_script, granularity),
    "edit set": (set_field, lambda path: document(path)["header"]["size"]),
    "edit script set": (set_in_script, lambda path: document(path)["header"]["size"]),
    "edit set of an entry": (set_entry, lambda path: document(path, "refcounts/0/500")
                             ["refcounts"][0]["entries"][0]["refcount"]),
    "edit extension": (extension, lambda path: max(
        row["magic"] for row in document(path, "extensions")["extensions"]
        if row["magic"] < 0x10000)),
}


@pytest.mark.parametrize("place", sorted(SIZES))
def test_sizes(path, place, tmp_path):
    change, look = SIZES[place]
    for text in FOUR_KIB:
        copy = shutil.copy(path, tmp_path / "copy.qcow2")
        done = change(copy, text)
        assert done.returncode == 0, (text, done)
        assert look(copy) == 4096, text
    with open(path, "rb") as stream:
        before = stream.read()
    for text in BAD:
        done = change(path, text)
        assert done.returncode == 1 and done.stdout == b"", (text, done)
        assert re.search(rb"no number: write it as 4096, 64k, 1.5G or 0x1000|is the most|"
                         rb"no whole number: write|not clear: write", done.stderr), (text, done)
        with open(path, "rb") as stream:
            assert stream.read() == before


# Numbers below 64: threads and the numbers of bits.
SMALL = ("3", "003", "0x3", "0o3", "0b11", "3B", "3.0")


def test_threads(path):
    for text in SMALL:
        assert run("check", f"--threads={text}", path).returncode == 0
    for text in BAD + ("65", "4k", "0"):
        done = run("check", f"--threads={text}", path)
        assert done.returncode == 1 and b"--threads" in done.stderr, (text, done)


def test_bits(path, tmp_path):
    for text in SMALL:
        copy = shutil.copy(path, tmp_path / "copy.qcow2")
        assert run("edit", "--no-undo", "--force", "--", copy, "feature", "compatible", text,
                   "on").returncode == 0
        assert document(copy)["header"]["compatible_features"] == 8
    for text in BAD + ("64", "4k"):
        done = run("edit", "--no-undo", "--force", "--", path, "feature", "compatible", text, "on")
        assert done.returncode == 1 and b"nor a bit from 0 to 63" in done.stderr, (text, done)


@pytest.mark.parametrize("selector", ["l1/{}", "refcounts/0/{}", "l1/{}..{}", "l1/{}.."])
def test_indexes_in_selectors(selector):
    path = recipe_image("good-snapshots")[0]
    if selector.startswith("l1"):  # one that is wide enough
        path = recipe_image("good-l1-larger")[0]
    expected = run("dump", "-j", path, selector.replace("{}", "3"))
    assert expected.returncode == 0, expected
    for text in INDEXES:
        done = run("dump", "-j", path, selector.replace("{}", text))
        assert done.returncode == 0 and done.stdout == expected.stdout, (text, done)
    for text in NO_INDEXES:
        done = run("dump", "-j", path, selector.replace("{}", text))
        assert done.returncode == 1 and done.stdout == b"", (text, done)


def test_indexes_of_refcounts(path, tmp_path):
    for text in INDEXES:
        copy = shutil.copy(path, tmp_path / "copy.qcow2")
        place = f"refcounts/{'0' * len(text)}/{text}"
        assert run("edit", "--no-undo", "--force", "--yes", copy, "set",
                   f"{place}=7").returncode == 0
        assert document(copy, "refcounts/0/3")["refcounts"][0]["entries"][0]["refcount"] == 7
    for text in NO_INDEXES + ("", "k"):
        for place in (f"refcounts/0/{text}", f"refcounts/{text}/0"):
            done = run("edit", "--no-undo", "--force", "--yes", path, "set", f"{place}=7")
            assert done.returncode == 1 and b"is no refcount" in done.stderr, (place, done)


def test_explained_magic_numbers():
    for text in ("0x23852875", "0X23852875", "595929205", "0595929205"):
        assert run("explain", text).stdout == run("explain", "0x23852875").stdout != b""


def test_no_other_reader():
    """Nothing but the one reader, and compat, which reads as Python does, turns text into numbers."""
    wrong = []
    for folder in ("lib", "cmd", "plugins"):
        for root, _, names in os.walk(os.path.join(TOP, folder)):
            for name in names:
                with open(os.path.join(root, name), encoding="utf-8") as stream:
                    if re.search(r"\b(strto(u?ll?|u?max|d|f|ld)|ato(i|l|ll|f)|s?scanf)\s*\(",
                                 stream.read()):
                        wrong.append(name)
    assert not wrong
