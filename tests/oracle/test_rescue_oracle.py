# SPDX-License-Identifier: MIT
# A bounded number of the trials of rescue_trial.py, which has to be run by hand for more.
"""Images that QEMU made come back whole when their header is lost."""
from tests.oracle import rescue_trial


def test_headers_come_back():
    outcomes = rescue_trial.trials(10, first=500)
    assert all(outcome["whole"] for outcome in outcomes), outcomes
    assert all(outcome["clean"] or "bitmaps" in outcome["kinds"] for outcome in outcomes), outcomes
