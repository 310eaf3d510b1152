# SPDX-License-Identifier: MIT
# Circles between files: a.c uses a name that b.c defines, and b.c, perhaps by way of others, uses
# one that a.c defines. Files in a circle can only be read, tested and moved together.
#
# The object files say who defines and who uses a name, so that what macros expand to is seen as
# well, and so that no parser of C has to be trusted. A use is a call or an address that is taken.
"""Part of the check `arrows`. Alone: python3 -B -m tests.lint.circles [TREE [BUILD]]"""
import collections
import os
import re
import subprocess
import sys

from tests.runner import report


def room_of(name):
    parts = name.split("/")
    return "cmd" if parts[0] == "cmd" else "/".join(parts[:2])


def sources(root):
    for top in ("lib", "cmd", "plugins"):
        for folder, _, files in os.walk(os.path.join(root, top)):
            for name in files:
                if name.endswith(".c"):
                    yield os.path.relpath(os.path.join(folder, name), root)


def objects(root, build):
    """Source file: its object file in a build directory of meson, or None."""
    objects_of = {}
    for top in ("lib", "cmd", "plugins"):
        for folder, _, files in os.walk(os.path.join(root, build, top)):
            for name in files:
                if name.endswith(".c.o"):
                    objects_of[top, name] = os.path.join(folder, name)
    found = {}
    for name in sorted(sources(root)):
        top, rest = name.split("/", 1)
        found[name] = objects_of.get((top, rest.replace("/", "_") + ".o"))
    return found


def names_of(files):
    """For each object file: the names that it defines, and those that it uses."""
    done = subprocess.run(["nm", "-g", "-P", "-A", *files], stdout=subprocess.PIPE, check=True,
                          universal_newlines=True)
    defined, used = collections.defaultdict(set), collections.defaultdict(set)
    for line in done.stdout.splitlines():
        match = re.match(r"(.+?):? (\S+) (\w)(?: |$)", line)
        if match:
            file, symbol, kind = match.groups()
            (used if kind in "Uw" else defined)[file.rstrip(":")].add(symbol)
    return defined, used


def graph(root, build):
    """{file: {file it uses: one name that it uses}}, and the files that have no object."""
    by_source = objects(root, build)
    missing = [s for s, o in by_source.items() if o is None]
    by_source = {s: o for s, o in by_source.items() if o}
    defined, used = names_of(by_source.values())
    owner = {symbol: source for source, file in by_source.items() for symbol in defined[file]}
    arrows = {}
    for source, file in by_source.items():
        arrows[source] = {}
        for symbol in sorted(used[file]):
            target = owner.get(symbol)
            if target and target != source:
                arrows[source].setdefault(target, symbol)
    return arrows, missing


def reach(arrows, start):
    """Every file that can be come to from start, with the one before it on a shortest way."""
    before, queue = {}, collections.deque([start])
    while queue:
        here = queue.popleft()
        for there in sorted(arrows[here]):
            if there not in before:
                before[there] = here
                queue.append(there)
    return before


def knots(arrows):
    """Sets of files each of which leads to all others of its set."""
    reached = {name: set(reach(arrows, name)) for name in arrows}
    found, seen = [], set()
    for name in sorted(arrows):
        if name in seen or name not in reached[name]:
            continue
        knot = {other for other in reached[name] if name in reached[other]}
        seen |= knot
        found.append(knot)
    return found


def circle(arrows, start):
    """A shortest circle through a file, as lines."""
    before = reach(arrows, start)
    way, here = [start], before[start]
    while here != start:
        way.append(here)
        here = before[here]
    way = [start] + way[:0:-1] + [start]
    return [f"{a} -> {b} ({arrows[a][b]})" for a, b in zip(way, way[1:])]


def explain(arrows, knot):
    """The knot, and circles that cover all its files."""
    lines, left = [f"{len(knot)} files in a knot: {' '.join(sorted(knot))}"], set(knot)
    while left:
        way = min((circle(arrows, name) for name in sorted(left)), key=len)
        lines += ["circle:"] + ["  " + line for line in way]
        left -= {line.split(" ")[0] for line in way}
    return lines


def rooms_of(knot):
    return sorted({room_of(name) for name in knot})


def check_itself(out):
    """A graph whose knot is known: a and b need each other, c leads there, d is led to."""
    arrows = {"a": {"b": "f", "d": "g"}, "b": {"a": "h"}, "c": {"a": "f"}, "d": {}}
    out.case("circles are found where there are some",
             "" if knots(arrows) == [{"a", "b"}] else repr(knots(arrows)))


def check(out):
    """A case for each room."""
    check_itself(out)
    arrows, missing = graph(report.ROOT, "build/release")
    wrong = collections.defaultdict(list)
    for knot in knots(arrows):
        for room in rooms_of(knot):
            wrong[room] += explain(arrows, knot)
    out.case("every source has an object file", "\n".join(missing))
    for room in sorted({room_of(name) for name in arrows}):
        out.case(f"no circles in {room}", "\n".join(wrong[room]))


def main(arguments):
    root = os.path.abspath(arguments[0]) if arguments else report.ROOT
    arrows, missing = graph(root, arguments[1] if len(arguments) > 1 else "build/release")
    found = knots(arrows)
    for name in missing:
        print(f"no object file: {name}")
    for knot in found:
        print("\n".join([" ".join(rooms_of(knot))] + ["  " + s for s in explain(arrows, knot)]))
    print(f"{len(found)} knots, {sum(len(k) for k in found)} files in them, of {len(arrows)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
