# SPDX-License-Identifier: MIT
"""Fixtures that the tests of the command share."""
import shutil

import pytest

from tests.support import shims
from tests.support.bitmaps import TWO
from tests.support.programs import image


@pytest.fixture(name="copy")
def fixture_copy(tmp_path):
    def make(source, name="a.qcow2"):
        return shutil.copyfile(source, str(tmp_path / name))
    return make


@pytest.fixture(name="two")
def fixture_two(copy):
    return copy(image(TWO)[0])


@pytest.fixture(name="shim", scope="session")
def fixture_shim(tmp_path_factory):
    """Makes one call of the system fail."""
    return shims.build("faults", tmp_path_factory.mktemp("shim"))
