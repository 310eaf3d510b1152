# SPDX-License-Identifier: MIT
# The pages build and format without a warning, fit a terminal, and say of each command exactly the
# options that its --help says, both ways, and all its actions. The completion knows the same.
"""The check `man`."""
import glob
import os
import re

from tests.lint import section3
from tests.runner import report

QCOW2 = report.path("build/release/cmd/qcow2")
BUILT = report.path("build/release/man")
COLUMNS = 80


# Commands that answer related questions, whose pages name each other.
NEIGHBOURS = {f"qcow2-{name}" for name in ("diff", "locate", "map", "layout", "measure", "snapshot")}


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
        elif inside and re.match(r"  ([a-z][\w-]*) +\S", line):
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
        check_copying(out, name, source.decode(), text)
        if name == "qcow2.1":
            check_raw_groff(out, name, roff)


def examples_of(source):
    """The lines of a page's literal blocks."""
    return [line.replace("\\\\", "\\") for block in re.findall(r"^```\n(.*?)^```$", source, re.M | re.S)
            for line in block.splitlines() if line.strip()]


def check_copying(out, name, source, text):
    """What a page shows can be copied: no hyphenation, no hyphens or quotes of printers."""
    wrong = [line for line in text.splitlines() if re.search("[\u2010-\u2012\u2018-\u201f]", line)]
    shown = [line.strip() for line in text.splitlines()]
    wrong += [line for line in examples_of(source) if line.strip() not in shown]
    out.case(f"copying from {name}", "\n".join(wrong))


def check_raw_groff(out, name, roff):
    """Without the settings of a distribution, a - is the one of the keyboard."""
    status, text = report.run(["sh", "-c", 'groff -k -t -man -Tutf8 -rLL=80n -P-c -P-b -P-u "$1"',
                               "sh", roff])
    out.case(f"groff {name}", text if status or "\u2010" in text or "--" not in text else "")


def compare(out, command, helped, paged):
    wrong = [f"{option}: --help lists it, the page does not" for option in helped - paged]
    wrong += [f"{option}: the page lists it, --help does not" for option in paged - helped]
    out.case(f"{command}: {len(helped)} options", "\n".join(sorted(wrong)) if helped else "none")


def check_actions(out, command):
    """The page has a paragraph for each action, which begins with its name in bold."""
    _, text = report.run([QCOW2, "__complete", "fish", "help", command, ""])
    actions = [line.partition("\t")[0] for line in text.splitlines()[1:]]
    page = report.read(f"man/qcow2-{command}.1.scd").replace("\\", "")
    bold = " ".join(line for line in page.splitlines() if line.startswith("*"))
    lost = [a for a in actions if not re.search(rf"\*(--)?{re.escape(a)}\b", bold)]
    out.case(f"{command}: {len(actions)} actions", ", ".join(lost))


def check_links(out):
    """A page that another one is related to leads back to it."""
    related = {}
    for path in glob.glob(report.path("man/qcow2-*.1.scd")):
        text = report.read(path).partition("# SEE ALSO")[2]
        related[os.path.basename(path)[:-len(".1.scd")]] = set(re.findall(r"\*(qcow2-\w+)\*\(1\)",
                                                                         text))
    for name in sorted(related):
        alone = [other for other in related[name]
                 if other in NEIGHBOURS and name in NEIGHBOURS and name not in related[other]]
        out.case(f"{name}(1) is seen by those that it sees", ", ".join(sorted(alone)))


def check_options(out):
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
        status, text = report.run([QCOW2, "__complete", "bash", command, "--"])
        offered = {line.rstrip("=") for line in text.splitlines()[1:]}
        long = {o for o in options if o.startswith("--")}
        out.case(f"completion of {command}", ", ".join(sorted(long ^ offered)))
        check_actions(out, command)


def check(out):
    for shell, name in (("bash", "qcow2"), ("zsh", "_qcow2"), ("fish", "qcow2.fish")):
        script = report.path("build/release/completion", name)
        status, text = report.run([shell, "-n", script])
        out.case(f"the completion is {shell}", text or "failed" if status or text else "")
        built = os.path.exists(script) and report.path("build") in report.read(script)
        out.case(f"the completion for {shell} names no folder", script if built else "")
    check_pages(out)
    section3.check(out)
    check_links(out)
    if os.path.exists(report.path("man/qcow2.1.scd")):
        check_options(out)
    else:
        out.bad("page of qcow2", "man/qcow2.1.scd is not there")
