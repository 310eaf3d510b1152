# SPDX-License-Identifier: MIT
# The house rules as checks; tests/run calls them by name.
