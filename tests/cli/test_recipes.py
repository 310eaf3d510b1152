# SPDX-License-Identifier: MIT
# Every image that the forge can build goes through dump and info: nothing crashes, exit codes mean
# what they should, each problem that a recipe promises is reported, and no byte of an image gets
# through that a terminal would act on.
"""All recipes, all outputs."""
import json
import os
import re
import subprocess

import pytest

from helpers import QCOW2, RELEASE, SECONDS, TOP, folder, recipe_image, run
from forge import load, recipes

# Their bulk tables claim gigabytes, or make a document that takes long to parse: what these recipes
# show is in the headers. That dumping all of them stays bounded is shown in test_dump_bounds.py.
TOO_LARGE = {
    "bad-hostile-bitmap-names-equal", "bad-hostile-bitmaps-65535", "bad-hostile-bitmaps-65536",
    "bad-hostile-shared-bitmap-table", "bad-hostile-sparse-bitmap-table",
    "bad-hostile-sparse-directory", "bad-hostile-sparse-l1", "bad-hostile-sparse-reftable",
    "bad-hostile-sparse-snapshots", "good-cluster-1m", "good-cluster-2m",
    "good-hostile-extensions-262130", "good-hostile-shared-l2-2m", "good-warn-cluster-bits-22",
    "good-warn-l1-too-large", "good-warn-reftable-too-large", "good-warn-snapshot-l1-too-large",
}
CONTROL = bytes(b for b in range(32) if b != 10) + b"\x7f"
SANITIZER = re.compile(rb"AddressSanitizer|LeakSanitizer|runtime error")


def sane(done):
    """The promises of any run; those of exit code 1 are that it says why, and nothing else."""
    assert not SANITIZER.search(done.stderr), done.stderr.decode(errors="replace")
    assert done.returncode in (0, 1, 2), done
    assert not done.stderr.translate(None, bytes(set(range(256)) - set(CONTROL))), done.stderr
    if done.returncode == 1:
        assert done.stdout == b""
        assert len(done.stderr.decode().splitlines()) == 1
        assert os.fsencode(os.path.basename(done.args[-1])) in done.stderr or \
            b".qcow2" in done.stderr


def problems(done, code):
    """The problems of a JSON document, which is parsed whole."""
    shown = json.loads(done.stdout.decode("utf-8"))
    assert list(shown)[-1] in ("problems", "problems_omitted")
    corrupt = any(p["severity"] == "corruption" for p in shown["problems"])
    assert code == (2 if corrupt else 0)
    return {p["id"] for p in shown["problems"]}


def text_is_safe(text):
    text.decode("utf-8")
    assert not text.translate(None, bytes(set(range(256)) - set(CONTROL)))
    # C1 control characters and directional overrides are two and three bytes of UTF-8
    assert not re.search(rb"\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]", text)


@pytest.mark.parametrize("name", recipes())
def test_json(name):
    path, layout = recipe_image(name)
    plain = run("dump", "-j", path, program=RELEASE if name in TOO_LARGE else QCOW2)
    sane(plain)
    if plain.returncode == 1:
        assert not name.startswith("good-")
        return
    assert plain.returncode == 0 or not name.startswith("good-")
    found = problems(plain, plain.returncode)
    if name not in TOO_LARGE:
        everything = run("dump", "-j", path, "all")
        sane(everything)
        assert everything.returncode == 0 or not name.startswith("good-")
        all_found = problems(everything, everything.returncode)
        assert found <= all_found
        found = all_found
    assert set(layout.recipe.shows) <= found


@pytest.mark.parametrize("name", sorted(set(recipes()) - TOO_LARGE))
def test_text(name):
    """Text has the same exit code as JSON, and passes nothing on."""
    path, _ = recipe_image(name)
    plain = run("dump", path, program=RELEASE)
    sane(plain)
    text_is_safe(plain.stdout)
    assert plain.stdout.endswith(b"\n") or plain.returncode == 1
    done = run("dump", "--offsets", "--hex", path, "all", program=RELEASE)
    sane(done)
    text_is_safe(done.stdout)
    assert done.returncode == plain.returncode or (plain.returncode, done.returncode) == (0, 2)


@pytest.mark.parametrize("name", recipes())
def test_info(name):
    path, _ = recipe_image(name)
    human = run("info", path, program=RELEASE if name in TOO_LARGE else QCOW2)
    sane(human)
    text_is_safe(human.stdout)
    shown = run("info", "--output=json", path, program=RELEASE)
    sane(shown)
    assert shown.returncode == human.returncode
    if shown.returncode != 1:
        assert isinstance(json.loads(shown.stdout.decode("utf-8")), dict)
    if name.startswith("good-"):
        assert human.returncode == 0


def listed_problems():
    with open(os.path.join(TOP, "include/qcow2/def/problems.def"), encoding="utf-8") as stream:
        return set(re.findall(r'^QCOW2_PROBLEM\(\d+, \w+, "([^"]+)"', stream.read(), re.M))


def test_every_problem_can_be_shown():
    """Some recipe promises each kind of problem; test_json and test_check hold it to that."""
    shown = {problem for name in recipes() for problem in load(name).shows}
    found = {problem for name in recipes() for problem in load(name).finds}
    ids = listed_problems()
    assert len(ids) > 80
    assert shown | found == ids


def test_pipe_that_nobody_reads():
    """A reader that goes away ends the dump; nothing is said to a terminal that is gone."""
    path, _ = recipe_image("good-cluster-2m")
    with subprocess.Popen([QCOW2, "dump", path, "all"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, cwd=folder()) as child:
        child.stdout.read(10)
        child.stdout.close()
        errors = child.stderr.read()
        child.wait(SECONDS)
    assert not SANITIZER.search(errors)
    assert child.returncode != 0
