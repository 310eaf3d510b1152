# SPDX-License-Identifier: MIT
# `qcow2 explain` knows what the tools of QEMU that are installed here really say of images that are
# broken: every line that qemu-img and qemu-io print of forged images is handed to it.
"""Messages of QEMU against the list of them."""
import concurrent.futures
import json
import os
import re
import subprocess

import pytest

from tests.forge import load, recipes
from tests.support.answers import NO_IMAGE, TOO_LARGE
from tests.support.programs import RELEASE, SECONDS, recipe_image, run

# Lines that say something is wrong, and no line of a table or of a page.
TOLD = re.compile(r"^(?:ERROR|Leaked|Repairing|WARNING|qcow2: |(?:qemu-img|qemu-io): )")
NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]*\d[0-9a-f]*\b|/\S+")
# What is wrong is not the image.
OTHERS = re.compile(r"Input/output error$|read failed|write failed|Check failed|Pattern verification")
# QEMU 7.2 marks these images as corrupt when it finds no structure where the header says.
OF_ITS_OWN = {"bad-bitmaps-bit-without-extension", "bad-snapshot-name-size-max"}


def lines_of(name, folder):
    """(line without its numbers, line) of what is said of a forged image."""
    path, _ = recipe_image(name)
    copy = os.path.join(folder, name + ".qcow2")
    subprocess.run(["cp", "--sparse=always", path, copy], check=True)
    said = ""
    for command in (["qemu-img", "check", copy], ["qemu-io", "-r", "-c", "read 0 64k", copy],
                    ["qemu-io", "-c", "write 0 64k", copy]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS, check=False)
        said += done.stdout.decode(errors="replace")
    os.remove(copy)
    lines = [line for line in said.splitlines() if TOLD.match(line) and not OTHERS.search(line)]
    return {NUMBER.sub("", line): (name, line) for line in lines}


@pytest.fixture(scope="module", name="lines")
def collected(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("messages"))
    seen, names = {}, {}
    for name in sorted(set(recipes()) - TOO_LARGE - NO_IMAGE):
        kinds = tuple(sorted({*load(name).shows, *load(name).finds}))
        if kinds:
            names.setdefault(kinds, name)
    for name in names.values():
        recipe_image(name)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda name: lines_of(name, folder), names.values()):
            seen.update({key: value for key, value in found.items() if key not in seen})
    return list(seen.values())


def test_every_line_is_known(lines):
    assert len(lines) > 100
    unknown, wrong = [], []
    for name, line in lines:
        done = run("explain", "-j", "--", line, program=RELEASE)
        if done.returncode != 0:
            unknown.append((name, line))
            continue
        found = json.loads(done.stdout)
        meant = {problem for x in found if x["kind"] == "message" for problem in x["problems"]}
        report = json.loads(run("check", "-j", "--deep", recipe_image(name)[0], program=RELEASE).stdout)
        reported = {problem["id"] for problem in report["problems"]}
        if meant and not meant & reported and name not in OF_ITS_OWN:
            wrong.append((name, line, sorted(meant)))
    assert not unknown
    assert not wrong, "\n".join(map(str, wrong))
