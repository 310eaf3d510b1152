# SPDX-License-Identifier: MIT
# What `dump -j` says against what the forge knows about its images: every value and every place,
# over all cluster sizes, refcount widths and entry formats. The forge shares nothing with the C
# code, so agreement means something.
"""Values and offsets of dump."""
import json

import pytest

from tests.forge import everything, sweep
from tests.support.programs import RELEASE, SAMPLE, document, image, recipe_image, run

SWEEP = sorted(set(sweep()))
OFFSET = 0x00fffffffffffe00
# where the specification's name differs from that of the document
NAMES = {"snapshots_offset": "snapshot_offset"}
RECIPES = ["good-bitmaps", "good-snapshots", "good-snapshot-vmstate", "good-default", "good-v2",
           "good-luks1", "good-data-file", "good-bitmap-extra-data", "good-extended-l2",
           "good-feature-names-full", "good-header-120", "good-size-bytes", "good-backing",
           "bad-size-max", "bad-l1-offset-max", "bad-bitmap-flags-all", "good-cluster-512"]


def shown(path, *arguments):
    return document(path, *arguments, program=RELEASE)


def same_fields(layout, prefix, structure, skip=()):
    """Each field that the forge has below prefix is there, with its value, place and bytes."""
    count = 0
    for path, place in layout.fields.items():
        head, _, field = path.rpartition("/")
        if head != prefix or field in skip or place.text:
            continue
        name = NAMES.get(field, field)
        assert structure[name] == place.value, path
        assert structure[name + ".offset"] == place.offset, path
        assert structure[name + ".hex"] == layout.store.read(place.offset, place.width).hex(), path
        count += 1
    assert count > 0, prefix
    return count


def same_text(layout, path, structure, name):
    place = layout.place(path)
    raw = place.value
    assert structure[name] == raw.decode("utf-8", errors="replace")
    assert (structure.get(name + "-hex") == raw.hex()) == (not is_utf8(raw))
    if raw:
        assert structure[name + ".offset"] == place.offset
        assert structure[name + ".hex"] == raw.hex()


def is_utf8(raw):
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def extension_of(dump, magic):
    return next(e for e in dump["extensions"] if e["magic"] == magic)


def same_bitmaps(layout, dump):
    count = sum(1 for path in layout.offsets
                if path.startswith("bitmaps/") and path.count("/") == 1)
    extension = extension_of(dump, 0x23852875)
    directory = extension["data"]["bitmap_directory"]
    assert len(directory) == count
    for i, bitmap in enumerate(directory):
        path = f"bitmaps/{i}"
        assert (bitmap["index"], bitmap["offset"]) == (i, layout.offsets[path])
        same_fields(layout, path, bitmap)
        same_text(layout, path + "/name", bitmap, "name")
        for row in bitmap["bitmap_table"]:
            place = layout.place(f"{path}/table/{row['index']}")
            entry = place.value
            assert row["offset"] == entry & OFFSET
            assert row["offset.offset"] == place.offset
            assert row["offset.hex"] == f"{entry:016x}"
            assert row["type"] == ("serialized" if entry & OFFSET else
                                   "all-ones" if entry & 1 else "all-zeroes")
        assert len(bitmap["bitmap_table"]) == bitmap["bitmap_table_size"]


def same_snapshots(layout, dump):
    for i, snapshot in enumerate(dump["snapshots"]):
        path = f"snapshots/{i}"
        assert (snapshot["index"], snapshot["offset"]) == (i, layout.offsets[path])
        same_fields(layout, path, snapshot)
        same_text(layout, path + "/id", snapshot, "id")
        same_text(layout, path + "/name", snapshot, "name")


def same_l1(layout, path, rows):
    assert len(rows) == layout.tables[path].count
    for row in rows:
        place = layout.place(f"{path}/{row['index']}")
        entry = place.value
        assert (row["entry"], row["entry.offset"]) == (entry, place.offset)
        assert (row["offset"], row["copied"]) == (entry & OFFSET, entry >> 63)


