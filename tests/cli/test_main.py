# SPDX-License-Identifier: MIT
# The command line: every command, every option of every command (a new one fails here until it has
# a row), and what is said of lines that make no sense.
"""Commands, options and usage errors."""
import functools
import os
import re

import pytest

from tests.forge import build
from tests.support.outside import complaint, documents, harmless, run, text_of
from tests.support.programs import QCOW2, RELEASE, SAMPLE, TOP

COMMANDS = ["info", "dump", "diff", "compare", "locate", "check", "vet", "map", "layout", "report", "measure", "read", "hash", "export", "capture",
            "snapshot", "repair", "rescue", "bitmap", "edit", "undo", "explain", "compat", "completion"]


def usage(done, command=""):
    """What was wrong with a line: two lines on stderr, the second of which points at --help."""
    assert (done.returncode, done.stdout) == (2 if command == "compare" else 1, b""), done
    harmless(done.stderr)
    name = f"qcow2 {command}".strip()
    first, second, rest = done.stderr.decode().split("\n")
    assert first.startswith(name + ": ") and rest == ""
    assert second == f"Try '{name} --help'."
    return first[len(name) + 2:]


def listed_options(command):
    """The options that --help lists: {long name: (letter or None, argument or None)}."""
    found = {}
    for line in text_of(run(*command, "--help")).splitlines():
        match = re.match(r"  (?:-(\w), |    )--([\w-]+)(?:\[?=(\w+)\]?)?(?:  |$)", line)
        assert match or not re.match(r"\s+-", line), f"an option that is not understood: {line}"
        if match:
            found[match[2]] = (match[1], match[3])
    return found


# Each option: a line without it and one with it, and what must be true of the two outputs.
def shows_json(before, after):
    assert not before.lstrip().startswith(("{", "["))
    assert documents(after)


def adds_offsets(before, after):
    assert not re.search(r"^0x\w{8,} ", before, re.M)
    for line in ("0x0000000000  magic", "0x0000000018  size"):
        assert line in after


def adds_bytes(before, after):
    assert "514649fb" in after and "0000000001000000" in after  # the size of 16 MiB
    assert "0000000001000000" not in before


def adds_the_chain(before, after):
    assert re.findall("^image +(.+)$", before, re.M) == ["overlay"]
    assert re.findall("^image +(.+)$", after, re.M) == ["overlay", "base"]
    assert re.findall("^backing file +(.+)$", before, re.M) == ["base (not opened)"]
    assert re.findall("^backing file +(.+)$", after, re.M) == ["base"]


def is_a_page(before, after):
    assert after.startswith("qcow2-format(5) ") and not before.startswith("qcow2-format(5) ")


def is_layout_v7(before, after):
    assert "\ntable size  " in after and "\ntable size  " not in before
    assert "\nflags                     2\n" in after and "\nflags                     2\n" not in before


def shows_all(before, after):
    assert "    … 2 more (--all shows them)\n" in before and before.count("/flags: found") == 5
    assert " more (--all" not in after and after.count("/flags: found") == 7


def says_the_same(before, after):
    assert before == after and " is sound" in before


def adds_a_layer(before, after):
    assert after.startswith(before + "\nbase is sound\n") and "\n2 images: 2 sound\n" in after


def shows_tables(before, after):
    assert "table: " not in before and after.count("table: ") == 2
    assert [line for line in after.splitlines() if "table: " not in line] == before.splitlines()


def lists_two(before, after):
    assert after == f"overlay:\n{before}\nbase:\n{before}"


def is_silent(before, after):
    assert before and after == ""


def shows_more(before, after):
    assert before.count("/flags: found") == 5 and after.count("/flags: found") == 7
    assert "Section: Bitmap directory." in after and "Section:" not in before


def is_list(_, after):
    assert re.search("^bitmap-in-use +warning +The bitmap was not", after, re.M)


def is_help(before, after):
    assert after.startswith("Usage: qcow2") and not before.startswith("Usage: qcow2")


def is_version(_, after):
    with open(os.path.join(TOP, "include/qcow2/version.h"), encoding="utf-8") as stream:
        version = ".".join(re.findall(r"#define QCOW2_VERSION_\w+ +(\d+)", stream.read()))
    assert after == f"qcow2 {version}\n"


def asks_another(before, after):
    assert "(/opt/q __complete bash" in after and after.replace("/opt/q", QCOW2) == before


def is_completion(_, after):
    assert "complete -F _qcow2 qcow2\n" in after


def adds_the_check(before, after):
    assert before == "Nothing to change.\n"
    assert after.startswith(before + "check before: 0 corruptions")


def adds_the_dump(before, after):
    assert after.startswith(before) and after.endswith("(lazy refcounts)\n")


def is_a_plan(before, after):
    assert before == after and "set header/compatible_features to 1" in before


def is_planned(_, after):
    assert re.match(r"1/1 point, ", after)


def adds_the_writes(before, after):
    assert after.startswith(before) and "1/1 clean, 1 byte at 0x4f: " in after


def adds_the_header(before, after):
    assert after.startswith(before) and "write the header with its extensions" in after


def adds_the_features(before, after):
    assert after.startswith(before) and re.search("^incompatible_features +0x0$", after, re.M)


def is_of_the_copy(before, after):
    assert after == before.replace("base", "new")


def is_anything(_, after):
    assert after


def is_repaired(before, after):
    assert before.startswith(after.partition(":")[0]) and after.endswith(" is sound: nothing to repair\n")


def says_it_again(before, after):
    """The next command has the option, too."""
    head, _, command = after.rpartition("next: qcow2 rescue")
    assert before == head + "next: qcow2 rescue --apply lost\n"
    assert command.startswith(" --") and command.endswith(" --apply lost\n")


def is_a_repair(_, after):
    assert " would be " in after or "nothing to repair" in after


def is_undo_list(before, after):
    assert before.startswith("undone: ") and "\nstate    undone\n" in after


