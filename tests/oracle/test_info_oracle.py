# SPDX-License-Identifier: MIT
# `qcow2 info --output=json` against the real `qemu-img info --output=json`: key for key and value
# for value, on images that qemu-img made and on forged ones that it opens. docs/info.md lists the
# differences; the tests allow no others.
"""info against qemu-img."""
import json
import os
import re
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "forge"))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from forge import recipes, load  # noqa: E402
from helpers import QCOW2, recipe_image  # noqa: E402

CREATE = {
    "default": "64M",
    "zero": "0",
    "one sector": "512",
    "odd": "1000001",
    "large": "8T",
    "v2": "-o compat=0.10 64M",
    "lazy": "-o lazy_refcounts=on 64M",
    "zstd": "-o compression_type=zstd 64M",
    "extended": "-o extended_l2=on 64M",
    "extended 16k": "-o extended_l2=on,cluster_size=16k 64M",
    "preallocated": "-o preallocation=metadata 64M",
    "data file": "-o data_file=data.raw 64M",
    "data file raw": "-o data_file=data.raw,data_file_raw=on 64M",
    "data file raw extended": "-o data_file=data.raw,data_file_raw=on,extended_l2=on 64M",
    "data file raw extended 16k": "-o data_file=data.raw,data_file_raw=on,extended_l2=on,"
                                  "cluster_size=16k 10M",
    "luks": "--object secret,id=s,data=pw -o encrypt.format=luks,encrypt.key-secret=s,"
            "encrypt.iter-time=10 64M",
    "luks sha512": "--object secret,id=s,data=pw -o encrypt.format=luks,encrypt.key-secret=s,"
                   "encrypt.iter-time=10,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,"
                   "encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256,"
                   "encrypt.hash-alg=sha512 64M",
    "backing": "-u -b base.qcow2 -F qcow2 64M",
    "backing raw": "-u -b base.raw -F raw 64M",
    "backing elsewhere": "-u -b sub/dir/base.qcow2 -F qcow2 64M",
    "backing absolute": "-u -b /nowhere/base.qcow2 -F qcow2 64M",
    "backing protocol": "-u -b nbd://127.0.0.1:1/x -F raw 64M",
    "backing utf-8": "-u -b b\u00e4cker.qcow2 -F qcow2 64M",
    **{f"clusters {1 << bits}": f"-o cluster_size={1 << bits} 64M" for bits in range(9, 22)},
    **{f"refcounts {1 << order}": f"-o refcount_bits={1 << order} 64M" for order in range(7)},
}
# On top of an image of 64 MiB: what qemu-img and qemu-io do to it.
CHANGED = {
    "snapshots": [["qemu-img", "snapshot", "-c", "one", "{}"],
                  ["qemu-io", "-c", "write 0 1M", "{}"],
                  ["qemu-img", "snapshot", "-c", "zw\u00f6lf", "{}"]],
    "bitmaps": [["qemu-img", "bitmap", "--add", "{}", "b0"],
                ["qemu-img", "bitmap", "--add", "--disable", "-g", "1M", "{}", "b1"],
                ["qemu-img", "bitmap", "--add", "-g", "512", "{}", "b2"]],
    "resized": [["qemu-img", "resize", "-q", "{}", "100M"]],
    "data": [["qemu-io", "-c", "write -P 7 3M 5M", "{}"]],
    "compressed": [["qemu-io", "-c", "write -c -P 7 3M 64k", "{}"]],
    "amended": [["qemu-img", "amend", "-o", "compat=0.10", "{}"]],
}
# Names that JSON or a C string cannot hold: see docs/info.md.
NAMES = ("good-warn-bitmap-name-control", "good-warn-bitmap-name-not-utf8",
         "good-warn-snapshot-name-escape", "good-warn-snapshot-name-not-utf8")
FORGED = [n for n in recipes("good-") if not load(n).qemu and "hostile" not in n]


def shell(*command, cwd):
    """Once more if qemu-img could not time its key derivation: on a coarse clock it may measure 0."""
    for _ in range(20):
        done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              check=False)
        if b"Unable to get accurate CPU usage" not in done.stderr:
            break
    assert done.returncode == 0, done


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


def names_of(document):
    """The names in a document, which are taken out of it."""
    lists = (document.get("snapshots", []), document["format-specific"]["data"].get("bitmaps", []))
    names = []
    for item in (item for found in lists for item in found):
        names += [item.pop(key) for key in ("id", "name") if key in item]
        for key in ("id_hex", "name_hex"):
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
