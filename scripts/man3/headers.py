# SPDX-License-Identifier: MIT
# What a public header declares, in its order, each thing with the comment that describes it. A comment
# is for all that follows it without a blank line; one with a blank line behind it stands by itself.
# "/* ---- words ---- */" begins a part.
"""Reads a public header."""
import os
import re

from lists import expand

PART = re.compile(r"/\* ---- (.*?) ---- \*/$", re.S)
COMMENT = re.compile(r"/\*(.*?)\*/", re.S)


class Item:
    """A declaration (kind: function, struct, enum, typedef, table, macro), a text, or a part."""

    def __init__(self, kind, name, text, comment=""):
        self.kind, self.name, self.text, self.comment = kind, name, text, comment
        self.members = []
        self.with_next = False  # the next item has the same comment

    def parameters(self):
        """Names of the parameters of a function or a callback."""
        inside = self.text[self.text.find("(", self.text.find(self.name)) + 1:]
        names = [re.search(r"(\w+)\)?(?:\[\w*\])?(?:\(.*\))?$", part.strip())
                 for part in split_parameters(inside[:inside.rfind(")")])]
        return [found.group(1) for found in names if found]


class Member:
    """A member of a structure or a value of an enumeration."""

    def __init__(self, name, text, comment):
        self.name, self.text, self.comment = name, text, comment


def split_parameters(text):
    """What commas outside of parentheses separate."""
    parts, depth = [""], 0
    for char in text:
        if char == "," and depth == 0:
            parts.append("")
            continue
        depth += (char == "(") - (char == ")")
        parts[-1] += char
    return [part.strip() for part in parts]


def comment_text(comment):
    """A comment without its frame; lines keep how far they are indented."""
    inner = comment.strip()[2:-2]
    lines = [re.sub(r"^[ \t]*\*(?: |$)?", "", line) if number else line.strip()
             for number, line in enumerate(inner.split("\n"))]
    lines = [line.rstrip().expandtabs(8) if not line.startswith("\t") else
             "        " + line[1:].rstrip().expandtabs(8) for line in lines]
    return "\n".join(lines).strip("\n")


def chunks(text):
    """(kind, text) of blank lines, comments, lines of the preprocessor, and declarations."""
    lines, at = text.split("\n"), 0
    while at < len(lines):
        line, begin = lines[at], at
        at += 1
        if not line.strip():
            yield "blank", ""
        elif line.startswith("/*"):
            while "*/" not in lines[at - 1]:
                at += 1
            yield "comment", "\n".join(lines[begin:at])
        elif line.startswith("#"):
            yield "directive", line
        else:
            while not ended("\n".join(lines[begin:at])):
                at += 1
            yield "declaration", "\n".join(lines[begin:at])


def ended(text):
    code = COMMENT.sub("", text).rstrip()
    code = re.sub(r"^#.*$", "", code, flags=re.M)
    if code.count("{") != code.count("}") or code.count("(") != code.count(")"):
        return False
    return code.endswith(";") or bool(re.match(r"static inline", code)) and code.endswith("}") or \
        code.strip().startswith("QCOW2_BEGIN") or code.strip().startswith("QCOW2_END")


def members(body):
    """The members between the braces of a structure or an enumeration."""
    found, before = [], ""
    for match in re.finditer(r"(/\*.*?\*/)([ \t]*\n)?|#[^\n]*|[^;,/#{}]*?[^;,/#{}\s][^;,/#]*[;,]?",
                             body, re.S):
        text = match.group().strip()
        if text.startswith("#"):
            continue
        if text.startswith("/*"):
            line = body[:match.start()].split("\n")[-1]
            if found and line.strip() and not before:
                found[-1].comment = joined(found[-1].comment, comment_text(text))
            elif found and line.strip():
                found[-1].comment = comment_text(text)
            else:
                before = comment_text(text)
            continue
        found.append(Member(member_name(text), " ".join(text.rstrip(",;").split()), before))
        before = ""
    return found


