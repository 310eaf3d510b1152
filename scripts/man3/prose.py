# SPDX-License-Identifier: MIT
# What a comment says, taken apart as the headers are written: paragraphs, "name: text" for parameters,
# "Returns …", lists whose rows are indented, and code that is indented further.
"""Takes comments apart."""
import re

CODE_INDENT = 4
SENTENCE_END = r"(?:(?<=[.!?] )|(?<=[.!?][\"')] )|^)"


class Block:
    """A piece of prose. kind: paragraph, list, code, literal, parameter. term: of a parameter. rows: of a list,
    as (term, text). text: all else."""

    def __init__(self, kind, text="", term="", rows=()):
        self.kind, self.text, self.term, self.rows = kind, text, term, list(rows)


def indent_of(line):
    return len(line) - len(line.lstrip(" "))


def paragraphs(comment):
    """Lists of lines, without the empty lines between them."""
    found = [[]]
    for line in comment.split("\n"):
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [lines for lines in found if lines]


def code(groups):
    """Joins groups of lines that are one piece of code. Steps of 8 columns become 4, and lines that go
    on with an argument stay below the one before."""
    lines = "\n\n".join("\n".join(lines) for lines in groups).split("\n")
    least = min(indent_of(line) for line in lines if line.strip())
    made, moved, depth = [], 0, 0
    for line in lines:
        line = line[least:]
        if depth <= 0:
            moved = indent_of(line) // 8 * 4
        made.append(line[min(moved, indent_of(line)):])
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
        depth += bare.count("(") - bare.count(")")
    return "\n".join(made)


def rows_of(lines):
    """(term, text) of the rows of a list; a row without a term has a text alone."""
    rows = []
    for line in lines:
        if indent_of(line) < CODE_INDENT or not rows:
            found = re.match(r"(.*\S) {2,}(\S.*)$", line.strip())
            rows.append(list(found.groups()) if found else ["", line.strip()])
        else:
            rows[-1][1] += " " + line.strip()
    return [(re.sub(r"^- +", "- ", term), re.sub(r" {2,}", " ", text)) for term, text in rows]


def list_block(lines):
    """Rows that are numbered by places keep how they look."""
    if all(re.match(r" +(\d+  |\S+ \S)", line) for line in lines) and re.match(r" +\d+  ", lines[0]):
        least = min(indent_of(line) for line in lines)
        return Block("literal", "\n".join(line[least:] for line in lines))
    return Block("list", rows=rows_of(lines))


def split_returns(text):
    """A paragraph, cut in front of a sentence that says what is returned."""
    found = re.search(SENTENCE_END + r"(?=Returns )", text)
    if found and found.start() > 0:
        return [text[:found.start()].strip(), text[found.start():].strip()]
    return [text]


def split_parameters(text, names):
    """The blocks of a paragraph that may describe parameters."""
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    if not known:
        return [Block("paragraph", text)]
    one = rf"\*?(?:{known})"
    pattern = re.compile(rf"{SENTENCE_END}({one}(?:, {one})*): +")
    blocks, at = [], 0
    found = list(pattern.finditer(text))
    for number, match in enumerate(found):
        if match.start() > at:
            blocks.append(Block("paragraph", text[at:match.start()].strip()))
        at = found[number + 1].start() if number + 1 < len(found) else len(text)
        blocks.append(Block("parameter", text[match.end():at].strip(), match.group(1)))
    return blocks or [Block("paragraph", text)]


def is_parameter(line, names):
    found = re.match(r"(\*?\w+(?:, \*?\w+)*): ", line)
    return bool(found) and all(n.strip("* ") in names for n in found.group(1).split(","))


def runs_of(lines, names):
    """[kind, lines] of the pieces of a paragraph: text, parameter or list."""
    runs = []
    for line in lines:
        kind = runs[-1][0] if runs else ""
        if indent_of(line) == 0:
            if is_parameter(line, names):
                runs.append(["parameter", [line]])
            elif kind in ("text", "parameter"):
                runs[-1][1].append(line)
            else:
                runs.append(["text", [line]])
        elif kind == "list" or kind == "parameter" and not re.match(r" +\S+ {2,}", line):
            runs[-1][1].append(line)
        else:
            runs.append(["list", [line]])
    return runs


def blocks_of_paragraph(lines, names):
    """The blocks of lines that no empty line separates."""
    found = []
    for kind, run in runs_of(lines, names):
        if kind == "list":
            found.append(list_block(run))
            continue
        for text in split_returns(" ".join(" ".join(line.split()) for line in run)):
            found += split_parameters(text, names)
    return found


def blocks(comment, names=()):
    """All blocks of a comment. names: of the parameters that it may describe."""
    found, pieces = [], []
    for lines in paragraphs(comment):
        if indent_of(lines[0]) >= CODE_INDENT:
            if not pieces:
                found.append(Block("code"))
            pieces.append(lines)
            found[-1].text = code(pieces)
        else:
            pieces = []
            found += blocks_of_paragraph(lines, set(names))
    return found


def sentences(text):
    return re.split(r"(?<=[.!?]) (?=[A-Z*\"]|qcow2_|\w+\.h )", text)
