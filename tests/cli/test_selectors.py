# SPDX-License-Identifier: MIT
# The selectors of dump: each form of the grammar names what its manual page says, a selector that
# names nothing is an error that says what there is, and none of them can be made slow or harmful.
"""Selectors."""
import pytest

from tests.support.programs import RELEASE, SAMPLE, document, image, recipe_image, run

# Names that selectors could take for something else.
NAMES = "# names\nsize 64M\ncluster_bits 9\nwrite 0 32M\nbitmap plain granularity=512\n" \
        "bitmap 0 bits=1\nbitmap a/b\nbitmap a*b\nbitmap axb\nbitmap 1..2\n" \
        'bitmap "all"\nbitmap "back\\x5cslash"\nbitmap "=sign"\nsnapshot 7 name=first\n' \
        "snapshot 8 name=second\n"


def named(*selectors):
    return document(image(NAMES)[0], *selectors, program=RELEASE)


def bitmaps(dump):
    return dump["extensions"][0]["data"]["bitmap_directory"]


def indexes(rows):
    return [row["index"] for row in rows]


def keys(dump):
    return set(dump) - {"filename", "problems"}


def refused(*arguments, path=None):
    """The line of a run that could not do what was asked."""
    done = run("dump", "-j", path or image(NAMES)[0], *arguments)
    assert (done.returncode, done.stdout) == (1, b"")
    lines = done.stderr.decode().splitlines()
    assert lines and lines[0].startswith("qcow2 dump: ")
    return lines[0]


@pytest.mark.parametrize("selector", ["header", "features", "extensions", "snapshots", "l1", "l2",
                                      "refcount_table", "refcounts"])
def test_one_part(selector):
    assert keys(named(selector)) == {selector}


def test_nothing_asked_is_all_but_bulk():
    assert keys(named()) == {"header", "features", "extensions", "snapshots"}
    assert "l1" not in named()["snapshots"][0] and "data" not in bitmaps(named())[1]


@pytest.mark.parametrize("selector", ["all", "**"])
def test_all_is_everything(selector):
    dump = named(selector)
    assert keys(dump) == {"header", "features", "extensions", "snapshots", "l1", "l2",
                          "refcount_table", "refcounts"}
    assert dump["snapshots"][0]["l1"] and bitmaps(dump)[1]["data"]


def test_fields():
    assert named("header/size")["header"] == {"offset": 0, "size": 64 << 20}
    assert named("header/*_features")["header"].keys() >= {"compatible_features",
                                                           "incompatible_features"}
    assert "size" not in named("header/*_features")["header"]


def test_both_names_of_a_field():
    """The specification says snapshots_offset, qcow2.py snapshot_offset."""
    where = named("header/snapshot_offset")["header"]["snapshot_offset"]
    assert named("header/snapshots_offset")["header"] == {"offset": 0, "snapshot_offset": where}


@pytest.mark.parametrize("selector,expected", [
    ("bitmaps", range(9)), ("bitmaps/", range(9)), ("bitmaps/*", range(9)),
    ("bitmaps/plain", [0]), ("bitmaps/axb", [4]),
    ("bitmaps/a*b", [2, 3, 4]),           # a star is any bytes, a slash in a name too
    ("bitmaps/a\\*b", [3]),               # the backslash takes it as it is
    ("bitmaps/a\\/b", [2]),
    ("bitmaps/back\\\\slash", [7]),
    ("bitmaps/0", [0, 1]),                # an index, and the name of another
    ("bitmaps/=0", [1]),                  # always a name
    ("bitmaps/==sign", [8]), ("bitmaps/\\=sign", [8]),
    ("bitmaps/=all", [6]), ("bitmaps/all", [6]),
    ("bitmaps/=1..2", [5]),
    ("bitmaps/2..4", [2, 3, 4]), ("bitmaps/7..", [7, 8]), ("bitmaps/..1", [0, 1]),
    ("bitmaps/0x3", [3]), ("bitmaps/7..99", [7, 8]),
    ("extensions/bitmaps/data/bitmap_directory/3", [3]),
    ("extensions/0/data/bitmap_directory/3", [3]),
    ("extensions/0x23852875/data/bitmap_directory/3", [3]),
])
def test_elements(selector, expected):
    assert indexes(bitmaps(named(selector))) == list(expected)


