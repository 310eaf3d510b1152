# SPDX-License-Identifier: MIT
"""Every JSON output of the command that a test sees is held to its schema."""
from tests.support import schemas

schemas.watch()