def joined(before, behind):
    """The comment in front of a member, and that behind it, which is about the member alone."""
    if before.endswith(":"):
        return before + " " + behind
    return behind + ("\n\n" + before if before else "")


def member_name(text):
    pointer = re.search(r"\(\*(\w+)\)", text)
    if pointer:
        return pointer.group(1)
    plain = re.sub(r"\[[^\]]*\]", "", text.split("=")[0]).rstrip(" ,;")
    return re.findall(r"\w+", plain)[-1]


def statements(body):
    """Members of a structure end with a semicolon; commas separate names, or parameters."""
    return members(re.sub(r",(?=[^;{}]*;)", "\x00", re.sub(
        r"/\*.*?\*/", lambda m: m.group().replace(",", "\x01").replace(";", "\x02")
        .replace("#", "\x03"), body, flags=re.S)))


def restored(text):
    return text.replace("\x00", ",").replace("\x01", ",").replace("\x02", ";").replace("\x03", "#")


def declaration(text):
    """The item that a declaration is, or None."""
    code = " ".join(COMMENT.sub(" ", text).split())
    body = text[text.find("{") + 1:text.rfind("}")] if "{" in text else ""
    found = re.match(r"(struct|enum) (?:__attribute__\S+ )?(\w+) \{", code)
    if found:
        item = Item(found.group(1), found.group(2), code)
        item.members = statements(body)
        for member in item.members:
            member.text, member.comment = restored(member.text), restored(member.comment)
        return item
    code = code.replace("QCOW2_API ", "")
    found = re.match(r"typedef .*?\(?\*?\b(\w+)\)?\(", code)
    if found:
        return Item("typedef", found.group(1), code)
    if code.startswith("static inline"):
        code = code.replace("static inline ", "").split(" {")[0] + ";"
    found = re.match(r"(?:extern |static )(.*?\b(qcow2_\w+))(?:;| =)", code)
    if found:
        return Item("table", found.group(2), "extern " + found.group(1) + ";")
    found = re.match(r"[^(]*?\b(qcow2_\w+)\(", code)
    return Item("function", found.group(1), code) if found else None


def items(text):
    """The items of a header in order."""
    undefined = set(re.findall(r"^#undef (\w+)", text, re.M))
    comment, pending, run = "", None, []
    for kind, chunk in chunks(text):
        if kind == "comment" or kind == "blank":
            if pending:
                yield Item("text", "", "", comment_text(pending))
            pending = comment = None
            if kind == "comment":
                part = PART.match(chunk)
                if part:
                    yield Item("part", "", " ".join(re.sub(r"\n \*", " ", part.group(1)).split()))
                else:
                    pending = chunk
            run = []
            continue
        item = None
        if pending:
            comment, pending, run = comment_text(pending), None, []
        if kind == "declaration":
            item = declaration(chunk)
        else:
            macro = re.match(r"#define (QCOW2_\w+)(\([^)]*\))?\s*(.*)$", chunk)
            if macro and comment and macro.group(1) not in undefined:
                item = Item("macro", macro.group(1) + (macro.group(2) or ""), macro.group(3))
                inline = COMMENT.search(item.text)
                if inline:
                    item.text = COMMENT.sub("", item.text).strip()
        if item:
            item.comment = comment or ""
            if item.kind == "macro" and inline_comment(chunk):
                item.members = [Member("", "", inline_comment(chunk))]
            if run:
                run[-1].with_next = bool(comment)
            run.append(item)
            yield item


def inline_comment(chunk):
    found = COMMENT.search(chunk)
    return comment_text(found.group()) if found else ""


class Header:
    """A public header: its comment, and its items."""

    def __init__(self, path):
        self.name = os.path.basename(path)
        text = expand(path)
        text = re.sub(r"^#ifdef __cplusplus\n.*?^#endif\n", "", text, flags=re.M | re.S)
        intro = re.match(r"/\* SPDX[^\n]*\n(/\*.*?\*/)", text, re.S)
        self.comment = comment_text(intro.group(1))
        self.items = [i for i in items(text[intro.end():]) if i.kind != "function" or i.name]
