# SPDX-License-Identifier: MIT
# Hostile images: whatever they claim, dump and info use little memory, come to an end, and print no
# more than what the file stores can account for. There is no clock in here but a guard.
"""Bounds of memory and output."""
import os
import re

import pytest

from tests.forge import recipes
from tests.support.measure import SECONDS, peak
from tests.support.programs import RELEASE, document, image, recipe_image, run

MIB = 1 << 20
MEMORY = 64 * MIB
# A row of a table takes eight bytes in the file; JSON says no more than so many bytes about it.
JSON_PER_BYTE = 32

HUGE_TABLES = "# claims\nsize 1M\nset header/l1_size 0xffffffff\n" \
              "set header/refcount_table_clusters 0xffffffff\nset header/nb_snapshots 0xffffffff\n"
SPECIALS = {
    "tiny-file-huge-counts": HUGE_TABLES + "set header/snapshots_offset $header/l1_table_offset\n"
                             "truncate 300000\n",
    "huge-counts-in-a-hole": HUGE_TABLES + "set header/snapshots_offset 0x100000000\n"
                             "set header/l1_table_offset 0x200000000\n"
                             "set header/refcount_table_offset 0x300000000\nsparse 0x80000000000\n",
    "directory-in-a-hole": "# a directory of a terabyte\nsize 1M\nbitmap b0\n"
                           "set extensions/bitmaps/nb_bitmaps 0xffffffff\n"
                           "set extensions/bitmaps/bitmap_directory_size 0x10000000000\n"
                           "set extensions/bitmaps/bitmap_directory_offset 0x100000000\n"
                           "sparse 0x80000000000\n",
    "bitmap-tables-in-a-hole": "# sixteen tables of a gigabyte\nsize 1M\nrepeat 16 bitmap b{}\n"
                               + "".join(f"set bitmaps/{i}/bitmap_table_size 0x8000000\n"
                                         f"set bitmaps/{i}/bitmap_table_offset {(i + 1) << 32}\n"
                                         for i in range(16)) + "sparse 0x80000000000\n",
    "full-l2-of-2m": "# an L2 table of two mebibytes, full\ncluster_bits 21\nsize 512G\n"
                     "write 0 2M\nalias 2M 510G 0\nsaturate\n",
    "one-bit-counts": "# a refcount block of 16 million counts\ncluster_bits 21\nsize 8M\n"
                      "refcount_order 0\nwrite 0 8M\n",
}
HOSTILE = sorted(n for n in recipes() if "hostile" in n or n.endswith("-max"))
LARGE = ["good-cluster-2m", "good-warn-cluster-bits-22", "good-warn-l1-too-large",
         "good-warn-reftable-too-large", "good-warn-snapshot-l1-too-large"]


def check(path, stored, *arguments):
    code, memory, size = peak(*arguments)
    assert code in (0, 1, 2), f"{arguments}: {code} (124 is {SECONDS} seconds)"
    assert memory <= MEMORY, f"{arguments}: {memory / MIB:.1f} MiB"
    assert size <= JSON_PER_BYTE * (4 * stored + 96 * MIB), f"{path}: {size / MIB:.0f} MiB"


def all_commands(path):
    stored = os.stat(path).st_blocks * 512
    check(path, stored, "dump", path)
    check(path, stored, "info", path)
    check(path, stored, "info", "--all", path)
    check(path, stored, "info", "-j", path)
    check(path, stored, "dump", "-j", path, "all")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_recipes(name):
    all_commands(recipe_image(name)[0])


@pytest.mark.parametrize("name", LARGE)
def test_largest_tables(name):
    check(name, 0, "dump", "-j", recipe_image(name)[0], "all")


@pytest.mark.parametrize("name", sorted(SPECIALS))
def test_specials(name):
    all_commands(image(SPECIALS[name])[0])


@pytest.mark.parametrize("selector", ["l1/none", "*/*/*/*/*/none", "bitmaps/*/table/none"])
@pytest.mark.parametrize("name", ["bad-hostile-sparse-l1", "bad-hostile-shared-bitmap-table",
                                  "bad-hostile-sparse-bitmap-table"])
def test_selectors_that_find_nothing(name, selector):
    """Looking for what is not there is bounded as well."""
    code, memory, size = peak("dump", recipe_image(name)[0], selector)
    assert (code, size) == (1, 0) and memory <= MEMORY


def test_what_is_omitted_is_counted_and_can_be_asked_for():
    path, layout = recipe_image("bad-hostile-sparse-l1")
    page = run("dump", path, "l1", program=RELEASE).stdout.decode()
    shown = int(re.search(r"^0\.\.(\d+) ", page, re.M)[1]) + 1
    omitted = int(re.search(r"^l1-omitted +(\d+)$", page, re.M)[1])
    assert shown + omitted == layout.value("header/l1_size") == 0xffffffff
    assert shown * 8 >= 32 * MIB
    last = document(path, "l1/4294967294", program=RELEASE)
    assert [row["index"] for row in last["l1"]] == [4294967294]
    assert "l1-omitted" not in last


def test_a_shared_l2_table_is_shown_once():
    path, layout = recipe_image("good-hostile-shared-l2")
    tables = document(path, "l2", program=RELEASE)["l2"]
    assert len(tables) == layout.value("header/l1_size")
    assert "same-as" not in tables[0] and len(tables[0]["entries"]) == layout.cluster_size // 8
    assert all(table["same-as"] == "l2/0" and "entries" not in table for table in tables[1:])