def is_undone_before(before, after):
    assert before.startswith("undone: ") and after.startswith("undone before: ")


def removes_none(_, after):
    assert after == "no undo files to remove\n"


def is_unchanged(before, after):
    assert before == after


def shows_only(what):
    def check(before, after):
        assert after.splitlines() == [line for line in before.splitlines() if line.endswith(what)]
        assert after and after != before
    return check


def is_other(before, after):
    assert before != after and re.fullmatch(r"(\d+ \d+ (dirty|clean)\n)+", after)


def differs(before, after):
    assert before != after and after


def shows_other_extents(before, after):
    """The same page, with other rows."""
    assert before.splitlines()[0] == after.splitlines()[0] and before != after


def names_files(before, after):
    assert re.sub(" of shared$", "", after.partition("\n\n")[0], flags=re.M) == before.partition("\n\n")[0]


def finds_nothing(before, after):
    assert "1 range, 64 KiB differs." in before and "No range differs." in after


def is_a_record(_, after):
    assert after == "\0" * 8 + "\1" + "\0" * 7 + "\0P" + "\0" * 10 + "\5" + "\0" * 3


def is_elsewhere(before, after):
    assert before != after and re.match(r"(guest|host) 0x[0-9a-f]+ \(\d+\)( in snapshot .*)?: ", after)


def is_one_extent(_, after):
    assert after == "0 1048576 clean\n"


def is_nothing(_, after):
    assert after == ""


def is_another_plan(before, after):
    assert before != after and "bitmap directory" in before and "bitmap directory" in after


def makes_dirty(before, after):
    assert before.count("left as it is") == 7 and after.count("all dirty, 1 MiB") == 7


def adds_the_name(before, after):
    assert before in after and after.endswith("name                      new\n")


def is_narrower(before, after):
    """All but commands, which are not broken."""
    lines = [line for line in after.splitlines() if not line.startswith("    ")]
    assert max(map(len, before.splitlines())) > 60 >= max(map(len, lines))


def tells_other_sizes(before, after):
    assert before != after and re.search(r"^  Virtual size +\S+ \S+ +\d+ bytes$", after, re.M)


def adds_a_commit(before, after):
    assert "A commit into base:" in after and "A commit into" not in before


def is_a_policy(_before, after):
    assert "\nbacking-file = deny\n" in after


def has_the_label(_before, after):
    assert after.startswith("x: accepted by policy upload")


def names_the_policy(before, after):
    assert "by policy strict" in after and "by policy upload" in before


EXTENTS = ["extents", "bitmaps", "a", "b"]
ADDED = ["-n", "add", "bitmaps", "new"]
MENDED = ["-n", "corrupt"]
KEPT = ["--apply", "base"]
PLANNED = ["-n", "base", "set", "header/compatible_features=1"]
# Without them the line is wrong, or waits for standard input.
# Exit codes without the option: what it mends is stale, what it leaves out differs.
OTHERWISE = {("rescue", "data-file"): 2, ("bitmap", "assume-dirty"): 4, ("snapshot", "ignore-offsets"): 3,
             ("snapshot", "start-offset"): 3, ("snapshot", "max-length"): 3}
ALONE = (("check", "list"), ("edit", "script"), ("edit", "data"), ("edit", "file"),
         ("undo", "prune"), ("bitmap", "force"), ("bitmap", "to"), ("bitmap", "sparse"),
         ("bitmap", "raw"), ("locate", "guest"), ("locate", "host"), ("measure", "size"), ("vet", "list"),
         ("export", "verify"), ("report", "to"), ("capture", "apply"))
# What the option makes of the file must not be there yet.
MADE = {("rescue", "plan-to"): "new", ("rescue", "copy"): "new", ("rescue", "overlay"): "new",
        ("report", "to"): "page", ("bitmap", "to"): "new", ("bitmap", "sparse"): "new", ("bitmap", "raw"): "new"}
