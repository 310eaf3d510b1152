# SPDX-License-Identifier: MIT
# The completions in the three shells, at a terminal: what a line is after the tab key was pressed.
# Names of bitmaps that would do something if a shell evaluated them are typed as they are.
"""Completion in bash, zsh and fish."""
import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import termios
import threading
import time

import pytest

from tests.forge import build
from tests.support.outside import run, text_of
from tests.support.programs import QCOW2, RELEASE

HOSTILE = ["a $(touch evil)", "`touch evil`", "it's; touch evil", 'q"$(touch evil)"', "x:y=z",
           "back\\slash", "!!", "~", "*", "-dash", "\u00e9", "#n", "{a,b}"]
UNTYPED = ["con\ttrol", "new\nline", "esc\x1b[31m", "\u202ertl", "bell\x07"]
SHELLS = ["bash", "zsh", "fish"]
RUN = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
# Each makes ^T write the line to the file "shown" and forget it.
SETUP = {
    "bash": "source ./script; bind 'set enable-bracketed-paste off';"
            "bind -x '\"\\C-t\": printf %s \"$READLINE_LINE\" >shown.new;"
            " mv shown.new shown; READLINE_LINE=; READLINE_POINT=0'\n",
    "zsh": "unset zle_bracketed_paste; autoload -Uz compinit; compinit -D -u; source ./script;"
           "show() { print -rn -- \"$BUFFER\" >shown.new; mv shown.new shown; BUFFER= };"
           "zle -N show; bindkey '^T' show; setopt no_beep no_bang_hist\n",
}


def program(name):
    path = shutil.which(name)
    if not path:
        pytest.skip(f"not here: there is no {name}")
    return path


@pytest.fixture(name="folder", scope="module")
def fixture_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shells")
    build("size 1M\nbitmap monday flags=auto bits=0\nbitmap tuesday bits=1\n"
          "snapshot 1 name=before\n", str(folder / "disk.qcow2"))
    shutil.copy(folder / "disk.qcow2", folder / "disk two.qcow2")
    build("size 1M\n", str(folder / "hostile"))
    text_of(run("bitmap", "add", "--no-undo", "-f", "hostile", "--", *HOSTILE, *UNTYPED, cwd=folder))
    (folder / "images").mkdir()
    os.mkfifo(folder / "fifo")
    return folder


def script_of(shell):
    """A completion that asks the fast program."""
    return subprocess.run([RELEASE, "completion", shell], capture_output=True, check=True,
                          timeout=20).stdout


class Terminal:
    """A shell at a terminal, in a folder where `script` is its completion."""

    def __init__(self, shell, folder):
        (folder / "script").write_bytes(script_of(shell))
        mine, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        env = {"PATH": "/usr/bin:/bin", "TERM": "dumb", "PS1": "> ", "LC_ALL": "C.UTF-8",
               "HOME": str(folder / "images"), "INPUTRC": "/dev/null"}
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            RUN[shell], stdin=its, stdout=its, stderr=its, env=env, cwd=folder,
            start_new_session=True)
        os.close(its)
        self.folder, self.terminal = folder, mine
        # What the shell prints is read all the time, so that it never waits.
        self.drained = threading.Thread(target=self.drain, daemon=True)
        self.drained.start()
        self.type(SETUP[shell])
        self.complete("echo ready")

    def drain(self):
        try:
            while select.select([self.terminal], [], [], 60)[0] and os.read(self.terminal, 65536):
                pass
        except (OSError, ValueError):
            pass

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def complete(self, keys):
        """The line after the keys, of which a tab is one."""
        shown = self.folder / "shown"
        shown.unlink(missing_ok=True)
        self.type(keys + "\x14")
        end = time.monotonic() + 20
        while not shown.exists():
            assert time.monotonic() < end, keys
            time.sleep(0.005)
        return shown.read_text()

    def close(self):
        self.process.kill()
        self.process.wait()
        # Not before nobody reads any more: the number may be that of another file soon, whose bytes
        # the reader would take.
        self.drained.join(70)
        assert not self.drained.is_alive()
        os.close(self.terminal)


@pytest.fixture(name="terminal", scope="module", params=["bash", "zsh"])
def fixture_terminal(request, folder):
    program(request.param)
    terminal = Terminal(request.param, folder)
    yield request.param, terminal
    terminal.close()


def ask_fish(folder, line):
    """What fish offers for a line."""
    fish = program("fish")
    script = folder / "script.fish"
    if not script.exists():
        script.write_bytes(script_of("fish"))
    done = subprocess.run([fish, "--no-config", "-c", "source script.fish; complete -C $argv[1]",
                           line], cwd=folder, capture_output=True, check=True, timeout=30,
                          env={"PATH": "/usr/bin:/bin", "HOME": str(folder / "images"),
                               "LC_ALL": "C.UTF-8"})
    assert done.stderr == b""
    return [x.partition("\t")[0] for x in done.stdout.decode().splitlines()]


