# SPDX-License-Identifier: MIT
# The pages build and format without a warning, fit a terminal, and say of each command exactly the
# options that its --help says, both ways. The completion knows the same options.
"""The check `man`."""
import glob
import os
import re

from tests.runner import report

QCOW2 = report.path("build/release/cmd/qcow2")
BUILT = report.path("build/release/man")
COLUMNS = 80


def options_in_help(text):
    """Options that a --help text lists: those a line begins with."""
    found = set()
    for line in text.splitlines():
        match = re.match(r"\s+(-\w|--[\w-]+)", line)
        if match:
            head = re.split(r"\s{2,}", line.strip())[0]
            found.update(re.findall(r"(?<![\w-])(--[a-z0-9][\w-]*|-\w)(?![\w-])", head))
    return found


def options_in_page(text):
    """Options that an scdoc page describes: bold words at the start of a line, -x or --long."""
    found = set()
    for line in text.splitlines():
        if re.match(r"\*-", line):
            for bold in re.findall(r"\*(-[^*]+)\*", line):
                found.update(re.findall(r"(?<![\w-])(--[a-z0-9][\w-]*|-\w)(?![\w-])",
                                        bold.replace("\\", "")))
    return found


def commands_in_help(text):
    """The words after a Commands heading, one a line."""
    found = []
    inside = False
    for line in text.splitlines():
        if re.match(r"(?i)\s*commands?\b.*:\s*$", line):
            inside = True
        elif inside and re.match(r"\s+([a-z][\w-]*)\s{2,}", line):
            found.append(line.split()[0])
        elif inside and line and not line[0].isspace():
            inside = False
    return found


def check_pages(out):
    pages = sorted(glob.glob(report.path("man/*.scd"))) + [os.path.join(BUILT,
                                                                       "qcow2-format.5.scd")]
    for page in pages:
        name = os.path.basename(page)[:-4]
        if not os.path.exists(page):
            out.bad(f"page {name}", f"{page} is not there")
            continue
        with open(page, "rb") as stream:
            source = stream.read()
        status, text = report.run(["sh", "-c", "scdoc >/dev/null"], stdin=source)
        out.case(f"scdoc {name}", text or "failed" if status or text else "")
        roff = os.path.join(BUILT, name)
        status, text = report.run(["sh", "-c", 'man --warnings -E UTF-8 -l -Tutf8 -Z "$1" >/dev/null',
                                   "sh", roff], env={"MANROFFSEQ": "", "MANWIDTH": "80",
                                                     "LC_ALL": "C.UTF-8"})
        out.case(f"man {name}", text or "failed" if status or text else "")
        status, text = report.run(["sh", "-c", 'man -E UTF-8 -l "$1" | col -bx', "sh", roff],
                                  env={"MANWIDTH": str(COLUMNS), "LC_ALL": "C.UTF-8"})
        long = [line for line in text.splitlines() if len(line) > COLUMNS]
        out.case(f"width of {name}", "\n".join(long) if text else "nothing is shown")


def compare(out, command, helped, paged):
    wrong = [f"{option}: --help lists it, the page does not" for option in helped - paged]
    wrong += [f"{option}: the page lists it, --help does not" for option in paged - helped]
    out.case(f"{command}: {len(helped)} options", "\n".join(sorted(wrong)) if helped else "none")


def check_options(out, completion):
    status, text = report.run([QCOW2, "--help"])
    out.case("qcow2 --help", f"{status}: {text}" if status or not text else "")
    commands = commands_in_help(text)
    compare(out, "qcow2", options_in_help(text), options_in_page(report.read("man/qcow2.1.scd")))
    pages = {os.path.basename(p)[len("qcow2-"):-len(".1.scd")]
             for p in glob.glob(report.path("man/qcow2-*.1.scd"))}
    out.case("qcow2 --help lists commands", "" if commands else text)
    for command in sorted(set(commands) | pages):
        if command not in pages:
            out.bad(f"page of {command}", f"man/qcow2-{command}.1.scd is not there")
            continue
        if command not in commands:
            out.bad(f"command {command}", "it has a page, but qcow2 --help does not list it")
            continue
        status, text = report.run([QCOW2, command, "--help"])
        out.case(f"qcow2 {command} --help", f"{status}: {text}" if status or not text else "")
        options = options_in_help(text)
        compare(out, f"qcow2 {command}", options,
                options_in_page(report.read(f"man/qcow2-{command}.1.scd")))
        lost = [o for o in sorted(options) if o.startswith("--") and o not in completion]
        out.case(f"completion of {command}", ", ".join(lost))


def check(out):
    script = report.path("build/release/completion/qcow2")
    status, text = report.run(["bash", "-n", script])
    out.case("the completion is bash", text or "failed" if status or text else "")
    completion = report.read(script) if os.path.exists(script) else ""
    check_pages(out)
    if os.path.exists(report.path("man/qcow2.1.scd")):
        check_options(out, completion)
    else:
        out.bad("page of qcow2", "man/qcow2.1.scd is not there")