def test_below_a_bitmap():
    table = bitmaps(named("bitmaps/plain/table/3"))[0]
    assert indexes(table["bitmap_table"]) == [3] and "totals" not in table
    assert bitmaps(named("bitmaps/plain/flags"))[0]["flags"] == 0
    assert bitmaps(named("bitmaps/=0/totals"))[0]["totals"]["bits-set"] == 1
    assert bitmaps(named("bitmaps/=0/totals/bits-set"))[0]["totals"] == {"bits-set": 1}
    data = bitmaps(named("bitmaps/=0/data"))[0]["data"]
    assert data[0]["bytes"].startswith("02") and data[0]["bits-set"] == 1


def test_tables():
    # clusters of 512 bytes: 64 entries to a table, one of which is 32 KiB of the disk
    assert indexes(named("l1/0..15")["l1"]) == list(range(16))
    assert indexes(named("l2/5")["l2"]) == [5]
    assert indexes(named("l2/5")["l2"][0]["entries"]) == list(range(64))
    entry = named("l2/5/17")["l2"][0]["entries"]
    assert indexes(entry) == [17] and entry[0]["guest"] == (5 * 64 + 17) * 512
    assert named("l2/5/17")["l2"] == named("l2/5/entries/17")["l2"]
    assert list(named("l2/5/17/guest")["l2"][0]["entries"][0]) == ["index", "guest"]
    assert indexes(named("refcounts/1/3..5")["refcounts"][0]["entries"]) == [3, 4, 5]
    assert indexes(named("refcount_table/2")["refcount_table"]) == [2]
    assert indexes(named("snapshots/1/l1/4..5")["snapshots"][0]["l1"]) == [4, 5]


def test_snapshots_by_index_and_name():
    assert indexes(named("snapshots/second")["snapshots"]) == [1]
    assert indexes(named("snapshots/0")["snapshots"]) == [0]
    assert named("snapshots/*/id")["snapshots"][1]["id"] == "8"


def test_luks():
    path, _ = recipe_image("good-luks1")
    luks = document(path, "luks/key-slots/2..3", program=RELEASE)["luks"]
    assert indexes(luks["key-slots"]) == [2, 3]
    assert document(path, "extensions/crypto", program=RELEASE)["extensions"][0]["length"] == 16


def test_several_selectors():
    dump = named("header/version", "l1/0", "l1/3", "bitmaps/axb/type")
    assert dump["header"] == {"offset": 0, "version": 3}
    assert indexes(dump["l1"]) == [0, 3]
    assert bitmaps(dump)[0]["type"] == 1


@pytest.mark.parametrize("selectors", [
    ("l1/0..5", "l1/3..8", "l1/4"), ("l1/3..8", "l1/0..8"), ("l1/0..8", "l1/0..8", "l1/*/entry")])
def test_what_two_selectors_name_is_shown_once(selectors):
    assert indexes(named(*selectors)["l1"])[:9] == list(range(9))
    page = run("dump", image(NAMES)[0], "header", "header/size", "/header/").stdout.decode()
    assert page.count("\nsize ") == 1 and page.count("Header:") == 1


@pytest.mark.parametrize("selector,there", [
    ("nothing", ["header", "features", "extensions", "l1", "refcounts"]),
    ("header/sizes", ["magic", "version", "size"]),
    ("bitmaps/missing", ["plain", "axb"]),
    ("snapshots/third", ["first", "second"]),
    ("bitmaps/plain/tables", ["name", "flags"]),
    ("bitmaps/=plai", ["plain"]),
    ("extensions/crypto", ["bitmaps"]),
])
def test_a_selector_that_names_nothing_says_what_there_is(selector, there):
    line = refused(selector)
    assert f"'{selector}'" in line
    assert all(name in line.rpartition("among")[2] for name in there), line


EMPTY = "# nothing but one cluster\nsize 2G\nwrite 0 64k\n"


