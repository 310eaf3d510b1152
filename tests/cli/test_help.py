# SPDX-License-Identifier: MIT
# Help of every command and every action, what is suggested for mistyped words, and the options that
# all commands have.
"""Help, suggestions, colours and silence."""
import os
import re
import shutil
import subprocess

import pytest

from tests.forge import build
from tests.support.outside import on_terminal, run, text_of
from tests.support.programs import QCOW2, RELEASE, SAMPLE

COMMANDS = ["info", "dump", "diff", "locate", "check", "vet", "repair", "rescue", "map", "layout", "report", "measure",
            "read", "hash", "compare", "export", "capture", "snapshot", "bitmap", "edit", "undo", "explain", "compat",
            "completion"]
ACTIONS = {
    "bitmap": ["list", "extents", "export", "compare", "add", "remove", "clear", "enable",
               "disable", "rename", "merge", "import", "script", "repair"],
    "snapshot": ["list", "show", "space"],
    "edit": ["set", "feature", "extension", "backing", "data-file", "feature-names"],
    "undo": ["list", "prune"],
    "compat": ["dump-header", "dump-header-exts", "set-header", "add-header-ext",
               "add-header-ext-stdio", "del-header-ext", "set-feature-bit"],
}
PAIRS = [(c, a) for c, actions in ACTIONS.items() for a in actions]
LINES = [[], ["help"], *([c] for c in COMMANDS), *(list(p) for p in PAIRS)]
ESCAPE = b"\x1b["


def help_on(words, **more):
    done = subprocess.run([RELEASE, "help", *words], env={**os.environ, **more}, check=False,
                          capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_widths(words):
    """80 columns if nobody says more, else what the terminal has; only long words pass it."""
    text = help_on(words)
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r" $", text, re.M) and "\n\n\n" not in text
    assert help_on(words, COLUMNS="80") == text
    wide, narrow = help_on(words, COLUMNS="200"), help_on(words, COLUMNS="50")
    assert wide.count("\n") <= text.count("\n") <= narrow.count("\n")
    assert wide.split() == text.split() == narrow.split()
    for line in narrow.splitlines():
        # Rows of a table keep their first column whole.
        assert len(line) <= 50 or line.startswith(("Usage: ", "  ")) or line.count(" ") == 0 or \
            not words or line.endswith("."), line


@pytest.mark.parametrize("words", LINES[2:], ids=" ".join)
def test_sentences_are_broken_where_the_line_ends(words):
    """A break within a sentence of the source would leave a word alone on a line of 80 columns."""
    lines = help_on(words).split("\n\n", 2)[-1].splitlines()
    for line, following in zip(lines, lines[1:]):
        assert line.startswith(" ") or line.endswith((".", ":")) or not line or not following or \
            following.startswith(" ") or len(f"{line} {following.split()[0]}") > 80, (line, following)


def test_a_terminal_has_a_width():
    code, text = on_terminal("help", "bitmap", environment={"TERM": "xterm", "COLUMNS": "60"})
    assert code == 0 and max(map(len, text.decode().splitlines())) <= 80


@pytest.mark.parametrize("command, action", PAIRS)
def test_actions(command, action):
    """All ways to ask for the help of an action, which has only its own options."""
    text = help_on([command, action])
    if command == "undo":
        lines = [[command, f"--{action}", "--help"], [command, "-h", f"--{action}"],
                 ["help", command, f"--{action}"]]
        start = f"Usage: qcow2 undo --{action} [OPTIONS]"
    elif command in ("bitmap", "snapshot"):
        lines = [[command, action, "--help"], [command, "--help", action], [command, action, "-h"]]
        start = f"Usage: qcow2 {command} {action} [OPTIONS] IMAGE"
    else:
        lines = [[command, "image", action, "--help"], [command, action, "-h"]]
        start = f"Usage: qcow2 {command} [OPTIONS] IMAGE {action}"
    if command != "compat":
        for line in lines:
            assert text_of(run(*line)) == text
    assert text.startswith(start)
    whole = help_on([command])
    options = set(re.findall(r"^  (?:-\w, |    )(--[\w-]+)", text, re.M))
    every = set(re.findall(r"^  (?:-\w, |    )(--[\w-]+)", whole, re.M))
    assert options <= every and "--help" in options
    assert re.search(rf"^  (?:undo --)?{action}\b", whole, re.M)


def test_options_of_actions():
    assert "--granularity" in help_on(["bitmap", "add"])
    assert "--granularity" not in help_on(["bitmap", "list"])
    assert "--data" in help_on(["edit", "extension"]) and "--data" not in help_on(["edit", "set"])
    assert "--older-than" in help_on(["undo", "prune"])
    assert "--older-than" not in help_on(["undo", "list"])


