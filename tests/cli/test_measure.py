# SPDX-License-Identifier: MIT
# The command line of `qcow2 measure`, what it opens, what it says of broken images, and its bounds.
# Whether the sizes are right, tests/oracle/test_measure_oracle.py asks QEMU.
"""measure, from outside."""
import json
import os
import re

import pytest

from tests.forge import build
from tests.support.faults import each_fault
from tests.support.programs import SAMPLE, recipe_image, run

K, M, G, T = 1 << 10, 1 << 20, 1 << 30, 1 << 40


def told(*words, code=0):
    done = run("measure", "-j", *words)
    assert done.returncode == code, done
    return json.loads(done.stdout)


def page(*words):
    done = run("measure", *words)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.decode()


@pytest.mark.parametrize("words, message", [
    ([], "no image given, and no --size"),
    (["--size=1G", SAMPLE], "either --size or an image, not both"),
    (["--size=1G", "--chain"], "a new image has no snapshot and no chain"),
    (["--size=1G", "-l", "1"], "a new image has no snapshot and no chain"),
    ([SAMPLE, "other"], "one image at a time, not also 'other'"),
    (["-O", "qcow", SAMPLE], "--target is qcow2 or raw, not 'qcow': did you mean qcow2?"),
    (["-o", "clustersize=4k", SAMPLE],
     "--options: there is no option 'clustersize': did you mean cluster_size?"),
    (["-o", "cluster_size=3k", SAMPLE],
     "--options: cluster_size is a power of two, 512 to 2M, not '3k'"),
    (["-o", "cluster_size=4M", SAMPLE],
     "--options: cluster_size is a power of two, 512 to 2M, not '4M'"),
    (["-o", "refcount_bits=3", SAMPLE], "--options: refcount_bits is a power of two, 1 to 64, not '3'"),
    (["-o", "extended_l2=maybe", SAMPLE], "--options: extended_l2 is on or off, not 'maybe'"),
    (["-o", "compat=0.9", SAMPLE], "--options: compat is 0.10, v2, 1.1 or v3, not '0.9'"),
    (["-o", "refcount_bits=8", "-o", "compat=0.10", SAMPLE],
     "--options: version 2 (compat=0.10) has refcounts of 16 bits"),
    (["-o", "extended_l2,cluster_size=8k", SAMPLE],
     "--options: extended L2 entries need clusters of at least 16k"),
    (["-o", "encrypt.format=\x1b[2J", SAMPLE], "--options: encrypt.format is aes or luks, not '\\u{1b}[2J'"),
])
def test_wrong_lines(words, message):
    done = run("measure", *words)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.decode().splitlines()[0] == f"qcow2 measure: {message}"


@pytest.mark.parametrize("words, code, message", [
    (["--size=8E"], 1, "--size"), (["--size=7E"], 1, "too large for clusters of 65536 bytes"),
    (["--size=200G", "-o", "cluster_size=512"], 1, "too large for clusters of 512 bytes"),
    ([SAMPLE, "-l", "nothing"], 1, "nothing"), (["no-such-file"], 1, "no-such-file"),
])
def test_what_cannot_be_done(words, code, message):
    done = run("measure", *words)
    assert done.returncode == code and done.stdout == b"" and message in done.stderr.decode()


def test_required_where_the_full_disk_is_too_large():
    """qemu-img says the same; it also tells the size of a full disk, which no file can have."""
    size = told("--size=2305843009213693951", "-o", "cluster_size=2M,refcount_bits=1")
    assert size["required"] == 8933571821568 and size["fully-allocated"] is None


def test_options_as_qemu_img_takes_them():
    """Commas in values are doubled, a name alone is on, and the last one wins."""
    base = told("--size=1G", "-o", "cluster_size=16k,extended_l2=on")
    for line in (["-o", "extended_l2,backing_file=a,,b,cluster_size=4k", "-o", "cluster_size=0x4000"],
                 ["-o", "cluster_size=16384,extended_l2=on,lazy_refcounts=on,compression_type=zstd"]):
        assert told("--size=1G", *line) == base
    assert told("--size=1G", "-o", "data_file=x")["smallest"] == 4 * 64 * K
    full = told("--size=1G", "-o", "preallocation=full")
    assert full["required"] == full["fully-allocated"] == full["smallest"] > G


def test_sizes_of_raw_files(tmp_path):
    assert told("-O", "raw", "--size=1000") == {"required": 1024, "fully-allocated": 1024,
                                                "smallest": 1024, "virtual-size": 1000}
    path = str(tmp_path / "a")
    build("size 1000001\nwrite 0 64k\nbitmap b bits=0\n", path)
    sizes = told("-O", "raw", path)
    assert sizes["required"] == 999936 and "bitmaps" not in sizes


