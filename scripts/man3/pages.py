# SPDX-License-Identifier: MIT
# Which pages there are: one for each part of a header. Each name that a program can use is a page, or a
# link to the page that describes it.
"""Groups what the headers declare to pages."""
import re

from prose import sentences

PAGED = ("function", "table", "struct", "enum", "typedef")


class Page:
    """A page: what it describes, in the order of the header."""

    def __init__(self, header, title):
        self.header, self.title, self.items = header, title, []

    def of_kind(self, *kinds):
        return [item for item in self.items if item.kind in kinds]

    def names(self):
        """Names of the functions and tables, which stand in the line NAME."""
        return [item.name for item in self.of_kind("function", "table")]

    def name(self):
        names = [i.name for i in self.of_kind("function")] or self.names()
        return names[0] if names else "qcow2_" + self.header.name[:-2]

    def heading(self):
        """All names that NAME lists; never none."""
        first = self.name()
        return [first] + [name for name in self.names() if name != first]


def lower_first(text):
    """A sentence as the part of another one: words such as LUKS stay."""
    return text if re.match(r"[A-Z]{2}|[A-Z]\d", text) else text[:1].lower() + text[1:]


def title_of(header):
    """The first sentence of a header, without its full stop and its sections of the specification."""
    first = sentences(re.split(r"\n\n", header.comment)[0].replace("\n", " "))[0]
    first = re.sub(r" \((?:\"[^)]*\")+\)", "", first).rstrip(".:")
    return lower_first(first)


def pages_of(header):
    """The pages of a header. What stands before its first part, and is no function, joins that."""
    pages = [Page(header, title_of(header))]
    for item in header.items:
        if item.kind == "part":
            if pages[-1].names():
                pages.append(Page(header, item.text))
            else:
                pages[-1].title = item.text
        else:
            pages[-1].items.append(item)
    if len(pages) > 1 and not pages[-1].items:
        pages.pop()
    return pages


def links(pages):
    """{name: page} of every name that is not a page by itself. Functions come before types."""
    own = {page.name() for page in pages}
    found = {}
    for kinds in (("function", "table"), ("struct", "enum", "typedef")):
        for page in pages:
            for item in page.of_kind(*kinds):
                if item.name not in own:
                    found.setdefault(item.name, page)
    return found
