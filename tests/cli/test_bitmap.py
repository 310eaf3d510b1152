# SPDX-License-Identifier: MIT
# `qcow2 bitmap` from outside: every action, its output as text and JSON, what is refused and why.
# QEMU's opinions are in tests/oracle, crashes in tests/crash.
"""bitmap, from outside."""
import json
import os
import random
import re
import resource
import struct
import subprocess

import jsonschema
import pytest

from tests.forge import build, recipes
from tests.support.answers import text_is_safe
from tests.support.bitmaps import GRANULE, TWO, changed, dirty, read, refused, shown, states, valid
from tests.support.outside import on_terminal
from tests.support.programs import QCOW2, RELEASE, TOP, document, image, recipe_image, run

# Recipes of so many bitmaps, or of so long tables, that plans are large.
PLENTY = ("bad-hostile-bitmaps-65535", "bad-hostile-bitmaps-65536",
          "bad-hostile-bitmap-names-equal", "bad-hostile-shared-bitmap-table")


# ---- reading ----

def test_list():
    path = recipe_image("good-bitmaps")[0]
    rows = {b["name"]: b for b in valid("list", path)["bitmaps"]}
    assert list(rows) == ["enabled", "disabled", "ones", "fine", "coarse", "serialized", "empty"]
    assert rows["enabled"]["state"] == "enabled" and rows["disabled"]["state"] == "disabled"
    assert rows["enabled"]["dirty-bytes"] == 3 * GRANULE
    assert rows["ones"]["dirty-bytes"] == 64 << 20 and rows["ones"]["all-ones-entries"] == 1
    assert rows["coarse"]["granularity"] == 2 << 30 and rows["coarse"]["dirty-bytes"] == 64 << 20
    assert rows["empty"]["disk-bytes"] == 65536 and rows["empty"]["problem"] is None
    lines = [json.loads(line) for line in shown("list", path, "--output=ndjson").splitlines()]
    assert lines == list(rows.values())
    text = shown("list", path)
    assert text.splitlines()[0].split() == ["state", "granularity", "dirty", "on", "disk", "name"]
    assert "enabled            64 KiB     192 KiB   0.3 %    128 KiB  enabled\n" in text


@pytest.mark.parametrize("recipe, code, rows", [
    ("good-bitmap-in-use", 0, [["in", "use", "64", "KiB", "?", "128", "KiB", "stale"],
                               ["disabled", "64", "KiB", "0", "B", "0.0", "%", "64", "KiB", "fine"]]),
    ("good-bitmap-autoclear-cleared", 0, [["inconsistent", "64", "KiB", "?", "128", "KiB", "b0"]]),
    ("bad-bitmap-type-255", 2, [["unusable", "64", "KiB", "bitmap-type", "b0"]]),
    ("bad-bitmap-name-empty", 2, [["unusable", "64", "KiB", "bitmap-name-empty", '""']]),
])
def test_list_has_a_line_for_each(recipe, code, rows):
    """Stale numbers look like good ones, so there are none; what it means is said once, below."""
    lines = shown("list", recipe_image(recipe)[0], code=code).splitlines()
    assert [line.split() for line in lines[1:1 + len(rows)]] == rows
    assert lines[1 + len(rows)] == "" and len(lines) == 3 + len(rows)
    assert lines[-1].startswith(("in use: ", "inconsistent: ", "bitmap-"))


def test_list_says_more():
    """Numbers of stale bitmaps, and the entries of tables."""
    lines = shown("list", "-v", recipe_image("good-bitmap-in-use")[0]).splitlines()
    assert lines[1].split() == ["in", "use", "64", "KiB", "64", "KiB", "1.6", "%", "128", "KiB", "stale"]
    assert lines[2].split() == "table: 1 stored, 0 all clean, 0 all dirty".split()
    assert lines[4].split() == "table: 0 stored, 1 all clean, 0 all dirty".split()


def test_list_counts_all_bitmaps_of_a_file_with_holes(tmp_path):
    """A table or its data take a cluster, of which a file with holes stores some bytes."""
    path = image("# many tables\nsize 1M\nrepeat 600 bitmap b{} flags=auto bits=0\n")[0]
    subprocess.run(["cp", "--sparse=always", path, tmp_path / "sparse"], check=True)
    rows = valid("list", tmp_path / "sparse")["bitmaps"]
    assert [row.get("dirty-bytes") for row in rows] == [65536] * 600


