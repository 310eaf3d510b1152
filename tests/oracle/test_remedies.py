# SPDX-License-Identifier: MIT
# What `qcow2 check` tells people to do is done: the commands under "next" are run by a shell on a
# copy of every forged image, and what they promise is looked at afterwards. The table of remedies
# (include/qcow2/def/remedies.def) cannot say anything that the commands do not do.
"""Remedies against reality."""
import collections
import concurrent.futures
import json
import os
import re
import subprocess

import pytest

from tests.forge import load, recipes
from tests.support.answers import NO_IMAGE, TOO_LARGE
from tests.support.programs import RELEASE, SECONDS, recipe_image, run

# Disks that are compared byte by byte.
COMPARED_BYTES = 64 << 20
# No recipe has an image that the command can be run on: why.
NOT_SHOWN = {
}

# A table of a bitmap that was freed, or an old refcount table, may read as an L2 table; then leaks
# are kept.
LEFT_OVER = {"l1-table-empty", "l2-table-freed", "l2-table-orphaned", "refcount-high"}
# Their images have problems of another remedy, too; test_bitmap_repair_agrees looks at them.
WITH_OTHERS = {"bitmap-directory-size-qemu", "bitmaps-count-qemu"}

Outcome = collections.namedtuple("Outcome", "recipe before said after same")
# A name that has to be quoted.
NAME = "-it's a disk\x1b[2J.qcow2"


def report_of(path):
    return json.loads(run("check", "-j", "--deep", path, program=RELEASE).stdout)


def kinds(report):
    return collections.Counter(p["id"] for p in report["problems"])


def corrupt(report):
    return {p["id"] for p in report["problems"] if p["severity"] == "corruption"}


def table():
    """{id: whether it is repairable, effect} as the command lists them."""
    listed = json.loads(run("check", "--list", "-j", program=RELEASE).stdout)
    return {row["id"]: row for row in listed}


def size_of(path):
    shown = run("info", "--output=json", path, program=RELEASE)
    return json.loads(shown.stdout)["virtual-size"] if shown.returncode in (0, 2) else None


def same_disk(one, other):
    """Whether QEMU reads the same from both; None if it cannot read the first."""
    size = size_of(one)
    if size is None or size > COMPARED_BYTES:
        return None
    done = subprocess.run(["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", one, other],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
                          check=False)
    if done.returncode == 1:
        return False
    return True if done.returncode == 0 else None


def try_steps(folder, name, path):
    """Does what `check` says on a copy of a forged image, in the order in which it says it."""
    where = os.path.join(folder, name)
    os.mkdir(where)
    copy, said = os.path.join(where, NAME), []
    subprocess.run(["cp", "--sparse=always", "--", path, copy], check=True)
    checked = run("check", "-j", "--deep", "--", NAME, program=RELEASE, cwd=where)
    before = json.loads(checked.stdout)
    for step in before["next"]:
        if step["by-hand"] or step["command"].startswith(("qcow2 check", "qcow2 rescue")):
            continue
        assert all(" " <= c for c in step["command"])
        done = subprocess.run(["sh", "-c", step["command"]], cwd=where, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
                              check=False, env={**os.environ, "PATH": folder + ":" + os.environ["PATH"]})
        said.append((step["command"], done.returncode, done.stdout.decode(errors="replace")))
    after = report_of(copy) if said else before
    lossless = all(step["cost"] is None or "bitmap" in step["command"] for step in before["next"]
                   if step["command"])
    same = same_disk(path, copy) if said and lossless else None
    subprocess.run(["rm", "-r", "--", where], check=True)
    return Outcome(name, before, said, after, same)


@pytest.fixture(scope="module", name="outcomes")
def tried(tmp_path_factory):
    """What became of every recipe whose image has problems."""
    folder = str(tmp_path_factory.mktemp("remedies"))
    os.symlink(RELEASE, os.path.join(folder, "qcow2"))
    alike = collections.defaultdict(list)
    for name in sorted(set(recipes()) - TOO_LARGE - NO_IMAGE):
        alike[tuple(sorted({*load(name).shows, *load(name).finds}))].append(name)
    # Up to three images that have the same kinds of problems.
    names = [name for kinds_of, some in alike.items() if kinds_of for name in some[:3]]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(try_steps, folder, name, recipe_image(name)[0]) for name in names]
        return [job.result() for job in jobs]


def test_lossless_commands_lose_nothing(outcomes):
    """Repairable problems are gone, there is no new one, and the guest reads what it read."""
    rows, proven = table(), set()
    for o in outcomes:
        if not all(rows[kind]["remedy"] in ("lossless", "not-needed")
                   for kind in set(kinds(o.before)) - LEFT_OVER):
            continue
        assert all(code in (0, 3, 4) for _, code, _ in o.said), (o.recipe, o.said)
        left = {kind for kind in kinds(o.after) if rows[kind]["remedy"] != "not-needed"}
        assert not left - LEFT_OVER, (o.recipe, left, o.said)
        assert o.same is not False, o.recipe
        proven |= set(kinds(o.before)) - set(kinds(o.after))
    missing = {kind for kind, row in rows.items() if row["repairable"]} - proven
    assert not missing - WITH_OTHERS


def test_costly_commands_work(outcomes):
    """What a command mends at a cost is gone; else the command says why not."""
    rows, proven = table(), set(NOT_SHOWN)
    for o in outcomes:
        assert all(code in (0, 4) or text.strip() for _, code, text in o.said), o.recipe
        proven |= set(kinds(o.before)) - set(kinds(o.after))
    missing = {kind for kind, row in rows.items() if row["remedy"] == "costs"} - proven
    assert not missing


def test_bitmap_repair_agrees(tmp_path):
    """What 'bitmap repair' mends by itself in every image is called repairable, and nothing else is."""
    rows, mended, left = table(), collections.Counter(), collections.Counter()
    for name in sorted(set(recipes()) - TOO_LARGE - NO_IMAGE):
        recipe = load(name)
        if not any(kind.startswith(("bitmap", "feature-bitmaps")) for kind in recipe.shows + recipe.finds):
            continue
        path, _ = recipe_image(name)
        copy = str(tmp_path / "copy.qcow2")
        subprocess.run(["cp", "--sparse=always", path, copy], check=True)
        before = kinds(report_of(copy))
        run("bitmap", "repair", "--no-undo", copy, program=RELEASE)
        after = kinds(report_of(copy))
        held_back = any(not rows[kind]["repairable"] and kind in after for kind in before)
        for kind in before:
            if not kind.startswith(("bitmap", "feature-bitmaps")):
                continue
            mended[kind] += kind not in after
            left[kind] += kind in after and not (held_back and rows[kind]["repairable"])
    assert len(mended) > 25
    for kind in mended:
        always = mended[kind] > 0 and left[kind] == 0
        # Those of images that need a decision for another reason do not count.
        assert always == rows[kind]["repairable"], (kind, mended[kind], left[kind])


def test_by_hand_says_why():
    """Without a command that loses nothing, the table says what to do and what it costs."""
    text = open(os.path.join(os.path.dirname(RELEASE), "..", "..", "..", "include", "qcow2", "def",
                             "remedies.def"), encoding="utf-8").read()
    rows = re.findall(r'^QCOW2_REMEDY\(\w+, "([^"]+)", (\w+), ((?:"[^"]*", ){2}"[^"]*"), "([^"]*)", "([^"]*)"',
                      text, re.M)
    assert len(rows) > 20
    for name, effect, _, does, cost in rows:
        assert does, name
        assert cost or effect != "COSTS", name