REPORTED = ["--force", "--to=page", SAMPLE]
EXPORTED = ["--force", "--to=out", "bitmaps"]
PUT_BACK = ["--apply=small", "base"]
OPTIONS = {
    ("", "help"): ([], ["--help"], is_help),
    ("", "version"): ([], ["--version"], is_version),
    ("", "completion"): ([], ["--completion"], is_completion),
    ("dump", "json"): ([SAMPLE], ["--json"], shows_json),
    ("dump", "output"): ([SAMPLE], ["--output=json"], shows_json),
    ("dump", "offsets"): ([SAMPLE], ["--offsets"], adds_offsets),
    ("dump", "hex"): ([SAMPLE], ["--hex"], adds_bytes),
    ("dump", "help"): ([SAMPLE], ["--help"], is_help),
    ("info", "json"): ([SAMPLE], ["--json"], shows_json),
    ("info", "output"): ([SAMPLE], ["--output=json"], shows_json),
    ("info", "chain"): (["overlay"], ["--chain"], adds_the_chain),
    # what it shows, test_info.py tests
    ("info", "all"): ([SAMPLE], ["--all"], is_unchanged),
    ("info", "help"): ([SAMPLE], ["--help"], is_help),
    ("diff", "json"): ([SAMPLE, SAMPLE], ["--json"], shows_json),
    ("diff", "output"): ([SAMPLE, SAMPLE], ["--output=json"], shows_json),
    ("diff", "help"): ([SAMPLE, SAMPLE], ["--help"], is_help),
    ("locate", "guest"): (["shared"], ["--guest=64k"], is_elsewhere),
    ("locate", "host"): (["shared"], ["--host=4"], is_elsewhere),
    ("locate", "snapshot"): (["--guest=0", "shared"], ["--snapshot=one"], is_elsewhere),
    ("locate", "all-snapshots"): (["--guest=0", "shared"], ["--all-snapshots"], is_elsewhere),
    ("locate", "json"): (["--host=0", SAMPLE], ["--json"], shows_json),
    ("locate", "output"): (["--host=0", SAMPLE], ["--output=json"], shows_json),
    ("locate", "help"): (["--host=0", SAMPLE], ["--help"], is_help),
    ("check", "json"): ([SAMPLE], ["--json"], shows_json),
    ("check", "output"): ([SAMPLE], ["--output=json"], shows_json),
    ("check", "all"): (["in-use"], ["--all"], shows_all),
    # what these find or show, test_check.py tests
    ("check", "deep"): ([SAMPLE], ["--deep"], says_the_same),
    ("check", "progress"): ([SAMPLE], ["--progress"], says_the_same),
    ("check", "ranges"): ([SAMPLE], ["--ranges"], says_the_same),
    ("check", "threads"): ([SAMPLE], ["--threads=2"], says_the_same),
    ("check", "list"): ([], ["--list"], is_list),
    ("check", "chain"): (["overlay"], ["--chain"], adds_a_layer),
    # its letter always has a value, and what it does, test_repair.py tests
    ("check", "repair"): ([SAMPLE], ["--repair=leaks"], is_repaired),
    ("check", "quiet"): ([SAMPLE], ["--quiet"], is_silent),
    ("check", "verbose"): (["in-use"], ["--verbose"], shows_more),
    ("check", "help"): ([SAMPLE], ["--help"], is_help),
    ("repair", "json"): (MENDED, ["--json"], shows_json),
    ("repair", "output"): (MENDED, ["--output=json"], shows_json),
    ("repair", "dry-run"): (["base"], ["--dry-run"], is_unchanged),
    ("repair", "hex"): (MENDED, ["--hex"], adds_the_writes),
    ("repair", "dump"): (MENDED, ["--dump=header/incompatible_features"], adds_the_features),
    # what these mend, drop, allow or keep, test_repair.py tests
    ("repair", "all"): (MENDED, ["--all"], is_unchanged),
    ("repair", "leaks"): (["-n", "base"], ["--leaks"], is_unchanged),
    ("repair", "only"): (MENDED, ["--only=feature-corrupt"], is_unchanged),
    ("repair", "drop-snapshot"): (["-n", "shared"], ["--drop-snapshot=one"], is_a_repair),
    ("repair", "free-lost"): (MENDED, ["--free-lost"], is_unchanged),
    ("repair", "drop-bad-bitmaps"): (["-a", *MENDED], ["--drop-bad-bitmaps"], is_unchanged),
    ("repair", "deep"): (MENDED, ["--deep"], is_unchanged),
    ("repair", "yes"): (MENDED, ["--yes"], is_unchanged),
    ("repair", "force"): (MENDED, ["--force"], is_unchanged),
    ("repair", "ranges"): (MENDED, ["--ranges"], is_unchanged),
    ("repair", "no-undo"): (MENDED, ["--no-undo"], is_unchanged),
    ("repair", "undo-file"): (MENDED, ["--undo-file=x"], is_unchanged),
    ("repair", "undo-dir"): (MENDED, ["--undo-dir=."], is_unchanged),
    ("repair", "threads"): (MENDED, ["--threads=2"], is_unchanged),
    ("repair", "progress"): (MENDED, ["--progress"], is_unchanged),
    ("rescue", "json"): (["lost"], ["--json"], shows_json),
    ("rescue", "output"): (["lost"], ["--output=json"], shows_json),
    ("rescue", "hex"): (["lost"], ["--hex"], adds_the_header),
    # what these make, find or keep, test_rescue.py tests
    ("rescue", "dry-run"): (["lost"], ["--dry-run"], is_unchanged),
    ("rescue", "apply"): (["base"], ["--apply"], is_unchanged),
    ("rescue", "plan-to"): (["base"], ["--plan-to=new"], is_unchanged),
    ("rescue", "copy"): (["base"], ["--copy=new"], is_of_the_copy),
    ("rescue", "overlay"): (["base"], ["--overlay=new"], is_unchanged),
    ("rescue", "plan"): (KEPT, ["--plan=plan"], is_anything),
    ("rescue", "yes"): (["base"], ["--yes"], is_unchanged),
    ("rescue", "candidate"): (["lost"], ["--candidate=1"], says_it_again),
    ("rescue", "confidence"): (["lost"], ["--confidence=60"], says_it_again),
    ("rescue", "cluster-size"): (["lost"], ["--cluster-size=64k"], is_anything),
    ("rescue", "size"): (["lost"], ["--size=1M"], is_anything),
    ("rescue", "version"): (["lost"], ["--version=3"], is_anything),
    ("rescue", "refcount-bits"): (["lost"], ["--refcount-bits=16"], says_it_again),
    ("rescue", "backing"): (["lost"], ["--backing=base"], is_anything),
    ("rescue", "backing-format"): (["lost"], ["--backing-format=raw"], says_it_again),
    ("rescue", "data-file"): (["lost-data"], ["--data-file=disk.raw"], is_anything),
    ("rescue", "like"): (["lost"], ["--like=base"], is_anything),
    ("rescue", "look-inside"): (["lost"], ["--look-inside"], says_it_again),
    ("rescue", "force"): (KEPT, ["--force"], is_unchanged),
    ("rescue", "no-undo"): (KEPT, ["--no-undo"], is_unchanged),
    ("rescue", "undo-file"): (KEPT, ["--undo-file=x"], is_unchanged),
    ("rescue", "undo-dir"): (KEPT, ["--undo-dir=."], is_unchanged),
    ("rescue", "threads"): (["lost"], ["--threads=2"], is_unchanged),
    ("rescue", "progress"): (["lost"], ["--progress"], is_unchanged),
    ("rescue", "help"): (["lost"], ["--help"], is_help),
    ("repair", "help"): (MENDED, ["--help"], is_help),
    ("map", "json"): ([SAMPLE], ["--json"], shows_json),
    ("map", "output"): ([SAMPLE], ["--output=json"], shows_json),
    ("map", "start-offset"): ([SAMPLE], ["--start-offset=1M"], shows_other_extents),
    ("map", "max-length"): ([SAMPLE], ["--max-length=1M"], shows_other_extents),
    ("map", "snapshot"): ([SAMPLE], ["--snapshot=1"], shows_other_extents),
    # the files of a chain, and what these print, test_map.py tests
    ("map", "chain"): (["bitmaps"], ["--chain"], is_unchanged),
    ("map", "binary"): (["-l1", SAMPLE], ["--binary"], is_a_record),
    ("map", "help"): ([SAMPLE], ["--help"], is_help),
    ("layout", "json"): ([SAMPLE], ["--json"], shows_json),
    ("layout", "output"): ([SAMPLE], ["--output=json"], shows_json),
    ("layout", "width"): ([SAMPLE], ["--width=60"], is_narrower),
    ("layout", "help"): ([SAMPLE], ["--help"], is_help),
    # what these write, test_report.py tests
    ("report", "to"): ([SAMPLE], ["--to=page"], is_nothing),
    ("report", "force"): (["--to=page", SAMPLE], ["--force"], is_unchanged),
    ("report", "redact"): (REPORTED, ["--redact"], is_unchanged),
    ("report", "help"): (REPORTED, ["--help"], is_help),
    ("vet", "json"): ([SAMPLE], ["--json"], shows_json),
    ("vet", "output"): ([SAMPLE], ["--output=json"], shows_json),
    ("vet", "policy"): ([SAMPLE], ["--policy=strict"], names_the_policy),
    ("vet", "max-virtual-size"): ([SAMPLE], ["--max-virtual-size=1G"], is_unchanged),
    ("vet", "label"): ([SAMPLE], ["--label=x"], has_the_label),
    ("vet", "jobs"): ([SAMPLE], ["--jobs=2"], is_unchanged),
    ("vet", "files-from"): ([SAMPLE], ["--files-from=/dev/null"], is_unchanged),
    ("vet", "list"): ([], ["--list"], is_a_policy),
    ("vet", "deep"): ([SAMPLE], ["--deep"], is_unchanged),
    ("vet", "help"): ([SAMPLE], ["--help"], is_help),
    ("measure", "json"): ([SAMPLE], ["--json"], shows_json),
    ("measure", "output"): ([SAMPLE], ["--output=json"], shows_json),
    ("measure", "size"): ([], ["--size=1G"], tells_other_sizes),
    ("measure", "target"): ([SAMPLE], ["--target=raw"], tells_other_sizes),
    ("measure", "options"): ([SAMPLE], ["--options=cluster_size=4k"], tells_other_sizes),
    ("measure", "snapshot"): (["shared"], ["--snapshot=one"], is_unchanged),
    ("measure", "chain"): (["overlay"], ["--chain"], adds_a_commit),
    ("measure", "help"): ([SAMPLE], ["--help"], is_help),
    # what these open, read and find, test_read.py, test_hash.py and test_compare.py test
    ("read", "guest"): (["-x", SAMPLE], ["--guest=64k+16"], differs),
    ("read", "hex"): (["--guest=0+16", SAMPLE], ["--hex"], differs),
    ("read", "snapshot"): (["-x", "shared"], ["--snapshot=one"], is_unchanged),
    ("read", "vm-state"): (["-x", "--snapshot=one", "shared"], ["--vm-state"], differs),
    ("read", "chain"): (["-x", "bitmaps"], ["--chain"], is_unchanged),
    ("read", "format"): (["-x", "bitmaps"], ["--format=raw"], differs),
    ("read", "key-file"): (["-x", "bitmaps"], ["--key-file=script"], is_unchanged),
    ("read", "salvage"): (["-x", "bitmaps"], ["--salvage"], is_unchanged),
    ("read", "help"): (["-x", SAMPLE], ["--help"], is_help),
    ("export", "to"): (EXPORTED, ["--to=other"], is_unchanged),
    ("export", "format"): (EXPORTED, ["--format=raw"], is_unchanged),
    ("export", "image-format"): (EXPORTED, ["--image-format=qcow2"], is_unchanged),
    ("export", "snapshot"): (["--force", "--to=out", "shared"], ["--snapshot=one"], is_unchanged),
    ("export", "bitmap"): (EXPORTED, ["--bitmap=a"], differs),
    ("export", "ranges"): (EXPORTED, ["--ranges=none"], differs),
    ("export", "verify"): (["record", "raw"], ["--verify"], differs),
    # what these write and leave, test_export.py tests
    **{("export", option): (EXPORTED, [f"--{option}{value}"], is_unchanged) for option, value in (
        ("chain", ""), ("key-file", "=script"), ("manifest", "=made"), ("salvage", ""), ("sparse", ""),
        ("preallocate", ""), ("no-sync", ""), ("force", ""))},
    ("export", "json"): (EXPORTED, ["--json"], shows_json),
    ("export", "output"): (EXPORTED, ["--output=json"], shows_json),
    ("export", "help"): (EXPORTED, ["--help"], is_help),
    **{("capture", option): (EXPORTED, [f"--{option}{value}"], is_unchanged) for option, value in (
        ("to", "=other"), ("force", ""), ("with-compressed", ""))},
    ("capture", "redact"): (EXPORTED, ["--redact"], differs),
    ("capture", "no-leaks"): (EXPORTED, ["--no-leaks"], differs),
    ("capture", "apply"): (["base"], ["--apply=small"], differs),
    ("capture", "dry-run"): (PUT_BACK, ["--dry-run"], is_anything),
    ("capture", "dump"): (["-n", *PUT_BACK], ["--dump=header"], differs),
    **{("capture", option): (PUT_BACK, [f"--{option}{value}"], is_unchanged) for option, value in (
        ("yes", ""), ("undo-file", "=x"), ("undo-dir", "=."), ("no-undo", ""))},
    ("capture", "json"): (EXPORTED, ["--json"], shows_json),
    ("capture", "output"): (EXPORTED, ["--output=json"], shows_json),
    ("capture", "help"): (EXPORTED, ["--help"], is_help),
    ("hash", "block"): (["bitmaps"], ["--block=64k"], differs),
    ("hash", "snapshot"): (["shared"], ["--snapshot=one"], is_unchanged),
    ("hash", "chain"): (["bitmaps"], ["--chain"], is_unchanged),
    ("hash", "format"): (["bitmaps"], ["--format=raw"], differs),
    ("hash", "key-file"): (["bitmaps"], ["--key-file=script"], is_unchanged),
    ("hash", "json"): ([SAMPLE], ["--json"], shows_json),
    ("hash", "output"): ([SAMPLE], ["--output=json"], shows_json),
    ("hash", "help"): ([SAMPLE], ["--help"], is_help),
    ("compare", "strict"): ([SAMPLE, SAMPLE], ["--strict"], is_unchanged),
    ("compare", "snapshot-a"): (["shared", "shared"], ["--snapshot-a=one"], is_unchanged),
    ("compare", "snapshot-b"): (["shared", "shared"], ["--snapshot-b=one"], is_unchanged),
    ("compare", "chain"): ([SAMPLE, SAMPLE], ["--chain"], is_unchanged),
    ("compare", "format-a"): (["bitmaps", "bitmaps"], ["--format-a=qcow2"], is_unchanged),
    ("compare", "format-b"): (["bitmaps", "bitmaps"], ["--format-b=qcow2"], is_unchanged),
    ("compare", "key-file-a"): (["bitmaps", "bitmaps"], ["--key-file-a=script"], is_unchanged),
    ("compare", "key-file-b"): (["bitmaps", "bitmaps"], ["--key-file-b=script"], is_unchanged),
    ("compare", "progress"): ([SAMPLE, SAMPLE], ["--progress"], is_unchanged),
    ("compare", "json"): ([SAMPLE, SAMPLE], ["--json"], shows_json),
    ("compare", "output"): ([SAMPLE, SAMPLE], ["--output=json"], shows_json),
    ("compare", "help"): ([SAMPLE, SAMPLE], ["--help"], is_help),
    ("edit", "json"): (PLANNED, ["--json"], shows_json),
    ("edit", "output"): (PLANNED, ["--output=json"], shows_json),
    ("edit", "dry-run"): (["base", "set", "header/size=1M"], ["--dry-run"], adds_the_check),
    ("edit", "dump"): (PLANNED, ["--dump=header/compatible_features"], adds_the_dump),
    # what these allow or keep, test_edit.py tests
    ("edit", "force"): (PLANNED, ["--force"], is_a_plan),
    ("edit", "yes"): (PLANNED, ["--yes"], is_a_plan),
    ("edit", "no-undo"): (PLANNED, ["--no-undo"], is_a_plan),
    ("edit", "undo-file"): (PLANNED, ["--undo-file=x"], is_a_plan),
    ("edit", "undo-dir"): (PLANNED, ["--undo-dir=."], is_a_plan),
    ("edit", "script"): (["-n", "base"], ["--script=script"], is_planned),
    ("edit", "data"): (["-n", "base", "extension", "add", "5"], ["--data=five"], is_planned),
    ("edit", "file"): (["-n", "base", "extension", "add", "5"], ["--file=script"], is_planned),
    ("edit", "help"): (PLANNED, ["--help"], is_help),
    ("bitmap", "json"): (["list", "bitmaps"], ["--json"], shows_json),
    ("bitmap", "output"): (["list", "bitmaps"], ["--output=json"], shows_json),
    ("bitmap", "verbose"): (["list", "bitmaps"], ["--verbose"], shows_tables),
    ("bitmap", "chain"): (["list", "overlay"], ["--chain"], lists_two),
    ("bitmap", "dirty"): (EXTENTS, ["--dirty"], shows_only(" dirty")),
    ("bitmap", "clean"): (EXTENTS, ["--clean"], shows_only(" clean")),
    ("bitmap", "all"): (EXTENTS, ["--all"], is_unchanged),
    ("bitmap", "union"): (EXTENTS, ["--union"], is_unchanged),
    ("bitmap", "intersect"): (EXTENTS, ["--intersect"], is_other),
    ("bitmap", "subtract"): (EXTENTS, ["--subtract"], is_other),
    ("bitmap", "force"): (["extents", "in-use", "b0"], ["--force"], is_one_extent),
    ("bitmap", "to"): (["export", "bitmaps", "a"], ["--to=new"], is_nothing),
    ("bitmap", "sparse"): (["-o", "new", "export", "bitmaps", "a"], ["--sparse"], is_nothing),
    ("bitmap", "raw"): (["-o", "new", "export", "bitmaps", "a"], ["--raw"], is_nothing),
    ("bitmap", "from"): (["compare", "bitmaps", "a", "a"], ["--from=bitmaps"], is_unchanged),
    ("bitmap", "granularity"): (ADDED, ["--granularity=4k"], is_another_plan),
    ("bitmap", "disabled"): (ADDED, ["--disabled"], is_another_plan),
    ("bitmap", "drop-bad"): (["-n", "repair", "bitmaps"], ["--drop-bad"], is_unchanged),
    ("bitmap", "assume-dirty"): (["-n", "repair", "in-use"], ["--assume-dirty"], makes_dirty),
    ("bitmap", "dry-run"): (["enable", "bitmaps", "a"], ["--dry-run"], adds_the_check),
    ("bitmap", "dump"): (ADDED, ["--dump=bitmaps/2/name"], adds_the_name),
    ("bitmap", "undo-file"): (ADDED, ["--undo-file=x"], is_unchanged),
    ("bitmap", "undo-dir"): (ADDED, ["--undo-dir=."], is_unchanged),
    ("bitmap", "no-undo"): (ADDED, ["--no-undo"], is_unchanged),
    ("bitmap", "help"): (["list", "bitmaps"], ["--help"], is_help),
    ("snapshot", "with"): (["diff", "shared", "one", "one"], ["--with=shared"], names_files),
    ("snapshot", "ignore-offsets"): (["diff", "shared", "one"], ["--ignore-offsets"], finds_nothing),
    ("snapshot", "start-offset"): (["diff", "shared", "one"], ["--start-offset=64k"], finds_nothing),
    ("snapshot", "max-length"): (["diff", "shared", "one"], ["--max-length=0"], finds_nothing),
    ("snapshot", "json"): (["list", "shared"], ["--json"], shows_json),
    ("snapshot", "output"): (["list", "shared"], ["--output=json"], shows_json),
    ("snapshot", "help"): (["list", "shared"], ["--help"], is_help),
    ("undo", "list"): (["undo"], ["--list"], is_undo_list),
    ("undo", "exact"): (["undo"], ["--exact"], is_undone_before),
    # what these remove, test_undo_files.py tests
    ("undo", "prune"): (["undo"], ["--prune"], removes_none),
    ("undo", "older-than"): (["--prune", "undo"], ["--older-than=1d"], removes_none),
    ("undo", "yes"): (["--prune", "undo"], ["--yes"], removes_none),
    ("undo", "force"): (["-l", "undo"], ["--force"], is_unchanged),
    ("undo", "json"): (["-l", "undo"], ["--json"], shows_json),
    ("undo", "output"): (["-l", "undo"], ["--output=json"], shows_json),
    ("undo", "help"): (["-l", "undo"], ["--help"], is_help),
    ("explain", "json"): (["l1_size"], ["--json"], shows_json),
    ("explain", "output"): (["l1_size"], ["--output=json"], shows_json),
    ("explain", "man"): ([], ["--man"], is_a_page),
    ("explain", "help"): ([], ["--help"], is_help),
    ("compat", "json"): ([SAMPLE, "dump-header"], ["--json"], shows_json),
    ("compat", "undo-file"): ([SAMPLE, "dump-header"], ["--undo-file=x"], is_unchanged),
    ("compat", "undo-dir"): ([SAMPLE, "dump-header"], ["--undo-dir=."], is_unchanged),
    ("compat", "layout"): ([SAMPLE, "dump-header"], ["--layout=v7"], is_layout_v7),
    ("compat", "help"): ([SAMPLE, "dump-header"], ["--help"], is_help),
    ("completion", "program"): (["bash"], ["--program=/opt/q"], asks_another),
    ("completion", "help"): (["bash"], ["--help"], is_help),
}
# What these do, test_help.py tests.
for _command, _line in {"dump": [SAMPLE], "info": [SAMPLE], "locate": ["--host=0", SAMPLE],
                        "diff": [SAMPLE, SAMPLE], "compare": [SAMPLE, SAMPLE], "hash": [SAMPLE],
                        "read": ["-x", SAMPLE], "export": ["--force", "--to=out", SAMPLE],
                        "capture": ["--force", "--to=out", SAMPLE],
                        "check": [SAMPLE], "map": [SAMPLE], "layout": [SAMPLE], "report": REPORTED,
                        "measure": [SAMPLE], "vet": [SAMPLE],
                        "edit": PLANNED, "repair": MENDED, "rescue": ["lost"],
                        "bitmap": ["list", "bitmaps"], "snapshot": ["list", "shared"], "undo": ["-l", "undo"],
                        "explain": ["l1_size"]}.items():
    OPTIONS.setdefault((_command, "color"), (_line, ["--color=never"], is_unchanged))
    OPTIONS.setdefault((_command, "memory-limit"), (_line, ["--memory-limit=1G"], is_unchanged))
    OPTIONS.setdefault((_command, "time-limit"), (_line, ["--time-limit=50"], is_unchanged))
    OPTIONS.setdefault((_command, "quiet"), (_line, ["--quiet"], is_nothing))
    OPTIONS.setdefault((_command, "verbose"), (_line, ["--verbose"], is_unchanged))


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
    """An overlay on a base, an image whose bitmaps are all in use, and an edited one."""
    build("size 1M\n", str(tmp_path / "base"))
    (tmp_path / "raw").write_bytes(b"")
    (tmp_path / "record").write_text('{"format": "qcow2-export-manifest", "format-version": 1, "state": "complete", '
                                     '"virtual-size": 0, "bitmaps": [], "listed-ranges": false, "ranges": []}',
                                     encoding="ascii")
    (tmp_path / "none").write_text("[]", encoding="ascii")
    build("size 1M\nbacking base qcow2\n", str(tmp_path / "overlay"))
    build("size 1M\nrepeat 7 bitmap b{} flags=in_use\n", str(tmp_path / "in-use"))
    build("size 1M\nbitmap a flags=auto bits=0,1,5\nbitmap b flags=auto bits=1,9\n",
          str(tmp_path / "bitmaps"))
    build("size 1M\nwrite 0 64k\nsnapshot one\nwrite 0 64k\n", str(tmp_path / "shared"))
    build("size 1M\ncorrupt\n", str(tmp_path / "corrupt"))
    build("size 1M\n", str(tmp_path / "edited"))
    build("size 1M\nwrite 0 64k\n", str(tmp_path / "lost"))
    build("size 1M\ndata_file disk.raw\nwrite 0 64k\nwrite 512k 64k\n", str(tmp_path / "lost-data"))
    for name in ("lost", "lost-data"):
        with open(tmp_path / name, "r+b") as stream:
            stream.write(bytes(512))
    (tmp_path / "plan").write_text('{"format": "qcow2-rescue-plan", "format-version": 1, "size-before": '
                                   f'{os.path.getsize(tmp_path / "base")}, "size-after": '
                                   f'{os.path.getsize(tmp_path / "base")}, "writes": []}}')
    (tmp_path / "script").write_text("set header/compatible_features=1\n")
    text_of(run("capture", "--to=small", "base", cwd=tmp_path))
    text_of(run("edit", "--undo-file=undo", "edited", "feature", "compatible", "0", "on",
                cwd=tmp_path))
    return tmp_path


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_option_has_a_row(command):
    words = command.split()
    assert set(listed_options(words)) == {o for c, o in OPTIONS if c == command}


