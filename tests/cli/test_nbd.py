# SPDX-License-Identifier: MIT
# Images over NBD: what is said of them is what is said of the file; only the user names them; and a
# server can do no worse than an error.
"""Images over NBD."""
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from tests.forge import build
from tests.support.nbd_server import Server
from tests.support.programs import QCOW2, RELEASE, SAMPLE, recipe_image, tool

ONLY_READ = b"an image over NBD can only be read"


def run(*arguments, program=QCOW2, **more):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, check=False,
                          timeout=60, env={**os.environ, **more})


def refused(done, *words):
    """It failed, printed nothing, and said why in a line."""
    assert done.returncode in (1, 63) and done.stdout == b"" and done.stderr.count(b"\n") == 1, done
    assert any(word.encode() in done.stderr for word in words), done.stderr


@contextlib.contextmanager
def served(*words, until):
    """A server of its own process, which is ended by its number."""
    server = subprocess.Popen(words, stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            if until():
                break
            assert server.poll() is None, server.stderr.read()
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


def nbdkit(folder, image, *words):
    """The socket of a server that is not started yet, and the server."""
    path = str(folder / "nbdkit.socket")
    return path, served(tool("nbdkit"), "--foreground", "--unix", path, "--readonly",
                        *[word for word in words if word.startswith("--")], "file", str(image),
                        *[word for word in words if not word.startswith("--")],
                        until=lambda: os.path.exists(path))


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


LINES = ("info", "info -j", "check -j", "check --deep --threads=2", "map -j", "map", "dump", "dump -j",
         "measure -j", "bitmap list -j", "snapshot list -j", "snapshot space -j", "vet --deep",
         "info --chain", "check --chain", "map --chain", "rescue", "repair --dry-run",
         "locate --guest=0", "hash", "read --hex --guest=0+4K", "compare -j {}")


def told(done, name):
    """What was said, but for the name, how lines are broken, and what is stored of a sparse file."""
    text = done.stdout.decode().replace(f"'{name}'", "NAME").replace(name, "NAME")
    lines = [line for line in text.split("\n") if "on disk" not in line and "actual-size" not in line]
    return done.returncode, "\n".join(lines).split(), done.stderr


def same(line, uri, path, *more):
    """A line says the same of both."""
    there, here = (run(*line.format(path).split(), name, *more) for name in (uri, path))
    assert told(there, uri) == told(here, str(path))
    assert here.returncode in (0, 2, 3) and here.stdout, here


@pytest.fixture(name="sample", scope="module")
def fixture_sample(tmp_path_factory):
    """An image with snapshots and bitmaps: its path, and its name at a server."""
    folder = tmp_path_factory.mktemp("nbd")
    path = folder / "image"
    shutil.copyfile(SAMPLE, path)
    os.truncate(path, (os.path.getsize(path) + 4095) & ~4095)
    name, server = nbdkit(folder, path)
    with server:
        yield path, f"nbd+unix:///?socket={name}"


@pytest.mark.parametrize("line", LINES)
def test_the_same_is_said(sample, line):
    """Also in a whole sandbox, which a build with sanitizers has not."""
    path, uri = sample
    same(line, uri, path)
    done = run(*line.format(uri).split(), uri, program=RELEASE, QCOW2_SANDBOX="require")
    assert done.returncode in (0, 2, 3) and done.stderr == b"", done


def test_more_than_one_image(sample):
    path, uri = sample
    done = run("diff", uri, path, program=RELEASE, QCOW2_SANDBOX="require")
    assert done.returncode == 0 and b"no structure differs" in done.stdout, done
    done = run("check", uri, path, uri, "nbd+unix:///?socket=/nowhere", program=RELEASE,
               QCOW2_SANDBOX="require")
    assert done.returncode == 1 and b"4 images" in done.stdout and b"1 not checked" in done.stdout
    assert done.stderr.count(b"\n") == 1 and b"/nowhere: cannot open over NBD" in done.stderr


@pytest.mark.parametrize("recipe", ["good-snapshots", "bad-l2-table-orphaned", "good-extended-l2-compressed"])
def test_over_tcp(tmp_path, recipe):
    path, port = recipe_image(recipe)[0], free_port()
    with served(tool("nbdkit"), "--foreground", "-i", "127.0.0.1", "-p", str(port), "--readonly", "file",
                path, until=lambda: answers(port)):
        for line in ("info -j", "check -j", "map -j"):
            same(line, f"nbd://127.0.0.1:{port}/", path)
        done = run("check", "--threads=2", f"nbd://127.0.0.1:{port}/any", program=RELEASE,
                   QCOW2_SANDBOX="require")
        assert done.returncode in (0, 2, 3) and done.stderr == b"", done


@pytest.mark.parametrize("least, most", [(4096, 8192), (512, 65536), (65536, 65536)])
def test_block_sizes(tmp_path, least, most):
    """The server refuses what is no whole block, and what is longer than it says."""
    path = tmp_path / "image"
    build("size 64M\ncluster_bits 16\nwrite 0 1M\nwrite 20M 64K\nbitmap b bits=0,1\n", str(path))
    os.truncate(path, (os.path.getsize(path) + 65535) & ~65535)
    name, server = nbdkit(tmp_path, path, "--filter=blocksize-policy", f"blocksize-minimum={least}",
                          f"blocksize-preferred={max(4096, least)}", f"blocksize-maximum={most}",
                          "blocksize-error-policy=error")
    with server:
        for line in ("info -j", "check -j", "map -j", "dump -j", "vet --deep"):
            same(line, f"nbd+unix:///?socket={name}", path)
        same("bitmap extents -j", f"nbd+unix:///?socket={name}", path, "b")


def test_holes_of_a_sparse_image(tmp_path):
    """What the server tells of holes is used: preallocated metadata has them."""
    path, name = tmp_path / "image", str(tmp_path / "socket")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, "8G"],
                   check=True)
    with served("qemu-nbd", "-r", "-f", "raw", "-t", "-k", name, "--shared=8", str(path),
                until=lambda: os.path.exists(name)):
        uri = f"nbd+unix:///?socket={name}"
        same("check -j --threads=2", uri, path)
        theirs = json.loads(subprocess.run(["qemu-img", "map", "--output=json", "-f", "qcow2", uri],
                                           capture_output=True, check=True).stdout)
        # It adds keys from version to version.
        ours = json.loads(run("map", "-j", uri).stdout)
        assert [{key: row[key] for key in theirs[0]} for row in ours] == theirs


