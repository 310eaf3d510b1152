# SPDX-License-Identifier: MIT
# Pages of section 3 as they were built: what the library has is described, what is described is there,
# and programs that read manual pages have nothing to say against them.
"""A part of the check `man`: the pages that scripts/man3 makes."""
import glob
import os
import re
import shutil
import sys
import tempfile

from tests.lint import symbols
from tests.runner import report

BUILT = report.path("build/release/man/man3")
COLUMNS = 80
LINK = re.compile(r"\.so man3/(\w+)\.3\n\Z")
TERMINAL = {"MANWIDTH": str(COLUMNS), "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}
# What pages show must look like what the headers say: backslashes, quotes, a text of several lines.
SHOWN = {
    "qcow2_text_is_utf8": ["a backslash becomes \\\\;", "\\t, \\n and \\r", "\\u{N}",
                           '"$(printf \'a\\033b\')"'],
    "qcow2_source_open": ['"json:"', "int (*read)(void *opaque"],
    "qcow2_bitmap_file_bits": ["QCOW2_BITMAP_FILE_MAGIC", "  8  version: 1"],
    "qcow2_check": ["QCOW2_CHECK_THREADS_MAX 64", "size_t size\n"],
    "libqcow2": ["pkg-config --cflags --libs libqcow2"],
}


def pages():
    """({name: text} of the pages, {name: page} of the links)."""
    texts = {os.path.basename(path)[:-2]: report.read(path)
             for path in sorted(glob.glob(os.path.join(BUILT, "*.3")))}
    links = {name: LINK.match(text).group(1) for name, text in texts.items() if LINK.match(text)}
    return {name: text for name, text in texts.items() if name not in links}, links


def inline_functions():
    """Names of the functions that headers define."""
    text = "".join(report.read(path) for path in glob.glob(report.path("include/qcow2/*.h")))
    return set(re.findall(r"^static inline [^;{]*?\b(qcow2_\w+)\(", text, re.M))


def check_names(out, texts, links):
    known = symbols.declared() | inline_functions()
    have = set(texts) | set(links)
    out.case(f"{len(known)} functions and tables have a page", "\n".join(sorted(known - have)))
    wrong = []
    for name, text in texts.items():
        plain = re.sub(r"\\f[BIR]", "", text)
        wrong += [f"{name} names {function}()" for function in
                  set(re.findall(r"\b(qcow2_[a-z]\w+)\(", plain)) - known - set(links)
                  if f"{function}(3)" not in plain and f"(*{function})" not in plain]
        wrong += [f"{name} leads to {other}(3)"
                  for other in re.findall(r"\b(\w+)\(3\)", plain) if other not in texts]
    out.case(f"{len(texts)} pages name what is there", "\n".join(sorted(wrong)))
    wrong = [f"{name} leads to {page}" for name, page in links.items() if page not in texts]
    wrong += [f"{page} does not describe {name}" for name, page in links.items()
              if page in texts and not re.search(rf"\b{name}\b", texts[page])]
    out.case(f"{len(links)} links lead to pages", "\n".join(sorted(wrong)))
    lost = [name for name in texts if name != "libqcow2" and f"{name}\\fR(3)" not in texts["libqcow2"]]
    out.case("libqcow2(3) lists all pages", "\n".join(lost))
    out.case("qcow2.h says of each header what it is for",
             "" if ".SS Others" not in texts["libqcow2"] else texts["libqcow2"].split(".SS Others")[1])


def check_programs(out, texts):
    files = [os.path.join(BUILT, name + ".3") for name in texts]
    status, text = report.run(["mandoc", "-T", "lint", "-W", "warning", *files])
    out.case("mandoc has nothing to say", text or ("failed" if status else ""))
    some = [os.path.join(BUILT, name + ".3") for name in SHOWN]
    status, text = report.run(["sh", "-c", 'man --warnings -E UTF-8 -l -Tutf8 -Z "$@" >/dev/null', "sh",
                               *some], env=TERMINAL)
    out.case("man has nothing to say", text or ("failed" if status else ""))


def check_whatis(out, texts):
    """lexgrog and mandb find the names and what they are."""
    wrong = []
    status, text = report.run(["lexgrog", *[os.path.join(BUILT, name + ".3") for name in texts]])
    for name, page in texts.items():
        listed = re.search(r"\.SH NAME\n(.*)", page).group(1).split(" \\- ")[0].split(", ")
        found = re.findall(rf'^{re.escape(BUILT)}/{name}\.3: "(\S+) - \S', text, re.M)
        wrong += [f"{name}: {sorted(set(listed) ^ set(found))}"] if set(listed) != set(found) else []
    out.case("lexgrog finds all names", "\n".join(wrong) if not status else text)
    folder = tempfile.mkdtemp()
    try:
        os.chmod(folder, 0o755)
        shutil.copytree(BUILT, os.path.join(folder, "man3"))
        status, text = report.run(["mandb", "-q", "-c", "-u", folder])
        _, found = report.run(["apropos", "-M", folder, "qcow2"])
        lost = [name for name in texts if not re.search(rf"^{name} \(3\) +- \S", found, re.M)]
        out.case("apropos qcow2 finds the pages", "\n".join(lost) if not status else text)
        _, found = report.run(["whatis", "-M", folder, "qcow2_plan_apply"])
        out.case("whatis finds what is a link", "" if "judge a plan" in found else found)
        _, found = report.run(["man", "-M", folder, "qcow2_plan_apply"], env=TERMINAL)
        out.case("man follows a link", "" if "qcow2_plan_judge" in found else found)
    finally:
        shutil.rmtree(folder)


def shown_pages(files):
    """({name: what a terminal shows of it}, what groff says meanwhile). One run for all: man starts
    a dozen processes for each."""
    _, text = report.run(["groff", "-ww", "-t", "-man", "-Tutf8", f"-rLL={COLUMNS}n", "-P-c", "-P-b",
                          "-P-u", *files])
    parts = re.split(r"^(\w+)\(3\) +\S+ +\1\(3\)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2])), parts[0].strip()


def check_shown(out, texts):
    """What a terminal shows: no line is too long, nothing is lost."""
    shown, said = shown_pages([os.path.join(BUILT, name + ".3") for name in texts])
    out.case("groff has nothing to say", said)
    out.case("all pages are shown", ", ".join(set(texts) ^ set(shown)))
    long = [f"{name}: {line}" for name, page in shown.items()
            for line in page.splitlines() if len(line) > COLUMNS]
    out.case("width of the pages", "\n".join(long))
    for name, parts in SHOWN.items():
        page = shown.get(name, "")
        lost = [part for part in parts if part not in page and part not in " ".join(page.split())]
        out.case(f"{name}(3) shows what the header says", "\n".join(lost))
    wrong = [f"{name}: no {title}" for name, page in shown.items()
             for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO")
             if f"\n{title}\n" not in f"\n{page}"]
    out.case("sections of the pages", "\n".join(wrong))


def check_escapes(out):
    """Nothing that a header says is a request or an escape."""
    sys.path.insert(0, report.path("scripts/man3"))
    try:
        import roff  # pylint: disable=import-outside-toplevel
    finally:
        sys.path.pop(0)
    hostile = ".so /etc/passwd\\fB 'x' it-is \u2026"
    made = roff.filled(roff.marked(hostile))
    out.case("a text is no request",
             "" if made == ["\\&.so /etc/passwd\\(rsfB \\(aqx\\(aq it\\-is \\[u2026]"] else repr(made))
    long = roff.filled("word " * 15 + "end. " + ".x " * 30)
    out.case("no line of a text is a request",
             "\n".join(line for line in long if line.startswith((".", "'"))))


def check(out):
    texts, links = pages()
    out.case("there are pages of section 3", "" if len(texts) > 40 and links else f"{len(texts)}")
    if not texts:
        return
    check_names(out, texts, links)
    check_programs(out, texts)
    check_whatis(out, texts)
    check_shown(out, texts)
    check_escapes(out)
