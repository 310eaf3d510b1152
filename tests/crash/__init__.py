# SPDX-License-Identifier: MIT
"""Runs that are stopped in the middle."""