def test_only_the_image_is_opened(tmp_path):
    path = str(tmp_path / "a")
    build("size 1M\nbacking missing.qcow2 qcow2\nwrite 0 64k\nwrite 512k 64k\n", path)
    sizes = told(path)
    assert "commit" not in sizes and sizes["smallest"] == 7 * 64 * K
    # Two clusters, perhaps an L2 table, a refcount block, and what a table may need.
    assert 3 * 64 * K <= sizes["image"]["commit-growth"] <= 8 * 64 * K
    assert "The backing file was not counted" in page(path)
    done = run("measure", "--chain", path)
    assert done.returncode == 1 and done.stdout == b"" and b"missing.qcow2" in done.stderr


def test_what_cannot_be_read_counts_as_data():
    path = recipe_image("bad-data-beyond-end")[0]
    done = run("measure", "-j", path)
    assert done.returncode == 2
    assert re.search(rb"bytes cannot be read and count as data, first at 0x[0-9a-f]+ of the disk: "
                     rb"[a-z-]+; see 'qcow2 check'\n$", done.stderr)
    assert json.loads(done.stdout)["smallest"] > 0


def test_snapshots_bitmaps_and_their_names(tmp_path):
    path = str(tmp_path / "a")
    build("size 4M\ncluster_bits 12\nwrite 0 64k\nsnapshot 1 name=\"a\\e[2Jb\"\nwrite 0 64k\n"
          "repeat 12 snapshot {} name=s{}\nbitmap one bits=0\n", path)
    image = told(path)["image"]
    assert [s["name"] for s in image["snapshots"]] == ["a\x1b[2Jb"] + [f"s{n}" for n in range(12)]
    assert image["snapshots"][0]["kept"] > image["snapshots"][1]["kept"] > image["smallest"]
    text = page(path)
    assert "snapshot 1 'a\\u{1b}[2Jb'" in text and "and 5 more snapshots" in text
    assert "bitmap 'one'" in text and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"\n  Now +[0-9.]+ [KM]iB +[0-9]+ bytes\n", text)


def test_long_names_have_lines_of_their_own(tmp_path):
    path = str(tmp_path / "a")
    build(f"size 4M\nsnapshot 1 name={'n' * 200}\n", path)
    text = page(path)
    assert max(map(len, text.splitlines())) <= 80 and "\n    snapshot 1 'nnn" in text


@pytest.mark.parametrize("name", ["good-data-file", "good-refcount-table-larger"])
def test_the_largest_file_has_what_the_file_has(name):
    """No data that is elsewhere, and the refcount table that it has, which is larger than it must be."""
    path = recipe_image(name)[0]
    found = told(path)["image"]
    grows = 0 if name == "good-data-file" else found["fully-allocated"] - found["smallest"]
    assert found["largest"] == found["file-size"] + grows


@pytest.mark.parametrize("size", [1 << 61, (1 << 63) - 512, (1 << 64) - 512])
def test_claimed_sizes_do_not_overflow(tmp_path, size):
    path = str(tmp_path / "a")
    build(f"size 1M\nwrite 0 64k\nset header/size {size}\n", path)
    done = run("measure", "-j", path)
    assert done.returncode == 1 and b"too large for clusters of 65536 bytes" in done.stderr
    largest = told("-O", "raw", path)["image"]["largest"]
    assert largest is None or size < largest < size + size // 1000


def test_very_many_users(tmp_path):
    path = str(tmp_path / "a")
    build("size 1M\ncluster_bits 12\nwrite 0 4k\nrepeat 1040 snapshot {} name=s\n", path)
    image = told(path)["image"]
    assert len(image["snapshots"]) == 1000 and image["snapshots-omitted"] == 40
    assert "and 1032 more snapshots" in page(path)


def test_each_user_costs_no_look_at_all_others(tmp_path):
    path = str(tmp_path / "a")
    build("size 1M\ncluster_bits 12\nwrite 0 4k\nrepeat 20000 snapshot {} name=s\n", path)
    image = told(path)["image"]
    assert len(image["snapshots"]) == 1000 and image["snapshots-omitted"] == 19000


def test_a_chain_may_end_in_a_raw_file(tmp_path):
    path = str(tmp_path / "a")
    build("size 1M\nbacking base.raw raw\nwrite 0 64k\n", path)
    with open(tmp_path / "base.raw", "wb") as file:
        file.write(b"x" * 300000)
    sizes = told("--chain", path)
    assert sizes["commit"] == {"filename": str(tmp_path / "base.raw"), "file-size": 300000,
                               "largest": M}
    assert sizes["smallest"] - told(path)["smallest"] == 4 * 64 * K
    assert os.path.getsize(tmp_path / "base.raw") == 300000


# ---- failures ----

@pytest.mark.parametrize("name", ["good-snapshots", "good-bitmaps"])
def test_failed_reads(shim, name):
    """A read that fails is told; no snapshot or bitmap is left out for it."""
    for _, done in each_fault(shim, ["measure", "-j", recipe_image(name)[0]], "FAIL_READ"):
        assert (done.returncode, done.stdout) == (1, b""), done
        assert b"Input/output" in done.stderr
