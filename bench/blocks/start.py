# SPDX-License-Identifier: MIT
"""Starting: what commands take on a small image, beside `true`, which does nothing at all."""

import targets
import timing


def run(bench):
    report, path = bench.report, bench.images.ordinary
    commands = [("info", path), ("check", path), ("vet", path), ("map", path), ("--version",)]
    report.title("start: whole processes, an ordinary image", "", "median", "best", "/ true")
    times = timing.side_by_side(
        [["true"], ["qemu-img", "info", path]] + [[bench.qcow2, *words] for words in commands],
        bench.runs * 20)
    nothing, qemu, info = times[0].median, times[1].median, times[2].median
    report.times("true", times[0])
    most, seconds = targets.START, targets.START_SECONDS
    for words, ours in zip(commands, times[2:]):
        note = [report.target(ours.median <= max(seconds, most * nothing),
                              f"{seconds * 1000} ms, or {most} times true")] \
            if words[0] == "info" else []
        report.row(f"qcow2 {words[0]}", f"{ours.median * 1000:.2f} ms",
                   f"{ours.best * 1000:.2f} ms", f"{ours.median / nothing:.1f} x", *note)
    report.row("qemu-img info", f"{qemu * 1000:.2f} ms", f"{times[1].best * 1000:.2f} ms",
               f"{qemu / nothing:.1f} x", f"{qemu / info:.1f} times our info")
