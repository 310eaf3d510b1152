# SPDX-License-Identifier: MIT
# What any answer of the command must be like, and which recipes are too large to ask for all of them.
"""Promises that hold for every run."""
import os
import re

from tests.support.programs import TOP

# Their bulk tables claim gigabytes, or make a document that takes long to parse: what these recipes
# show is in the headers. That dumping all of them stays bounded is shown in test_dump_bounds.py.
TOO_LARGE = {
    "bad-hostile-bitmap-names-equal", "bad-hostile-bitmaps-65535", "bad-hostile-bitmaps-65536",
    "bad-hostile-shared-bitmap-table", "bad-hostile-sparse-bitmap-table",
    "bad-hostile-sparse-directory", "bad-hostile-sparse-l1", "bad-hostile-sparse-reftable",
    "bad-hostile-sparse-snapshots", "good-cluster-1m", "good-cluster-2m",
    "good-hostile-extensions-262130", "good-hostile-shared-l2-2m", "good-warn-cluster-bits-22",
    "good-warn-l1-too-large", "good-warn-reftable-too-large", "good-warn-snapshot-l1-too-large",
}
# What is no image of a version that is known: all commands end with exit code 1.
NO_IMAGE = {
    "bad-empty-file", "bad-header-truncated-magic", "bad-header-truncated-v2",
    "bad-header-truncated-v3", "bad-magic", "bad-not-qcow2", "bad-three-bytes", "bad-zeros",
    "unsupported-version-0", "unsupported-version-1", "unsupported-version-4",
    "unsupported-version-max",
}
CONTROL = bytes(b for b in range(32) if b != 10) + b"\x7f"
SANITIZER = re.compile(rb"AddressSanitizer|LeakSanitizer|runtime error")


def sane(done):
    """The promises of any run; those of a failure are that it says why, and nothing else."""
    failed = (1, 63) if "check" in done.args else (1,)
    assert not SANITIZER.search(done.stderr), done.stderr.decode(errors="replace")
    assert done.returncode in (0, 1, 2, *failed), done
    assert not done.stderr.translate(None, bytes(set(range(256)) - set(CONTROL))), done.stderr
    if done.returncode in failed:
        assert done.stdout == b""
        assert len(done.stderr.decode().splitlines()) == 1
        assert os.fsencode(os.path.basename(done.args[-1])) in done.stderr or \
            b".qcow2" in done.stderr


def text_is_safe(text):
    text.decode("utf-8")
    assert not text.translate(None, bytes(set(range(256)) - set(CONTROL)))
    # C1 control characters and directional overrides are two and three bytes of UTF-8
    assert not re.search(rb"\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]", text)


def listed_problems():
    with open(os.path.join(TOP, "include/qcow2/def/problems.def"), encoding="utf-8") as stream:
        return set(re.findall(r'^QCOW2_PROBLEM\(\d+, \w+, "([^"]+)"', stream.read(), re.M))
