# SPDX-License-Identifier: MIT
# Images that qemu-img makes are accepted, from a file and from a pipe: no estimate of vet may take an
# honest image for an attack.
"""Vetting of what QEMU itself makes."""
import os
import subprocess

import pytest

from tests.support.programs import QCOW2, RELEASE, run

# Options, size, what is written where, and what else is done.
MADE = [
    ("", "40G", ["write 0 1M", "write 39G 64k"], []),
    ("", "20T", ["write 0 64k", "write 10T 64k", "write 19T 64k"], []),
    ("compat=0.10", "10G", ["write 5G 64k"], ["snapshot", "-c", "a"]),
    ("cluster_size=512", "1G", ["write 0 256k", "write 900M 64k"], []),
    ("cluster_size=2M", "60G", ["write 1M 3M", "write 55G 1M"], []),
    ("cluster_size=1M,extended_l2=on", "60G", ["write 1M 3M", "write 55G 1M"], []),
    ("extended_l2=on", "200G", ["write 1M 3k", "write 199G 1M", "write -z 100G 64k"], []),
    ("preallocation=metadata", "40G", ["write 0 64k"], []),
    ("preallocation=falloc", "64M", [], []),
    ("refcount_bits=1", "10G", ["write 0 1M"], []),
    ("refcount_bits=64,lazy_refcounts=on", "10G", ["write 0 1M"], ["snapshot", "-c", "a"]),
    ("compression_type=zstd", "10G", ["write -c 0 64k", "write -c 9G 64k"], []),
    ("", "100G", ["write 0 1M"], ["bitmap", "--add", "-g", "64k", "b"]),
]


def qemu(*words):
    subprocess.run(words, check=True, timeout=60, stdout=subprocess.DEVNULL)


def with_file(words, path):
    """The words of qemu-img, with the image where it expects it."""
    return [*words[:-1], path, words[-1]] if words[0] == "bitmap" else [*words, path]


@pytest.mark.parametrize("options, size, writes, more", MADE)
def test_what_qemu_makes_is_accepted(options, size, writes, more, tmp_path):
    path = tmp_path / "image.qcow2"
    qemu("qemu-img", "create", "-q", "-f", "qcow2", *(["-o", options] if options else []), path, size)
    if writes:
        qemu("qemu-io", *[word for line in writes for word in ("-c", line)], path)
    if more:
        qemu("qemu-img", *with_file(more, path))
    for policy in ("upload", "strict"):
        done = run("vet", f"--policy={policy}", path)
        assert done.returncode == 0, done.stdout
    if os.path.getsize(path) > 256 << 20:
        return  # the pipe would take longer than all else
    with open(path, "rb") as stream, subprocess.Popen(
            ["cat"], stdin=stream, stdout=subprocess.PIPE) as cat:
        done = subprocess.run([RELEASE or QCOW2, "vet", "-"], stdin=cat.stdout, check=False, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done
