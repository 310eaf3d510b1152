# SPDX-License-Identifier: MIT
"""Runs the named checks; see __main__.py."""
