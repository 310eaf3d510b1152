# SPDX-License-Identifier: MIT
# The end of a page of `check`: what to do next. tests/oracle/test_remedies.py does what it says.
"""The lines that begin with next:."""
import json
import os
import re
import shutil

import pytest

from tests.forge import build
from tests.support.answers import text_is_safe
from tests.support.programs import RELEASE, image, recipe_image, run


def steps(path, *options, **more):
    """The steps of the document; the page for people has the same commands in the same order."""
    done = run("check", "-j", *options, path, **more)
    assert done.returncode in (0, 2, 3), done.stderr
    found = json.loads(done.stdout)["next"]
    page = run("check", "--all", *options, path, **more).stdout
    text_is_safe(page)
    lines = re.findall(r"^next: (.*)$", page.decode(), re.M)
    assert len(lines) == len(found)
    for line, step in zip(lines, found):
        assert line == step["command"] or step["command"] is None and step["does"].startswith(line[:20])
    return found


def commands(text, *options):
    path = image(text)[0]
    return [step["command"] and step["command"].replace(path, "I") for step in steps(path, *options)]


MEND = "qcow2 repair I"
AGAIN = "qcow2 check I"


@pytest.mark.parametrize("text, wanted", [
    ("size 1M\n", []),
    # Nothing has to be done about what is unusual alone.
    ("size 1M\nset header/compatible_features 1<<63\n", []),
    ("size 1M\ncorrupt\n", [MEND, AGAIN]),
    # A dirty image is counted anew by the next writer in any case.
    ("size 1M\ndirty\n", [MEND, AGAIN]),
    ("size 1M\nwrite 0 64k\nset refcount_of/data/0 0\ndirty\n", [MEND, AGAIN]),
    # One command for what it mends, the corrupt bit as well.
    ("size 1M\nwrite 0 64k\nset refcount_of/data/0 0\ncorrupt\n",
     [MEND, AGAIN]),
    # Bitmaps are mended by the same command.
    ("size 1M\nwrite 0 64k\nbitmap b\nset bitmaps/0/flags 8\nset refcount_of/data/0 0\n",
     [MEND, AGAIN]),
    # What makes bitmaps all dirty drops as well what cannot be.
    ("size 1M\nbitmap b\nbitmap c\nset bitmaps/0/type 7\nset bitmaps/1/granularity_bits 200\n",
     ["qcow2 repair --all I", AGAIN]),
    # What leaks may be of the bitmaps that are dropped: both at once.
    ("size 1M\nbitmap b\nleak 2\nset bitmaps/0/granularity_bits 200\n"
     "set bitmaps/0/type 7\n",
     ["qcow2 repair --all I", AGAIN]),
    # Stale bitmaps do not keep the others from being repaired.
    ("size 1M\nbitmap b\nbitmap c\nset bitmaps/0/flags 8\nset bitmaps/1/flags 1\n",
     [MEND, "qcow2 repair --all I", AGAIN]),
])
def test_commands(text, wanted):
    assert commands(text) == wanted


def test_what_costs_comes_last():
    """First what costs nothing, then what gives something up."""
    both = "size 1M\nwrite 0 256k\nset l2/0/0 $l2/0/0 | 2\nset l1/0 $l1/0\ncorrupt\n"
    assert commands(both) == [MEND, AGAIN]
    path, _ = recipe_image("bad-subcluster-both")
    found = steps(path)
    assert found[0]["command"] == f"qcow2 repair --all {path}" and "undo" in found[0]["cost"]


def test_leaks_that_may_be_data():
    """No line frees them; the lines say why not."""
    path, _ = image("cluster_bits 12\nsize 4M\nwrite 0 64k\nset l1/0 0\n")
    found = steps(path)
    assert not any("check -r" in (step["command"] or "") for step in found)
    assert "Do not run 'qemu-img check -r'" in found[0]["does"] and "refcount-high" in found[0]["mends"]
    assert re.fullmatch(r"qemu-img check -r all would free \d+ of them\.", found[0]["detail"])
    assert found[1]["command"] == f"qcow2 rescue {path}"
    assert found[2]["command"] == f"qcow2 check --deep --all {path}"


def test_a_file_that_is_cut(tmp_path):
    path = str(tmp_path / "cut")
    build("size 1M\nwrite 0 1M\n", path)
    size = os.path.getsize(path)
    os.truncate(path, size - (256 << 10))
    first = steps(path)[0]
    assert first["command"] is None and "its end is missing" in first["does"]
    assert f"{size} bytes" in first["detail"] and str(256 << 10) in first["detail"]


def test_changes_that_can_be_taken_back(tmp_path):
    path = str(tmp_path / "disk.qcow2")
    build("size 1M\nwrite 0 64k\n", path)
    assert run("edit", "--force", "--yes", path, "set", "l2/0/0=0x200").returncode == 0
    assert steps(path)[0]["command"] == f"qcow2 undo --list {path}"
    shutil.copy(path, tmp_path / "other.qcow2")
    others = steps(str(tmp_path / "other.qcow2"))
    assert not any("qcow2 undo --list" in (step["command"] or "") for step in others)


@pytest.mark.parametrize("name", ["-n", "a b", "it's", "$(touch x)", "\x1b[2J", "a\nb", "x:y", "b\u00e4r",
                                  b"\xff".decode("utf-8", "surrogateescape"), "`id`", "!!", "*", "~"])
