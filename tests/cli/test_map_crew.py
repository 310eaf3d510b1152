# SPDX-License-Identifier: MIT
# Large maps are made by several threads, each for a piece of the disk: what they print is what one
# thread prints, byte for byte, wherever pieces meet and whatever one thread has to do by itself.
"""The threads of map."""
import importlib.util
import json
import os
import struct
import subprocess

import pytest

from tests.support.programs import QCOW2, RELEASE, TOP, folder

MIB, GIB = 1 << 20, 1 << 30
CLUSTER = 1 << 16
FORMATS = ("-j", "--output=ndjson", "--binary")
# A piece is 16,384 clusters: ranges that begin and end inside clusters, at pieces, and everywhere.
RANGES = ((), ("-s", "1000", "-l", str(3 * GIB + 7)), ("-s", str(GIB - 1), "-l", "2"),
          ("-s", str(GIB), "-l", str(GIB)))


def check_images():
    path = os.path.join(TOP, "bench", "check_images.py")
    spec = importlib.util.spec_from_file_location("check_images", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="scattered", scope="module")
def fixture_scattered():
    images = check_images()
    return images.disk(os.path.join(folder(), "scattered.qcow2"), 32 * GIB, images.scattered)


@pytest.fixture(name="broken", scope="module")
def fixture_broken(scattered):
    """Here and there an entry leads past the end of the file."""
    path = os.path.join(folder(), "broken.qcow2")
    subprocess.run(["cp", "--sparse=always", scattered, path], check=True)
    with open(path, "r+b") as file:
        for number in (0, 100, 8192, 8193, 16383, 16384, 16385, 200000):
            file.seek(2 * CLUSTER + number * 8)
            file.write(struct.pack(">Q", 1 << 63 | 1 << 50))
    return path


@pytest.fixture(name="subclusters", scope="module")
def fixture_subclusters():
    """Some tables have subclusters that alternate, so that the text of a piece gets too long."""
    images = check_images()
    path = images.disk(os.path.join(folder(), "subclusters.qcow2"), 24 * GIB, images.in_order, True)
    with open(path, "r+b") as file:
        for table in (0, 1, 2, 9, 95):
            file.seek((2 + table) * CLUSTER)
            data = file.read(CLUSTER)
            file.seek((2 + table) * CLUSTER)
            file.write(data.replace(b"\0\0\0\0\xff\xff\xff\xff", b"\0\0\0\0\x55\x55\x55\x55"))
    return path


def both(path, *words):
    """What is printed with all processors and with one, which needs no sanitizers."""
    one = ("taskset", "-c", str(min(os.sched_getaffinity(0))), RELEASE)
    done = [subprocess.run([*program, "map", *words, path], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, check=False, timeout=60)
            for program in ((QCOW2,), one)]
    assert done[0].returncode == done[1].returncode and done[0].stderr == done[1].stderr
    assert done[0].stdout == done[1].stdout
    return done[0]


@pytest.mark.parametrize("words", RANGES, ids=" ".join)
@pytest.mark.parametrize("name", ("scattered", "broken", "subclusters"))
def test_same_as_one_thread(request, name, words):
    path = request.getfixturevalue(name)
    assert os.stat(path).st_blocks * 512 >= 4 * MIB, "too small for threads"
    for option in FORMATS if name == "scattered" or words else ("--binary",):
        done = both(path, option, *words)
        assert done.stdout and done.returncode in ((0, 2) if name == "broken" else (0,))


def test_as_qemu(scattered):
    done = subprocess.run(["qemu-img", "map", "--output=json", scattered], stdout=subprocess.PIPE,
                          check=True)
    mine = json.loads(both(scattered, "-j").stdout)
    assert [{k: v for k, v in entry.items() if k != "compressed"} for entry in mine] == \
           json.loads(done.stdout)


def test_output_that_cannot_be_written(scattered):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([QCOW2, "map", "-j", scattered], stdout=full, stderr=subprocess.PIPE,
                              check=False, timeout=60)
    assert done.returncode == 1 and b"standard output" in done.stderr