@pytest.mark.parametrize("selector,why", [
    ("l2/2", "L1 entry 2 is unallocated"),
    ("l2/2/17", "L1 entry 2 is unallocated"),
    ("l2/1..3", "every L1 entry from 1 to 3 is unallocated"),
    ("l2/100", "the L1 table has 4 entries (0 to 3)"),
    ("l2/x", "the L1 table has 4 entries (0 to 3)"),
    ("l2/0/8192", "the L2 table has 8192 entries (0 to 8191)"),
    ("l1/100", "the L1 table has 4 entries (0 to 3)"),
    ("l1/4..", "the L1 table has 4 entries (0 to 3)"),
    ("l1/=*", "the L1 table has 4 entries (0 to 3)"),
    ("refcount_table/9000", "the refcount table has 8192 entries (0 to 8191)"),
    ("refcounts/9", "refcount table entry 9 is unallocated"),
    ("refcounts/9000", "the refcount table has 8192 entries (0 to 8191)"),
    ("refcounts/0/32768", "a refcount block has 32768 entries (0 to 32767)"),
    ("bitmaps/b0", "this image has no bitmaps"),
    ("bitmaps/0/table", "this image has no bitmaps"),
    ("bitmaps/*/nothing", "this image has no bitmaps"),
    ("snapshots/3", "this image has no snapshots"),
    ("extensions/crypto", "this image has no header extensions"),
    ("luks", "this image has no LUKS header"),
    ("luks/key_slots/2", "this image has no LUKS header"),
    ("backing_file", "this image has no backing file"),
    ("features/incompatible/3", "no such feature bit is set"),
])
def test_what_is_not_there_has_a_reason(selector, why):
    line = refused(selector, path=image(EMPTY)[0])
    assert line.endswith(f": selector '{selector}' names nothing: {why}")


@pytest.mark.parametrize("selector,why", [
    ("bitmaps/plain/table/16384", "the bitmap's table has 32 entries (0 to 31)"),
    ("bitmaps/99", "no '99' among plain, 0, a/b, a*b, axb, 1..2, all, back\\\\slash, =sign"),
    ("snapshots/third", "no 'third' among first (ID 7), second (ID 8)"),
    ("snapshots/9", "no '9' among first (ID 7), second (ID 8)"),
    ("snapshots/7/l1/9999", "the L1 table has 2048 entries (0 to 2047)"),
    ("snapshots/first/l2/2000", "L1 entry 2000 is unallocated"),
    ("extensions/crypto", "no 'crypto' among bitmaps"),
])
def test_a_name_or_number_that_is_not_there(selector, why):
    assert refused(selector).endswith(f"names nothing: {why}")


def test_tables_that_the_file_does_not_hold():
    path = image("# the table ends with the file\nsize 2G\nwrite 0 64k\n"
                 "set header/l1_table_offset 0x100000000\n")[0]
    assert refused("l1/0", path=path).endswith("the L1 table is behind the end of the file")
    assert refused("l2/0", path=path).endswith("the L1 table is behind the end of the file")
    path, _ = recipe_image("bad-hostile-random-header")
    assert refused("l2/0", path=path).endswith("so that no table can be found")


@pytest.mark.parametrize("selector", ["bitmaps", "bitmaps/", "bitmaps/*", "bitmaps/**", "snapshots",
                                      "snapshots/*", "snapshots/**", "extensions", "extensions/*",
                                      "features", "features/incompatible"])
def test_an_empty_section_is_no_error(selector):
    path = image(EMPTY)[0]
    done = run("dump", path, selector)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"none\n", b"")
    key = "extensions" if selector.startswith("bitmaps") else selector.split("/")[0]
    found = document(path, selector, program=RELEASE)[key]
    assert found == [] or all(x == [] for x in found.values())


def test_tables_of_an_empty_disk():
    path = image("# nothing\nsize 2G\n")[0]
    for selector in ("l2", "l2/*", "l2/**"):
        assert document(path, selector, program=RELEASE)["l2"] == []


def test_empty_sections_beside_others():
    page = run("dump", image(EMPTY)[0], "bitmaps", "header/version", "snapshots").stdout.decode()
    assert page == ("Header:\nversion                   3\n\n"
                    "bitmaps                   none\nsnapshots                 none\n")


def test_snapshots_by_id():
    """A text is an ID, or else a name, as in QEMU; a number is an index or a name before that."""
    path = image("# IDs that are names and indexes\nsize 1M\nsnapshot 1 name=one\n"
                 "snapshot 2 name=x\nsnapshot x name=two\nsnapshot 9 name=2\n"
                 'snapshot 7 name=""\n')[0]

    def found(selector):
        return indexes(document(path, "snapshots/" + selector, program=RELEASE)["snapshots"])

    assert found("9") == [3] and found("=9") == [3] and found("=1") == [0]
    assert found("x") == [2] and found("=x") == [2] and found("two") == [2]
    assert found("1") == [1]             # the index, as printed paths have it
    assert found("2") == [2, 3]          # the index, and the name of another
    assert found("=2") == [1]            # the ID before the name
    assert found("=*") == [0, 1, 2, 3, 4] and found("7") == [4]
    assert found("o*") == [0]
    assert found("1..1") == [1]


