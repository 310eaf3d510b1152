# SPDX-License-Identifier: MIT
# Runs the fuzz targets: briefly for every change, as long as one likes on demand, and over all that
# was found so far to see which lines that reaches. What a target found useful stays in build/fuzz.
"""The checks `fuzz`, `fuzz-long` and `fuzz-coverage`."""
import collections
import concurrent.futures
import glob
import hashlib
import json
import os
import re
import shutil
import time

from tests.runner import builds, report

# Most seeds have 16 KiB at most; images with extended L2 entries have larger clusters.
INPUT_BYTES = 96 << 10
LIMITS = [f"-max_len={INPUT_BYTES}", "-timeout=10", "-rss_limit_mb=1024"]
# Choosing inputs by rare features keeps targets at quick ones. Where nearly every input has features
# of its own, the bookkeeping took half of the time.
MORE = {"repair": ["-entropic=0"]}
# The share of a long run that sanitizers get; they start from what the fast build found.
SANITIZED_SHARE = 4

Run = collections.namedtuple("Run", "build executions seconds edges inputs text failed")


def stamp_of(prefixes):
    """Changes whenever one of the files does."""
    digest = hashlib.sha256()
    for name in report.tracked():
        if name.startswith(prefixes):
            digest.update(name.encode() + b"\0" + report.read(name).encode() + b"\0")
    return digest.hexdigest()


def seeds():
    """The folder of the seeds that are images, forged again if recipes have changed."""
    folder = report.path("build/fuzz/seeds")
    stamp = folder + ".stamp"
    now = stamp_of(("tests/forge/", "tests/fuzz/seeds.py", "tests/fuzz/corpus/image/"))
    if not os.path.exists(stamp) or report.read(stamp) != now:
        shutil.rmtree(folder, ignore_errors=True)
        status, text = report.run(["/usr/bin/python3", "-B", "tests/fuzz/seeds.py", folder])
        if status != 0:
            raise RuntimeError(text)
        with open(stamp, "w", encoding="utf-8") as stream:
            stream.write(now)
    return folder


def seeds_of(name):
    """The folder of a target's seeds: those checked in for it, or else the images."""
    folder = report.path("tests/fuzz/corpus", name)
    return folder if os.path.isdir(folder) else seeds()


def corpus_of(name):
    """The folder of what a target has found useful, from one run to the next."""
    folder = report.path("build/fuzz", name, "corpus")
    os.makedirs(folder, exist_ok=True)
    return folder


def found_of(name):
    return report.path("build/fuzz", name, "found")


def run_target(build, name, seconds):
    """Lets a target fuzz for some seconds; it ends early if it finds something."""
    program = report.path(build, "tests", f"fuzz_{name}")
    start = time.monotonic()
    status, text = report.run(
        [program, *LIMITS, *MORE.get(name, []), f"-artifact_prefix={found_of(name)}/",
         f"-max_total_time={seconds}", "-print_final_stats=1", corpus_of(name), seeds_of(name)],
        env=report.SANITIZERS, timeout=seconds + 120)
    runs = re.findall(r"number_of_executed_units: (\d+)", text)
    last = re.findall(r"cov: (\d+) ft: \d+ corp: (\d+)", text) or [("0", "0")]
    return Run(build, int(runs[-1]) if runs else 0, time.monotonic() - start, int(last[-1][0]),
               int(last[-1][1]), text, status != 0)


def sum_up(name, runs, found):
    """The line of a target."""
    executions, seconds = sum(r.executions for r in runs), sum(r.seconds for r in runs)
    # Sanitizers add edges of their own.
    edges, inputs = max((r.edges, r.inputs) for r in runs if r.build == runs[0].build)
    return (f"{name:13} {executions:>10} executions {executions / max(seconds, 0.1):>8.0f}/s "
            f"{edges:>6} edges {inputs:>6} inputs {found:>3} findings")


def first_line(text):
    """What a sanitizer or libFuzzer says of a failure, in a line, and where."""
    lines = text.splitlines()
    said = [line for line in lines if "ERROR: " in line or "runtime error" in line]
    frames = [line.strip() for line in lines if re.match(r"\s+#\d+ .* in \w+ .*\.c:\d+", line)]
    ours = [f for f in frames if "nptl" not in f and "sysdeps" not in f and "stdlib" not in f]
    return "\n".join(said[:1] + ours[:6]) or text


def begin(name):
    shutil.rmtree(found_of(name), ignore_errors=True)
    os.makedirs(found_of(name))


