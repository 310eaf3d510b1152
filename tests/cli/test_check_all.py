# SPDX-License-Identifier: MIT
# `qcow2 check --all` on images that are all faults: every problem is told, once and in order, though
# only so many are kept at once. The images have more bad clusters than lib/check/bad_list.c keeps.
"""check --all, from outside."""
import json
import re
import resource
import struct
import subprocess

import pytest

from tests.support.programs import RELEASE

CLUSTER = 512
CLUSTERS = 70000
MEMORY = 96 << 20


def limited_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def check(path, *options):
    """Exit code and page of a check that may not take much memory."""
    done = subprocess.run([RELEASE, "check", "--all", *options, path], stdout=subprocess.PIPE,
                          preexec_fn=limited_memory, timeout=120, check=False)
    return done.returncode, done.stdout


@pytest.fixture(scope="module", name="uncounted")
def make_uncounted(tmp_path_factory):
    """An image with a snapshot of what was there before its end was written; all refcounts are 0."""
    path = str(tmp_path_factory.mktemp("all") / "uncounted.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
                    f"cluster_size={CLUSTER},preallocation=metadata", path,
                    str(CLUSTERS * CLUSTER)], check=True)
    subprocess.run(["qemu-img", "snapshot", "-c", "before", path], check=True)
    subprocess.run(["qemu-io", "-c", f"write {(CLUSTERS - 200) * CLUSTER} {200 * CLUSTER}", path],
                   stdout=subprocess.DEVNULL, check=True)
    with open(path, "r+b") as stream:
        offset, clusters = struct.unpack(">QI", stream.read(60)[48:60])
        stream.seek(offset)
        for block, in struct.iter_unpack(">Q", stream.read(clusters * CLUSTER)):
            if block:
                stream.seek(block)
                stream.write(bytes(CLUSTER))
    return path


def test_every_cluster_is_told(uncounted):
    code, page = check(uncounted, "-j")
    shown = json.loads(page)
    assert code == 2 and "problems-omitted" not in shown
    low = [p for p in shown["problems"] if p["id"] == "refcount-low"]
    assert len(low) > CLUSTERS and len(shown["problems"]) == shown["corruptions"]
    places = [(p["cluster-offset"], p["id"]) for p in shown["problems"] if "owners" in p]
    assert len(set(places)) == len(places)
    assert [offset for offset, _ in places] == sorted(offset for offset, _ in places)
    # Behind the last that is kept at first, owners have their names, too.
    theirs = [p for p in low if p["owners"][0]["where"].startswith("snapshots/0/l2/")]
    assert theirs[-1]["cluster-offset"] > CLUSTER << 16
    assert {p["owners"][0]["snapshot"] for p in theirs} == {"before"}


def test_page_has_all(uncounted):
    code, page = check(uncounted)
    text = page.decode("utf-8")
    assert code == 2 and "more (--all" not in text
    total = int(re.search(r"corruption refcount-low \((\d+)\)", text).group(1))
    listed = text[text.index("corruption refcount-low "):].split("\n\n")[0]
    assert total > CLUSTERS and len(re.findall(r"^    0x", listed, re.M)) == total


def test_threads_say_the_same(uncounted):
    assert check(uncounted, "-j", "--threads=1") == check(uncounted, "-j", "--threads=3")


def test_faulty_entries(tmp_path):
    """Entries that break a rule by themselves: a reserved bit in each."""
    path = str(tmp_path / "reserved.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
                    "cluster_size=64k,preallocation=metadata", path, "1G"], check=True)
    with open(path, "r+b") as stream:
        stream.seek(40)
        l1, = struct.unpack(">Q", stream.read(8))
        stream.seek(l1)
        for entry, in struct.iter_unpack(">Q", stream.read(8 * 2)):
            table = entry & 0x00fffffffffffe00
            stream.seek(table)
            entries = [e | 0x2 for e, in struct.iter_unpack(">Q", stream.read(65536))]
            stream.seek(table)
            stream.write(struct.pack(f">{len(entries)}Q", *entries))
    code, page = check(path, "-j")
    shown = json.loads(page)
    assert code == 2 and shown["corruptions"] == len(shown["problems"]) == 16384
    code, page = check(path)
    assert code == 2 and page.count(b"\n    0x") == 16384
