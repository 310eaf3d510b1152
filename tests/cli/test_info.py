# SPDX-License-Identifier: MIT
# `qcow2 info` for people: what it says of an image, what it says first, and how it follows chains.
"""The screen of info, several images, and chains."""
import json
import os
import re
import subprocess

import pytest

from tests.support.programs import QCOW2, SAMPLE, image, recipe_image

SECONDS = 30


def info(*arguments, cwd=None):
    return subprocess.run([QCOW2, "info", *map(str, arguments)], cwd=cwd, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=SECONDS, check=False)


def screen(text):
    """What info says of the image of a recipe: exit code and lines."""
    done = info(image(text)[0])
    assert done.stderr == b""
    return done.returncode, done.stdout.decode().splitlines()


def value(lines, name):
    return next(line[19:] for line in lines if line[:19] == f"{name:18} ")


def test_sizes_in_units_and_bytes():
    code, lines = screen("# plain\nsize 10M\nwrite 0 1M\n")
    assert code == 0
    assert value(lines, "format") == "qcow2, version 3 (compat 1.1)"
    assert value(lines, "virtual size") == "10 MiB (10485760 bytes)"
    assert value(lines, "cluster size") == "64 KiB"
    assert value(lines, "features") == "none"
    disk = os.stat(image("# plain\nsize 10M\nwrite 0 1M\n")[0]).st_blocks * 512
    assert f"({disk} bytes, {disk / 104857.6:.3g} % of the virtual size)" in value(lines, "on disk")


def test_version_2():
    assert value(screen("# old\nversion 2\n")[1], "format") == "qcow2, version 2 (compat 0.10)"


@pytest.mark.parametrize("text, code, words", [
    ("dirty\n", 0, "warning feature-dirty"),
    ("corrupt\n", 2, "corruption feature-corrupt"),
    ("bitmap b flags=in_use\n", 0, "warning bitmap-in-use"),
    ("incompatible 0x100000\n", 2, "corruption feature-incompatible-unknown"),
])
def test_alarms_come_first(text, code, words):
    done = info(image("# alarming\n" + text)[0])
    lines = done.stdout.decode().splitlines()
    assert done.returncode == code
    assert lines[0].startswith("! " + words)
    assert any(line.startswith("image ") for line in lines[1:])


def test_features_in_words():
    _, lines = screen("# features\nextended_l2\nlazy_refcounts\nautoclear 0x80\n")
    assert value(lines, "features") == \
        "extended L2 entries, lazy refcounts, unknown bit 7 of autoclear_features"


def test_other_files_are_named_and_not_opened():
    _, lines = screen("# files\nbacking nowhere.raw raw\n")
    assert value(lines, "backing file") == "nowhere.raw (not opened)"
    assert value(lines, "backing format") == "raw"
    _, lines = screen("# files\ndata_file nowhere.data absent\n")
    assert value(lines, "data file") == "nowhere.data (not opened)"


def test_encryption():
    done = info(recipe_image("good-luks1")[0])
    assert value(done.stdout.decode().splitlines(), "encryption") == "LUKS"
    done = info(recipe_image("good-aes")[0])
    assert value(done.stdout.decode().splitlines(), "encryption") == "AES"


def test_snapshots_and_bitmaps():
    _, lines = screen("# lists\nsnapshot 7 name=before\nbitmap one flags=auto\n"
                      "bitmap two granularity=1M\nbitmap three flags=in_use\n")
    at = lines.index("snapshots (1):")
    assert lines[at + 2].split()[0] == "7" and lines[at + 2].split()[-1] == "before"
    at = lines.index("bitmaps (3):")
    assert lines[at + 1].split() == ["granularity", "state", "name"]
    rows = [re.split("  +", line) for line in lines[at + 2:at + 5]]
    assert rows == [["64 KiB", "enabled", "one"], ["1 MiB", "disabled", "two"],
                    ["64 KiB", "in use: stale", "three"]]


def test_a_name_pushes_nothing_out_of_line():
    """Names are the last column: narrow, wide, escaped and cut ones start at the same place."""
    names = ["b", "\u0436\u00f3\u0142w", "\u30d0\u30c3\u30af", "a\tb", "n" * 200]
    shown = [*names[:3], "a\\tb", "n" * 120 + "\u2026"]
    _, lines = screen("# names\nversion 3\n" + "".join(
        f'snapshot {i} name="{name}"\n' for i, name in enumerate(names, 1)).replace("\t", "\\x09") +
        "".join(f'bitmap "{name}"\n' for name in names).replace("\t", "\\x09"))
    for title in ("snapshots (5):", "bitmaps (5):"):
        at = lines.index(title)
        column = lines[at + 1].index("name")
        assert [line[column:] for line in lines[at + 2:at + 7]] == shown
        assert {line[column - 1] for line in lines[at + 2:at + 7]} == {" "}