def same_l2_row(layout, index, row):
    extended, bits = layout.recipe.extended_l2, layout.cluster_bits
    place = layout.place(f"l2/{index}/{row['index']}")
    entry = place.value
    per_table = layout.cluster_size // (16 if extended else 8)
    assert (row["entry"], row["entry.offset"]) == (entry, place.offset)
    assert row["guest"] == (index * per_table + row["index"]) << bits
    if entry >> 62 & 1:
        # FORMAT: x = 62 - (cluster_bits - 8) bits of offset, then the number of further sectors
        width = 62 - (bits - 8)
        assert row["type"] == "compressed" and row["copied"] == 0
        assert row["offset"] == entry & (1 << width) - 1
        assert row["sectors"] == (entry >> width & (1 << 62 - width) - 1) + 1
    else:
        assert row["offset"] == entry & OFFSET
        assert row["copied"] == entry >> 63
        assert row["sectors"] == 0
    if extended:
        bitmap = layout.value(f"l2/{index}/{row['index']}/bitmap")
        assert (row["allocated"], row["zeroes"]) == (bitmap & 0xffffffff, bitmap >> 32)
    return row["type"]


@pytest.mark.parametrize("name", RECIPES)
def test_structures_of_recipes(name):
    path, layout = recipe_image(name)
    dump = shown(path, "--offsets", "--hex")
    version_2 = layout.value("header/version") == 2
    later = ("header_length", "refcount_order", "compression_type") if version_2 else ()
    same_fields(layout, "header", dump["header"], later)
    if "bitmaps/0" in layout.offsets and "extensions/bitmaps/nb_bitmaps" in layout.fields:
        same_bitmaps(layout, dump)
    if "snapshots/0" in layout.offsets:
        same_snapshots(layout, dump)


@pytest.mark.parametrize("bits,order,extended,version", SWEEP)
def test_structures_of_every_size(bits, order, extended, version):
    path, layout = image(everything(bits, order, extended, version))
    dump = shown(path, "--offsets", "--hex", "header", "extensions",
                 *(["snapshots", "snapshots/*/l1"] if order else []), "l1", "l2/0/0..130",
                 "refcount_table/0..7", "refcounts/0/0..200")
    same_fields(layout, "header", dump["header"])
    if version == 3:
        same_bitmaps(layout, dump)
    if order:
        same_snapshots(layout, dump)
        same_l1(layout, "snapshots/0/l1", dump["snapshots"][0]["l1"])
    same_l1(layout, "l1", dump["l1"])
    types = [same_l2_row(layout, 0, row) for row in dump["l2"][0]["entries"]]
    assert "data" in types
    assert types[5] == ("zero" if version == 3 and not extended else
                        "unallocated") if bits > 9 else True
    for row in dump["refcount_table"]:
        place = layout.place(f"refcount_table/{row['index']}")
        assert (row["entry"], row["entry.offset"]) == (place.value, place.offset)
    for row in dump["refcounts"][0]["entries"]:
        assert row["refcount"] == layout.value(f"refcounts/0/{row['index']}")
        # The place is that of the first byte, also where several refcounts share one.
        assert row["refcount.offset"] == \
            dump["refcounts"][0]["offset"] + (row["index"] << order) // 8
        assert row.get("refcount.hex") == \
            (f"{row['refcount']:0{2 << order - 3}x}" if order >= 3 else None)
        assert row["host"] == row["index"] << bits
    assert len({row["refcount"] for row in dump["refcounts"][0]["entries"]}) > (1 if order else 0)


def test_compressed_clusters():
    path, layout = recipe_image("good-compressed")
    rows = shown(path, "--offsets", "l2/0")["l2"][0]["entries"]
    assert [same_l2_row(layout, 0, row) for row in rows].count("compressed") > 3