def test_every_command_has_rows():
    text = text_of(run("--help"))
    listed = re.findall(r"^  ([a-z][\w-]*) +\S", text, re.M)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command, option", sorted(OPTIONS))
def test_option(command, option, folder):
    """It does what it says; its letter and, where getopt parses, its beginnings do the same."""
    words = command.split()
    operands, given, check = OPTIONS[command, option]
    alone = not words or (command, option) in ALONE
    code = OTHERWISE.get((command, option), 0)
    plain = QCOW2 if command == "completion" else RELEASE  # that prints its own path
    before = "" if alone else text_of(run(*words, *operands, cwd=folder, program=plain), code=code)
    after = text_of(run(*words, *given, *operands, cwd=folder))
    check(before, after)
    letter, argument = listed_options(words)[option]
    made = folder / MADE.get((command, option), "nothing")
    made.unlink(missing_ok=True)
    value = given[0].partition("=")[2]
    assert bool(argument) == bool(value)
    # The other spellings need no sanitizers, which take ten times as long as the command.
    again = functools.partial(run, program=RELEASE)
    if letter:
        short = ["-" + letter, value] if argument else ["-" + letter]
        assert text_of(again(*words, *short, *operands, cwd=folder)) == after
        made.unlink(missing_ok=True)
    if argument:
        assert text_of(again(*words, "--" + option, value, *operands, cwd=folder)) == after
    if command in ("dump", "info", "explain"):
        assert text_of(again(*words, *operands, *given, cwd=folder)) == after
        if argument:
            wrong = usage(again(*words, *operands, "--" + option, cwd=folder), command)
            assert wrong == f"option '--{option}' needs an argument"
        if option != "help":
            wrong = usage(again(*words, *operands, f"--{option}=bogus", cwd=folder), command)
            assert wrong in ("--output is human or json, not 'bogus'",
                             "--color is auto, always or never, not 'bogus'",
                             f"option '--{option}=bogus' takes no argument",
                             f"--{option}: 'bogus' is no number: write it as 4096, 64k, 1.5G or 0x1000")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    text = text_of(run(command, "--help"))
    assert text == text_of(run(command, "-h")) == text_of(run("help", command))
    assert text.startswith(f"Usage: qcow2 {command} [OPTIONS] ")
    summary = text.splitlines()[1]
    assert f"  {command:<10} {summary}\n" in text_of(run("--help"))
    assert max(map(len, text.splitlines())) <= 80