def test_nobody_is_there(tmp_path):
    port = free_port()
    for line in LINES[:18:3]:
        refused(run(*line.split(), f"nbd://127.0.0.1:{port}/x"), "Connection refused")
        refused(run(*line.split(), f"nbd+unix:///?socket={tmp_path}/nothing"), "No such file")


def test_wrong_export(tmp_path):
    name = str(tmp_path / "socket")
    with served("qemu-nbd", "-r", "-f", "raw", "-t", "-x", "right", "-k", name, SAMPLE,
                until=lambda: os.path.exists(name)):
        refused(run("info", f"nbd+unix:///wrong?socket={name}"), "wrong")
        assert run("info", f"nbd+unix:///right?socket={name}").returncode == 0


@pytest.mark.parametrize("uri, word", [
    ("nbds://127.0.0.1/x", "NBD with TLS (nbds:) is not supported"),
    ("nbds+unix:///?socket=/x", "NBD with TLS (nbds:) is not supported"),
    ("nbd+unix:///", "socket"), ("nbd://:::/", "cannot open over NBD"),
    ("nbd+unix:///?socket=" + "x" * 300, "cannot open over NBD"),
    ("NBD://127.0.0.1/x", "cannot open: No such file"), ("nbd:127.0.0.1:1", "only files are read"),
    ("nbd+vsock://1/", "cannot open: No such file"), ("nbd+ssh://x/", "cannot open: No such file")])
def test_names_that_are_refused(uri, word):
    refused(run("info", uri), word)


@pytest.mark.parametrize("how", ["silent", "half-way", "hang"])
def test_hanging_servers(tmp_path, how):
    with open(SAMPLE, "rb") as image, Server(tmp_path, image.read(), how, after=4) as server:
        runs = [subprocess.Popen([RELEASE, *line.split(), "--time-limit=1", server.uri],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                for line in ("check", "check --threads=4", "dump", "map")]
        for each in runs:
            out, err = each.communicate(timeout=60)
            assert each.returncode == 1 and out == b"", (out, err)
            assert err.endswith(b"the time limit of 1 s is over\n") and err.count(b"\n") == 1, err


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("how", ["error", "junk", "dies", "short", "long", "elsewhere", "torn"])
def test_broken_servers(tmp_path, how, after):
    """From some read on. What was read before gives no half page."""
    with open(SAMPLE, "rb") as image, Server(tmp_path, image.read(), how, after) as server:
        for line in ("info", "check --threads=1"):
            server.reads = 0
            done = run(*line.split(), server.uri)
            assert server.reads > after, line
            refused(done, "cannot read", "Input/output error", "Connection reset")


@pytest.mark.parametrize("how", ["closed", "noise"])
def test_what_is_no_server(tmp_path, how):
    with Server(tmp_path, b"", how) as server:
        for line in ("info", "check", "vet", "map --chain"):
            refused(run(*line.split(), server.uri), "cannot open over NBD")


@pytest.mark.parametrize("how", ["simple", "blocks", "no-length", "tiny", "long-hole"])
def test_odd_servers(tmp_path, how):
    """What they say of holes and blocks is of no use, and does no harm."""
    with open(SAMPLE, "rb") as image, Server(tmp_path, image.read(), how) as server:
        for line in ("info -j", "check -j", "map -j"):
            same(line, server.uri, SAMPLE)


@pytest.mark.parametrize("size, word", [((1 << 63) - 1, "the file has more than 2^48 clusters"), (0, "the file is empty"), (1 << 63, "larger than 2^63 - 1 bytes"),
                                        ((1 << 64) - 1, "larger than 2^63 - 1 bytes")])
def test_sizes_that_are_refused(tmp_path, size, word):
    with open(SAMPLE, "rb") as image, Server(tmp_path, image.read(), size=size) as server:
        refused(run("check", server.uri), word)


def test_a_large_size(tmp_path):
    """Memory is bounded by what is used, not by what a server claims."""
    with open(SAMPLE, "rb") as image, Server(tmp_path, image.read(), "tiny", size=1 << 59) as server:
        for line in ("info", "check", "map"):
            done = run(*line.split(), server.uri, program=RELEASE, QCOW2_MEMORY_LIMIT="128M")
            assert done.returncode in (0, 2, 3) and done.stderr == b"", done
            assert server.questions < 2000


@pytest.mark.parametrize("name", ["{}", "json:{{\"file.filename\":\"{}\"}}", "file:{}",
                                  "json:{{\"driver\":\"nbd\",\"path\":\"{}\"}}"])
def test_what_an_image_names_is_not_opened(tmp_path, name):
    """As a backing file in any spelling: no connection is made."""
    with open(SAMPLE, "rb") as image, Server(tmp_path, image.read()) as server:
        path = tmp_path / "image"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "qcow2", "-b",
                        name.format(server.uri), path, "1M"], check=True)
        for line in ("info --chain", "check --chain", "map --chain", "bitmap list --chain",
                     "measure --chain", "hash --chain", "read --chain --guest=0+512"):
            done = run(*line.split(), path)
            assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done
        for line in ("info", "check", "map", "vet --policy=chain", "repair --dry-run", "rescue"):
            run(*line.split(), path)
        assert server.connections == 0


