# SPDX-License-Identifier: MIT
# python3 scripts/man3 --list           names of the pages of section 3, links included
# python3 scripts/man3 VERSION FOLDER   writes them there
"""Makes the manual pages of section 3 from the public headers."""
import os
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import overview  # noqa: E402
import roff  # noqa: E402
from headers import Header  # noqa: E402
from pages import links, pages_of  # noqa: E402
from render import page_lines, synopsis  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INCLUDE = os.path.join(ROOT, "include", "qcow2")
# What nearly every function takes: pages that need not be named as neighbours.
EVERYWHERE = {"qcow2_error", "qcow2_image", "qcow2_bytes"}


def read_all():
    """{name: header} of all of them."""
    names = sorted(name for name in os.listdir(INCLUDE) if name.endswith(".h"))
    return {name: Header(os.path.join(INCLUDE, name)) for name in names}


def neighbours(page, pages, where):
    """Pages that this one names, and the other pages of its header."""
    text = page.header.comment + " ".join(item.comment + " " + item.text + " " + " ".join(
        member.comment for member in item.members) for item in page.items)
    named = set(re.findall(r"\b(qcow2_\w+)(?=\()", text))
    named |= set(re.findall(r"\b(?:struct|enum) (qcow2_\w+)", text)) - EVERYWHERE
    found = {where[name] for name in named if name in where}
    found |= {other for other in pages if other.header is page.header}
    return found - {page}


def head(name, date, version):
    """The comment of a page, and its title line."""
    return ['.\\" SPDX-License-Identifier: MIT',
            f'.TH {name} 3 {date} "qcow2-utils {version}" "libqcow2"', ".nh", ".ad l"]


def today():
    """The date of a build that can be repeated, if it is given."""
    return time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH",
                                                                   time.time()))))


def name_section(names, title):
    return roff.section("NAME") + [", ".join(names) + " \\- " + roff.escape(title)]


def write(folder, name, text):
    with open(os.path.join(folder, name + ".3"), "w", encoding="ascii") as stream:
        stream.write(text)


def main(arguments):
    headers = read_all()
    described = [header for name, header in headers.items() if name not in overview.OWN]
    pages = [page for header in described for page in pages_of(header)]
    linked = links(pages)
    own = overview.links(headers)
    if arguments == ["--list"]:
        names = {page.name() for page in pages} | set(linked) | set(own) | {"libqcow2"}
        print("\n".join(sorted(name + ".3" for name in names)))
        return 0
    version, folder = arguments
    where = {**linked, **{page.name(): page for page in pages}}
    for page in pages:
        lines = head(page.name(), today(), version) + name_section(page.heading(), page.title)
        lines += synopsis(page) + page_lines(page, neighbours(page, pages, where))
        write(folder, page.name(), roff.clean(lines))
    for name, page in linked.items():
        write(folder, name, f".so man3/{page.name()}.3\n")
    for name in own:
        write(folder, name, ".so man3/libqcow2.3\n")
    lines = head("libqcow2", today(), version) + name_section(["libqcow2"], overview.TITLE)
    write(folder, "libqcow2", roff.clean(lines + overview.lines(headers, pages)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
