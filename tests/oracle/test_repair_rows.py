# SPDX-License-Identifier: MIT
# Every forged image is repaired, at no cost and at any: what the command says of the image is what a
# check says of it, what QEMU could read it reads as before unless a step says otherwise, and the undo
# file brings back every byte. What becomes of each kind of problem is the table of docs/repair.md.
"""Repairs of all forged images."""
import collections
import concurrent.futures
import json
import os
import re
import subprocess

import pytest

from tests.forge import load, recipes
from tests.support.answers import NO_IMAGE, TOO_LARGE
from tests.support.programs import RELEASE, SECONDS, TOP, recipe_image, run

# Disks that are compared byte by byte.
COMPARED_BYTES = 16 << 20
ALL, LOSSLESS = "--all", "--yes"
# QEMU cannot vouch for what needs a key, or a file that is not there.
NOT_OPENED = re.compile(rb"secret|encrypt|LUKS|Unknown driver|No such file|backing file|data-file|"
                        rb"external data|No medium|not supported|No file name")
# What is seen only if all compressed clusters are inflated.
DEEP = {"compressed-inflate", "compressed-overlap"}
# The outcomes of a kind of problem, in the words of the table.
MENDED, SOME_MENDED, WANTS_ALL, SOME_LEFT, LEFT = (
    "without an option", "without an option, or with `--all`", "with `--all`",
    "some, with `--all`", "left")


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def qemu(*words):
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SECONDS,
                          check=False)


def raw_of(path):
    """What QEMU reads of the active disk, errors as zeros; None: nothing, or too much."""
    if int.from_bytes(read(path)[24:32], "big") > COMPARED_BYTES:
        return None
    raw = path + ".raw"
    done = qemu("qemu-img", "convert", "--salvage", "-f", "qcow2", "-O", "raw", path, raw)
    content = read(raw) if done.returncode == 0 else None
    if os.path.exists(raw):
        os.remove(raw)
    return content


def changed_ranges(steps):
    """Ranges of the active disk that steps say read otherwise."""
    return [(step["guest"]["start"], step["guest"]["start"] + step["guest"]["length"])
            for step in steps
            if step.get("guest") and "of" not in step["guest"] and step["before"] != "same"]


def blank(content, ranges):
    content = bytearray(content)
    for start, end in ranges:
        end = min(end, len(content))
        content[start:end] = bytes(max(0, end - start))
    return bytes(content)


def reads_the_same(said, before, after):
    ranges = changed_ranges(said["steps"])
    return after is not None and blank(after, ranges) == blank(before, ranges)


def is_vouched_for(name, path):
    """Whether QEMU calls the image sound, or cannot open it for want of something else."""
    done = qemu("qemu-img", "check", "-f", "qcow2", path)
    return done.returncode == 0 or bool(load(name).qemu or NOT_OPENED.search(done.stderr))


def repair(name, option, asks_qemu):
    """The result of one repair, as a dictionary of what tests ask."""
    # Beside the original, so that other files of the image are found.
    path = recipe_image(name)[0] + option
    subprocess.run(["cp", "--sparse=always", "--", recipe_image(name)[0], path], check=True)
    original, undo = read(path), path + ".undo"
    before = raw_of(path) if asks_qemu else None
    deep = ["--deep"] if DEEP & set(kinds_of(name)) else []
    done = run("repair", "-j", "--ranges", "--yes", option, *deep, f"--undo-file={undo}", path,
               program=RELEASE)
    result = {"name": name, "option": option, "code": done.returncode, "stderr": done.stderr,
              "said": json.loads(done.stdout) if done.stdout else None,
              "check": run("check", "-q", *deep, path, program=RELEASE).returncode}
    if asks_qemu:
        result["vouched"] = done.returncode != 0 or is_vouched_for(name, path)
        result["same"] = before is None or not result["said"] or reads_the_same(
            result["said"], before, raw_of(path))
    if os.path.exists(undo):
        # A data file has no time that shows whether a guest wrote to it.
        words = ["--exact"] if b"data_file" in os.fsencode(load(name).text) else []
        result["undo"] = run("undo", *words, undo, program=RELEASE).returncode
        os.remove(undo)
    result["back"] = read(path) == original
    os.remove(path)
    return result


def kinds_of(name):
    recipe = load(name)
    return [kind for kind in recipe.shows + recipe.finds if kind != "nothing"]


@pytest.fixture(name="results", scope="module")
def fixture_results():
    jobs, seen = [], set()
    for name in recipes("bad-") + recipes("good-warn-"):
        if name in NO_IMAGE or name in TOO_LARGE:
            continue
        kinds = set(kinds_of(name))
        # QEMU takes most of the time: it is asked of one image of each kind.
        jobs += [(name, LOSSLESS, False), (name, ALL, not kinds <= seen)]
        seen |= kinds
        recipe_image(name)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: repair(*job), jobs))


def wrong(results, is_right):
    return [(r["name"], r["option"], r["code"], r["check"], r["stderr"]) for r in results
            if not is_right(r)]


def test_exit_codes_are_those_of_a_check(results):
    assert wrong(results, lambda r: r["code"] == r["check"] or r["code"] == 1) == []


def test_what_is_refused_is_named(results):
    """One image cannot be begun with; an error of any other would be a fault of this program."""
    assert {r["name"] for r in results if r["code"] == 1} == {"bad-hostile-counts"} | {
        name for name in recipes("bad-") + recipes("good-warn-")
        if "feature-incompatible-unknown" in kinds_of(name)}


def test_undo_brings_back_every_byte(results):
    assert wrong(results, lambda r: r["back"] and r.get("undo", 0) == 0) == []


def test_qemu_agrees_that_an_image_is_sound(results):
    assert wrong(results, lambda r: r.get("vouched", True)) == []


def test_what_could_be_read_reads_the_same(results):
    assert wrong(results, lambda r: r.get("same", True)) == []


def outcome(left):
    """left: for both options, of each image with the problem, whether it is left."""
    if not any(left[LOSSLESS]):
        return MENDED
    if not any(left[ALL]):
        return WANTS_ALL if all(left[LOSSLESS]) else SOME_MENDED
    return LEFT if all(left[ALL]) else SOME_LEFT


def outcomes(results):
    left = collections.defaultdict(lambda: {LOSSLESS: [], ALL: []})
    for result in results:
        if result["said"]:
            kinds = {one["kind"] for one in result["said"]["left"]}
            for kind in kinds_of(result["name"]):
                left[kind][result["option"]].append(kind in kinds)
    return {kind: outcome(those) for kind, those in left.items()}


def documented():
    with open(os.path.join(TOP, "docs/repair.md"), encoding="utf-8") as stream:
        section = stream.read().split("\n## What becomes of each problem\n")[1].split("\n## ")[0]
    last, found = "", {}
    for kinds, what in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|$", section, re.M):
        last = last if what == "likewise" else what
        for kind in re.findall(r"`([^`]+)`", kinds):
            assert kind not in found
            found[kind] = last
    return found


def test_outcomes_are_those_of_the_documentation(results):
    assert outcomes(results) == documented()
