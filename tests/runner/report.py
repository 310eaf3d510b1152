# SPDX-License-Identifier: MIT
# What every check shares: where the tree is, running programs, and counting what passed and failed.
"""Counting and running, for the checks that tests/run calls."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


class Report:
    """Collects the test cases of one check and prints them as they come."""

    def __init__(self, name, verbose=False):
        self.name = name
        self.kind = ""
        self.verbose = verbose
        self.passed = 0
        self.failed = 0

    def ok(self, case):
        self.passed += 1
        if self.verbose:
            print(f"  ok    {case}", flush=True)

    def bad(self, case, why=""):
        self.failed += 1
        print(f"  FAIL  {case}", flush=True)
        for line in str(why).rstrip().splitlines()[-40:]:
            print(f"        {line}", flush=True)

    def case(self, case, why):
        """One test case: it failed if `why` says anything."""
        if why:
            self.bad(case, why)
        else:
            self.ok(case)

    def note(self, text):
        print(f"  {text}", flush=True)


def path(*parts):
    return os.path.join(ROOT, *parts)


def run(command, env=None, timeout=600, cwd=ROOT, stdin=None, preexec_fn=None):
    """Runs a program; returns (exit status, stdout + stderr as text). A timeout is status 124."""
    full = dict(os.environ)
    full.update(env or {})
    try:
        done = subprocess.run(command, cwd=cwd, env=full, timeout=timeout, input=stdin,
                              stdin=None if stdin is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              preexec_fn=preexec_fn)
    except subprocess.TimeoutExpired as late:
        return 124, (late.output or b"").decode("utf-8", "replace") + f"\nno end after {timeout} s"
    except FileNotFoundError as error:
        return 127, str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def tracked():
    """Every file of the tree that is or will be in git, relative to its top, sorted."""
    status, text = run(["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"])
    if status != 0:
        found = []
        for folder, folders, files in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in (".git", "build", "__pycache__")]
            found += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
        return sorted(found)
    return sorted(f for f in set(text.splitlines()) if os.path.isfile(path(f)))


def read(name):
    with open(path(name), encoding="utf-8", errors="replace") as stream:
        return stream.read()


def shell_files(files):
    found = []
    for name in files:
        if name.endswith(".sh") or ("." not in os.path.basename(name) and
                                    re.match(r"#!.*\b(ba|da)?sh\b", first_line(name))):
            found.append(name)
    return found


def first_line(name):
    with open(path(name), "rb") as stream:
        return stream.readline(200).decode("utf-8", "replace")


def without_comments(text):
    """C text with comments and the inside of strings blanked; the lines keep their numbers."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        found = match.group(0)
        if found[0] in "\"'":
            return found[0] + " " * (len(found) - 2) + found[0]
        return re.sub(r"[^\n]", " ", found)

    return pattern.sub(blank, text)
