# SPDX-License-Identifier: MIT
"""Against QEMU's tools."""
