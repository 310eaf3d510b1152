# SPDX-License-Identifier: MIT
"""What of many alike cases is tried by `make test`."""
import os
import re

from tests.support import breadth
from tests.support.programs import TOP


def test_families_are_there():
    """Each is a test with cases, and not thinned under a name that is gone."""
    for family in breadth.FAMILIES:
        file, function = family.split("::")
        with open(os.path.join(TOP, file), encoding="utf-8") as stream:
            assert re.search(rf"@pytest\.mark\.parametrize\([^@]*\ndef {function}\(", stream.read()), family


def test_the_first_of_each_stays(monkeypatch):
    monkeypatch.setattr(breadth, "ALL", False)
    monkeypatch.setattr(breadth, "FAMILIES", {"a::b": 3})
    names = [f"a::b[{number}]" for number in range(5)] + ["a::c[0]", "a::c[1]"]
    assert breadth.thinned(names) == {"a::b[1]", "a::b[2]", "a::b[4]"}
    monkeypatch.setattr(breadth, "ALL", True)
    assert breadth.thinned(names) == set()
