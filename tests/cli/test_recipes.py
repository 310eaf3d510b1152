# SPDX-License-Identifier: MIT
# Every image that the forge can build goes through dump and info: nothing crashes, exit codes mean
# what they should, each problem that a recipe promises is reported, and no byte of an image gets
# through that a terminal would act on.
"""All recipes, all outputs."""
import json
import subprocess

import pytest

from tests.forge import load, recipes
from tests.support.answers import NO_IMAGE, SANITIZER, TOO_LARGE, listed_problems, sane, text_is_safe
from tests.support.programs import QCOW2, RELEASE, SECONDS, folder, recipe_image, run


def problems(done, code):
    """The problems of a JSON document, which is parsed whole."""
    shown = json.loads(done.stdout.decode("utf-8"))
    assert list(shown)[-1] in ("problems", "problems-omitted")
    corrupt = any(p["severity"] == "corruption" for p in shown["problems"])
    assert code == (2 if corrupt else 0)
    return {p["id"] for p in shown["problems"]}


@pytest.mark.parametrize("name", recipes())
def test_json(name):
    path, layout = recipe_image(name)
    plain = run("dump", "-j", path, program=RELEASE)
    sane(plain)
    assert (plain.returncode == 1) == (name in NO_IMAGE)
    if plain.returncode == 1:
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
    assert plain.stdout.endswith(b"\n") == (name not in NO_IMAGE)
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
    assert (shown.returncode == 1) == (name in NO_IMAGE)
    if shown.returncode != 1:
        assert isinstance(json.loads(shown.stdout.decode("utf-8")), dict)
    if name.startswith("good-"):
        # test_info_oracle holds this line to what qemu-img does
        refused = b"\n! QEMU refuses to open this image\n" in human.stdout
        assert human.returncode == (2 if refused else 0)


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
