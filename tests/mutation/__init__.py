# SPDX-License-Identifier: MIT
"""Changes of the source that a test should notice; tests/runner/mutation.py tries them."""