def test_compression_is_named_unless_it_is_the_usual():
    _, lines = screen("# zstd\ncompression zstd\n")
    assert value(lines, "compression") == "zstd"
    _, lines = screen("# deflate\nsize 2M\n")
    assert not [line for line in lines if line.startswith("compression")]


def test_bitmaps_that_nobody_vouches_for():
    _, lines = screen("# the bit is clear\nbitmap one flags=auto\nset header/autoclear_features 0\n")
    assert lines[lines.index("bitmaps (1):") + 2].split() == ["64", "KiB", "inconsistent", "one"]


def test_one_that_fails_does_not_stop_the_others(tmp_path):
    nothing = str(tmp_path / "nothing")
    done = info(SAMPLE, nothing, SAMPLE)
    assert done.returncode == 1
    assert done.stdout.decode().count("image              ") == 2
    assert done.stderr.decode().count("\n") == 1 and nothing in done.stderr.decode()
    done = info("--output=json", SAMPLE, nothing, SAMPLE)
    assert done.returncode == 1
    assert [found["filename"] for found in json.loads(done.stdout)] == [SAMPLE, SAMPLE]


def test_worst_code_counts():
    corrupt = image("# corrupt\ncorrupt\n")[0]
    assert info(SAMPLE, corrupt, SAMPLE).returncode == 2
    assert info(corrupt, "/nowhere/at/all", SAMPLE).returncode == 1


def qcow2(folder, name, backing=None, kind="qcow2"):
    """An image in a folder, whatever its backing file is."""
    more = ["-u", "-b", str(backing), "-F", kind] if backing else []
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, name, "1M"], cwd=folder,
                   check=True)
    return str(folder / name)


def chain(path, cwd=None):
    """The files of a chain, the exit code, and what was said."""
    done = info("--chain", "-j", path, cwd=cwd)
    files = [found["filename"] for found in json.loads(done.stdout)]
    return files, done.returncode, done.stderr.decode()


def test_chain_is_relative_to_each_image(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.raw").write_bytes(bytes(512))
    qcow2(tmp_path / "sub", "mid.qcow2", "base.raw", "raw")
    qcow2(tmp_path, "top.qcow2", "sub/mid.qcow2")
    assert chain("top.qcow2", tmp_path) == (["top.qcow2", "sub/mid.qcow2", "sub/base.raw"], 0, "")


@pytest.mark.parametrize("links", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_loops(tmp_path, links):
    for name, backing in zip(links, links[1:] + links[:1]):
        qcow2(tmp_path, name, "./" + backing)
    files, code, said = chain("a", tmp_path)
    assert ([os.path.basename(file) for file in files], code) == (links, 1)
    assert "is a loop" in said and said.count("\n") == 1


def test_loop_over_a_link(tmp_path):
    qcow2(tmp_path, "a", "b")
    (tmp_path / "b").symlink_to("a")
    files, code, said = chain("a", tmp_path)
    assert (files, code) == (["a"], 1) and "is a loop" in said


def test_depth(tmp_path):
    """256 images are followed, no more."""
    data = open(qcow2(tmp_path, "seed", "000"), "rb").read()
    assert data.count(b"000") == 1
    for i in range(258):
        (tmp_path / f"{i:03}").write_bytes(data.replace(b"000", b"%03d" % (i + 1)))
    files, code, said = chain("000", tmp_path)
    assert (len(files), code) == (256, 1) and "over 256 images" in said


@pytest.mark.parametrize("backing", ["nbd://127.0.0.1:1/x", "json:{}", "https://example.org/a",
                                     "ssh:host"])
def test_protocols_are_not_followed(tmp_path, backing):
    qcow2(tmp_path, "top", backing, "raw")
    files, code, said = chain("top", tmp_path)
    assert (files, code) == (["top"], 1) and "was not followed" in said


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for backing in ("pipe", "folder", "missing", "/dev/null", "/dev/zero"):
        qcow2(tmp_path, "top", backing)
        files, code, said = chain("top", tmp_path)
        assert (files, code) == (["top"], 1), backing
        assert said.count("\n") == 1