def fuzz_target(name, seconds):
    """The cases of one target, and its line."""
    program = report.path("build/clang-asan/tests", f"fuzz_{name}")
    begin(name)
    inputs = sorted(glob.glob(os.path.join(seeds_of(name), "*")))
    cases = [(f"{name} has seeds", "" if inputs else f"{seeds_of(name)} is empty")]
    if inputs:
        status, text = report.run([program, *LIMITS, *inputs], env=report.SANITIZERS)
        cases.append((f"{name} over its {len(inputs)} seeds", text or "failed" if status else ""))
    run = run_target("build/clang-asan", name, seconds)
    cases.append((f"{name} for {seconds} s", run.text or "failed" if run.failed else ""))
    return cases, sum_up(name, [run], len(os.listdir(found_of(name))))


def long_target(name, seconds):
    """Goes on after findings until the time is over. The cases of one target, and its line."""
    begin(name)
    runs, failures = [], []
    sanitized = seconds // SANITIZED_SHARE
    for build, share in (("build/fuzz-fast", seconds - sanitized), ("build/fuzz-asan", sanitized)):
        end = time.monotonic() + share
        while (left := int(end - time.monotonic())) > 0 or not runs:
            runs.append(run_target(build, name, max(left, 1)))
            if runs[-1].failed:
                failures.append(first_line(runs[-1].text))
    found = sorted(os.listdir(found_of(name)))
    files = "".join(f"build/fuzz/{name}/found/{file}\n" for file in found)
    said = "\n".join(sorted(set(failures)))
    return ([(f"{name} for {seconds} s", files + said if failures else "")],
            sum_up(name, runs, len(found)))


def names():
    """The targets that FUZZ_TARGETS names, or all."""
    every = [target[len("fuzz_"):] for target in builds.fuzz_targets()]
    wanted = os.environ.get("FUZZ_TARGETS", "").split()
    unknown = [name for name in wanted if name not in every]
    if unknown:
        raise RuntimeError(f"no target {' '.join(unknown)} (there are: {' '.join(every)})")
    return wanted or every


def run_all(out, function, seconds):
    """As many targets at a time as FUZZ_JOBS says, or as there are cores."""
    seeds()
    jobs = int(os.environ.get("FUZZ_JOBS", os.cpu_count()))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for cases, note in pool.map(lambda name: function(name, seconds), names()):
            for case in cases:
                out.case(*case)
            out.note(note)


def check(out):
    run_all(out, fuzz_target, int(os.environ.get("FUZZ_SECONDS", "3")))


def check_long(out):
    run_all(out, long_target, int(os.environ.get("FUZZ_SECONDS", "60")))


def run_over(name, folder):
    """Runs a target once over all its inputs, for the profile that this writes."""
    profile = os.path.join(folder, f"{name}.profraw")
    return report.run([report.path("build/coverage/tests", f"fuzz_{name}"), "-runs=0", *LIMITS,
                       corpus_of(name), seeds_of(name)],
                      env={"LLVM_PROFILE_FILE": profile}, timeout=1800)


def summaries(folder, targets):
    """{file of the tree: (lines, lines reached)} from the profiles in a folder."""
    merged = os.path.join(folder, "all.profdata")
    status, text = report.run(["llvm-profdata", "merge", "-sparse", "-o", merged,
                               *glob.glob(os.path.join(folder, "*.profraw"))])
    if status != 0:
        raise RuntimeError(text)
    first, *rest = [report.path("build/coverage/tests", f"fuzz_{name}") for name in targets]
    status, text = report.run(["llvm-cov", "export", "-summary-only", f"-instr-profile={merged}",
                               first, *[f"-object={program}" for program in rest]])
    if status != 0:
        raise RuntimeError(text)
    found = {}
    for file in json.loads(text[text.index("{"):])["data"][0]["files"]:
        lines = file["summary"]["lines"]
        found[os.path.relpath(file["filename"], report.ROOT)] = (lines["count"], lines["covered"])
    return found


def coverage_lines(files):
    """The report: rooms, then files, each with the lines that were reached."""
    rooms = collections.defaultdict(lambda: [0, 0])
    for name, (count, covered) in files.items():
        room = rooms["/".join(name.split("/")[:2])]
        room[0] += count
        room[1] += covered
    for table in (rooms, files):
        for name, (count, covered) in sorted(table.items()):
            yield f"{100 * covered / max(count, 1):5.1f} % {covered:>6} of {count:>6} lines  {name}"
        yield ""


def check_coverage(out):
    """Prints the rooms; build/fuzz/coverage.txt has the files, too."""
    folder = report.path("build/fuzz/profiles")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    targets = names()
    for name in targets:
        status, text = run_over(name, folder)
        out.case(f"{name} over its inputs", first_line(text) if status else "")
    files = {name: counts for name, counts in summaries(folder, targets).items()
             if name.startswith(("lib/", "cmd/", "include/"))}
    text = "\n".join(coverage_lines(files))
    with open(report.path("build/fuzz/coverage.txt"), "w", encoding="utf-8") as stream:
        stream.write(text)
    for line in text.split("\n\n", maxsplit=1)[0].splitlines():
        out.note(line)
    out.note("each file: build/fuzz/coverage.txt")
