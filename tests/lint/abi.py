# SPDX-License-Identifier: MIT
# The binary interface: symbols and their versions, numbers, layouts of public structures. What is
# recorded in tests/lint/abi.txt and numbers.txt may grow; a change of what is there is an error.
#
#     python3 -B -m tests.lint.abi --update    records what is new, and what is changed on purpose
"""The check `abi`."""
import platform
import re
import sys

from tests.lint import dwarf, newer
from tests.runner import report

LAYOUTS = "tests/lint/abi.txt"
NUMBERS = "tests/lint/numbers.txt"
MAP = "lib/libqcow2.map"
UPDATE = "record it with: python3 -B -m tests.lint.abi --update"
BREAKS = ("programs that are built would break. Undo it, or, before 1.0 and on purpose, read "
          "docs/abi.md and " + UPDATE)
# Structures that never change, as docs/abi.md says; all others have `size` in front. Those of the
# format change with it, and then with another soname.
FIXED = {f"struct qcow2_{name}" for name in """
    bytes guest host error dirty_extent bitmap_file bitmap_totals field structure name names
    limit header extension_header feature_name
    bitmap_dir_entry snapshot_header snapshot_extra luks1 luks1_key_slot luks2 l1_entry l2_entry
    l2_compressed l2_subclusters refcount_table_entry bitmap_table_entry
    compressed_extent""".split()}
# The data of header extensions.
FIXED |= {f"struct qcow2_{name}" for name in re.findall(
    r"^QCOW2_FIELDS_BEGIN\((\w+)\)", report.read("include/qcow2/def/extensions.def"), re.M)}
LISTS = {"problem": "include/qcow2/def/problems.def", "guard": "include/qcow2/def/guards.def"}


# ---- numbers of problems and guards ----

def rows(kind):
    """{number: id} of a list of kinds; an error text instead of an id that is there twice."""
    found = re.findall(r'^QCOW2_[A-Z]+\((\d+), \w+, "([^"]+)"', report.read(LISTS[kind]), re.M)
    return [(int(number), name) for number, name in found]


def recorded_numbers():
    found = re.findall(r"^(problem|guard) (\d+) (\S+)$", report.read(NUMBERS), re.M)
    return {(kind, int(number)): name for kind, number, name in found}


def check_numbers(out):
    recorded = recorded_numbers()
    for kind in LISTS:
        now = rows(kind)
        numbers, names = [n for n, _ in now], [i for _, i in now]
        out.case(f"{kind}: numbers and ids are given once",
                 ", ".join(str(x) for x in {*[n for n in numbers if numbers.count(n) > 1],
                                            *[i for i in names if names.count(i) > 1]}))
        # Numbers without gaps: arrays are as long as the largest one.
        last = max(n for k, n in recorded if k == kind)
        fresh = [number for number, _ in now if (kind, number) not in recorded]
        for number, name in now:
            was = recorded.get((kind, number))
            taken = [n for (k, n), i in recorded.items() if k == kind and i == name and n != number]
            why = ""
            if taken:
                why = f"'{name}' had the number {taken[0]}, which stays its own"
            elif was is None and number > last + len(fresh):
                why = f"number {number} leaves a gap: take {last + 1} to {last + len(fresh)}"
            elif was is None:
                why = f"number {number} is not in {NUMBERS}: {UPDATE}"
            elif was != name:
                why = f"number {number} was given to '{was}' and is never given again: take " \
                      f"{last + 1}"
            out.case(f"{kind} {number} {name}", why)


def update_numbers():
    recorded = recorded_numbers()
    for kind in LISTS:
        for number, name in rows(kind):
            recorded.setdefault((kind, number), name)
    lines = ["# SPDX-License-Identifier: MIT",
             "# Every number that a kind of problem or a guard ever had. Lines are added, never",
             "# changed or removed: docs/abi.md says why. Written by tests/lint/abi.py --update."]
    lines += [f"{kind} {number} {name}" for (kind, number), name in
              sorted(recorded.items(), key=lambda item: (item[0][0] != "problem", item[0][1]))]
    write(NUMBERS, "\n".join(lines) + "\n")


# ---- symbols ----

def map_symbols():
    """{symbol: version} of the map, and its versions in order."""
    versions, symbols = [], {}
    for line in report.read(MAP).splitlines():
        head = re.match(r"(QCOW2_[0-9.]+) \{", line)
        if head:
            versions.append(head.group(1))
        symbol = re.match(r"\t(qcow2_\w+);", line)
        if symbol:
            symbols[symbol.group(1)] = versions[-1]
    return symbols, versions


def version():
    """The version of the symbols that come now."""
    text = report.run([report.path("scripts/version")])[1].strip()
    return "QCOW2_" + ".".join(text.split(".")[:2])


def declared():
    return {name for name in dwarf.functions()} | {name for name in dwarf.variables()}


def check_map(out):
    symbols, versions = map_symbols()
    out.case("the newest version of the map is not newer than the library",
             "" if versions and as_numbers(versions[-1]) <= as_numbers(version())
             else f"{versions} and {version()}")
    for name in sorted(set(symbols) | declared()):
        why = ""
        if name not in symbols:
            why = f"declared QCOW2_API, but not in {MAP}: {UPDATE}"
        elif name not in declared():
            why = f"in {MAP}, but no public header declares it: " + BREAKS
        out.case(f"map {name}", why)


