# SPDX-License-Identifier: MIT
# One page: its sections, from the comments of the header.
"""Makes the text of a page."""
import re

import roff
from headers import split_parameters
from prose import Block, blocks, sentences

COLUMNS = 72
SHORT = 52
ABOUT_THREADS = re.compile(r"(May be called|Several)\b.*\bthread|Not thread safe")
THREAD = re.compile(r"(?:^|(?<=\. ))(?:Pure(?: and|,) thread safe|Thread safe|Never fails; thread safe)\.$")


class Parts:
    """What the comment of a function says, by section."""

    def __init__(self, comment, names):
        self.description, self.returns, self.errors, self.examples = [], [], [], []
        self.threads = []
        self.is_safe, self.is_pure = False, False
        where = self.description
        for block in blocks(comment, names):
            if block.kind == "code":
                self.examples += [*self.take_lead(where), block]
                continue
            if block.kind in ("paragraph", "parameter"):
                block.text = self.without_thread(block.text)
                if not block.text:
                    continue
            if block.kind == "paragraph" and block.text.startswith("Returns ") and self.description:
                where = self.returns
            elif block.kind == "list" and where is self.returns and \
                    any("QCOW2_ERROR" in term + text for term, text in block.rows):
                where = self.errors
                self.returns[-1].text = re.sub(r":$", ".", self.returns[-1].text)
            elif block.kind == "parameter":
                where = self.description
            elif block.kind == "paragraph" and where is not self.errors and self.is_new(block, comment):
                where = self.description
            where.append(block)
            if block.kind == "parameter" and block.text.endswith(" Never fails."):
                block.text = block.text[:-len(" Never fails.")]
                self.returns.append(Block("paragraph", "Never fails."))

    def take_lead(self, where):
        """Takes away the sentence that leads to an example, and gives it unless it says no more."""
        if not where or where[-1].kind not in ("paragraph", "parameter") or \
                not where[-1].text.endswith(":"):
            return []
        kept = sentences(where[-1].text)
        lead = re.sub(r"^Example(, (?=.)|:)", "", kept.pop())
        where[-1].text = self.without_thread(" ".join(kept))
        if not where[-1].text:
            where.pop()
        return [Block("paragraph", lead[:1].upper() + lead[1:])] if lead else []

    @staticmethod
    def is_new(block, comment):
        """Whether an empty line stands in front of the paragraph."""
        begin = " ".join(block.text.split()[:4])
        return any(" ".join(p.split()[:4]) == begin for p in comment.split("\n\n"))

    def without_thread(self, text):
        """A text without what it says about threads, which goes to a section of its own."""
        kept = []
        for sentence in sentences(text):
            (self.threads if ABOUT_THREADS.match(sentence) else kept).append(sentence)
        text = " ".join(kept)
        found = THREAD.search(text)
        if found:
            self.is_safe = True
            self.is_pure = "ure" in found.group()
            text = text[:found.start()] + ("Never fails." if "Never" in found.group() else "")
        return text.strip()


def render_list(rows):
    """A list of terms, or of points."""
    short = all(len(text) < SHORT for _, text in rows)
    out = [".RS 2"]
    for number, (term, text) in enumerate(rows):
        out += [".PD 0"] if short and number == 1 else []
        if (term or text).startswith("- "):
            whole = f"{term}: {text}" if term else text
            out += [".IP \\(bu 2", *roff.filled(roff.marked(whole[2:]))]
        elif term:
            tag = roff.marked(term) if "QCOW2_" in term else roff.font("B", term)
            out += roff.tagged(tag, roff.marked(text))
        elif text.startswith("QCOW2_"):
            out += roff.tagged(roff.marked(text), "")
        else:
            out += [".TP", *roff.filled(roff.marked(text))]
    return out + ([".PD"] if ".PD 0" in out else []) + [".RE"]


def render_blocks(found):
    out = []
    for block in found:
        if block.kind == "paragraph":
            out += roff.paragraph(block.text)
        elif block.kind == "parameter":
            tag = ", ".join(roff.font("I", name) for name in block.term.split(", "))
            out += roff.tagged(tag, roff.marked(block.text))
        elif block.kind == "list":
            out += render_list(block.rows)
        else:
            out += roff.literal([roff.escape(line) for line in block.text.split("\n")])
    return out


# ---- declarations ----

def prototype(item):
    """A declaration in lines of a terminal, the names of parameters in italics."""
    text = re.sub(r"\* +(?=\w)", "*", item.text)
    begin = text.find("(", text.find(item.name)) + 1
    if item.kind == "table" or begin == 0:
        return [roff.font("B", text)]
    head, inside = text[:begin], text[begin:text.rfind(")")]
    parts = split_parameters(inside)
    if len(text) <= COLUMNS:
        lines = [", ".join(parts)]
        indent = ""
    else:
        column = len(head) if max(map(len, parts)) + len(head) < COLUMNS else 8
        indent, lines = " " * column, [""] if column == len(head) else ["", ""]
        for piece in pieces(parts):
            if lines[-1] and column + len(lines[-1]) + len(piece) + 3 > COLUMNS:
                lines.append("")
            lines[-1] += (" " if lines[-1] else "") + piece
    return [(roff.font("B", head) if not number else indent) + emphasised(line) +
            (roff.font("B", ");") if number == len(lines) - 1 else "")
            for number, line in enumerate(lines)]