def test_main_help():
    text = text_of(run("--help"))
    assert text == text_of(run("-h")) == text_of(run("help"))


@pytest.mark.parametrize("line, wrong", [
    ([], "no command given"),
    (["dmp"], "unknown command 'dmp': did you mean dump?"),
    (["dump "], "unknown command 'dump ': did you mean dump?"),
    (["DUMP"], "unknown command 'DUMP': did you mean dump?"),
    ([""], "unknown command ''"),
    (["-x"], "unknown option '-x'"),
    (["--"], "unknown option '--'"),
    (["--vers"], "unknown option '--vers': did you mean --version?"),
    (["--version=1"], "unknown option '--version=1': did you mean --version?"),
    ([SAMPLE], f"unknown command '{SAMPLE}'"),
    (["a\x1b[31m\n"], "unknown command 'a\\u{1b}[31m\\n'"),
    ([b"\xff"], "unknown command '\\xff'"),
    (["help", "dmp"], "unknown command 'dmp': did you mean dump?"),
    (["help", "dump", "info"], "too many arguments for 'help'"),
    (["--version", "x"], "too many arguments for '--version'"),
    (["--help", "dump"], "too many arguments for '--help'"),
    (["--completion", "x"], "too many arguments for '--completion'"),
])
def test_wrong_lines(line, wrong):
    assert usage(run(*line)) == wrong


