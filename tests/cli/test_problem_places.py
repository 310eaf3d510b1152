# SPDX-License-Identifier: MIT
# What problems say of places, against what the forge knows and against what a dump shows: found is
# the value of what `where` names, and guest is the range of the virtual disk that is concerned.
"""Values and guest ranges of problems."""
import functools
import json
import re

import pytest

from tests.forge import recipes
from tests.support.answers import NO_IMAGE
from tests.support.programs import RELEASE, recipe_image, run

# Where a fault is that concerns the disk as a whole.
WHOLE_DISK = re.compile(r"header/(?!l1_|size$)|luks/|extensions/")


@functools.lru_cache(None)
def problems_of(path):
    done = run("check", "-j", "--deep", "--all", path, program=RELEASE)
    assert done.returncode in (0, 2, 3), done.stderr
    return json.loads(done.stdout)["problems"]


def images():
    return [name for name in recipes() if "hostile" not in name and name not in NO_IMAGE]


def step(node, part):
    """What a part of a path leads to in a document of a dump."""
    if isinstance(node, dict):
        names = {"table": "bitmap_table", "bitmaps": "extensions"}
        part = part if part in node else names.get(part, part)
        if part in node:
            return node[part]
        node = node["entries"]
    return next(row for row in node if row["index"] == int(part))


def value_at(document, where):
    """The number or text at a path."""
    node = document
    if where.startswith("bitmaps/"):
        (node,) = document["extensions"]
        node = {"bitmaps": node["data"]["bitmap_directory"]}
    for part in where.split("/"):
        node = step(node, part)
    if isinstance(node, dict) and "refcount" in node:
        return node["refcount"]
    return node.get("entry") if isinstance(node, dict) else node


def stored(path, problem, width):
    with open(path, "rb") as file:
        file.seek(problem["offset"])
        return int.from_bytes(file.read(width), "big")


def escaped(text):
    """How a text of a dump is shown where it has to be one line, up to the first wrong byte."""
    text = text.split("\ufffd", 1)[0]
    return "".join("\\n" if c == "\n" else c if c.isprintable() else f"\\u{{{ord(c):x}}}"
                   for c in text)


# Of these, one byte is told, or what a dump does not show: the end mark of the extensions.
BYTES = {"bitmap-data-tail": 1, "bitmap-entry-padding": 1, "header-padding": 1,
         "extension-overrun": 4}


def compare(path, problem, where):
    """Whether found is what a dump shows at the path, or else what the file has there."""
    found, wrong = problem["found"], problem["id"]
    done = run("dump", "-j", path, where, program=RELEASE)
    shown = value_at(json.loads(done.stdout), where) if done.returncode != 1 else None
    if wrong in BYTES:
        assert found == stored(path, problem, BYTES[wrong])
    elif wrong == "luks-magic":
        assert found.startswith(escaped(bytes.fromhex(shown).decode("ascii", "replace")))
    elif isinstance(found, str):
        assert found.startswith(escaped(shown)[:80]), problem
    elif shown is None and where.startswith("bitmaps/"):  # a row without the entry itself
        assert found == stored(path, problem, 8), problem
    elif shown is None:  # a cluster that no refcount block counts
        assert where.startswith("refcounts/") and found == 0, problem
    else:
        assert found == shown, problem


@pytest.mark.parametrize("name", images())
def test_found_is_the_value_of_what_where_names(name):
    path, _ = recipe_image(name)
    seen = set()
    for problem in problems_of(path):
        # This one tells how many there are.
        if problem["found"] is None or problem["id"] == "refcount-beyond-end":
            continue
        if len(seen) < 20 and (problem["id"], problem["where"]) not in seen:
            seen.add((problem["id"], problem["where"]))
            compare(path, problem, problem["where"])


def ranges(problems):
    """All guest ranges of problems, and of owners where those say it in more detail."""
    for problem in problems:
        for place in problem.get("owners", [problem]):
            if "guest" in place:
                guest = place["guest"]
                yield (place["where"], guest["start"], guest["length"], guest.get("snapshot"),
                       guest.get("l1-entries", 1))


@pytest.mark.parametrize("name", images())
def test_guest_ranges_are_those_of_the_forge(name):
    """Those of tables are stated by the recipe; what spoils the whole image concerns all of it."""
    path, layout = recipe_image(name)
    found = set(ranges(problems_of(path)))
    whole = {r for r in found if WHOLE_DISK.match(r[0])}
    assert found - whole == set(layout.recipe.guest)
    for where, start, length, snapshot, times in whole:
        assert (start, length, snapshot, times) == (0, layout.value("header/size"), None, 1), where