def test_list_of_a_directory_in_a_hole():
    """A directory of a terabyte costs no more than what the file stores."""
    path = image("# a hole\nsize 1M\nbitmap b0\nset extensions/bitmaps/nb_bitmaps 0xffffffff\n"
                 "set extensions/bitmaps/bitmap_directory_size 0x10000000000\n"
                 "set extensions/bitmaps/bitmap_directory_offset 0x100000000\n"
                 "sparse 0x80000000000\n")[0]
    done = subprocess.run([RELEASE, "bitmap", "list", "-j", path], stdout=subprocess.PIPE,
                          timeout=20, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 2
    assert len(found["bitmaps"]) + found["bitmaps-omitted"] == 0xffffffff


def test_list_remarks_on_bits_past_the_end():
    path = recipe_image("bad-bitmap-data-tail")[0]
    row = valid("list", path, code=2)["bitmaps"][0]
    assert row["problem"] is None and row["remark"] == "bitmap-data-tail"
    assert "\nb0: bitmap-data-tail: " in shown("list", path, code=2)


def test_list_of_a_chain(tmp_path):
    base, middle, top = (str(tmp_path / name) for name in ("base.raw", "middle", "top"))
    with open(base, "wb") as file:
        file.truncate(1 << 20)
    build("# in the middle\nsize 1M\nbacking base.raw raw\nbitmap old bits=1\n", middle)
    build("# on top\nsize 1M\nbacking middle qcow2\nbitmap new flags=auto\n", top)
    chain = valid("list", "--chain", top)
    assert [os.path.basename(x["filename"]) for x in chain] == ["top", "middle", "base.raw"]
    assert [[b["name"] for b in x["bitmaps"]] for x in chain] == [["new"], ["old"], []]
    lines = [json.loads(line) for line in
             shown("list", "--chain", top, "--output=ndjson").splitlines()]
    assert [(line["filename"], line["name"]) for line in lines] == [(top, "new"), (middle, "old")]
    text = shown("list", "--chain", top)
    assert [line for line in text.splitlines() if line.endswith(":")] == \
        [f"{x}:" for x in (top, middle, base)]
    assert len(valid("list", "--chain", middle)) == 2
    os.remove(base)
    done = run("bitmap", "list", "--chain", top)
    assert (done.returncode, done.stdout) == (1, b"") and b"base.raw" in done.stderr


def test_list_of_none():
    path = image("size 1M\n")[0]
    assert shown("list", path) == "no bitmaps\n"
    assert valid("list", path)["bitmaps"] == [] and shown("list", path, "--output=ndjson") == ""


@pytest.mark.parametrize("recipe, state, problem, code", [
    ("good-bitmap-in-use", "in use", None, 0),
    ("good-bitmap-autoclear-cleared", "inconsistent", None, 0),
    ("good-bitmap-extra-data-unknown", "unusable", "bitmap-extra-data-unknown", 0),
    ("good-bitmap-extra-data", "enabled", None, 0),
    ("bad-bitmap-type-255", "unusable", "bitmap-type", 2),
    ("bad-bitmap-granularity-255", "unusable", "bitmap-granularity", 2),
    ("bad-bitmap-entry-reserved-low", "unusable", "bitmap-entry-reserved", 2),
    ("bad-bitmap-entry-all-ones-offset", "unusable", "bitmap-entry-all-ones", 2),
    ("bad-bitmap-table-size-long", "unusable", "bitmap-table-size", 2),
    ("bad-bitmap-table-beyond-end", "unusable", "bitmap-table-beyond-end", 2),
    ("bad-bitmap-entry-name-cut", "unusable", "bitmap-entry-cut", 2),
])
def test_states(recipe, state, problem, code):
    row = [b for b in valid("list", recipe_image(recipe)[0], code=code)["bitmaps"]
           if b["problem"] == problem and b["state"] == state]
    assert row
    assert state in shown("list", recipe_image(recipe)[0], code=code)


def test_two_names_alike():
    path = recipe_image("bad-bitmap-name-duplicate")[0]
    assert [b["problem"] for b in valid("list", path, code=2)["bitmaps"]][-1] == \
        "bitmap-name-duplicate"
    name = valid("list", path, code=2)["bitmaps"][-1]["name"]
    refused(path, "extents", path, name, says="bitmaps have that name")


@pytest.mark.parametrize("recipe", [r for r in recipes() if "bitmap" in r])
def test_hostile_lists(recipe):
    """Whatever the bitmaps are: a page, or one line that says why not."""
    path = recipe_image(recipe)[0]
    for words in (("list", path), ("list", path, "--output=ndjson"), ("repair", path, "-n"),
                  ("repair", path, "-n", "--drop-bad"), ("repair", path, "-n", "--assume-dirty")):
        # So many bitmaps take the sanitizers a minute. Fewer of them go the same ways.
        program = RELEASE if recipe in PLENTY else QCOW2
        done = run("bitmap", *words, program=program)
        assert done.returncode in (0, 1, 2, 4), done
        text_is_safe(done.stdout)
        text_is_safe(done.stderr)


def test_extents():
    path = image(TWO)[0]
    assert shown("extents", path, "a") == (
        "0 131072 dirty\n131072 196608 clean\n327680 65536 dirty\n393216 655360 clean\n")
    assert dirty(path, "a") == [0, 1, 5] and dirty(path, "b") == [1, 9]
    assert dirty(path, "a", "b") == [0, 1, 5, 9]
    assert dirty(path, "a", "b", "--intersect") == [1]
    assert dirty(path, "a", "b", "--subtract") == [0, 5]
    assert dirty(path, "b", "a", "--subtract") == [9]
    both = valid("extents", path, "a")
    assert sum(e["length"] for e in both) == 1 << 20
    assert [e["dirty"] for e in both] == [True, False, True, False]
    assert [json.loads(line) for line in
            shown("extents", path, "a", "--output=ndjson").splitlines()] == both
    assert valid("extents", path, "a", "--clean") == [e for e in both if not e["dirty"]]


def test_extents_end_with_the_disk():
    """A granule may pass the end of the disk; an extent never does."""
    path = image("size 100k\nbitmap a bits=1\n")[0]
    assert shown("extents", path, "a") == "0 65536 clean\n65536 36864 dirty\n"
    path = image("size 512\nbitmap a granularity=2G bits=0\n")[0]
    assert shown("extents", path, "a") == "0 512 dirty\n"


def test_bits_are_least_significant_first():
    path = image("size 1M\nbitmap a table=data:0904\n")[0]
    assert dirty(path, "a") == [0, 3, 10]
    assert subprocess.run([QCOW2, "bitmap", "export", "--raw", path, "a"], stdout=subprocess.PIPE,
                          check=True).stdout == b"\x09\x04"


def test_in_use_is_refused(copy):
    path = copy(image("size 1M\nbitmap a flags=in_use,auto bits=3\nbitmap b\n")[0])
    for words in (("extents", path, "a"), ("export", path, "a"), ("compare", path, "a", "b")):
        refused(path, *words, says="it is in use: it was not saved properly")
    assert dirty(path, "a", "--force") == [3]
    for words in (("clear", path, "a"), ("enable", path, "a"), ("merge", path, "a", "b"),
                  ("merge", path, "b", "a"), ("clear", path, "a", "--force")):
        refused(path, *words, says="it is in use")
    changed(path, "rename", "a", "c")
    changed(path, "remove", "c")
    assert states(path) == {"b": "disabled"}


def test_inconsistent_is_refused(copy):
    path = copy(recipe_image("good-bitmap-autoclear-cleared")[0])
    name = valid("list", path)["bitmaps"][0]["name"]
    refused(path, "extents", path, name, says="bitmaps bit is not set")
    refused(path, "add", path, "x", says="bitmaps bit is not set")


def test_broken_tables_are_refused(copy):
    path = copy(recipe_image("bad-bitmap-entry-reserved-low")[0])
    name = valid("list", path, code=2)["bitmaps"][0]["name"]
    refused(path, "extents", path, name, says="an entry of the bitmap's table")
    refused(path, "merge", path, name, name + "x", says="there is no bitmap")
    path = copy(recipe_image("bad-bitmap-directory-size-long")[0])
    refused(path, "add", path, "x", says="the bitmap directory is damaged")
    path = copy(recipe_image("bad-bitmap-directory-beyond-end")[0])
    refused(path, "add", path, "x", says="directory lies beyond the end")


@pytest.mark.parametrize("words, says", [
    (("list", "missing"), "cannot open: No such file"),
    (("extents", "IMAGE", "c"), "bitmap 'c': there is no bitmap of that name"),
    (("extents", "IMAGE", "\x1b[2J"), "bitmap '\\u{1b}[2J': there is no"),
    (("compare", "IMAGE", "a", "c"), "there is no bitmap"),
    (("compare", "IMAGE", "a", "a", "--from=missing"), "missing: cannot open"),
    (("merge", "IMAGE", "a", "b", "--from=missing"), "missing: cannot open: No such file"),
    (("merge", "IMAGE", "a", "c"), "bitmap 'c': there is no bitmap"),
    (("merge", "IMAGE", "c", "a"), "bitmap 'c': there is no bitmap"),
    (("merge", "IMAGE", "c", "a", "--from=IMAGE"), "bitmap 'c': there is no bitmap"),
    (("merge", "IMAGE", "a", "c", "--from=IMAGE"), "bitmap 'c': there is no bitmap"),
    (("remove", "IMAGE", "a", "c"), "bitmap 'c': there is no bitmap"),
    (("add", "IMAGE", "a"), "bitmap 'a': there is a bitmap of that name already"),
    (("add", "IMAGE", "x", "x"), "there is a bitmap of that name already"),
    (("add", "IMAGE", ""), "the name is 0 bytes long"),
    (("add", "IMAGE", "n" * 1024), "the name is 1024 bytes long"),
    (("add", "IMAGE", "x", "-g", "3k"), "no power of two"),
    (("add", "IMAGE", "x", "-g", "256"), "not from 512 bytes to 2 GiB"),
    (("add", "IMAGE", "x", "-g", "4G"), "'4G' is too large: 2147483648 is the most"),
    (("rename", "IMAGE", "a", "b"), "bitmap 'b': there is a bitmap of that name already"),
    (("rename", "IMAGE", "c", "d"), "bitmap 'c': there is no bitmap"),
    (("import", "IMAGE", "x", "missing"), "missing: No such file"),
    (("import", "IMAGE", "x", "EMPTY"), "the data are 0 bytes, where the bitmap has 2"),
    (("import", "IMAGE", "a", "LONG"), "the data are 3 bytes, where the bitmap has 2"),
    (("script", "IMAGE", "missing"), "missing: No such file"),
    (("repair", "IMAGE", "--assume-dirty", "c"), "there is no bitmap 'c'"),
    (("export", "IMAGE", "a", "--to=IMAGE"), "File exists"),
])
def test_refused(two, tmp_path, words, says):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "long").write_bytes(b"123")
    names = {"IMAGE": two, "EMPTY": str(tmp_path / "empty"), "LONG": str(tmp_path / "long")}
    words = [names.get(w, w).replace("=IMAGE", "=" + two) for w in words]
    refused(two, *words, says=says)