@pytest.mark.parametrize("line, wrong", [
    (["dump"], "no image given"),
    (["dump", "-j"], "no image given"),
    (["dump", "--"], "no image given"),
    (["info"], "no image given"),
    (["info", "--chain"], "no image given"),
    (["explain", "--man", "header"], "--man takes no NAME and no JSON"),
    (["explain", "--man", "-j"], "--man takes no NAME and no JSON"),
    (["dump", "-x", SAMPLE], "unknown option '-x'"),
    (["dump", "-jx", SAMPLE], "unknown option '-x'"),
    (["dump", SAMPLE, "-x"], "unknown option '-x'"),
    (["dump", b"-\xc3\xa9", SAMPLE], "unknown option '-\\xc3'"),
    (["snapshot", "show", SAMPLE, "-odd"],
     "unknown option '-o'; a name with - in front stands behind --"),
    (["dump", "-\x1b", SAMPLE], "unknown option '-\\u{1b}'"),
    (["dump", "--bogus", SAMPLE], "unknown option '--bogus'"),
    (["dump", "--bogus=1", SAMPLE], "unknown option '--bogus=1'"),
    (["dump", "--\x1b[31m", SAMPLE], "unknown option '--\\u{1b}[31m'"),
    (["dump", "--o", SAMPLE], "ambiguous option '--o'"),
    (["dump", "--h", SAMPLE], "ambiguous option '--h'"),
    (["dump", "--hex=1", SAMPLE], "option '--hex=1' takes no argument"),
    (["dump", "--help=1", SAMPLE], "option '--help=1' takes no argument"),
    (["dump", "--output"], "option '--output' needs an argument"),
    (["dump", "--output=", SAMPLE], "--output is human or json, not ''"),
    (["dump", "--output=JSON", SAMPLE], "--output is human or json, not 'JSON': did you mean json?"),
    (["dump", "--output=xml", "missing"], "--output is human or json, not 'xml'"),
    (["dump", "-o", "json", SAMPLE], "unknown option '-o'"),
    (["info", "--offsets", SAMPLE], "unknown option '--offsets'"),
    (["compat", "--layout=v8", SAMPLE, "dump-header"], "--layout is qemu or v7, not 'v8'"),
    (["compat", SAMPLE, "dump-header", "--layout="], "--layout is qemu or v7, not ''"),
    (["compat", "--layout", "\x1b", SAMPLE], "--layout is qemu or v7, not '\\u{1b}'"),
    (["compat", "--layout"], "option '--layout' needs an argument"),
    (["compat", "--bogus", SAMPLE, "dump-header"], "unknown option '--bogus'"),
    (["compat", "-x", SAMPLE, "dump-header"], "unknown option '-x'"),
    (["compat", "--layout=v7", "-j", SAMPLE, "dump-header"], "--layout=v7 has no JSON"),
])
def test_wrong_options(line, wrong):
    assert usage(run(*line), line[0]) == wrong


