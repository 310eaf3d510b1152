# SPDX-License-Identifier: MIT
# The declarations come from the public headers when the package is built; here it is shown that nothing
# of them got lost on the way.
"""What the extension module knows of the library."""
import os
import re

from qcow2._native import ffi, lib
from tests.support import programs

INCLUDE = os.path.join(programs.TOP, "include", "qcow2")


def headers() -> str:
    """The text of all headers, without comments."""
    found = []
    for name in sorted(os.listdir(INCLUDE)):
        if name.endswith(".h"):
            with open(os.path.join(INCLUDE, name), encoding="utf-8") as stream:
                found.append(stream.read())
    return re.sub(r"/\*.*?\*/", " ", "\n".join(found), flags=re.S)


def test_every_function_that_is_exported() -> None:
    with open(os.path.join(programs.TOP, "lib", "libqcow2.map"), encoding="utf-8") as stream:
        names = re.findall(r"^\s+(qcow2_\w+);", stream.read(), re.M)
    assert len(names) > 200
    assert not [name for name in names if not hasattr(lib, name)]


def test_every_structure_has_its_members() -> None:
    """As far as they are written in one place: others come from lists."""
    count = 0
    for name, body in re.findall(r"struct (qcow2_\w+) \{([^{}#]*)\}", headers()):
        members = dict(ffi.typeof(f"struct {name}").fields or [])
        for line in body.split(";"):
            plain = re.sub(r"\[.*?\]|\(\*(\w+)\)\(.*", r" \1", line, flags=re.S).split(",")
            if line.strip():
                wanted = [re.findall(r"\w+", part)[-1] for part in plain]
                assert set(wanted) <= members.keys(), (name, wanted)
                count += len(wanted)
    assert count > 300


def test_every_constant() -> None:
    text = headers()
    for name, value in re.findall(r"^#define (QCOW2_[A-Z0-9_]+) +(0x[0-9a-f]+U?|[0-9]+|UINT\w+)\n", text,
                                  re.M):
        known = {"UINT64_MAX": 2 ** 64 - 1, "UINT32_MAX": 2 ** 32 - 1}
        assert getattr(lib, name) == (known[value] if value in known else int(value.rstrip("U"), 0))
    for name, value in re.findall(r"^\s(QCOW2_\w+) = (-?\d+),", text, re.M):
        assert getattr(lib, name) == int(value), name