@pytest.mark.parametrize("words, says", [
    ((), "no action given"),
    (("list",), "no image given"),
    (("lst", "IMAGE"), "unknown action 'lst': did you mean list?"),
    (("list", "IMAGE", "a"), "list takes IMAGE"),
    (("extents", "IMAGE"), "extents takes IMAGE NAME..."),
    (("rename", "IMAGE", "a"), "rename takes IMAGE NAME NEW"),
    (("compare", "IMAGE", "a"), "compare takes IMAGE NAME NAME"),
    (("list", "IMAGE", "--dirty"), "list does not take --dirty"),
    (("extents", "IMAGE", "a", "--from=x"), "extents does not take --from"),
    (("add", "IMAGE", "x", "--sparse"), "add does not take --sparse"),
    (("add", "IMAGE", "x", "--output=ndjson"), "add has no output as ndjson"),
    (("add", "IMAGE", "x", "-g", "many"), "--granularity: 'many' is no number: write it as 4096, 64k, 1.5G or "
     "0x1000"),
    (("add", "IMAGE", "x", "-g", "0"), "--granularity: 0 is none: it is a power of two, as 65536 or 64k"),
    (("add", "IMAGE", "x", "-g", "99999999T"), "--granularity: '99999999T' is too large: 2147483648 is the "
     "most"),
    (("add", "IMAGE", "x", "--dump=header"), "--dump is for --dry-run"),
    (("add", "IMAGE", "x", "--no-undo", "--undo-file=u"), "--undo-file and --no-undo at once"),
    (("export", "IMAGE", "a", "--sparse"), "--sparse needs --to=FILE"),
    (("repair", "IMAGE", "a"), "names are for --assume-dirty"),
    (("list", "IMAGE", "--output=xml"), "--output is human, json or ndjson, not 'xml'"),
])
def test_usage(two, words, says):
    done = run("bitmap", *[two if w == "IMAGE" else w for w in words])
    assert done.returncode == 1 and done.stdout == b"", done
    assert done.stderr.decode() == f"qcow2 bitmap: {says}\nTry 'qcow2 bitmap --help'.\n"