def pieces(parts):
    """Parameters with the commas behind them; a callback that is long comes in two."""
    for number, part in enumerate(parts):
        comma = "," if number + 1 < len(parts) else ""
        if len(part) > COLUMNS - 12 and ", " in part:
            first, _, second = part.rpartition(", ")
            yield first + ","
            yield "        " + second + comma
        else:
            yield part + comma


def emphasised(parameters):
    """Types in bold, the names in italics."""
    if parameters.endswith(","):
        return emphasised(parameters[:-1]) + roff.font("B", ",")
    out = []
    for part in split_parameters(parameters) if ")" not in parameters else [parameters]:
        found = re.match(r"(.*?)(\w+)((?:\[\w*\])?)$", part)
        if "(" in part or ")" in part or part == "void" or not found:
            out.append(roff.font("B", part))
        else:
            out.append(roff.font("B", found.group(1)) + roff.font("I", found.group(2)) +
                       (roff.font("B", found.group(3)) if found.group(3) else ""))
    return roff.font("B", ", ").join(out).replace("\\fR\\fB", "")


def synopsis(page):
    lines = [roff.font("B", f"#include <qcow2/{page.header.name}>")]
    groups = page.of_kind("function", "table")
    for number, item in enumerate(groups):
        if not (item.kind == "table" and number and groups[number - 1].kind == "table"):
            lines.append("\\&")
        lines += prototype(item)
    return roff.section("SYNOPSIS") + roff.literal(lines, indent=False)


def member_lines(members, described):
    """The members of a structure, or the values of an enumeration."""
    short = all(len(m.comment) < SHORT and "\n" not in m.comment for m in members)
    out = [".RS 2"]
    for number, member in enumerate(members):
        out += [".PD 0"] if short and number == 1 else []
        parts = blocks(member.comment)
        first = parts[0].text if parts and parts[0].kind == "paragraph" else ""
        out += roff.tagged(member_tag(member), roff.marked(described.get(member.name, first)))
        rest = render_blocks(parts[1:] if first else parts)
        out += roff.inside(rest)
    return out + ([".PD"] if ".PD 0" in out else []) + [".RE"]


def member_tag(member):
    """The declaration of a member, its name in bold."""
    before, name, after = member.text.partition(member.name) if "(*" not in member.text else \
        member.text.partition(f"(*{member.name})")
    if not before.strip():
        return roff.font("B", name) + roff.escape(after)
    return roff.escape(before) + roff.font("B", name) + roff.escape(after)


def type_lines(item):
    """A structure, an enumeration or a type of callbacks."""
    if item.kind == "typedef":
        out = roff.subsection(roff.escape(item.name))
        out += roff.literal(prototype(item))
        return out + render_blocks(blocks(item.comment, item.parameters()))
    names = [m.name for m in item.members]
    said = blocks(item.comment, names)
    described = {}
    for block in said:
        if block.kind == "parameter" and item.kind == "struct":
            described.update((name.strip("*"), block.text) for name in block.term.split(", "))
    out = roff.subsection(f"{item.kind} {roff.escape(item.name)}")
    out += render_blocks([b for b in said if not (b.kind == "parameter" and described)])
    if len(item.members) > 40 and item.kind == "enum":
        values = ", ".join(m.text for m in item.members)
        return out + roff.paragraph(values + ".")
    return out + (member_lines(item.members, described) if item.members else [])


def constant_lines(items):
    """Macros; those that share a comment stand together."""
    out, run = [], []
    for item in items:
        run.append(item)
        if item.with_next:
            continue
        tags = []
        for one in run:
            value = one.text if "(" not in one.name and len(one.text) < 60 else ""
            tags.append(roff.font("B", one.name) + roff.escape(f" {value}" if value else ""))
        out += [".TP", tags[0]]
        for tag in tags[1:]:
            out += [".TQ", tag]
        said = [m.comment for one in run for m in one.members]
        parts = blocks(item.comment)
        parts = [p for p in parts if p.text or p.rows]
        if parts and parts[0].kind == "paragraph":
            out += roff.filled(roff.marked(parts.pop(0).text))
        out += roff.inside(render_blocks(parts))
        if said and len(said) == len(run) and len(run) == 1:
            out += roff.filled(roff.marked("; ".join(said)))
        run = []
    return out


# ---- the header's own comment ----

