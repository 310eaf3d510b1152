# SPDX-License-Identifier: MIT
"""The command from outside."""
