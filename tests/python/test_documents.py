# SPDX-License-Identifier: MIT
# What docs/python.md shows works as it stands there.
"""The examples of docs/python.md."""
import os
import pathlib
import re
import shutil

import pytest

import qcow2
from tests.python.common import SAMPLE, read
from tests.support import programs

with open(os.path.join(programs.TOP, "docs", "python.md"), encoding="utf-8") as _page:
    PAGE = _page.read()


def test_examples(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch,
                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(SAMPLE, "disk.qcow2")
    blocks = re.findall("```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) >= 6
    for block in blocks:
        with qcow2.Image("disk.qcow2") as image:
            exec(block, {"qcow2": qcow2, "image": image})  # pylint: disable=exec-used
    assert read("disk.qcow2") == read(SAMPLE)  # the edit was undone
    said = capsys.readouterr().out
    assert said.startswith("16777216\n65536 65536\n1048576 65536\nsound 0\nTrue [(")


def test_the_package_has_the_licence() -> None:
    """The archive is made of the folder python alone."""
    assert read(os.path.join(programs.TOP, "python", "LICENSE")) == \
        read(os.path.join(programs.TOP, "LICENSE"))


def test_all_that_it_names_is_there() -> None:
    """Names of exceptions and of the methods in the first table."""
    for name in re.findall(r"`(\w+Error)`", PAGE):
        assert hasattr(qcow2, name) or name in dir(__builtins__) or \
            isinstance(__builtins__, dict) and name in __builtins__, name
    for name in re.findall(r"`image\.(\w+)", PAGE):
        assert hasattr(qcow2.Image, name), name
    for name in qcow2.__all__:
        assert hasattr(qcow2, name), name
