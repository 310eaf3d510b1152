# SPDX-License-Identifier: MIT
# `qcow2 info --output=json` against the real `qemu-img info --output=json`: key for key and value
# for value, on images that qemu-img made and on forged ones that it opens. docs/info.md lists the
# differences; the tests allow no others.
"""info against qemu-img."""
import json
import os
import re
import subprocess

import pytest

from tests.forge import load, recipes
from tests.support.programs import QCOW2, RELEASE, recipe_image
from tests.support.qemu import CHANGED, CREATE, shell

# Names that JSON or a C string cannot hold: see docs/info.md.
NAMES = ("good-warn-bitmap-name-control", "good-warn-bitmap-name-not-utf8",
         "good-warn-snapshot-name-escape", "good-warn-snapshot-name-not-utf8")
FORGED = [n for n in recipes("good-") if not load(n).qemu and "hostile" not in n]


def printed(program, path, *options):
    done = subprocess.run([program, "info", *options, "--output=json", path],
                          cwd=os.path.dirname(path), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 0, done
    return json.loads(done.stdout.decode("utf-8"))


def compare(path):
    """Both documents, with all keys in the same order, and sizes on disk of the same moment."""
    theirs = printed("qemu-img", path, "-U")
    ours = printed(QCOW2, path)
    assert ours == theirs
    return ours


@pytest.mark.parametrize("name", sorted(CREATE))
def test_created(name, tmp_path):
    shell("qemu-img", "create", "-q", "-f", "qcow2", *reorder(CREATE[name].split()),
          cwd=tmp_path)
    compare(str(tmp_path / "i.qcow2"))


def reorder(words):
    """The size goes behind the name of the image, all else before."""
    return ["i.qcow2", words[-1]] if len(words) == 1 else [*words[:-1], "i.qcow2", words[-1]]


@pytest.mark.parametrize("compat", ["1.1", "0.10"])
@pytest.mark.parametrize("name", sorted(CHANGED))
def test_changed(name, compat, tmp_path):
    if compat == "0.10" and name == "bitmaps":
        compat = "1.1"  # version 2 has none: once more the same
    shell("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={compat}", "i.qcow2", "64M",
          cwd=tmp_path)
    for command in CHANGED[name]:
        shell(*[word.replace("{}", "i.qcow2") for word in command], cwd=tmp_path)
    compare(str(tmp_path / "i.qcow2"))


@pytest.mark.parametrize("name", [n for n in FORGED if n not in NAMES])
def test_forged(name):
    compare(recipe_image(name)[0])


# Forged images of which we say something else than qemu-img does, each with the reason.
OTHERWISE = {
    "good-warn-bitmap-name-nul-twins": "to QEMU a name ends at a NUL, and then two are equal",
    "bad-hostile-bitmaps-65535": "qemu-img takes minutes",
    "bad-hostile-shared-bitmap-table": "qemu-img takes minutes",
    # seconds, and the same as we say
    "bad-hostile-bitmaps-65536": "slow", "bad-hostile-sparse-snapshots": "slow",
    "good-hostile-extensions-262130": "slow", "good-hostile-snapshots": "slow",
}


@pytest.mark.parametrize("name", sorted(set(recipes()) - set(FORGED) - set(OTHERWISE)))
def test_what_qemu_refuses(name):
    """
    Exit code 2, and a line that says so, where qemu-img fails; other damage has the code alone.
    test_forged shows that the other images open, with exit code 0.
    """
    path = recipe_image(name)[0]
    theirs = subprocess.run(["qemu-img", "info", "-U", path], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, timeout=60, check=False).returncode
    ours = subprocess.run([RELEASE, "info", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, check=False)
    if ours.returncode == 1:
        # what is no qcow2 image is raw to qemu-img, and so is a header of version 2 cut short
        assert theirs != 0 or b"not a qcow2" in ours.stderr or name in (
            "bad-empty-file", "bad-header-truncated-v2", "unsupported-version-0"), ours.stderr
        return
    assert (b"! QEMU refuses to open this image\n" in ours.stdout) == (theirs != 0)
    if theirs != 0:
        assert ours.returncode == 2
    elif ours.returncode == 2:
        assert b"! corruption " in ours.stdout


def names_of(document):
    """The names in a document, which are taken out of it."""
    lists = (document.get("snapshots", []), document["format-specific"]["data"].get("bitmaps", []))
    names = []
    for item in (item for found in lists for item in found):
        names += [item.pop(key) for key in ("id", "name") if key in item]
        for key in ("id-hex", "name-hex"):
            item.pop(key, None)
    return names


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_not_text(name):
    """qemu-img cuts at a NUL, and makes fewer U+FFFD of the bytes of a bad character."""
    path = recipe_image(name)[0]
    theirs, ours = printed("qemu-img", path, "-U"), printed(QCOW2, path)
    pairs = list(zip(names_of(ours), names_of(theirs)))
    assert ours == theirs and pairs
    for one, other in pairs:
        assert re.sub("\ufffd+", "\ufffd", one.partition("\0")[0]) == \
            re.sub("\ufffd+", "\ufffd", other)


def test_raw_end_of_a_chain(tmp_path):
    """Its size is counted in sectors."""
    (tmp_path / "base.raw").write_bytes(bytes(1000))
    shell("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "a.qcow2",
          "1M", cwd=tmp_path)
    ours = json.loads(subprocess.run([QCOW2, "info", "--chain", "--output=json", "a.qcow2"],
                                     cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout)
    theirs = json.loads(subprocess.run(["qemu-img", "info", "--backing-chain", "--output=json",
                                        "a.qcow2"], cwd=tmp_path, stdout=subprocess.PIPE,
                                       check=True).stdout)
    assert [x["virtual-size"] for x in ours] == [x["virtual-size"] for x in theirs] == [1 << 20, 1024]


def test_chain(tmp_path):
    """--backing-chain is our --chain."""
    shell("qemu-img", "create", "-q", "-f", "raw", "base.raw", "64M", cwd=tmp_path)
    for name, backing, kind in (("a", "base.raw", "raw"), ("b", "a.qcow2", "qcow2"),
                                ("c", str(tmp_path / "b.qcow2"), "qcow2")):
        shell("qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", kind,
              name + ".qcow2", cwd=tmp_path)
    top = str(tmp_path / "c.qcow2")
    ours = printed(QCOW2, top, "--chain")
    assert len(ours) == 4
    assert ours == printed("qemu-img", top, "-U", "--backing-chain")


def test_enough_images():
    assert len(CREATE) + 2 * len(CHANGED) + len(FORGED) >= 100
