# SPDX-License-Identifier: MIT
# Pages as a strict reader sees them: every tag is closed where it should be, and what people need who
# cannot see the page is there.
"""HTML documents."""
import html.parser
import json
import re

VOID = {"meta", "br"}
# What could run or fetch something.
FORBIDDEN = {"img", "iframe", "object", "embed", "link", "base", "form", "video", "audio", "source", "input", "a:href"}


class Page(html.parser.HTMLParser):
    """A page whose tags are balanced, or an AssertionError."""
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.headings, self.script = [], [], [], [], ""
        self.text, self.within = [], {}
        assert text.startswith("<!DOCTYPE html>\n")
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert len(given) == len(attrs), attrs
        self.tags.append((tag, given))
        if given.get("id"):
            self.ids.append(given["id"])
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])

    def handle_startendtag(self, tag, attrs):
        assert "svg" in self.open, tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open, self.getpos())
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
        elif self.open and self.open[-1] != "style":
            self.text.append(data)
            if self.headings and any(re.fullmatch("h[1-6]", tag) for tag in self.open):
                self.headings[-1][1] += data

    def all(self, tag):
        return [given for name, given in self.tags if name == tag]

    def data(self):
        """The JSON document in it."""
        return json.loads(self.script)