# ---- export, import, compare ----

def test_export_and_import(two, tmp_path):
    to = str(tmp_path / "bits")
    assert shown("export", "--raw", two, "a", "-o", to) == "" and read(to) == b"\x23\0"
    changed(two, "import", "b", to)
    assert dirty(two, "b") == [0, 1, 5] and states(two)["b"] == "disabled"
    changed(two, "import", "c", to)
    assert dirty(two, "c") == [0, 1, 5] and states(two)["c"] == "enabled"
    changed(two, "import", "d", to, "--disabled", "-g", "64k")
    assert states(two)["d"] == "disabled"


def test_export_at_random(copy, tmp_path):
    """Bits that begin and end anywhere come back as they were."""
    path = copy(image("cluster_bits 9\nsize 33333k\n")[0])
    numbers = random.Random(5)
    count = -(-33333 * 1024 // 512)
    bits = bytearray(-(-count // 8))
    at = 0
    while at < count:
        run_length = numbers.choice((1, 3, 8, 64, 700, 5000))
        if numbers.random() < 0.5:
            for bit in range(at, min(at + run_length, count)):
                bits[bit // 8] |= 1 << bit % 8
        at += run_length
    (tmp_path / "bits").write_bytes(bits)
    changed(path, "import", "a", str(tmp_path / "bits"), "-g", "512")
    done = run("bitmap", "export", "--raw", path, "a")
    assert done.returncode == 0 and done.stdout == bits
    told = bytearray(len(bits))
    for extent in valid("extents", path, "a"):
        for bit in range(extent["start"] // 512, -(-(extent["start"] + extent["length"]) // 512)):
            told[bit // 8] |= extent["dirty"] << bit % 8
    assert told == bits
    assert valid("list", path)["bitmaps"][0]["dirty-bytes"] == sum(
        e["length"] for e in valid("extents", path, "a", "--dirty"))


def damage(path, index, field, value):
    done = run("edit", "--force", "--no-undo", path, "set", f"bitmaps/{index}/{field}={value}")
    assert done.returncode == 0, done


@pytest.mark.parametrize("field, value, says", [
    ("bitmap_table_size", 1, "the bitmap's table has 1 entries, and the disk needs 2"),
    ("bitmap_table_size", 3, "the bitmap's table has 3 entries, and the disk needs 2"),
    ("table/1", 1 << 40, "leads to no cluster of the file"),
    ("table/1", 1 << 63 | 0x5000, "cannot be understood"),
    ("type", 2, "its type"),
])
def test_damaged_table(copy, field, value, says):
    """What is lost is not taken for clean: not in what is told, and not by a merge."""
    path = copy(image("cluster_bits 12\nsize 32M\nbitmap a granularity_bits=9 bits=5,40000\n"
                      "bitmap b granularity_bits=9\n")[0])
    damage(path, 0, field, value)
    for words in (("extents", "a"), ("export", "a"), ("compare", "a", "b"), ("merge", "a", "b"),
                  ("merge", f"--from={path}", "a", "b")):
        refused(path, words[0], path, *words[1:], says=says)
    if "understood" not in says:
        assert valid("extents", path, "a", "--force", "--dirty")[0] == {
            "start": 5 * 512, "length": 512, "dirty": True}
    changed_by = run("bitmap", "clear", "--no-undo", path, "a")
    assert changed_by.returncode == (1 if field == "type" else 0)


def test_counted_behind_the_end(copy):
    """Refcounts of a million clusters that the file has not: it does not grow over them."""
    path = copy(recipe_image("good-cluster-512")[0])
    entries = 16384
    with open(path, "r+b") as stream:
        block = (os.path.getsize(path) + 511) // 512 * 512
        stream.seek(48)
        table, clusters = struct.unpack(">QI", stream.read(12))
        stream.seek(table)
        old = stream.read(clusters * 512)
        # Of the file: those that the table counts, and all that come with what is new.
        first, own = block // 512 // 256, (block + 1024 + entries * 8) // 512 // 256 + 1
        full = struct.pack(">Q", block + 512) * (own - first)
        stream.seek(block)
        stream.write(struct.pack(">HH", 0, 1) * 128 + struct.pack(">H", 1) * 256)
        stream.write(old[:first * 8] + full + struct.pack(">Q", block) * (entries - own))
        stream.seek(48)
        stream.write(struct.pack(">QI", block + 1024, entries * 8 // 512))
    # A directory of two clusters, which are nowhere side by side.
    names = [letter * 300 for letter in "abc"]
    done = run("bitmap", "add", "--no-undo", path, *names, program=RELEASE)
    assert done.returncode == 1 and b"clusters behind the end of the file" in done.stderr, done


def test_what_a_coarser_granularity_costs(copy):
    """Two of four small granules in each larger one are dirty: as much again becomes so."""
    bits = ",".join(str(bit) for bit in range(512) if bit % 4 < 3 and bit % 4 != 1)
    path = copy(image(f"size 64k\nbitmap a granularity_bits=7 bits={bits}\n")[0])
    done = run("bitmap", "repair", "--no-undo", path)
    assert b"mended, 32 KiB of the disk now count as dirty" in done.stdout, done
    assert valid("extents", path, "a") == [{"start": 0, "length": 64 << 10, "dirty": True}]


def test_long_names_are_cut_between_characters(copy):
    path = copy(image("size 1M\n")[0])
    run("bitmap", "add", "--no-undo", path, "é" * 511, "è" * 511)
    raw = read(path)
    with open(path, "wb") as stream:
        stream.write(raw.replace("è".encode() * 511, "é".encode() * 511))
    changed(path, "repair")
    first, second = (b["name"] for b in valid("list", path)["bitmaps"])
    assert re.fullmatch("é{400,}-0", first) and re.fullmatch("é{400,}-1", second)


def test_every_granule_changes(copy, tmp_path):
    """As many changes as granules, up to the very end of the disk."""
    path = copy(image("size 128M\nbitmap a\n")[0])
    (tmp_path / "bits").write_bytes(b"\x55" * 256)
    changed(path, "import", "a", str(tmp_path / "bits"))
    assert run("bitmap", "export", "--raw", path, "a").stdout == b"\x55" * 256
    assert valid("extents", path, "a") == [
        {"start": at * GRANULE, "length": GRANULE, "dirty": at % 2 == 0} for at in range(2048)]
    changed(path, "add", "b")
    changed(path, "merge", "a", "b")
    assert run("bitmap", "export", "--raw", path, "b").stdout == b"\x55" * 256


def test_no_bits_on_a_terminal(two):
    assert on_terminal("bitmap", "export", two, "a") == (1, b"")


def test_sparse_export(copy, tmp_path):
    path = copy(image("size 8T\nbitmap a bits=5\n")[0])
    to = str(tmp_path / "bits")
    shown("export", "--raw", path, "a", "--to", to, "--sparse")
    assert os.path.getsize(to) == 16 << 20 and os.stat(to).st_blocks * 512 < 1 << 20
    assert read(to)[:2] == b"\x20\0"
    shown("export", "--raw", path, "a", "--to", to + "2")
    assert read(to) == read(to + "2")


def test_import_of_a_bit_past_the_end(copy, tmp_path):
    path = copy(image("size 640k\n")[0])
    (tmp_path / "bits").write_bytes(b"\0\x04")
    refused(path, "import", path, "x", str(tmp_path / "bits"), says="bits past the end")


def test_compare(two, copy):
    assert shown("compare", two, "a", "a") == (
        "equal: 192 KiB dirty in both, 0 B in the first only, 0 B in the second\n")
    assert shown("compare", two, "a", "b", code=3) == (
        "0 65536 first\n327680 65536 first\n589824 65536 second\n"
        "different: 64 KiB dirty in both, 128 KiB in the first only, 64 KiB in the second\n")
    found = valid("compare", two, "a", "b", code=3)
    assert found["equal"] is False and found["first-bytes"] == 2 * GRANULE
    assert [d["dirty-in"] for d in found["differences"]] == ["first", "first", "second"]
    assert [json.loads(line) for line in shown("compare", two, "a", "b", "--output=ndjson", code=3)
            .splitlines()] == found["differences"]
    other = copy(image("size 1M\nbitmap x granularity=32k bits=0,1,2,3,10,11\n")[0], "other")
    assert valid("compare", two, "a", "x", "--from", other)["equal"] is True
    small = copy(image("size 512k\nbitmap a\n")[0], "small")
    refused(two, "compare", two, "a", "a", "--from", small, says="different sizes")
    refused(two, "merge", two, "a", "a", "--from", small, says="different sizes")


# ---- changing ----

def test_actions(two):
    changed(two, "add", "c", "d", "-g", "4k")
    changed(two, "disable", "a", "c")
    changed(two, "enable", "b")
    assert states(two) == {"a": "disabled", "b": "enabled", "c": "disabled", "d": "enabled"}
    changed(two, "merge", "a", "b", "c")
    assert dirty(two, "c") == [0, 1, 5, 9]
    changed(two, "clear", "a")
    assert dirty(two, "a") == []
    changed(two, "rename", "c", "ü x")
    assert valid("list", two)["bitmaps"][2]["name"] == "ü x"
    refused(two, "rename", two, "d", "\x1b", says="would have problems that it has not now")
    changed(two, "remove", "a", "b", "d", "ü x")
    assert states(two) == {} and "bitmaps" not in document(two)


def test_nothing_to_change(two):
    before = read(two)
    for words in (("enable", two, "a"), ("repair", two), ("merge", two, "a", "a")):
        assert shown(*words) == "Nothing to change.\n"
    assert read(two) == before
    assert not os.path.exists(os.path.join(os.path.dirname(two), ".qcow2-undo"))


def test_merge_coarsens_and_refines(copy):
    path = copy(image("size 1M\nbitmap fine granularity=4k bits=17\n"
                      "bitmap coarse granularity=256k bits=2\nbitmap b\n")[0])
    changed(path, "merge", "fine", "coarse", "b")
    assert dirty(path, "b") == [1, 8, 9, 10, 11]


def test_dry_run(two):
    before = read(two)
    plan = json.loads(shown("add", two, "c", "-n", "-j"))
    phases = [w["phase"] for w in plan["writes"]]
    assert phases == sorted(phases, key=["withdraw", "new", "count", "point", "clean"].index)
    assert plan["applied"] is False and plan["verdict"]["adds-problems"] is False
    with open(os.path.join(TOP, "docs", "edit.schema.json"), encoding="utf-8") as opened:
        jsonschema.Draft202012Validator(json.load(opened)).validate(plan)
    assert read(two) == before


def test_file_size_limit(copy, tmp_path):
    """As on a full disk: an error, nothing changed, and nothing left behind."""
    path = copy(image("size 8T\nbitmap a bits=5\n")[0])
    limit = os.path.getsize(path) + (256 << 10)
    bits = tmp_path / "bits"
    bits.write_bytes(random.Random(5).randbytes(16 << 20))
    before, files = read(path), sorted(os.listdir(os.path.dirname(path)))

    def limited(*words):
        done = subprocess.run(
            [QCOW2, "bitmap", "import", *words, path, "a", bits], capture_output=True, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert done.returncode == 1 and b"File too large" in done.stderr, done

    for words in ((), ("--no-undo",)):
        limited(*words)
        assert read(path) == before
        assert sorted(os.listdir(os.path.dirname(path))) == files


def test_writes_side_by_side_are_one_line(copy, tmp_path):
    path = copy(image("size 8T\nbitmap a bits=5\n")[0])
    bits = tmp_path / "bits"
    bits.write_bytes(b"\x55" * (2 << 20))
    run("bitmap", "add", "--no-undo", "-g", "512k", path, "b")
    done = run("bitmap", "import", "--no-undo", "--dry-run", path, "b", bits).stdout.decode()
    assert [line for line in done.splitlines() if ": bitmap data" in line] == [
        "2/9 new, 1048576 bytes (1 MiB) at 0xa0000: bitmap data",
        "3/9 new, 1048576 bytes (1 MiB) at 0x1a0000: bitmap data"]
    done = run("bitmap", "import", "--no-undo", "-v", path, "b", bits).stdout.decode().splitlines()
    assert done[:3] == ["imported b: 4 TiB dirty, 512 KiB granularity, enabled",
                        "1/9 withdraw, 1 byte at 0x5f: take the bitmaps bit back while they change",
                        "2-3/9 new, 2097152 bytes (2 MiB) at 0xa0000: bitmap data"]


def test_script(two, tmp_path):
    script = tmp_path / "script"
    script.write_text("add -g 4k --disabled x 'y z'\nadd --granularity 8k v\nremove v\n\n# a comment\n"
                      "merge a b x\nclear a\nremove b\nenable x\ndisable 'y z'\nrename x w\n")
    changed(two, "script", str(script))
    assert states(two) == {"a": "enabled", "w": "enabled", "y z": "disabled"}
    assert dirty(two, "w") == [0, 1, 5, 9] and dirty(two, "a") == []
    done = subprocess.run([QCOW2, "bitmap", "script", two, "-"], input=b"remove a\n",
                          stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0 and states(two) == {"w": "enabled", "y z": "disabled"}


@pytest.mark.parametrize("text, says", [
    ("bogus a\n", "line 1: no such action"),
    ("add x\nremove c\n", "line 2: bitmap 'c': there is no bitmap"),
    ("rename a\n", "line 1: too few or too many names"),
    ("add --sparse x\n", "line 1: an unknown option"),
    ("add x -g\n", "line 1: an unknown option, or one without its value"),
    ("add -gx y\n", "line 1: --granularity: 'x' is no number"),
    ("merge -b two y\n", "line 1: too few or too many names"),
    ("clear --disabled a\n", "line 1: that action does not take that option"),
    ("add --from=x y\n", "line 1: that action does not take that option"),
    ("add --granularity=x y\n", "line 1: --granularity: 'x' is no number"),
    ("add 'x\n", "line 1: a quote is not closed"),
    ("add -- --x\nremove -- --x c\n", "line 2: bitmap 'c'"),
])
def test_wrong_scripts(two, tmp_path, text, says):
    (tmp_path / "script").write_text(text)
    refused(two, "script", two, str(tmp_path / "script"), says=says)


def test_version_2(copy):
    path = copy(image("version 2\nsize 1M\n")[0])
    refused(path, "add", path, "x", says="images of version 2 have no bitmaps")
    assert shown("list", path) == "no bitmaps\n"


def test_no_room_in_the_header(copy):
    path = copy(image("cluster_bits 9\nsize 1M\nextension 0x12345678 hex:" + "61" * 360 + "\n")[0])
    refused(path, "add", path, "x", says="has no room")


def test_directory_shrinks(copy):
    """A directory that needs fewer clusters gives the others back."""
    many = "".join(f"bitmap b{i}\n" for i in range(64))
    path = copy(image("cluster_bits 9\nsize 1M\n" + many)[0])
    script = path + ".script"
    with open(script, "w", encoding="ascii") as stream:
        stream.write("".join(f"remove b{i}\n" for i in range(60)))
    changed(path, "script", script)
    assert [b["name"] for b in valid("list", path)["bitmaps"]] == [f"b{i}" for i in range(60, 64)]
    assert run("check", path).returncode == 0


def test_too_fine(copy):
    path = copy(image("size 16T\n")[0])
    refused(path, "add", path, "x", "-g", "512", says="the bitmap would be over 512 MiB")


def test_too_many_at_a_time(copy):
    """Tables in memory are bounded: here they would take a MiB each."""
    path = copy(image("cluster_bits 9\nsize 120G\n")[0])
    done = run("bitmap", "add", "-n", "-g", "512", path, *range(1200), program=RELEASE)
    assert done.returncode == 1 and b"change fewer at a time" in done.stderr


def test_disk_without_bytes(copy):
    path = copy(image("size 0\n")[0])
    refused(path, "add", path, "x", says="there is nothing to track")


def test_dirty_image_gets_clusters_at_its_end(copy):
    """With lazy refcounts, after a crash, what is not counted may be in use."""
    path = copy(recipe_image("good-dirty")[0])
    size = os.path.getsize(path)
    plan = json.loads(shown("add", path, "x", "-n", "-j"))
    new = [w["offset"] for w in plan["writes"] if w["why"] in ("bitmap table", "bitmap directory")]
    assert new and min(new) >= size


# ---- repair ----

def test_repair_says_what_it_costs(copy):
    path = copy(recipe_image("bad-bitmap-entry-reserved-low")[0])
    plan = json.loads(shown("repair", path, "-n", "-j"))
    assert plan["repairs-total"] == len(plan["repairs"]) == 1
    row = plan["repairs"][0]
    assert row["problem"] == "bitmap-entry-reserved" and row["remedy"] == "mended"
    assert row["dirty-bytes"] > 0 and "copies more" in row["cost"]
    text = shown("repair", path)
    assert "Reserved bits of a bitmap table entry are set.\n  mended, " in text
    assert run("check", path).returncode == 0


def test_repair_asks(copy):
    path = copy(recipe_image("bad-bitmap-type-255")[0])
    refused(path, "repair", path, says="not all can be mended")
    refused(path, "repair", path, says="to be decided: it can only be dropped")
    changed(path, "repair", "--drop-bad")
    path = copy(recipe_image("bad-bitmap-table-offset-zero")[0])
    refused(path, "repair", path, says="to be decided: dropped, the next backup")
    assert run("bitmap", "repair", path, "--assume-dirty").returncode == 0
    size = document(path)["header"]["size"]
    assert [0, size] in [[e["start"], e["length"]] for b in states(path)
                         for e in valid("extents", path, b, "--dirty")]


def test_assume_dirty(copy):
    path = copy(image("size 1M\nbitmap a flags=in_use,auto bits=3\nbitmap b flags=in_use\n"
                      "bitmap c bits=2\n")[0])
    assert shown("repair", path, code=4).count("left as it is") == 2
    changed(path, "repair", "--assume-dirty", "a")
    assert states(path) == {"a": "enabled", "b": "in use", "c": "disabled"}
    changed(path, "repair", "--assume-dirty")
    assert states(path) == {"a": "enabled", "b": "disabled", "c": "disabled"}
    assert dirty(path, "a") == dirty(path, "b") == list(range(16)) and dirty(path, "c") == [2]
    # Named, it is made dirty whatever it is.
    changed(path, "repair", "--assume-dirty", "c")
    assert dirty(path, "c") == list(range(16))