# Keys, and what the line is then; ␣ stands for a blank that the shell may add.
LINES = [
    ("qcow2 bitm\text\t", "qcow2 bitmap extents "),
    ("qcow2 bitmap list disk.\t", "qcow2 bitmap list disk.qcow2 "),
    ("qcow2 bitmap extents disk.qcow2 m\t", "qcow2 bitmap extents disk.qcow2 monday "),
    ("qcow2 bitmap extents disk\\ two.qcow2 t\t", "qcow2 bitmap extents disk\\ two.qcow2 tuesday "),
    ("qcow2 bitmap merge --from=disk.qcow2 hostile tu\t",
     "qcow2 bitmap merge --from=disk.qcow2 hostile tuesday "),
    ("qcow2 bitmap add --gran\t4k", "qcow2 bitmap add --granularity=4k"),
    ("qcow2 info --outp\tj\t", "qcow2 info --output=json "),
    ("qcow2 bitmap list --output ndj\t", "qcow2 bitmap list --output ndjson "),
    ("qcow2 bitmap add --undo-dir=im\t", "qcow2 bitmap add --undo-dir=images/"),
    ("qcow2 check --color=al\t", "qcow2 check --color=always "),
    ("qcow2 dump disk.qcow2 snapshots/b\t", "qcow2 dump disk.qcow2 snapshots/before "),
    ("qcow2 dump disk.qcow2 bitmaps/monday/gran\t",
     "qcow2 dump disk.qcow2 bitmaps/monday/granularity_bits "),
    ("qcow2 edit disk.qcow2 set header/cry\tLU\t",
     "qcow2 edit disk.qcow2 set header/crypt_method=LUKS "),
    ("qcow2 edit disk.qcow2 fea\t\x15qcow2 edit disk.qcow2 feature com\tla\to\t",
     "qcow2 edit disk.qcow2 feature compatible lazy-refcounts o"),
    ("qcow2 edit disk.qcow2 backing cl\t", "qcow2 edit disk.qcow2 backing clear "),
    ("qcow2 help bitmap exp\t", "qcow2 help bitmap export "),
    ("qcow2 undo --pr\tdisk.\t", "qcow2 undo --prune disk.qcow2 "),
    ("qcow2 completion z\t", "qcow2 completion zsh "),
    ("qcow2 bitmap extents fifo m\t", "qcow2 bitmap extents fifo m"),
    ("qcow2 bitmap extents nothing m\t", "qcow2 bitmap extents nothing m"),
    ("qcow2 bitmap extents $(touch evil) m\t", "qcow2 bitmap extents $(touch evil) m"),
]


@pytest.mark.parametrize("keys, line", LINES, ids=range(len(LINES)))
def test_lines(keys, line, terminal, folder):
    _, shell = terminal
    assert shell.complete(keys).rstrip() == line.rstrip()
    assert "evil" not in os.listdir(folder)


def test_hostile_names(terminal, folder):
    """A name is typed so that the shell takes it as it is. What cannot be typed is not offered."""
    name, shell = terminal
    for bitmap in HOSTILE:
        if bitmap == "-dash":
            continue
        first = {"`": "\\`", "*": "\\*", "~": "\\~", "!": "\\!", "#": "\\#", "{": "\\{"}.get(
            bitmap[0], bitmap[0])
        line = shell.complete(f"qcow2 bitmap extents hostile {first}\t")
        word = line.removeprefix("qcow2 bitmap extents hostile ").rstrip(" ")
        taken = subprocess.run([name, "-c", f"printf %s {word}"], cwd=folder, check=True,
                               capture_output=True, timeout=20, env={"PATH": "/usr/bin:/bin",
                                                                     "LC_ALL": "C.UTF-8"})
        assert taken.stdout.decode() == bitmap, line
    for start in ("con", "new", "esc", "bell", "-"):
        line = f"qcow2 bitmap extents hostile {start}"
        assert shell.complete(line + ("\t" if start != "-" else "d\t")).startswith(line)
    assert shell.complete("qcow2 bitmap extents hostile -- -d\t").rstrip().endswith(" -- -dash")
    assert "evil" not in os.listdir(folder)


def test_open_quotes(terminal):
    name, shell = terminal
    for quote in "'\"":
        line = shell.complete(f"qcow2 bitmap extents disk.qcow2 {quote}mon\t")
        assert line.rstrip() in (f"qcow2 bitmap extents disk.qcow2 {quote}monday{quote}",
                                 "qcow2 bitmap extents disk.qcow2 monday"), name
    line = shell.complete("qcow2 bitmap extents hostile 'a\t")
    assert line.rstrip() == "qcow2 bitmap extents hostile 'a $(touch evil)'"
    line = shell.complete("qcow2 bitmap extents hostile \"a\t")
    assert line.rstrip() == 'qcow2 bitmap extents hostile "a \\$(touch evil)"'