def test_a_data_file_is_not_opened(tmp_path):
    with Server(tmp_path, bytes(1 << 20)) as server:
        path = tmp_path / "image"
        build(f"size 1M\ndata_file {server.uri} absent\nwrite 0 64K\n", str(path))
        for line in ("hash --chain", "compare --chain {}", "read --chain --guest=0+512", "info --chain", "map --chain", "check --chain", "check --deep", "measure"):
            run(*line.format(path).split(), path)
        assert server.connections == 0


@pytest.mark.parametrize("line", ["info --chain", "check --chain", "map --chain", "bitmap list --chain",
                                  "hash --chain"])
def test_names_in_images_over_nbd(tmp_path, line):
    """They mean files of the server's machine: even one that is here, too, is not opened."""
    base, path = tmp_path / "base", tmp_path / "image"
    build("size 1M\n", str(base))
    build(f"size 1M\nbacking {base} qcow2\nbitmap b bits=0\n", str(path))
    assert run(*line.split(), path).returncode == 0
    with open(path, "rb") as image, Server(tmp_path, image.read()) as server:
        done = run(*line.split(), server.uri)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done
        assert b"read over NBD: its backing file was not followed" in done.stderr


@pytest.mark.parametrize("line", [
    "edit {} set header/refcount_order=4", "repair {}", "bitmap add {} new", "bitmap repair {}",
    "rescue --apply {}", "compat {} set-header version 3"])
def test_edits_are_refused(sample, line):
    path, uri = sample
    before = path.read_bytes()
    done = run(*line.format(uri).split())
    assert done.returncode == 1 and done.stdout == b"" and ONLY_READ in done.stderr, done
    assert path.read_bytes() == before


def test_lists_name_no_servers(tmp_path):
    """A list is made of names of files, which may be anybody's."""
    with Server(tmp_path, b"") as server:
        (tmp_path / "list").write_text(server.uri + "\n", encoding="ascii")
        done = run("vet", f"--files-from={tmp_path}/list")
        assert done.returncode == 1 and b"only opened if the command line names it" in done.stdout + done.stderr
        for choice in ("off", "try"):
            run("vet", f"--files-from={tmp_path}/list", QCOW2_SANDBOX=choice, program=RELEASE)
        assert server.connections == 0


def test_a_file_of_such_a_name(tmp_path):
    os.mkdir(tmp_path / "nbd:")
    shutil.copyfile(SAMPLE, tmp_path / "nbd:" / "image")
    done = subprocess.run([QCOW2, "info", "./nbd://image"], cwd=tmp_path, capture_output=True, check=False,
                          timeout=60)
    assert done.returncode == 0 and done.stderr == b"", done
    done = subprocess.run([QCOW2, "info", "nbd://127.0.0.1:1/image"], cwd=tmp_path, capture_output=True,
                          check=False, timeout=60)
    refused(done, "Connection refused")


def test_without_memory_for_the_library(sample):
    """libnbd is loaded when it is needed, and that it cannot be is an error like any other."""
    refused(run("info", sample[1], program=RELEASE, QCOW2_MEMORY_LIMIT="200k"), "memory", "libnbd")
    done = subprocess.run(["ldd", RELEASE], capture_output=True, check=True)
    assert b"nbd" not in done.stdout and b"gnutls" not in done.stdout


def test_advice_names_the_server(tmp_path):
    """A line to copy has the name as it is, without ./ in front."""
    with open(recipe_image("bad-l2-table-orphaned")[0], "rb") as image, \
            Server(tmp_path, image.read()) as server:
        done = run("check", server.uri)
        assert done.returncode in (2, 3) and f"'{server.uri}'".encode() in done.stdout, done
        assert b"./" not in done.stdout
