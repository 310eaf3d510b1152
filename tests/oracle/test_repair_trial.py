# SPDX-License-Identifier: MIT
# A few of the trials that repair_trial.py does by the thousand: images that QEMU made are damaged
# and repaired, by "qemu-img check -r all" and by ours.
"""Trials of repair, a few."""
import pytest

from tests.oracle import repair_trial

# 4 KiB, 64 KiB and 512 bytes, both versions, extended entries, narrow refcounts, a data file.
KINDS = (0, 1, 5, 6, 8, 11, 13)
RANDOM = range(40)
OF_A_CLASS = range(3)


@pytest.fixture(scope="module", name="shared")
def made(tmp_path_factory):
    """The folder for trials, and the images that they damage."""
    folder = str(tmp_path_factory.mktemp("trials"))
    return folder, [repair_trial.Base(folder, number, 1000 + number) for number in KINDS]


@pytest.mark.parametrize("name", [None, *repair_trial.CLASSES])
def test_trials_of_repair_have_no_complaint(shared, name):
    folder, bases = shared
    for seed in OF_A_CLASS if name else RANDOM:
        result = repair_trial.one(folder, seed, name, bases, repair_trial.steps_of(name))
        assert not repair_trial.complaints(result), result
