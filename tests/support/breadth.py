# SPDX-License-Identifier: MIT
"""How much of what is alike the tests try.

Some tests try one thing in many ways: recipes, seeds, sizes. All of that takes longer than people wait
for `make test`, so that it takes a part of it there, always the same. `tests/run breadth` takes all.
Nothing is thinned that alone reaches a row of a table, a code or an option.
"""
import os

ALL = os.environ.get("BREADTH") == "all"

# One case of so many, by file and function. The first is always one of them.
FAMILIES = {
    "tests/cli/test_bitmap.py::test_hostile_lists": 3,
    "tests/cli/test_check.py::test_page": 3,
    "tests/cli/test_check.py::test_threads": 3,
    "tests/cli/test_compat_model.py::test_good_recipes": 2,
    "tests/cli/test_dump_bounds.py::test_hostile_recipes": 2,
    "tests/cli/test_edit.py::test_edit_and_undo_is_nothing": 3,
    "tests/cli/test_layout.py::test_adds_up": 3,
    "tests/cli/test_locate.py::test_bounds": 3,
    "tests/cli/test_map.py::test_hostile": 2,
    "tests/crash/test_crash.py::test_failing_system": 2,
    "tests/crash/test_crash.py::test_killed_bitmap_change": 2,
    "tests/crash/test_crash.py::test_killed_edit": 2,
    "tests/crash/test_crash.py::test_killed_undo": 2,
    "tests/oracle/test_bitmap_oracle.py::test_actions_are_qemus": 3,
    "tests/oracle/test_bitmap_oracle.py::test_extents_are_qemus": 4,
    "tests/oracle/test_map_oracle.py::test_random": 3,
    "tests/oracle/test_mapping_oracle.py::test_map": 4,
    "tests/oracle/test_repair_oracle.py::test_misled": 3,
    "tests/oracle/test_secret_oracle.py::test_ciphers": 3,
}


def rounds(variable, some, many):
    """How many rounds a test at random takes: as the environment says, or `some`, or all of them."""
    return int(os.environ.get(variable, many if ALL else some))


def thinned(names):
    """Which of these are left out: names of cases in their order, FILE::FUNCTION[CASE]."""
    seen, left_out = {}, []
    for name in names:
        family = name.split("[")[0]
        seen[family] = seen.get(family, -1) + 1
        if not ALL and seen[family] % FAMILIES.get(family, 1):
            left_out.append(name)
    return set(left_out)
