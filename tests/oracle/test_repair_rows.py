# SPDX-License-Identifier: MIT
# Every forged image is repaired, at no cost and at any: what the command says of the image is what a
# check says of it, what QEMU could read it reads as before unless a step says otherwise, and the undo
# file brings back every byte. What each kind of problem comes to is compared with the remedy that the
# list of problems names for it.
"""Repairs of all forged images."""
import concurrent.futures
import json
import os
import subprocess

import pytest

from tests.forge import load, recipes
from tests.support.answers import NO_IMAGE, TOO_LARGE
from tests.support.programs import RELEASE, SECONDS, recipe_image, run

# Disks that are compared byte by byte.
COMPARED_BYTES = 16 << 20
ALL, LOSSLESS = "--all", "--yes"


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def qemu(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
                          check=False)


def raw_of(path):
    """What QEMU reads of the active disk, errors as zeros; None: nothing, or too much."""
    info = qemu("qemu-img", "info", "-U", "--output=json", "-f", "qcow2", path)
    # QEMU may warn of bitmaps before the document.
    start = max(info.stdout.find(b"{"), 0)
    if info.returncode or json.loads(info.stdout[start:])["virtual-size"] > COMPARED_BYTES:
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


def repair(folder, name, option):
    """The result of one repair, as a dictionary of what tests ask."""
    path = os.path.join(folder, name + option + ".qcow2")
    subprocess.run(["cp", "--sparse=always", "--", recipe_image(name)[0], path], check=True)
    original, undo = read(path), path + ".undo"
    before = raw_of(path)
    done = run("repair", "-j", "--ranges", "--yes", option, f"--undo-file={undo}", path,
               program=RELEASE)
    result = {"name": name, "option": option, "code": done.returncode, "stderr": done.stderr,
              "said": json.loads(done.stdout) if done.stdout else None}
    result["check"] = run("check", path, program=RELEASE).returncode
    result["qemu"] = qemu("qemu-img", "check", "-f", "qcow2", path).returncode
    result["same"] = True
    if result["said"] and before is not None:
        ranges = changed_ranges(result["said"]["steps"])
        after = raw_of(path)
        result["same"] = after is not None and blank(after, ranges) == blank(before, ranges)
    if os.path.exists(undo):
        result["undo"] = run("undo", undo, program=RELEASE).returncode
        os.remove(undo)
    result["back"] = read(path) == original
    os.remove(path)
    return result


@pytest.fixture(name="results", scope="module")
def fixture_results(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("rows"))
    jobs = [(name, option) for name in recipes("bad-") + recipes("good-warn-")
            if name not in NO_IMAGE and name not in TOO_LARGE for option in (LOSSLESS, ALL)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: repair(folder, *job), jobs))


def wrong(results, is_right):
    return [(r["name"], r["option"], r["code"], r["check"], r["qemu"], r["stderr"]) for r in results
            if not is_right(r)]


def test_exit_codes_are_those_of_a_check(results):
    assert wrong(results, lambda r: r["code"] in (1, r["check"])) == []


def test_undo_brings_back_every_byte(results):
    assert wrong(results, lambda r: r["back"] and r.get("undo", 0) == 0) == []


def test_qemu_agrees_that_an_image_is_sound(results):
    assert wrong(results, lambda r: r["code"] != 0 or r["qemu"] == 0 or
                 load(r["name"]).qemu) == []


def test_what_could_be_read_reads_the_same(results):
    assert wrong(results, lambda r: r["same"]) == []


def test_what_is_repairable_is_repaired(results):
    """Kinds whose remedy is `qcow2 repair` are gone afterwards."""
    listed = json.loads(run("check", "--list", "-j", program=RELEASE).stdout)
    assert listed
