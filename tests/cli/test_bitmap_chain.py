# SPDX-License-Identifier: MIT
# The bitmaps of one name in all images of a chain, as one: `extents --chain` and `merge --chain`.
# qemu-img merges the same bitmaps image by image, and has to get the same bits.
"""bitmap extents --chain and merge --chain."""
import json
import os
import subprocess

import pytest

from tests.support.outside import run, text_of

MIB = 1 << 20


def qemu(*words, cwd):
    subprocess.run([str(w) for w in words], cwd=cwd, check=True, capture_output=True, timeout=60)


@pytest.fixture(name="chain", scope="module")
def fixture_chain(tmp_path_factory):
    """raw <- old (no bitmap) <- base <- middle <- top; the guest writes a MiB while each is top."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "raw").write_bytes(b"")
    os.truncate(folder / "raw", 16 * MIB)
    below, form = "raw", "raw"
    for at, name in enumerate(("old", "base", "middle", "top")):
        qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", form, name, "16M", cwd=folder)
        if name != "old":
            qemu("qemu-img", "bitmap", "--add", name, "b0", cwd=folder)
        qemu("qemu-io", "-c", f"write {at * 2}M 1M", name, cwd=folder)
        below, form = name, "qcow2"
    qemu("qemu-img", "bitmap", "--add", "top", "all", cwd=folder)
    return folder


@pytest.fixture(name="own")
def fixture_own(chain, tmp_path):
    """A copy of the chain that may be changed."""
    for name in os.listdir(chain):
        qemu("cp", "--sparse=always", chain / name, tmp_path / name, cwd=chain)
    return tmp_path


def dirty(image, name, *more, cwd):
    ranges = json.loads(text_of(run("bitmap", "extents", "-j", "--dirty", *more, image, name, cwd=cwd)))
    return [(r["start"] // MIB, r["length"] // MIB) for r in ranges]


def refused(*words, cwd):
    done = run("bitmap", *words, cwd=cwd)
    assert (done.returncode, done.stdout) == (1, b"")
    return done.stderr.decode()


def test_extents(chain):
    assert dirty("top", "b0", cwd=chain) == [(6, 1)]
    assert dirty("top", "b0", "--chain", cwd=chain) == [(2, 1), (4, 1), (6, 1)]
    assert dirty("middle", "b0", "--chain", cwd=chain) == [(2, 1), (4, 1)]
    # A bitmap that only the top has.
    assert dirty("top", "all", "--chain", cwd=chain) == []
    lines = text_of(run("bitmap", "extents", "--chain", "--clean", "top", "b0", cwd=chain))
    assert lines.split("\n")[0].split() == ["0", str(2 * MIB), "clean"]
    both = json.loads(text_of(run("bitmap", "extents", "-j", "--chain", "--subtract", "--dirty", "top", "b0",
                                  "all", cwd=chain)))
    assert [r["start"] // MIB for r in both] == [2, 4, 6]


def test_merge_as_qemu(own):
    """Into the bitmap itself, and into another one; qemu-img merges image by image."""
    qemu("cp", "--sparse=always", "top", "theirs", cwd=own)
    for below in ("base", "middle"):
        qemu("qemu-img", "bitmap", "--merge", "b0", "-b", below, "-F", "qcow2", "theirs", "b0", cwd=own)
    text = text_of(run("bitmap", "merge", "--chain", "--no-undo", "top", "b0", "b0", cwd=own))
    assert "merged" in text
    assert dirty("top", "b0", cwd=own) == dirty("theirs", "b0", cwd=own) == [(2, 1), (4, 1), (6, 1)]
    text_of(run("bitmap", "merge", "--chain", "--no-undo", "middle", "b0", "b0", cwd=own))
    assert dirty("middle", "b0", cwd=own) == [(2, 1), (4, 1)]
    script = b"clear all\nmerge --chain b0 all\n"
    text_of(run("bitmap", "script", "--no-undo", "top", "-", cwd=own, input=script))
    assert dirty("top", "all", cwd=own) == [(2, 1), (4, 1), (6, 1)]
    assert run("check", "top", cwd=own).returncode == 0


def test_gap(own):
    """An image in between without the bitmap recorded nothing."""
    text_of(run("bitmap", "remove", "--no-undo", "middle", "b0", cwd=own))
    for words in (["extents", "--chain", "top", "b0"],
                  ["merge", "--chain", "--no-undo", "top", "b0", "all"]):
        text = refused(*words, cwd=own)
        assert "middle: " in text and "'b0'" in text and "--force" in text, text
    assert dirty("top", "b0", "--chain", "--force", cwd=own) == [(2, 1), (6, 1)]
    text_of(run("bitmap", "merge", "--chain", "--force", "--no-undo", "top", "b0", "all", cwd=own))
    assert dirty("top", "all", cwd=own) == [(2, 1), (6, 1)]


def test_refusals(own):
    assert "no image of the chain has a bitmap of that name" in refused(
        "extents", "--chain", "top", "nothing", cwd=own)
    assert "'nothing'" in refused("merge", "--chain", "--no-undo", "top", "nothing", "all", cwd=own)
    assert "exclude each other" in refused("merge", "--chain", "--from=base", "top", "b0", "all", cwd=own)
    script = b"merge --chain --from=base b0 all\n"
    done = run("bitmap", "script", "--no-undo", "top", "-", cwd=own, input=script)
    assert done.returncode == 1 and b"exclude each other" in done.stderr
    done = run("bitmap", "script", "--no-undo", "top", "-", cwd=own, input=b"clear --chain all\n")
    assert done.returncode == 1 and b"does not take that option" in done.stderr
    # What is stale below is as stale as at the top.
    qemu("qemu-img", "bitmap", "--disable", "base", "b0", cwd=own)
    with open(own / "base", "r+b") as image:
        image.seek(88)
        image.write(bytes(8))
    text = refused("extents", "--chain", "top", "b0", cwd=own)
    assert "base: " in text and "stale" in text
    # A disk of another size.
    qemu("qemu-img", "resize", "-q", "top", "32M", cwd=own)
    text = refused("extents", "--chain", "top", "b0", cwd=own)
    assert "middle: " in text and str(32 * MIB) in text
    (own / "old").unlink()
    assert "old: " in refused("extents", "--chain", "top", "b0", cwd=own)
