# SPDX-License-Identifier: MIT
"""Everything that tests the library and the command."""
