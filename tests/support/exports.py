# SPDX-License-Identifier: MIT
# What the tests of qcow2 export share: the disk as qemu-img reads it, and the reader of docs/export.md.
"""Exports, their streams and manifests."""
import io
import json
import os
import re
import subprocess

from tests.support import schemas
from tests.support.programs import TOP, run

K, M = 1 << 10, 1 << 20


def exported(*words, code=0):
    """The document about an export that could be done."""
    done = run("export", "-j", *words)
    assert done.returncode == code, done
    return json.loads(done.stdout)


def refused(*words, says):
    """The one line of an export that could not be done."""
    done = run("export", *words)
    assert done.returncode == 1 and done.stdout == b"", done
    assert says in done.stderr.decode(), done
    return done.stderr.decode()


def content(path, *words):
    """What the guest reads, as qemu-img says."""
    target = f"{path}.content"
    subprocess.run(["qemu-img", "convert", "-q", *words, "-O", "raw", path, target], check=True,
                   stderr=subprocess.DEVNULL)
    with open(target, "rb") as stream:
        found = stream.read()
    os.unlink(target)
    return found


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def write(path, data):
    with open(path, "wb") as stream:
        stream.write(data)
    return str(path)


def manifest(path):
    """A manifest that keeps to the schema."""
    document = json.loads(read(path))
    wrong = schemas.validator("export", "manifest")(document, "")
    assert not wrong, wrong
    return document


def _load():
    with open(os.path.join(TOP, "docs", "export.md"), encoding="utf-8") as stream:
        source = re.search(r"^```python\n(.*?)^```$", stream.read(), re.M | re.S)[1]
    found = {}
    exec(compile(source, "docs/export.md", "exec"), found)  # pylint: disable=exec-used
    return found["load"]


def load(stream, before=b""):
    """What the reader of the document makes of a stream."""
    target = io.BytesIO(before)
    # As a file, which truncate() makes longer, too.
    target.truncate = lambda size: (target.seek(0, 2), target.write(bytes(max(0, size - target.tell()))))
    _load()(io.BytesIO(stream), target)
    return target.getvalue()