def as_numbers(name):
    return [int(n) for n in name.split("_")[1].split(".")]


def update_map():
    """Adds new symbols to the node of this version; drops what is not declared any more."""
    symbols, versions = map_symbols()
    now = version()
    if now not in versions:
        versions.append(now)
    for name in declared():
        symbols.setdefault(name, now)
    lines = ["# SPDX-License-Identifier: MIT",
             "# Every symbol of libqcow2, in the version that it came with; see docs/abi.md. Written",
             "# by tests/lint/abi.py --update."]
    for index, node in enumerate(versions):
        lines += [f"{node} {{", "global:"]
        lines += [f"\t{name};" for name in sorted(symbols)
                  if symbols[name] == node and name in declared()]
        if index == 0:
            lines += ["local:", "\t*;"]
        lines.append("};" if index == 0 else f"}} {versions[index - 1]};")
    write(MAP, "\n".join(lines) + "\n")


# ---- layouts and declarations ----

def parse(text):
    """{heading: {member: line}} of a record; a member's line starts with its offset or value."""
    found, current = {}, None
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        if line.startswith(" "):
            offset, name, rest = (line.strip().split(" ", 2) + [""])[:3]
            current[name] = (int(offset), rest)
        else:
            words = line.split(" ", 2)
            current = found.setdefault(" ".join(words[:2]), {})
            current[""] = (0, words[2] if len(words) > 2 else "")
    return found


def compare_struct(old, new):
    """What a change of a structure means; "" if nothing changed."""
    old_size, new_size = int(old[""][1]), int(new[""][1])
    grows = old.get("size", (1, ""))[0] == 0
    for name in old:
        if name and name not in new:
            return f"the member {name} is gone: " + BREAKS
        if name and old[name] != new[name]:
            return f"the member {name} is another or at another place: " + BREAKS
    added = [name for name in new if name not in old]
    if not added and old_size == new_size:
        return ""
    if not grows:
        return "it has no member `size` and so never changes: " + BREAKS
    padding = [name for name in added if new[name][0] < old_size]
    if padding:
        return f"the member {padding[0]} is not behind all that was there, padding included: put " \
               "it at the end, and name the padding before it"
    return f"it grows by {', '.join(added)}: {UPDATE}"


def compare(heading, old, new):
    if new is None:
        return "it is gone: " + BREAKS
    if old is None:
        return f"it is new: {UPDATE}"
    if heading.startswith("struct"):
        return compare_struct(old, new)
    if heading.startswith("enum"):
        for name in old:
            if name and new.get(name) != old[name]:
                return f"{name} is gone or has another value: " + BREAKS
        added = [name for name in new if name not in old]
        return f"it grows by {', '.join(added)}: {UPDATE}" if added else ""
    return "" if old == new else f"was: {old[''][1]}\nis: {new[''][1]}\n" + BREAKS


def check_layouts(out):
    if platform.machine() != "x86_64" or sys.maxsize < 2**32:
        out.note("layouts are recorded for x86_64 alone")
        return
    old, new = parse(report.read(LAYOUTS)), parse(record())
    for heading in sorted(set(old) | set(new)):
        out.case(heading, compare(heading, old.get(heading), new.get(heading)))
    for heading, members in new.items():
        if heading.startswith("struct") and members.get("size", (1, ""))[0] != 0:
            out.case(f"{heading} never changes", "" if heading in FIXED else
                     "it cannot grow: put `size_t size` in front, or list it in FIXED here and in "
                     "docs/abi.md")


def record():
    lines = ["# SPDX-License-Identifier: MIT",
             "# Layouts of the public structures on x86_64, values of enumerations, declarations of",
             "# functions. Written by tests/lint/abi.py --update; docs/abi.md says what may change."]
    return "\n".join(lines + dwarf.describe()) + "\n"


# ---- the version ----

def check_version(out):
    text = report.run([report.path("scripts/version")])[1].strip()
    news = re.search(r"^## (\S+)", report.read("NEWS.md"), re.M)
    out.case("NEWS.md begins with the version", "" if news and news.group(1) == text
             else f"{news and news.group(1)}, not {text}")
    for name in report.tracked():
        if name.startswith(("lib/", "cmd/", "plugins/", "man/", "scripts/")) or name.endswith("meson.build"):
            found = [line for line in report.read(name).splitlines()
                     if re.search(rf"(?<![\d.]){re.escape(text)}(?![\d.])", line)
                     and not line.lstrip().startswith(("#", "*", "/*"))]
            out.case(f"{name} does not repeat the version", "\n".join(found))


def write(name, text):
    with open(report.path(name), "w", encoding="utf-8") as stream:
        stream.write(text)


def check(out):
    check_version(out)
    check_numbers(out)
    check_map(out)
    check_layouts(out)
    newer.check(out)


def main(arguments):
    if arguments != ["--update"]:
        print("abi.py --update records the interface as it is; tests/run abi compares")
        return 1
    update_numbers()
    update_map()
    write(LAYOUTS, record())
    print(f"written: {NUMBERS}, {MAP}, {LAYOUTS}; look at what changed: git diff")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