def overview(header):
    """(paragraphs, examples, about threads) of the comment on top of a header."""
    text, examples, threads = [], [], []
    found = blocks(header.comment)
    for number, block in enumerate(found):
        if block.kind == "code":
            if number and found[number - 1].kind == "paragraph" and \
                    found[number - 1].text.endswith(":") and text:
                kept = sentences(text.pop().text)
                examples.append(Block("paragraph", kept.pop()))
                if kept:
                    text.append(Block("paragraph", " ".join(kept)))
            examples.append(block)
        elif block.kind == "paragraph" and re.search(r"\bthread", block.text) and \
                (block.text.startswith("Threads") or len(sentences(block.text)) <= 2):
            block.text = re.sub(r"^Threads[:.] (\w)", lambda m: m.group(1).upper(), block.text)
            threads.append(block)
        elif block.kind == "paragraph" and number and found[number - 1].kind == "code" and \
                re.match(r"after which|examples/", block.text):
            block.text = re.sub(r"^after", "After", block.text)
            examples.append(block)
        else:
            text.append(block)
    return text, examples, threads


# ---- the page ----

def groups_of(page):
    """Runs of functions that one comment describes, and texts that stand between them."""
    run = []
    for item in page.of_kind("function", "text", "table"):
        if item.kind == "text":
            yield [item]
            continue
        run.append(item)
        if not item.with_next or item.comment != item.comment:
            yield run
            run = []
    if run:
        yield run


def heading(run):
    names = [item.name + ("()" if item.kind == "function" else "") for item in run]
    whole = ", ".join(names)
    return whole if len(whole) < COLUMNS else f"{names[0]}, …, {names[-1]}"


def name_list(names):
    bold = [roff.font("B", name) + "()" for name in names]
    return bold[0] if len(bold) == 1 else ", ".join(bold[:-1]) + " and " + bold[-1]


def about_threads(function, sentence):
    """A sentence about threads that stands by itself."""
    if sentence.startswith("Not "):
        return f"{function}() is not{sentence[3:]}"
    return f"{function}() may{sentence[3:]}" if sentence.startswith("May ") else sentence


def thread_lines(safe, said):
    out = roff.section("THREADS")
    for block in said:
        out += roff.paragraph(block.text)
    if safe:
        out += [".P", *roff.filled(f"{name_list(safe)} {'is' if len(safe) == 1 else 'are'} thread safe.")]
    if not safe and not said:
        out += roff.paragraph("An object may be used by one thread at a time; several threads may each "
                              "use objects of their own.")
    return out


def page_lines(page, others):
    """All of a page. others: what else it names, {page: why it is a neighbour}."""
    text, examples, threads = overview(page.header)
    description = render_blocks(text)
    returns, errors, safe = [], [], []
    runs = list(groups_of(page))
    alone = len([run for run in runs if run[0].kind != "text"]) == 1
    for run in runs:
        if run[0].kind == "text":
            names = {n for item in page.of_kind("function") for n in item.parameters()}
            description += render_blocks(blocks(run[0].comment, names))
            continue
        names = {name for item in run if item.kind == "function" for name in item.parameters()}
        parts = Parts(run[0].comment, names)
        if parts.description and (not alone or text):
            description += roff.subsection(roff.escape(heading(run)))
        description += render_blocks(parts.description)
        functions = [item.name for item in run if item.kind == "function"]
        for found, where in ((parts.returns, returns), (parts.errors, errors)):
            if found:
                where.append((run, render_blocks(found)))
        safe += functions if parts.is_safe else []
        threads += [Block("paragraph", about_threads(functions[0], text)) for text in parts.threads]
        if parts.examples:
            led = [] if alone or parts.examples[0].kind == "paragraph" else \
                [Block("paragraph", f"{functions[0]}():")]
            examples += led + parts.examples
    out = roff.section("DESCRIPTION") + description
    for title, found in (("RETURN VALUE", returns), ("ERRORS", errors)):
        if found:
            out += roff.section(f'"{title}"' if " " in title else title)
            out += by_function(found, alone)
    types = page.of_kind("struct", "enum", "typedef")
    macros = page.of_kind("macro")
    if types:
        out += roff.section("TYPES") + [line for item in types for line in type_lines(item)]
    if macros:
        out += roff.section("CONSTANTS") + constant_lines(macros)
    if page.of_kind("function"):
        out += thread_lines(safe, threads)
    if examples:
        out += roff.section("EXAMPLES") + render_blocks(examples)
    return out + see_also(page, others)


def by_function(found, alone):
    out = []
    for run, lines in found:
        if alone:
            out += lines
            continue
        out += [".TP", roff.font("B", heading(run))]
        inner = roff.inside(lines)
        out += inner[1:] if inner and inner[0] == ".IP" else inner
    return out


def see_also(page, others):
    names = sorted(other.name() for other in others) + ["libqcow2"]
    marked = [roff.font("B", name) + "(3)" for name in names]
    return roff.section('"SEE ALSO"') + roff.filled(", ".join(marked))
