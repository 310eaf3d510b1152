# SPDX-License-Identifier: MIT
"""The parts of the forge, one module for each kind of on-disk structure.

Nothing here shares code or tables with the C library: both were written from
the format specification, so that each can catch the other's mistakes.
"""
