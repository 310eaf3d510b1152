# SPDX-License-Identifier: MIT
# Images as they were used against other programs, by the number of each case, and what docs/security.md
# says of them.
"""Published attacks, and the table of docs/security.md."""
import json
import os
import re
import subprocess

import pytest

from tests.forge import build
from tests.support.programs import RELEASE, TOP, recipe_image

SECRET = "the secret of this machine"
DISK = "size 1M\nwrite 0 64k\nsnapshot 1 name=one\nbitmap b bits=0-5\n"
# What a field is set to, so that a program which believes it computes or allocates nonsense.
ATTACKS = {
    "CVE-2014-0142": ("set header/cluster_bits 0\n", "set header/cluster_bits 63\n",
                      "set header/cluster_bits 0xffffffff\n", "set header/refcount_order 0xffffffff\n"),
    "CVE-2014-0143": ("set snapshots/0/l1_size 0x7fffffff\n", "set header/l1_size 0x20000001\n"),
    "CVE-2014-0144": ("set header/header_length 0xffffffff\n", "set header/l1_size 0xffffffff\n",
                      "set header/backing_file_offset 8\nset header/backing_file_size 0xffffffff\n"),
    "CVE-2014-0145": ("set snapshots/0/l1_size 0xffffffff\n",),
    "CVE-2014-0146": ("set header/nb_snapshots 0xffffffff\n", "set header/snapshots_offset 1<<63\n"),
    "CVE-2014-0147": ("set header/refcount_table_clusters 0xffffffff\n",
                      "set header/refcount_table_offset 1<<62\n"),
    "CVE-2014-0222": ("set header/version 1\nset header/cluster_bits 0xff09ff\n",),
    "CVE-2014-0223": ("set header/size 1<<63\n", "set header/size 0xffffffffffffffff\n"),
    "CVE-2015-5162": ("set header/size 1<<60\nset header/l1_size 0x400000\n",),
    "CVE-2024-32498": ("data_file SECRET absent\n",),
    "CVE-2024-4467": ('data_file "json:{\\"driver\\":\\"raw\\",\\"file\\":{\\"driver\\":\\"file\\",'
                      '\\"filename\\":\\"SECRET\\"}}" absent\n',),
    "CVE-2023-32684": ("backing SECRET raw\n", "backing SECRET\n"),
}
LINES = ("info {}", "info -j {}", "dump -j {}", "diff {} {}", "locate --guest=0 {}",
         "locate -j --host=0x200 {}", "check {}", "check -j --deep {}", "map {}", "map -j {}",
         "layout {}", "measure {}", "report --to=- {}", "report --to=- --redact {}", "export -o - --salvage --format=stream {}", "read -x {}", "capture -f -j -o new {}", "hash {}", "hash -j --block=64k {}", "compare -j {} {}", "snapshot list -j {}", "snapshot space {}", "bitmap list {}",
         "compat {} dump-header", "rescue {}", "repair -n {}", "edit -n {} set header/size=1M",
         "vet {}", "vet -j --deep --policy=strict {}")
CODES = (0, 1, 2, 3, 4, 63)


def start(folder, line, **more):
    return subprocess.run([RELEASE, *line.format("disk", "disk").split()], cwd=folder,
                          capture_output=True, check=False, timeout=30, stdin=subprocess.DEVNULL,
                          env={**os.environ, "QCOW2_MEMORY_LIMIT": "64M", "QCOW2_TIME_LIMIT": "5",
                               **more})


def is_sound_answer(done, line):
    """A code that is documented, and with it what it stands for: a message, or a whole page."""
    assert done.returncode in CODES, (line, done)
    assert b"the time limit" not in done.stderr and b"out of memory" not in done.stderr, (line, done)
    assert done.returncode != 1 or done.stderr, (line, done)
    if done.stdout and "-j" in line.split():
        json.loads(done.stdout)


@pytest.mark.parametrize("name", ATTACKS)
def test_published(name, tmp_path):
    """Every command answers, within 64 MiB and 5 seconds; what an image names is not looked at."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET, encoding="ascii")
    for attack in ATTACKS[name]:
        text = attack.replace("SECRET", str(secret))
        try:
            build((DISK if "data_file" not in text else "size 1M\n") + text, str(tmp_path / "disk"))
        except Exception as error:
            raise AssertionError(text) from error
        for line in LINES:
            done = start(tmp_path, line)
            is_sound_answer(done, line)
            assert SECRET.encode() not in done.stdout + done.stderr, (line, done)


@pytest.mark.parametrize("name", ["good-extended-l2", "good-v2-snapshots", "good-v2-backing-format",
                                  "good-extensions-unknown", "good-header-512",
                                  "good-compressed-zstd"])
def test_legal_images_are_not_refused(name):
    """What checkers that look at the first 512 bytes take for an attack."""
    for line in ("info -j {}", "check -j {}", "map -j {}"):
        done = subprocess.run([RELEASE, *line.format(recipe_image(name)[0]).split()],
                              capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, done


def test_a_file_that_claims_a_petabyte(tmp_path):
    """It is small and says so; the claim costs nothing, and its tables do not fit the file."""
    build("size 1M\nset header/size 1<<50\n", str(tmp_path / "disk"))
    for line in LINES:
        is_sound_answer(start(tmp_path, line), line)
    assert start(tmp_path, "check {}").returncode == 2
    info = json.loads(start(tmp_path, "info -j {}").stdout)
    assert info["virtual-size"] == 1 << 50 and info["actual-size"] < 1 << 20


def test_tests_that_the_table_names_exist():
    """Each row of docs/security.md names tests, and each of them is there."""
    with open(os.path.join(TOP, "docs", "security.md"), encoding="utf-8") as stream:
        table = stream.read().partition("## Attacks")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ") and "---" not in row][1:]
    assert len(rows) >= 25
    for row in rows:
        named = re.findall(r"`(test_\w+|fuzz_\w+)(?:::(\w+))?`", row.split("|")[3])
        assert named, row
        for file, function in named:
            places = [os.path.join(TOP, "tests", room, file + end)
                      for room, end in (("cli", ".py"), ("oracle", ".py"), ("unit", ".c"),
                                        ("fuzz", ".c"), ("crash", ".py"))]
            found = [place for place in places if os.path.exists(place)]
            assert found, (row, file)
            with open(found[0], encoding="utf-8") as stream:
                assert not function or re.search(rf"\b(?:def )?{function}\(", stream.read()), (
                    row, function)
    text = " ".join(rows)
    assert all(name in text for name in ATTACKS)