@pytest.mark.parametrize("line, wrong", [
    (["chekc"], "unknown command 'chekc': did you mean check?"),
    (["Info"], "unknown command 'Info': did you mean info?"),
    (["bit"], "unknown command 'bit': did you mean bitmap?"),
    (["hepl"], "unknown command 'hepl': did you mean help?"),
    (["nonsense"], "unknown command 'nonsense'"),
    (["__complet"], "unknown command '__complet'"),
    (["--versoin"], "unknown option '--versoin': did you mean --version?"),
    (["help", "undp"], "unknown command 'undp': did you mean undo?"),
    (["info", "--ouput=json", "x"], "unknown option '--ouput=json': did you mean --output?"),
    (["dump", "--hxe", "x"], "unknown option '--hxe': did you mean --hex?"),
    (["check", "--colour=never", "x"], "unknown option '--colour=never': did you mean --color?"),
    (["bitmap", "--dryrun", "x"], "unknown option '--dryrun': did you mean --dry-run?"),
    (["bitmap", "lits", "x"], "unknown action 'lits': did you mean list?"),
    (["bitmap", "exprot", "x", "y"], "unknown action 'exprot': did you mean export?"),
    (["help", "bitmap", "mrge"], "unknown action 'mrge': did you mean merge?"),
    (["help", "edit", "sett"], "unknown verb 'sett': did you mean set?"),
    (["info", "--output=jsn", "x"], "--output is human or json, not 'jsn': did you mean json?"),
    (["bitmap", "list", "--output=ndjsn", "x"],
     "--output is human, json or ndjson, not 'ndjsn': did you mean ndjson?"),
    (["info", "--color=alwasy", "x"],
     "--color is auto, always or never, not 'alwasy': did you mean always?"),
    (["info", "--color=", "x"], "--color is auto, always or never, not ''"),
])
def test_suggestions(line, wrong):
    done = run(*line)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().splitlines()[0].partition(": ")[2] == wrong


NAMES = "; there are nightly, weekly"