def test_edit_takes_the_same_names():
    path = image("# two\nsize 1M\nsnapshot 1 name=one\nsnapshot 2 name=a=b\n")[0]
    for selector, index in (("one", 0), ("0", 0), ("1", 1), ("=1", 0), ("2", 1), ("a=b", 1)):
        place = document(path, f"snapshots/{index}/date_sec", "--offsets",
                         program=RELEASE)["snapshots"][0]["date_sec.offset"]
        done = run("edit", "-n", "-j", path, "set", f"snapshots/{selector}/date_sec=5")
        assert done.returncode == 0 and f'"offset": {place},' in done.stdout.decode(), selector


def test_a_star_for_names_leaves_out_what_has_none():
    path, _ = recipe_image("bad-bitmap-name-empty")
    assert "names nothing" in refused("bitmaps/=*", path=path)
    assert bitmaps(document(path, "bitmaps/*", program=RELEASE))


@pytest.mark.parametrize("selector", [
    "bitmaps/99", "l1/4294967295", "l1/99999999999999999999", "l2/1024", "l2/0/64", "luks",
    "backing_file", "header/size/x", "=header/=nothing", "snapshots/2..", "HEADER", "bitmaps/=2"])
def test_names_nothing(selector):
    assert "names nothing" in refused(selector)


def test_one_wrong_selector_among_right_ones():
    assert "'l1/x'" in refused("header", "l1/x", "bitmaps")


@pytest.mark.parametrize("selector", [
    "", "/", "//", "header//size", "l1/=", "l1/5..3", "**/header", "bitmaps/**/name",
    "/".join(["x"] * 40)])
def test_malformed(selector):
    line = refused(selector)
    assert "selector" in line and "names nothing" not in line


def test_too_many():
    refused(*["header"] * 65)
    assert keys(named(*["header"] * 64)) == {"header"}


HOSTILE = [
    "*" * 2000 + "x", "bitmaps/" + "*a" * 500, "l1/" + "9" * 5000, "l1/0x" + "f" * 16 + "..",
    "header/" + "\\" * 999, "\x1b[2J", "bitmaps/\x07", "l1/-1", "l1/1e3", "l1/0x", "l1/0..0x", "%s%n",
    "../../etc/passwd", "l1/..", "l1/...", b"bitmaps/\xff\xfe".decode("utf-8", "surrogateescape")]


@pytest.mark.parametrize("selector", HOSTILE)
def test_hostile(selector):
    line = refused(selector)
    assert len(line) < 1000
    assert not any(ord(c) < 32 or 0x7f <= ord(c) < 0xa0 for c in line), line


def test_the_probe_finds_names_in_images_that_cannot_be_understood():
    """Without a sane header there are no tables, and the header is still there."""
    path, _ = recipe_image("bad-hostile-random-header")
    assert document(path, "header/version", program=RELEASE)["header"]["version"] == 3
    assert "names nothing" in refused("l1", path=path)


def test_sample_has_what_the_manual_page_shows():
    dump = document(SAMPLE, "bitmaps/*/flags", "l1/0..15", "l2/0", program=RELEASE)
    assert [b["flags"] for b in bitmaps(dump)] == [2, 0]


def test_l2_tables_of_a_snapshot():
    """Those that only the snapshot reaches are shown, shared ones are referred to by their path."""
    path = image("# two snapshots\nsize 1G\nwrite 0 64k\nwrite 600M 64k\nsnapshot 1\nwrite 0 64k\n"
                 "snapshot 2\n")[0]
    found = document(path, "l2", "snapshots/*/l2", program=RELEASE)
    first, second = found["snapshots"]
    assert indexes(found["l2"]) == [0, 1]
    assert first["l2"][0]["entries"] and "same-as" not in first["l2"][0]
    assert first["l2"][1]["same-as"] == "l2/1" and "entries" not in first["l2"][1]
    assert [table["same-as"] for table in second["l2"]] == ["l2/0", "l2/1"]
    found = document(path, "snapshots/0/l2/0/0..1", program=RELEASE)
    assert indexes(found["snapshots"][0]["l2"][0]["entries"]) == [0, 1]
