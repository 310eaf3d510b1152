# SPDX-License-Identifier: MIT
# A few of the trials that repair_trial.py does by the thousand.
"""Repair against qemu-img check -r all, on damaged images that QEMU made."""
import pytest

from tests.oracle import repair_trial
from tests.oracle.repair_trial import CLASSES, REPAIR, RESCUE

RANDOM = range(12)


@pytest.fixture(name="folder", scope="module")
def fixture_folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("trials"))


@pytest.fixture(name="bases", scope="module")
def fixture_bases(folder):
    return repair_trial.make_bases(folder, len(repair_trial.KINDS), 1)


@pytest.mark.parametrize("name", [None, *CLASSES])
def test_trials(name, folder, bases):
    """Nothing that can be read is lost, and what qemu-img makes clean is clean."""
    steps = RESCUE if name in ("header", "l1") else REPAIR
    for seed in RANDOM if name is None else range(2):
        result = repair_trial.one(folder, seed, name, bases, steps)
        assert repair_trial.complaints(result) == [], result
