# SPDX-License-Identifier: MIT
# Sizes of functions and files, and how much of the source is prose. The check `lint` prints them;
# `python3 -m tests.lint.metrics` prints them alone.
"""Numbers about the source."""
import re

from tests.runner import report

LONG_FILE = 400
TOPS = ("lib", "cmd", "plugins", "include")


def functions(text):
    """(name, first line, lines) of each function, from its name to its last brace; our layout puts
    both braces in column 0."""
    title, named, inside = "?", 0, False
    for number, line in enumerate(text.splitlines(), 1):
        name = re.search(r"(\w+)\s*\(", line) if re.match(r"[A-Za-z_]", line) else None
        if name:
            title, named = name.group(1), number
        if line == "{":
            inside = True
        elif line.startswith("}") and inside:
            yield title, named, number - named + 1
            inside = False


def percentile(sizes, part):
    """The size that `part` of all sizes do not exceed."""
    return sorted(sizes)[min(len(sizes) - 1, int(len(sizes) * part))] if sizes else 0


def prose(name):
    """(letters of comments, letters) of a file, blanks and the SPDX line apart."""
    text = re.sub(r".*SPDX-License-Identifier.*\n", "", report.read(name))
    code = re.sub(r"\s", "", report.without_comments(text))
    whole = re.sub(r"\s", "", text)
    return len(whole) - len(code), len(whole)


def prose_share(names):
    pairs = [prose(name) for name in names]
    return 100 * sum(p for p, _ in pairs) / max(1, sum(w for _, w in pairs))


def lines():
    """What there is to say, a line each."""
    names = [f for f in report.tracked() if f.endswith((".c", ".h")) and f.split("/")[0] in TOPS]
    sources = [f for f in names if f.endswith(".c")]
    found = [(size, title, name) for name in sources
             for title, _, size in functions(report.without_comments(report.read(name)))]
    sizes = [size for size, _, _ in found]
    largest = max(found, default=(0, "?", "?"))
    yield (f"{len(sizes)} functions in {len(sources)} files: median {percentile(sizes, 0.5)}, "
           f"p90 {percentile(sizes, 0.9)}, largest {largest[0]} lines ({largest[1]}, {largest[2]})")
    long = sorted((report.read(f).count("\n"), f) for f in sources)
    long = [f"{name} {count}" for count, name in reversed(long) if count > LONG_FILE]
    yield f"{len(long)} files over {LONG_FILE} lines{': ' if long else ''}{', '.join(long)}"
    headers = [f for f in names if f.startswith("include/") and f.endswith(".h")]
    inside = [f for f in names if not f.startswith("include/")]
    yield (f"prose: {prose_share(headers):.0f} % of the public headers' letters, "
           f"{prose_share(inside):.0f} % of lib/, cmd/ and plugins/")


if __name__ == "__main__":
    print("\n".join(lines()))
