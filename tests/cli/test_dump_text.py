# SPDX-License-Identifier: MIT
# What `qcow2 dump` shows to people: whole pages against reviewed ones, and the promises that hold
# for every page: the columns of the seed, rows that stand for runs, no heading over nothing.
"""The human page of dump."""
import os
import re
import subprocess

import pytest

from tests.forge import build, build_named
from tests.support.programs import QCOW2, RELEASE, SAMPLE, TOP, recipe_image
from tests.support.terminal import show

GOLDEN = os.path.join(TOP, "tests", "golden", "dump")

# golden file: recipe (None: the sample image), exit code, arguments after the image
PAGES = {
    "sample": (None, 0, ()),
    "sample-all": (None, 0, ("all",)),
    "sample-bytes": (None, 0, ("header", "bitmaps/0", "snapshots", "l1", "--offsets", "--hex")),
    "luks1": ("good-luks1", 0, ("extensions", "luks")),
    "extended-l2": ("good-extended-l2-compressed", 0, ("l1", "l2", "refcounts")),
    "random-header": ("bad-hostile-random-header", 2, ()),
    "escaped-names": ("good-warn-snapshot-name-escape", 0, ("snapshots/*/name", "snapshots/4/id")),
    "feature-names": ("good-feature-names-full", 0, ("extensions", "features")),
    "unknown-feature": ("unsupported-incompatible-20", 2, ("features", "header/version")),
    "extra-data": ("good-bitmap-extra-data-unknown", 0, ("extensions/bitmaps",)),
    "refcounts-1-bit": ("good-refcount-1bit", 0, ("refcount_table", "refcounts")),
    "backing": ("good-backing", 0, ("backing_file", "extensions")),
}


def dump(image, *arguments):
    return subprocess.run([QCOW2, "dump", str(image), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False)


def page(image, *arguments):
    """The page of an image that has nothing wrong."""
    done = dump(image, *arguments)
    assert done.returncode == 0 and done.stderr == b"", done
    return done.stdout.decode()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_reviewed_page(name, tmp_path):
    recipe, code, arguments = PAGES[name]
    image = SAMPLE
    if recipe:
        image = tmp_path / "image.qcow2"
        build_named(recipe, str(image))
    done = dump(image, *arguments)
    with open(os.path.join(GOLDEN, name + ".txt"), encoding="utf-8") as stream:
        assert done.stdout.decode() == stream.read()
    assert done.returncode == code


def test_every_golden_page_is_tested():
    there = {f[:-4] for f in os.listdir(GOLDEN) if f.endswith(".txt")}
    assert there == set(PAGES)


def blocks(text):
    """Heading to lines."""
    found = {}
    for block in text.rstrip("\n").split("\n\n"):
        heading, *lines = block.split("\n")
        assert heading.endswith(":")
        found[heading[:-1]] = lines
    return found


def test_header_has_the_lines_of_qcow2_py():
    """Names in the same order, padded to 25 columns, with the same values in front."""
    done = subprocess.run([QCOW2, "compat", SAMPLE, "dump-header"], stdout=subprocess.PIPE,
                          check=True)
    seed = [line for line in done.stdout.decode().split("\n\n")[0].split("\n") if line]
    ours = blocks(page(SAMPLE))["Header"]
    assert 18 <= len(seed) <= len(ours)
    for old, new in zip(seed, ours):
        assert old[:26] == new[:26] and new[25] == " "
        if "features" not in old:
            assert new == old or new.startswith(old + " (")


def test_no_line_ends_with_a_blank():
    for arguments in ((), ("all",), ("all", "--offsets", "--hex")):
        assert not re.search(r" $", page(SAMPLE, *arguments), re.M)


def test_runs_become_ranges_and_lose_nothing(tmp_path):
    """The rows of a table, unfolded, are all its indexes in order."""
    image = str(tmp_path / "i.qcow2")
    build("# a few clusters\nsize 64M\nwrite 0 1M\nwrite 3M 64k\n", image)
    lines = blocks(page(image, "l2/0"))["L2 table 0"][1:]
    indexes = []
    for line in lines:
        first, _, last = line.split()[0].partition("..")
        indexes += range(int(first), int(last or first) + 1)
    assert indexes == list(range(8192))
    assert len(lines) < 30


def test_rows_that_only_look_alike_are_not_joined(tmp_path):
    """Selected rows that are not neighbours stay apart, though they are equal."""
    image = str(tmp_path / "i.qcow2")
    build("# nothing in it\nsize 8G\n", image)
    assert [line.split()[0] for line in
            blocks(page(image, "l1/1", "l1/3..5", "l1/7"))["L1 table"][1:]] == ["1", "3..5", "7"]


def test_bytes_are_shown_whole(tmp_path):
    """Long bytes become rows of 16; a star stands for equal ones; the last row is always there."""
    image = str(tmp_path / "i.qcow2")
    data = "41" * 16 + "00" * 64 + "42" * 5
    layout = build(f"# an extension nobody knows\nextension 0x12345678 hex:{data}\n", image)
    text = page(image, "extensions/0")
    rows = [line.split() for line in text.split("\n") if line.startswith("  ")]
    assert [row[-2:] for row in rows] == [
        ["41" * 16, "|AAAAAAAAAAAAAAAA|"], ["00" * 16, "|................|"], ["*"],
        ["42" * 5, "|BBBBB|"]]
    start = layout.where("extensions/0/data")
    assert [int(row[0], 16) for row in rows if row != ["*"]] == [start, start + 16, start + 80]


def test_nothing_at_all_is_said():
    assert page(SAMPLE, "features/incompatible") == "none\n"


def test_headings_are_over_something_only():
    text = page(SAMPLE, "bitmaps/*/name")
    assert list(blocks(text)) == ["Bitmap 0", "Bitmap 1"]


def test_refcounts_have_places(tmp_path):
    assert "0x000000200a" in page(SAMPLE, "refcounts/0/5..6", "--offsets")
    # of a single bit, in a byte that eight refcounts share
    image = tmp_path / "image.qcow2"
    layout = build_named("good-refcount-1bit", str(image))
    rows = page(image, "refcounts/0/9", "--offsets", "--hex").splitlines()
    assert f"0x{layout.offsets['refcounts/0'] + 1:010x}" in rows[-1] and "bytes" not in rows[-2]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name,selectors", [
    ("good-extended-l2", ["l1", "l2/0/0..70", "refcounts/0/0..70"]), ("good-luks1", ["luks"]),
    ("good-bitmaps", ["bitmaps/*/table", "bitmaps/enabled/data/0"]), ("good-snapshots", ["all"]),
    ("bad-hostile-random-header", []), ("good-feature-names-full", ["extensions", "features"]),
    ("unsupported-luks2", []), ("good-bitmap-names", [])])
def test_lines_fit_a_terminal(name, selectors, columns):
    """No line passes the width but those that end with a word that is too long for any."""
    path, _ = recipe_image(name)
    for more in ([], ["--offsets", "--hex"]):
        screen = show([RELEASE, "dump", path, *selectors, *more], columns)
        assert screen.lines and screen.code in (0, 2)
        for line in screen.broken:
            assert line.startswith("qcow2 dump: ") or len(line.split()[-1]) > columns - 42, line
        assert not any(line.endswith(" ") for line in screen.lines)


def test_without_a_terminal_no_line_is_broken():
    path, _ = recipe_image("good-extended-l2")
    done = subprocess.run([RELEASE, "dump", path, "l2/0/0"], stdout=subprocess.PIPE, check=True,
                          env={**os.environ, "COLUMNS": "40"})
    assert done.stdout.count(b"\n") == 3