def test_numbers_are_exact():
    text = "# the largest\nsize 1M\nset header/size 0xffffffffffffffff\n" \
           "set header/snapshots_offset 0x8000000000000001\n" \
           "set header/autoclear_features 0xfffffffffffffffe\n"
    header = shown(image(text)[0], "header")["header"]
    assert header["size"] == 18446744073709551615
    assert header["snapshot_offset"] == 9223372036854775809
    assert header["autoclear_features"] == 18446744073709551614


def test_names_that_are_not_utf8_have_their_bytes():
    text = '# names\nsize 1M\nbitmap "a\\xffb"\nbitmap "grün"\nbitmap "x\\e[2Jy"\n' \
           'snapshot "\\xc3" name="\\xed\\xa0\\x80"\n'
    path, _ = image(text)
    names = extension_of(shown(path), 0x23852875)["data"]["bitmap_directory"]
    assert [n["name"] for n in names] == ["a\ufffdb", "grün", "x\x1b[2Jy"]
    assert [n.get("name-hex") for n in names] == ["61ff62", None, None]
    snapshot = shown(path)["snapshots"][0]
    assert (snapshot["id-hex"], snapshot["name-hex"]) == ("c3", "eda080")


def holds(whole, part):
    """Whether part is in whole: every key of every object, with equal values."""
    if isinstance(part, dict):
        return all(key in whole and holds(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return whole == part


@pytest.mark.parametrize("name", [None, "good-bitmaps", "good-default", "good-luks1", "good-v2",
                                  "good-extensions-unknown", "good-feature-names-full",
                                  "good-backing", "good-data-file", "good-header-104"])
def test_holds_what_qcow2_py_prints(name):
    path = SAMPLE if name is None else recipe_image(name)[0]
    text = run("compat", path, "dump-header", "-j").stdout.decode()
    header, end = json.JSONDecoder().raw_decode(text)
    extensions = json.loads(text[end:])
    dump = shown(path)
    assert len(header) >= 15
    assert holds(dump["header"], header)
    assert holds(dump["extensions"], extensions)


def numbers_with_texts(found, path=""):
    """(path, number, its text or None) of every number in a document but those of problems."""
    if isinstance(found, list):
        for index, value in enumerate(found):
            yield from numbers_with_texts(value, f"{path}/{index}")
    elif isinstance(found, dict):
        for key, value in found.items():
            if isinstance(value, int) and not isinstance(value, bool):
                yield f"{path}/{key}", value, found.get(key + "-hex")
            elif key != "problems":
                yield from numbers_with_texts(value, f"{path}/{key}")


@pytest.mark.parametrize("name,selectors", [
    ("bad-hostile-random-header", ["header"]), ("bad-size-max", ["header"]),
    ("bad-l1-entry-reserved-high", ["l1"]), ("good-extended-l2", ["l2/0/0..40", "l1"]),
    ("good-compressed", ["l2/0/0..40"]), ("good-refcount-64bit", ["refcounts", "refcount_table"]),
    ("good-bitmaps", ["all"]), ("good-snapshots", ["all"])])
def test_large_numbers_and_entries_have_texts(name, selectors):
    """jq 1.6 and others turn numbers into floating point, and lose bits above 2^53."""
    path, _ = recipe_image(name)
    rows = list(numbers_with_texts(shown(path, *selectors)))
    for place, number, text in rows:
        wanted = number > 2**53 or place.endswith("/entry")
        assert text == (hex(number) if wanted else None), place
    assert any(text for _, _, text in rows)


def test_entries_of_bitmap_tables():
    path, _ = recipe_image("good-bitmaps")
    found = shown(path, "bitmaps/enabled/table")
    rows = found["extensions"][0]["data"]["bitmap_directory"][0]["bitmap_table"]
    assert all(int(row["entry-hex"], 16) == row["entry"] for row in rows)
    assert rows[0]["entry"] == rows[0]["offset"] > 0