def test_wrong_lines_read_nothing():
    """A line that makes no sense is refused before the image is looked at, wherever it is wrong."""
    for line in (["dump", "missing", "--bogus"], ["info", "missing", "--output=x"],
                 ["dump", "missing", "a//b"], ["dump", "missing", "header", ""]):
        text = usage(run(*line), line[0])
        assert "No such file" not in text


def test_beginnings_of_options():
    """As with every program that uses getopt_long()."""
    assert text_of(run("dump", "--of", SAMPLE)) == text_of(run("dump", "--offsets", SAMPLE))
    assert text_of(run("dump", "--out=json", SAMPLE)) == text_of(run("dump", "-j", SAMPLE))
    assert text_of(run("info", "--he")) == text_of(run("info", "--help"))


def test_options_anywhere():
    expected = text_of(run("dump", "-j", "--hex", "--offsets", SAMPLE, "header"))
    for line in (["--offsets", SAMPLE, "--json", "header", "--hex"],
                 [SAMPLE, "header", "--output", "json", "--hex", "--offsets"],
                 ["-jj", "--hex", "--hex", "--offsets", "--", SAMPLE, "header"],
                 ["--output=human", "--output=json", "--hex", "--offsets", SAMPLE, "header"]):
        assert text_of(run("dump", *line)) == expected
    # The last word about the output counts.
    assert text_of(run("dump", "-j", "--output=human", SAMPLE)) == text_of(run("dump", SAMPLE))


