# SPDX-License-Identifier: MIT
# The completion for bash, run as bash runs it: with the words of a line, and once by pressing tab.
"""What bash offers."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time

import pytest

from tests.support.outside import run, text_of
from tests.support.programs import QCOW2, RELEASE, SAMPLE

COMMANDS = ["info", "dump", "diff", "compare", "locate", "check", "vet", "map", "layout", "report", "measure", "read", "hash", "export",
            "snapshot", "repair", "rescue", "bitmap", "edit", "undo", "explain", "compat", "completion"]
DRIVER = """
source "$SCRIPT" || exit 9
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMP_LINE="$*"
_qcow2 || exit 8
for word in "${COMPREPLY[@]}"; do printf '%s\\0' "$word"; done
"""


@pytest.fixture(name="script", scope="module")
def fixture_script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "qcow2"
    # The script asks the program that printed it, many times: the fast one.
    done = subprocess.run([RELEASE, "--completion"], capture_output=True, check=True, timeout=20)
    path.write_bytes(done.stdout)
    return path


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
    """Files of all kinds of names."""
    for name in ("disk.qcow2", "disk two.qcow2", "star*.img", "$(touch evil)", "-j"):
        shutil.copy(SAMPLE, tmp_path / name)
    (tmp_path / "images").mkdir()
    return tmp_path


@pytest.fixture(name="offer")
def fixture_offer(script, folder):
    """What is offered for the last of the words; bash splits at = by itself, and so do we."""
    def offer(*words):
        split = []
        for word in words:
            head, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
            split += [head, *(["="] if equals else []), *([value] if value else [])]
        done = subprocess.run(["bash", "--norc", "-c", DRIVER, "bash", "qcow2", *split], cwd=folder,
                              env={**os.environ, "SCRIPT": str(script)}, timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (0, b""), done
        assert "evil" not in os.listdir(folder)
        return done.stdout.decode().split("\0")[:-1]
    return offer


def options_of(*command):
    """The long options that --help lists, as they are offered."""
    return sorted(re.findall(r"^  (?:-\w, |    )(--[\w-]+=?)", text_of(run(*command, "--help")),
                             re.M))


def test_commands(offer):
    listed = re.findall(r"^  ([a-z]\w*) +\S", text_of(run("--help")), re.M)
    assert sorted(listed) == sorted(COMMANDS)
    assert sorted(offer("")) == sorted([*listed, "help", *options_of()])
    assert offer("du") == ["dump"] and offer("zz") == []
    assert sorted(offer("--")) == options_of()
    assert offer("help", "") == listed and offer("help", "dump", "") == []
    for command in offer("help", ""):
        text_of(run("help", command))


@pytest.mark.parametrize("command", COMMANDS)
def test_options(command, offer):
    expected = options_of(command)
    assert "--help" in expected
    assert sorted(offer(command, "-")) == sorted(offer(command, "--")) == expected
    assert sorted(offer(command, SAMPLE, "--")) == expected
    for option in expected:
        word = option.rstrip("=")
        assert sorted(offer(command, word)) == [o for o in expected if o.startswith(word)]
        assert set(offer(command, option[:4])) == {o for o in expected if o[:4] == option[:4]}


@pytest.mark.parametrize("command, option", [("info", "--output"), ("dump", "--output"),
                                             ("explain", "--output"), ("compat", "--layout")])
def test_values(command, option, offer):
    """The values that --help names, each of which the command takes, after = and after a blank."""
    values = offer(command, option + "=")
    line = next(x for x in text_of(run(command, "--help")).splitlines() if re.search(rf"{option}=[A-Z]", x))
    assert sorted(values) == (["qemu", "v7"] if command == "compat" else ["human", "json"])
    assert offer(command, option, "") == values
    for value in values:
        assert re.search(rf"\b{value}\b", line)
        assert offer(command, f"{option}={value[:1]}") == [value]
        assert offer(command, option, value[:1]) == [value]
        operands = {"explain": ["header"], "compat": [SAMPLE, "dump-header"]}
        text_of(run(command, f"{option}={value}", *operands.get(command, [SAMPLE])))
    assert offer(command, option + "=zz") == []


@pytest.mark.parametrize("words", [["info"], ["dump"], ["compat"], ["edit"], ["undo"],
                                   ["undo", "disk.qcow2"], ["edit", "--no-undo"], ["info", "disk.qcow2"],
                                   ["dump", "-j"], ["dump", "--output=json"],
                                   ["dump", "--output", "json"], ["compat", "--layout=v7"]])
def test_files(words, offer):
    """One offer a file, whatever is in its name, and nothing is expanded."""
    assert sorted(offer(*words, "")) == sorted(["disk.qcow2", "disk two.qcow2", "star*.img",
                                                "$(touch evil)", "-j", "images"])
    assert sorted(offer(*words, "disk")) == ["disk two.qcow2", "disk.qcow2"]
    assert offer(*words, "s") == ["star*.img"]
    assert offer(*words, "nothing") == []


def test_verbs(offer):
    """Each verb that is offered is one that --help has."""
    verbs = offer("edit", "disk.qcow2", "")
    assert verbs == re.findall(r"^  ([a-z-]+) ", text_of(run("edit", "--help")).partition(
        "Verbs:\n")[2], re.M)
    assert offer("edit", "disk.qcow2", "fea") == ["feature", "feature-names"]
    commands = offer("compat", "disk.qcow2", "")
    assert commands == ["dump-header", "dump-header-exts", "set-header", "add-header-ext",
                        "add-header-ext-stdio", "del-header-ext", "set-feature-bit"]


def test_selectors(offer):
    """After the image, wherever the options are; each selector is one that dump takes."""
    selectors = offer("dump", "disk.qcow2", "")
    for words in (["dump", "-j", "disk.qcow2"], ["dump", "disk.qcow2", "--hex"],
                  ["dump", "--output=json", "disk.qcow2", "header"],
                  ["dump", "--output", "json", "disk two.qcow2"], ["dump", "not-there"]):
        assert offer(*words, "") == selectors
    header = json.loads(text_of(run("dump", "-j", SAMPLE, "header")))["header"]
    fields = {s.partition("/")[2] for s in selectors if s.startswith("header/")}
    assert fields <= set(header) and {"magic", "compression_type"} <= fields
    assert offer("dump", "disk.qcow2", "header/l1") == ["header/l1_size", "header/l1_table_offset"]
    for selector in selectors:
        done = run("dump", SAMPLE, selector)
        missing = selector in ("backing_file", "luks")  # the sample has neither
        assert done.returncode == (1 if missing else 0), selector
        assert missing or done.stderr == b""
    named = set(re.findall(r"^\*([a-z0-9_]+)", selectors_of_page().replace("\\", ""), re.M))
    named |= set(re.findall(r", \*([a-z0-9_]+)", selectors_of_page().replace("\\", "")))
    assert named == {s for s in selectors if "/" not in s}


def selectors_of_page():
    with open(os.path.join(os.path.dirname(SAMPLE), "..", "man", "qcow2-dump.1.scd"),
              encoding="utf-8") as stream:
        return stream.read().partition("# SELECTORS")[2].partition("\n# ")[0]


def test_explainable_names(offer):
    """Structures, fields and problems: all, and nothing else; and no second name."""
    known = json.loads(text_of(run("explain", "-j")))
    expected = {x["name"] for x in known if x["kind"] in ("structure", "problem")}
    for x in known:
        if x["kind"] == "structure":
            expected |= {f"{x['name']}/{f['name']}" for f in x["fields"]}
            if x["name"] == "header":
                expected |= {f["name"] for f in x["fields"]}
    offered = offer("explain", "")
    assert set(offered) == expected and len(offered) == len(expected)
    assert offer("explain", "-j", "bitmap-in") == ["bitmap-in-use"]
    assert offer("explain", "l1_s") == ["l1_size"]
    assert offer("explain", "header", "") == []


def test_compat(offer):
    assert offer("compat", "-j", "disk.qcow2", "dump-header-") == ["dump-header-exts"]
    assert offer("compat", "disk.qcow2", "dump-header", "") == []


def test_script_is_clean(script):
    """shellcheck and bash find nothing, and sourcing it defines only what is its own."""
    for check in (["bash", "-n", script], ["shellcheck", "-s", "bash", script]):
        done = subprocess.run(check, capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    names = subprocess.run(["bash", "--norc", "-c", 'before=$(compgen -A function -v); source "$1";'
                            ' comm -13 <(sort <<<"$before") <(compgen -A function -v | sort)',
                            "bash", script], capture_output=True, check=True, timeout=20)
    own = set(names.stdout.decode().split()) - {"before", "BASH_REMATCH", "COMP_WORDBREAKS", "_",
                                                "PIPESTATUS", "FUNCNAME"}
    assert own == {"_qcow2", "_qcow2_files", "_qcow2_words"}


class Shell:
    """A bash at a terminal."""

    def __init__(self, folder, script):
        mine, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        env = {"PATH": f"{os.path.dirname(QCOW2)}:/usr/bin:/bin", "TERM": "dumb", "PS1": "> ",
               "LC_ALL": "C.UTF-8", "HOME": str(folder), "INPUTRC": "/dev/null"}
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            ["bash", "--norc", "--noprofile", "-i"], stdin=its, stdout=its, stderr=its, env=env,
            cwd=folder, start_new_session=True)
        os.close(its)
        self.terminal = mine
        self.got = ""
        self.type(f"source {script}; bind 'set enable-bracketed-paste off'; echo re''ady\n")
        self.wait("ready")

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def wait(self, text, seconds=20):
        end = time.monotonic() + seconds
        while text not in self.got and time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.got += os.read(self.terminal, 65536).decode()
        assert text in self.got, self.got

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


def test_pressing_tab(folder, script):
    """Options, their values, a file with a blank in its name, a selector: typed in short."""
    shell = Shell(folder, script)
    try:
        shell.type("qcow2 du\t--ou\tj\tdisk\\ \theader/si\t; echo status $?\n")
        shell.wait("status 0")
    finally:
        shell.close()
    assert "qcow2 dump --output=json disk\\ two.qcow2 header/size" in shell.got
    assert '"size": 16777216' in shell.got