def test_names_can_be_copied(name, tmp_path):
    """What is shown is one word for a shell, whatever the name."""
    build("size 1M\ncorrupt\n", str(tmp_path / name))
    found = json.loads(run("check", "-j", "--", name, cwd=tmp_path).stdout)["next"]
    assert all(c >= " " for c in found[0]["command"])
    page = run("check", "--", name, cwd=tmp_path).stdout
    text_is_safe(page)
    assert f"next: {found[0]['command']}\n".encode() in page
    shown = run("-c", f"printf %s {found[0]['command'].split(' repair ')[1]}",
                program="/bin/sh", cwd=tmp_path)
    assert shown.stdout in (os.fsencode(name), b"./" + os.fsencode(name))
    assert sorted(os.listdir(os.fsencode(tmp_path))) == [os.fsencode(name)]


def test_a_page_is_short():
    """Of many steps the first ones are shown, unless all are asked for."""
    path, _ = recipe_image("unsupported-incompatible-all")
    page = run("check", path).stdout.decode()
    assert page.count("\nnext: ") <= 5
    for kind in ("bad-refcount-leak", "bad-refcount-too-small", "bad-corrupt", "good-dirty"):
        page = run("check", recipe_image(kind)[0]).stdout.decode()
        assert len(page[page.index("\nnext: "):].splitlines()) <= 8


# Images whose first command is to mend them; then each page leads on to the next one.
CHAINS = ["bad-l1-offset-zero", "bad-bitmap-data-unaligned", "bad-bitmap-data-beyond-end",
          "bad-bitmap-table-shared", "bad-bitmap-directory-unaligned", "bad-bitmap-entry-extra-max",
          "bad-cluster-bits-0", "bad-crypt-method", "bad-crypto-surplus", "bad-refcount-order-7",
          "bad-extended-l2-small-clusters", "bad-extension-overrun-backing", "bad-header-only",
          "bad-l2-table-orphaned", "bad-l2-entries-empty", "bad-data-beyond-end", "bad-subcluster-both",
          "bad-guest-ranges-of-snapshots", "bad-corrupt", "good-dirty", "bad-refcount-leak",
          "unsupported-incompatible-20", "bad-crypto-missing", "bad-size-max", "bad-backing-size-1024"]
# What has to be decided, or is nowhere in the image.
STAYS = {"unsupported-incompatible-20", "bad-size-max", "bad-backing-size-1024"}


def content(path):
    with open(path, "rb") as stream:
        return stream.read()


def do_next(path, line, done):
    """Runs a line as it stands, and returns the lines that its page shows next."""
    before = content(path)
    shown = run("-c", line.replace("qcow2 ", f"{RELEASE} ", 1), program="/bin/sh", cwd=os.path.dirname(path))
    page = shown.stdout.decode()
    done.append((line, shown.returncode))
    changed = content(path) != before
    # What is nowhere in the file is said, and nothing is changed.
    assert shown.returncode in (0, 2, 3) or b"nothing in this file reads as" in shown.stderr, (done, shown.stderr)
    assert not changed or "undo with: " in page, done
    assert "a fault of this program" not in page, done
    return re.findall(r"^next: (qcow2 .*)$", page, re.M), changed


def follow(path):
    """The first command that was not run on this image yet, as long as there is one."""
    done, todo, seen = [], [f"qcow2 check {path}"], set()
    while todo:
        line = todo.pop(0)
        if (line, content(path)) in seen or re.search(r"\b(NAME|FORMAT|NEW|VALUE)\b", line):
            continue
        seen.add((line, content(path)))
        lines, changed = do_next(path, line, done)
        todo = lines + ([] if changed else todo)
        if changed and not lines:
            todo = [f"qcow2 check {path}"]
        assert len(done) <= 10, done
    return done


@pytest.mark.parametrize("name", CHAINS)
def test_commands_lead_to_the_end(name, tmp_path):
    """No command fails, or runs in a circle; what can be mended is sound in the end."""
    path = str(tmp_path / "disk")
    shutil.copy(recipe_image(name)[0], path)
    done = follow(path)
    code = run("check", "-q", path, program=RELEASE).returncode
    assert code == (2 if name in STAYS else 0), done


def test_values_of_entries():
    """Entries are shown as hex alone; counts and fields in decimal, too."""
    path, _ = image("size 1M\nwrite 0 256k\nset l2/0/1 0x8400000000050000\n"
                    "set l1/0 0x8000000000030200\nset header/size 1000\nset refcount_of/header 2\n")
    page = " ".join(run("check", path).stdout.decode().split())
    assert "l1/0: found 0x8000000000030200," in page, page
    assert "refcounts/0/0, cluster at 0x0: found 2 (0x2), expected 1" in page
    assert "header/size: found 1000 (0x3e8), expected a multiple of 512" in page
    assert not re.search(r"found [0-9]+ \(0x[0-9a-f]{9,}\)", page)


@pytest.mark.parametrize("name", ["bad-reftable-no-clusters", "bad-reftable-beyond-end",
                                  "bad-reftable-missing"])
def test_old_refcount_tables(name):
    """They lead to clusters that are free, as tables of the guest would; but no copied flag."""
    assert "l2-table-freed" not in str(steps(recipe_image(name)[0], "--deep"))


def test_tables_that_were_freed():
    """Where nothing leaks, no leaks are to be kept."""
    path, _ = recipe_image("good-warn-l2-table-freed")
    freed, = steps(path, "--deep")
    assert freed["mends"] == ["l2-table-freed"] and "free no leaks" not in freed["does"]
    assert "leak" not in freed["qemu-img"]