@pytest.mark.parametrize("line, wrong", [
    (["bitmap", "extents", "IMAGE", "nosuch"],
     "bitmap 'nosuch': there is no bitmap of that name" + NAMES),
    (["bitmap", "export", "IMAGE", "x"], "bitmap 'x': there is no bitmap of that name" + NAMES),
    (["bitmap", "disable", "IMAGE", "weekly", "x"],
     "bitmap 'x': there is no bitmap of that name" + NAMES),
    (["bitmap", "merge", "--from=IMAGE", "IMAGE", "x", "weekly"],
     "bitmap 'x': there is no bitmap of that name" + NAMES),
    (["bitmap", "repair", "--assume-dirty", "IMAGE", "x"], "there is no bitmap 'x' among nightly, weekly"),
    (["bitmap", "remove", "EMPTY", "x"],
     "bitmap 'x': there is no bitmap of that name; the image has no bitmaps"),
    (["edit", "IMAGE", "sett", "a=1"], "unknown verb 'sett': did you mean set?"),
    (["edit", "IMAGE", "set", "header/szie=1"],
     "the header has no field 'szie': did you mean header/size?"),
    (["edit", "IMAGE", "set", "haeder/size=1"],
     "selector 'haeder/size' names nothing: no 'haeder' among header, features, bitmaps, "
     "extensions, l1, l2, snapshots, refcount_table, refcounts: did you mean header?"),
    (["edit", "IMAGE", "set", "snapshots/9/l1_size=1"],
     "selector 'snapshots/9/l1_size' names nothing: no '9' among installed (ID 1)"),
    (["edit", "EMPTY", "set", "snapshots/0/name=1"],
     "selector 'snapshots/0/name' names nothing: this image has no snapshots"),
    (["edit", "IMAGE", "set", "snapshots/9/l1_siz=1"],
     "selector 'snapshots/9/l1_siz' names nothing: no '9' among installed (ID 1)"),
    (["edit", "IMAGE", "feature", "compatibl", "0", "on"],
     "'compatibl' is no group: incompatible, compatible or autoclear: did you mean compatible?"),
    (["edit", "IMAGE", "feature", "compatible", "lazy-refcuonts", "on"],
     "'lazy-refcuonts' is no compatible feature, nor a bit from 0 to 63: did you mean "
     "lazy-refcounts?"),
    (["edit", "IMAGE", "feature", "compatible", "nothing", "on"],
     "'nothing' is no compatible feature, nor a bit from 0 to 63; there are lazy-refcounts"),
    (["edit", "IMAGE", "feature", "compatible", "0", "onn"],
     "a feature is on or off, not 'onn': did you mean on?"),
    (["edit", "IMAGE", "set", "header/crypt_method=LUSK"],
     "header/crypt_method: 'LUSK' is no number: write it as 4096, 64k, 1.5G or 0x1000: did you "
     "mean LUKS?"),
    (["edit", "IMAGE", "set", "header/crypt_method=nothing"],
     "header/crypt_method: 'nothing' is no number: write it as 4096, 64k, 1.5G or 0x1000; its "
     "values are called none, AES, LUKS"),
    (["edit", "IMAGE", "extension", "ad", "5"],
     "extension ad: add, replace or remove: did you mean add?"),
])
def test_names_that_exist(line, wrong, tmp_path):
    image = shutil.copy(SAMPLE, tmp_path / "IMAGE")
    build("size 1M\n", str(tmp_path / "EMPTY"))
    done = run(*line, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().endswith(f": {wrong}\n")
    with open(image, "rb") as changed, open(SAMPLE, "rb") as before:
        assert changed.read() == before.read()


def test_as_many_names_as_fit(tmp_path):
    """Names are escaped, and cut; what is left is counted."""
    names = "".join(f"bitmap bitmap-number-{i} bits=0\n" for i in range(400))
    build(f"size 1M\nbitmap esc\\x1b[31m bits=0\n{names}", str(tmp_path / "many"))
    done = run("bitmap", "extents", "many", "x", cwd=tmp_path)
    text = done.stderr.decode()
    assert text.count("\n") == 1 and re.search(r"bitmap-number-1, .* and 39\d more\n$", text)
    assert "\x1b" not in text


def test_colours(tmp_path):
    """--color beats the terminal and the environment, for every command that colours."""
    image = shutil.copy(SAMPLE, tmp_path / "image")
    lines = [["info", image], ["dump", image], ["check", image],
             ["edit", "--dry-run", image, "set", "header/size=16M", "header/nb_snapshots=0"]]
    for line in lines:
        plain = run(*line)
        coloured = run(*line, "--color=always")
        assert coloured.returncode == plain.returncode
        assert ESCAPE not in plain.stdout
        assert run(*line, "--color=auto").stdout == run(*line, "--color", "never").stdout == \
            plain.stdout
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            assert run(*line, "--color=always", env={**os.environ, **env}).stdout == coloured.stdout
        if ESCAPE in coloured.stdout:
            assert re.sub(rb"\x1b\[\d*(;\d+)*m", b"", coloured.stdout) == plain.stdout
        _, shown = on_terminal(*line, "--color=never")
        assert ESCAPE not in shown
    assert all(ESCAPE in run(*line, "--color=always").stdout for line in (lines[1], lines[2]))


@pytest.mark.parametrize("line", [["info"], ["dump"], ["check"], ["bitmap", "list"],
                                  ["bitmap", "extents", "-a"], ["bitmap", "compare"],
                                  ["snapshot", "list"], ["snapshot", "space"]],
                         ids=" ".join)
def test_silence_of_readers(line):
    """-q leaves the exit code and errors; JSON and data are what was asked for."""
    names = {"extents": ["weekly"], "compare": ["weekly", "nightly"]}.get(line[-1].strip("-a"), [])
    if "extents" in line:
        names = ["weekly"]
    loud, quiet = run(*line, SAMPLE, *names), run(*line, "-q", SAMPLE, *names)
    assert loud.stdout and (quiet.stdout, quiet.stderr) == (b"", b"")
    assert quiet.returncode == loud.returncode
    assert run(*line, "-q", "-j", SAMPLE, *names).stdout == run(*line, "-j", SAMPLE, *names).stdout
    assert set(run(*line, "-v", SAMPLE, *names).stdout.splitlines()) >= set(loud.stdout.splitlines())
    done = run(*line, "-q", "no such file", *names)
    assert done.returncode == 1 and b"No such file" in done.stderr


SAID = [
    (["bitmap", "disable", "nightly"], ["disabled nightly: 128 KiB dirty stay recorded"]),
    (["bitmap", "enable", "weekly"], ["enabled weekly: writes are recorded, 8 KiB dirty so far"]),
    (["bitmap", "add", "-g", "64k", "monday", "b\x07"],
     ["added monday: 64 KiB granularity, enabled", "added b\\u{7}: 64 KiB granularity, enabled"]),
    (["bitmap", "remove", "weekly"], ["removed weekly: 8 KiB dirty is no longer recorded"]),
    (["bitmap", "clear", "weekly"], ["cleared weekly: 8 KiB dirty is forgotten"]),
    (["bitmap", "rename", "weekly", "monday"], ["renamed weekly to monday: 8 KiB dirty, disabled"]),
    (["bitmap", "merge", "weekly", "nightly"],
     ["merged weekly into nightly: 128 KiB dirty, before 128 KiB"]),
    (["bitmap", "script", "../acts"],
     ["added new: 128 KiB dirty, 4 KiB granularity, enabled",
      "merged nightly, weekly into new: 128 KiB dirty, before 0 B",
      "cleared nightly: 128 KiB dirty is forgotten"]),
    (["edit", "set", "header/compatible_features=1"],
     ["header/compatible_features: 1, before 0"]),
    (["edit", "set", "header/size=16M", "header/size=8M"],
     ["header/size: 16777216 (0x1000000, 16 MiB), before 16777216",
      "header/size: 8388608 (0x800000, 8 MiB), before 16777216"]),
    (["edit", "feature", "compatible", "lazy-refcounts", "on"],
     ["compatible feature lazy-refcounts: on"]),
    (["edit", "extension", "add", "0x5", "--data=x"],
     ["header extension 0x00000005: added with 1 byte of data"]),
    (["edit", "backing", "set", "base.qcow2", "qcow2"], ["backing file: base.qcow2 (qcow2)"]),
    (["edit", "feature-names", "rebuild"], ["feature name table: written anew"]),
]


@pytest.mark.parametrize("line, said", SAID, ids=lambda x: " ".join(x)[:30].replace("\x07", ""))
def test_what_a_change_says(line, said, tmp_path):
    """A line for each thing that changed; with -v each write; with -q nothing, but the undo file."""
    (tmp_path / "acts").write_text("add new\nmerge nightly weekly new\nclear nightly\n")
    first = 2 if line[0] == "bitmap" else 1
    shown = {}
    for option in ("", "-v", "-q", "-j", "-qj"):
        folder = tmp_path / f"in{option}"
        folder.mkdir()
        shutil.copy(SAMPLE, folder / "image")
        words = [*line[:first], *([option] if option else []), "-f", "image", *line[first:]]
        shown[option] = text_of(run(*words, cwd=folder))
        undo, = os.listdir(folder / ".qcow2-undo")
        shown[option] = shown[option].replace(undo, "UNDO")
    hint = "undo with: qcow2 undo .qcow2-undo/UNDO\n"
    assert shown[""] == "".join(f"{x}\n" for x in said) + hint
    assert shown["-v"].startswith("".join(f"{x}\n" for x in said)) and shown["-v"].endswith(hint)
    assert re.search(r"^1(-\d+)?/\d+ \w+, \d+ byte", shown["-v"], re.M)
    assert shown["-q"] == "" and shown["-qj"] == shown["-j"] and shown["-j"].startswith("{")


def test_changes_that_change_nothing(tmp_path):
    image = shutil.copy(SAMPLE, tmp_path / "image")
    assert text_of(run("bitmap", "disable", image, "weekly")) == "Nothing to change.\n"
    assert text_of(run("bitmap", "disable", "-q", image, "weekly")) == ""
    text = text_of(run("bitmap", "disable", "--no-undo", image, "weekly", "nightly"))
    assert text == ("weekly: nothing to change, it is disabled with 8 KiB dirty\n"
                    "disabled nightly: 128 KiB dirty stay recorded\n")


def test_silence_of_dry_runs(tmp_path):
    """The exit code says whether the change would be refused."""
    image = shutil.copy(SAMPLE, tmp_path / "image")
    line = ["edit", "-n", image, "set", "header/nb_snapshots=9"]
    loud, quiet = run(*line), run(*line, "-q")
    assert (loud.returncode, quiet.returncode, quiet.stdout) == (1, 1, b"")
    assert loud.stderr == quiet.stderr != b""
    # Who is not shown what would go is not asked.
    run("edit", image, "set", "header/size=8M", "-f", cwd=tmp_path)
    undo = [x for x in os.listdir(tmp_path / ".qcow2-undo")][0]
    path = str(tmp_path / ".qcow2-undo" / undo)
    assert text_of(run("undo", "-q", path)) == ""
    done = run("undo", "--prune", "-q", path, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and b"--yes removes it" in done.stderr
    assert text_of(run("undo", "--prune", "-q", "--yes", path)) == "" and not os.path.exists(path)


def test_silence_of_data():
    plain = run("bitmap", "export", SAMPLE, "weekly")
    assert run("bitmap", "export", "-q", SAMPLE, "weekly").stdout == plain.stdout != b""
    assert run("explain", "-q", "header").stdout == b""
    assert run("explain", "-q", "--man").stdout == run("explain", "--man").stdout


def test_silence_on_a_full_device():
    """What is not printed cannot fail."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([QCOW2, "info", "-q", SAMPLE], stdout=full, stderr=subprocess.PIPE,
                              check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
