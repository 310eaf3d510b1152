# SPDX-License-Identifier: MIT
# Dates of snapshots are unsigned seconds of 32 bits: the whole range is shown, on machines too whose own
# time has 32 bits and a sign.
"""Dates in dump and info."""
import json

import pytest

from tests.support.programs import document, image, run

DATES = {0: "1970-01-01 00:00:00 UTC", (1 << 31) - 1: "2038-01-19 03:14:07 UTC",
         1 << 31: "2038-01-19 03:14:08 UTC", (1 << 32) - 1: "2106-02-07 06:28:15 UTC"}


@pytest.mark.parametrize("seconds", DATES)
def test_snapshots(seconds):
    path = image(f"size 1M\nsnapshot 1 name=one date={seconds}\n")[0]
    assert DATES[seconds] in run("dump", path, "snapshots").stdout.decode()
    assert DATES[seconds] in run("info", path).stdout.decode()
    assert document(path, "snapshots")["snapshots"][0]["date_sec"] == seconds
    shown = json.loads(run("info", "--output=json", path).stdout)
    assert shown["snapshots"][0]["date-sec"] == seconds
