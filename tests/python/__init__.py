# SPDX-License-Identifier: MIT
"""The binding of the library to Python, from the wheel that is installed: tests/run python."""
