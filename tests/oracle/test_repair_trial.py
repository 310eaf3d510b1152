# SPDX-License-Identifier: MIT
# A few of the trials that repair_trial.py does by the thousand: images that QEMU made are damaged
# and repaired, by "qemu-img check -r all" and by ours.
"""Trials of repair, a few."""
import random
import tempfile

import pytest

from tests.oracle import heavy_trial, repair_trial

# 4 KiB, 64 KiB and 512 bytes, both versions, extended entries, narrow refcounts, a data file.
KINDS = (0, 1, 5, 6, 8, 11, 13)
RANDOM = range(32)
OF_A_CLASS = range(3)
HEAVY = range(8)


@pytest.fixture(scope="module", name="shared")
def made():
    """A folder in memory for trials, and the images that they damage."""
    with tempfile.TemporaryDirectory(prefix="repair-trial-", dir="/dev/shm") as folder:
        yield folder, [repair_trial.Base(folder, number, 1000 + number) for number in KINDS]


@pytest.mark.parametrize("name", [None, *repair_trial.CLASSES])
def test_trials_of_repair_have_no_complaint(shared, name):
    folder, bases = shared
    for seed in OF_A_CLASS if name else RANDOM:
        result = repair_trial.one(folder, seed, name, bases, repair_trial.steps_of(name))
        assert not repair_trial.complaints(result), result


def test_trials_with_heavy_damage_have_no_complaint(shared):
    folder, bases = shared
    for seed in HEAVY:
        result, _ = heavy_trial.one(folder, random.Random(seed), bases)
        assert not result["said"], (seed, result)
