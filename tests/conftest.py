# SPDX-License-Identifier: MIT
"""Every JSON output of the command that a test sees is held to its schema; folders of tests."""
import shutil

import pytest

from tests.support import schemas

schemas.watch()


@pytest.fixture(name="tmp_path")
def fixture_tmp_path(tmp_path):
    """What a test leaves behind is not kept: all together it is gigabytes."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)