def test_end_of_options(tmp_path):
    """What follows -- is a name, even if it looks like an option."""
    for name in ("-j", "--help", "--", "--output=json"):
        build("size 1M\n", str(tmp_path / name))
        assert "1048576" in text_of(run("info", "--", name, cwd=tmp_path))
        assert text_of(run("dump", "--", name, cwd=tmp_path)).startswith("Header:\n")
        os.unlink(tmp_path / name)
    told = complaint(run("dump", "--", SAMPLE, "--hex"), "dump", SAMPLE)[0]
    assert told.startswith("selector '--hex' names nothing")
    assert "'--json'" in usage(run("explain", "--", "--json"), "explain")


def test_selectors_that_name_nothing():
    """An error that lists what there is, and exit code 1."""
    for selector, has in (("nonsense", "header, features, bitmaps, extensions"),
                          ("bitmaps/nope", "nightly, weekly"),
                          ("header/nope", "magic, version, backing_file_offset"),
                          ("bitmaps/0/nope", "name, bitmap_table_offset")):
        told = complaint(run("dump", SAMPLE, selector), "dump", SAMPLE)
        missing = selector.rpartition("/")[2]
        assert told[0].startswith(f"selector '{selector}' names nothing: no '{missing}' among {has}")
        for others in (["header"], ["all"], ["bitmaps/*", "header/size"]):
            done = run("dump", "-j", SAMPLE, *others, selector)
            assert told == complaint(done, "dump", SAMPLE)


def test_choices_are_cut(tmp_path):
    """The list of what there is fits in a line, whatever the names are and how many."""
    image = tmp_path / "image"
    for length in (1, 7, 50, 145, 146, 150, 151, 152, 153, 160, 1023):
        names = [f"{i:<{length}}".replace(" ", "n")[:length] for i in range(9)]
        build("size 1M\n" + "".join(f"bitmap {n}\n" for n in names), str(image))
        for others in ([], ["bitmaps"], ["header", "all"]):
            done = run("dump", "image", *others, "bitmaps/zz", cwd=tmp_path)
            told = complaint(done, "dump", "image")[0].partition(" no 'zz' among ")[2]
            whole, cut = told.removesuffix("…").removesuffix(", "), told.endswith("…")
            parts = whole.split(", ") if whole else []
            assert parts == names[:len(parts)] and cut == (len(parts) < 9) == (length > 7)
            assert len(told) <= 160


def test_name_of_the_program(tmp_path):
    """Only the name qcow2.py changes what the program does."""
    for name in ("qcow2", "other", "qcow2.py3"):
        os.symlink(os.path.abspath(run.__globals__["QCOW2"]), tmp_path / name)
        assert text_of(run("--version", executable=str(tmp_path / name))).startswith("qcow2 ")


def test_exit_codes_of_pages():
    """Every page of a command says when it exits with which code, and with no other."""
    for command in COMMANDS:
        with open(os.path.join(TOP, "man", f"qcow2-{command}.1.scd"), encoding="utf-8") as stream:
            status = stream.read().partition("# EXIT STATUS")[2].partition("\n# ")[0]
        codes = set(re.findall(r"(?<!\w)\*?([0-9]+)\*?(?=[\s:])", status))
        other = {"explain": {"0", "1"}, "edit": {"0", "1"}, "undo": {"0", "1"},
                 "locate": {"0", "1"}, "diff": {"0", "1", "3"},
                 "bitmap": {"0", "1", "2", "3", "4"}, "snapshot": {"0", "1", "2", "3"},
                 "completion": {"0", "1"}, "compare": {"0", "1", "2", "3", "4"}, "check": {"0", "1", "2", "3", "63"},
                 "repair": {"0", "1", "2", "3", "63"}, "rescue": {"0", "1", "2", "3"}}
        assert codes == other.get(command, {"0", "1", "2"}), command