@pytest.mark.parametrize("line, offered", [
    ("qcow2 bitmap ex", ["export", "extents"]),
    ("qcow2 bitmap extents disk.qcow2 ", ["monday", "tuesday"]),
    ("qcow2 bitmap extents 'disk two.qcow2' m", ["monday"]),
    ("qcow2 bitmap extents disk\\ two.qcow2 m", ["monday"]),
    ("qcow2 bitmap list --output=nd", ["--output=ndjson"]),
    ("qcow2 bitmap add --undo-dir=im", ["--undo-dir=images/"]),
    ("qcow2 bitmap add --undo-file=disk.", ["--undo-file=disk.qcow2"]),
    ("qcow2 dump disk.qcow2 snapshots/", ["snapshots/=1", "snapshots/before"]),
    ("qcow2 edit disk.qcow2 set header/crypt_method=L", ["header/crypt_method=LUKS"]),
    ("qcow2 undo --l", ["--list"]),
    ("qcow2 bitmap extents fifo m", []),
    ("qcow2 bitmap extents (touch evil) m", []),
    ("qcow2 bitmap extents hostile a", ["a $(touch evil)"]),
    ("qcow2 bitmap extents hostile con", []),
])
def test_fish(line, offered, folder):
    assert ask_fish(folder, line) == offered
    assert "evil" not in os.listdir(folder)


def test_fish_offers_hostile_names(folder):
    expected = sorted(n for n in HOSTILE if n != "-dash")
    assert sorted(ask_fish(folder, "qcow2 bitmap extents hostile ")) == expected


def test_questions(folder):
    """The answer to a script: bounded, silent about errors, and it opens only what is a file."""
    def ask(*words, **more):
        done = run("__complete", "fish", *words, cwd=folder, **more)
        assert (done.returncode, done.stderr) == (0, b"")
        return [x.partition("\t")[0] for x in done.stdout.decode().splitlines()]
    assert ask() == [] and ask("nothing", "") == ["words"]
    assert ask("bitmap", "extents", "disk.qcow2", "") == ["words", "monday", "tuesday"]
    for image in ("fifo", "images", "/dev/zero", "/dev/tty", "nothing", "script", "", "~/x"):
        assert ask("bitmap", "extents", image, "", timeout=5) == ["words"]
    assert ask("bitmap", "extents", *(["disk.qcow2"] * 100), "mo") == ["words", "monday"]
    assert ask("bitmap", "list", "disk.qcow2", "") == ["words"]
    assert ask("bitmap", "add", "disk.qcow2", "") == ["words"]
    assert ask("bitmap", "import", "disk.qcow2", "monday", "") == ["files"]
    assert ask("help", "__complete", "") == ["words"]
    many = "".join(f"bitmap b{i} bits=0\n" for i in range(3000))
    build(f"size 1M\n{many}", str(folder / "many"))
    assert len(ask("bitmap", "extents", "many", "")) == 2001
    # Every path that is offered is one that dump knows.
    build("size 1M\nbitmap 7 bits=0\nbitmap a/b bits=0\nbitmap c bits=1\n"
          "snapshot 12 name=5\nsnapshot 13 name=x.y\n", str(folder / "names"))
    paths = ask("dump", "names", "s")[1:] + ask("dump", "names", "b")[1:]
    assert paths == ["snapshots", "snapshots/=5", "snapshots/=12", "snapshots/1", "snapshots/=13",
                     "backing_file", "bitmaps", "bitmaps/=7", "bitmaps/1", "bitmaps/c"]
    for path in paths:
        assert path == "backing_file" or text_of(run("dump", "names", path, cwd=folder))
    assert ask("edit", "names", "set", "bitmaps/") == ["words", "bitmaps/", "bitmaps/0/",
                                                       "bitmaps/1/", "bitmaps/c/"]
    # The image is only read: nobody notices.
    before = os.stat(folder / "disk.qcow2")
    ask("edit", "disk.qcow2", "set", "bit")
    assert os.stat(folder / "disk.qcow2").st_mtime_ns == before.st_mtime_ns


def test_program_of_the_script(folder):
    """A script asks the program that printed it, by a name or by a path of any letters."""
    strange = folder / "st'range $(touch evil) name"
    if not strange.exists():
        strange.symlink_to(os.path.dirname(QCOW2))
    for shell in SHELLS:
        program(shell)
        named = text_of(run("completion", shell, "--program=qcow2"))
        assert f"(qcow2 __complete {shell} " in named and "/" + os.path.basename(QCOW2) not in named
    words = 'COMP_WORDS=(qcow2 bitm); COMP_CWORD=1; _qcow2; printf %s "${COMPREPLY[@]}"'
    script = text_of(run("completion", "bash", "--program", f"{strange}/qcow2"))
    done = subprocess.run(["bash", "--norc", "-c", script + words], cwd=folder, check=True,
                          capture_output=True, timeout=20)
    assert done.stdout == b"bitmap" and "evil" not in os.listdir(folder)
    assert text_of(run("--completion")) == text_of(run("completion", "bash"))


@pytest.mark.parametrize("line, wrong", [
    ([], "no shell given: bash, zsh or fish"),
    (["tcsh"], "there is no completion for 'tcsh': did you mean bash?"),
    (["powershell"], "there is no completion for 'powershell'"),
    (["bash", "zsh"], "one shell at a time"),
    (["--nothing"], "unknown option '--nothing'"),
])
def test_wrong_completion(line, wrong):
    done = run("completion", *line)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(f"qcow2 completion: {wrong}\n")
