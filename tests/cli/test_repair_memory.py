# SPDX-License-Identifier: MIT
# How much memory `qcow2 repair` takes on images that are made to cost it much: about that of a check,
# and of what it plans, of which 64 MiB stay in memory.
"""Peak memory of repairs."""
import resource
import struct

import pytest

from tests.support.measure import peak
from tests.support.programs import RELEASE, recipe_image, run

MIB = 1 << 20
CLUSTER = 2 * MIB
COPIES = 64


def limited_memory():
    resource.setrlimit(resource.RLIMIT_AS, (600000 << 10, 600000 << 10))


def test_many_bitmaps_in_little_memory():
    """A cluster for each of 20,000 bitmaps would be 1.2 GiB; more than can be planned is left."""
    path, _ = recipe_image("bad-hostile-bitmap-names-equal")
    done = run("repair", "-n", "--all", path, program=RELEASE, preexec_fn=limited_memory)
    assert done.returncode == 2 and not done.stderr, done.stderr


@pytest.mark.parametrize("name, options, most", [
    ("bad-hostile-bitmap-names-equal", ["--all"], 80),
    ("bad-hostile-bitmap-names-equal", [], 48),
    ("bad-hostile-sparse-snapshots", [], 48),
])
def test_peak(name, options, most):
    path, _ = recipe_image(name)
    code, memory, _ = peak("repair", "-n", *options, path)
    assert code in (0, 2) and memory <= most * MIB


def shared_clusters(path):
    """Two L2 entries lead to each of 64 clusters, and refcounts of one bit: the repair copies 128 MiB."""
    data = range(5, 5 + COPIES)
    header = struct.pack(">IIQIIQIIQQIIQQQQII", 0x514649fb, 3, 0, 0, 21, 4 * COPIES * CLUSTER, 0, 1,
                         3 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, 0, 104)
    entries = b"".join(struct.pack(">Q", i * CLUSTER | 1 << 63) for i in [*data, *data])
    with open(path, "wb") as stream:
        for cluster, content in enumerate((
                header, struct.pack(">Q", 2 * CLUSTER), b"\xff" * 8 + b"\x1f",
                struct.pack(">Q", 4 * CLUSTER | 1 << 63), entries)):
            stream.seek(cluster * CLUSTER)
            stream.write(content)
        for cluster in data:
            stream.seek(cluster * CLUSTER)
            stream.write(b"data" * (CLUSTER // 4))


def test_a_dry_run_keeps_its_plan_in_a_file(tmp_path, monkeypatch):
    path, folder = tmp_path / "disk.qcow2", tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    shared_clusters(path)
    before = path.read_bytes()[:5 * CLUSTER]
    code, memory, _ = peak("repair", "-n", path)
    assert code == 0 and memory <= 96 * MIB
    assert path.read_bytes()[:5 * CLUSTER] == before
    assert list(folder.iterdir()) == [] and sorted(tmp_path.iterdir()) == [path, folder]
