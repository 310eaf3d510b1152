# SPDX-License-Identifier: MIT
# What reaches terminals, pipes and files: colour only where it is wanted, the same bytes in every
# locale, and no byte of an image that a terminal would obey or not show.
"""Colours, locales and hostile text."""
import os
import re
import unicodedata

import pytest

from tests.forge import build, build_named, recipes
from tests.support.outside import READERS, ask, documents, harmless, on_terminal, run, text_of
from tests.support.programs import QCOW2, RELEASE, SAMPLE

COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
TEXT_READERS = sorted(r for r in READERS if "-j" not in r)
WAYS = [["dump", SAMPLE], ["dump", "bad"], ["dump", "--offsets", "--hex", "bad", "all"],
        ["info", "bad"], ["info", SAMPLE], ["info", "bad", SAMPLE], ["explain"],
        ["explain", "header"], ["explain", "bitmap-in-use"], ["compat", SAMPLE, "dump-header"],
        ["--help"], ["--version"], ["dump", "--help"], ["dump", "-j", "bad"],
        ["info", "-j", "bad"], ["compat", "-j", SAMPLE, "dump-header"], ["explain", "-j"],
        ["--completion"], ["explain", "--man"]]
COLOURED = WAYS[:4] + [WAYS[5]]


@pytest.fixture(name="folder")
def fixture_folder(tmp_path, monkeypatch):
    """A folder with an image that has a problem to colour."""
    build_named("bad-corrupt", str(tmp_path / "bad"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("way", WAYS, ids=lambda w: " ".join(map(os.path.basename, w)))
def test_colour(way, folder):
    """Only on a terminal that has colours, of somebody who did not say no; never in a pipe."""
    piped = run(*way, env={**os.environ, "TERM": "xterm-256color", "CLICOLOR_FORCE": "1"})
    assert b"\x1b" not in piped.stdout + piped.stderr and b"\r" not in piped.stdout
    with open(folder / "file", "wb") as stream:
        run(*way, stdout=stream, env={**os.environ, "TERM": "xterm"})
    assert (folder / "file").read_bytes() == piped.stdout

    for environment in ({"TERM": "xterm"}, {"TERM": "xterm", "NO_COLOR": ""},
                        {"TERM": "linux"}, {"TERM": "screen-256color"}):
        code, shown = on_terminal(*way, environment=environment)
        assert code == piped.returncode
        assert (b"\x1b" in shown) == (way in COLOURED)
        # nothing but colours is added, and ends of lines where the terminal is narrow
        assert COLOUR.sub(b"", shown).split() == piped.stdout.split()
        codes = COLOUR.findall(shown)
        assert codes[1::2] == [b"\x1b[0m"] * (len(codes) // 2) and len(codes) % 2 == 0
        for line in shown.split(b"\n"):  # no colour reaches beyond its line
            assert len(COLOUR.findall(line)) % 2 == 0

    for environment in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "xterm", "NO_COLOR": "0"},
                        {"TERM": "dumb"}, {"TERM": "dumb", "NO_COLOR": ""}, {}):
        code, shown = on_terminal(*way, environment=environment)
        assert (code, shown.split()) == (piped.returncode, piped.stdout.split())


SETTINGS = [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "tr_TR.UTF-8"},
            {"LC_ALL": "ja_JP.SJIS"}, {"LC_ALL": "no such locale"}, {"LANG": "de_DE.ISO-8859-1"},
            {"LANGUAGE": "fr"}, {"LC_NUMERIC": "de_DE.UTF-8"}, {"TZ": "Asia/Tokyo"},
            {"TZ": "/no/such/zone"}, {"COLUMNS": "20"}, {"POSIXLY_CORRECT": "1"}]


def test_settings(folder):
    """Neither locale nor time zone nor the size of a terminal changes a byte, errors included."""
    name = "bild \u00e4 \u6f22 \xff"
    build("size 1M\nsnapshot \u00e9 name=\u6f22\u5b57 date=1600000000\nbitmap \u00fc\u00f6\n"
          "refcount_order 5\n", str(folder / name))
    plain = {"PATH": os.environ["PATH"]}
    for reader in READERS:
        for image in (name, "bad", "missing \u00e4"):
            expected = ask(reader, image, env=plain)
            assert expected.returncode == {name: 0, "bad": 0 if "compat" in reader else 2}.get(
                image, 1)
            for setting in SETTINGS if image == name else SETTINGS[:4]:
                done = ask(reader, image, env={**plain, **setting}, program=RELEASE)
                assert (done.returncode, done.stdout, done.stderr) == (
                    expected.returncode, expected.stdout, expected.stderr), setting
    shown = text_of(run("info", name, env={**plain, "TZ": "Asia/Tokyo", "LC_ALL": "C"}))
    assert "2020-09-13 12:26:40 UTC" in shown and "\u6f22\u5b57" in shown and "\u00fc\u00f6" in shown


def unseen(character):
    """Whether a terminal obeys a character or shows nothing for it."""
    kind, code = unicodedata.category(character), ord(character)
    if kind == "Cf":  # these are shown, around the digits that follow
        return not character.isprintable() and not (
            code in (0x6dd, 0x70f, 0x8e2, 0x110bd, 0x110cd) or 0x600 <= code <= 0x605 or
            code in (0x890, 0x891))
    return (kind in ("Cc", "Zl", "Zp") or code & 0xfffe == 0xfffe or 0xfdd0 <= code <= 0xfdef or
            code in (0x34f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x3164, 0xffa0) or
            0x180b <= code <= 0x180f or 0xe0000 <= code <= 0xe0fff or 0xfff0 <= code <= 0xfff8)


def escaped(data):
    """How bytes are shown to people, worked out here with Python's own decoder."""
    shown = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    parts = []
    for character in data.decode("utf-8", "surrogateescape"):
        if "\udc80" <= character <= "\udcff":
            parts.append(f"\\x{ord(character) - 0xdc00:02x}")
        elif character in shown:
            parts.append(shown[character])
        else:
            parts.append(f"\\u{{{ord(character):x}}}" if unseen(character) else character)
    return "".join(parts)


def quoted(data):
    """Bytes as a word of a recipe."""
    return '"' + "".join(f"\\x{b:02x}" for b in data) + '"'


def test_every_character(folder):
    """All characters of Unicode that are not shown, and neighbours that are, in bitmaps' names."""
    bad = [chr(c) for c in range(0x110000) if not 0xd800 <= c < 0xe000 and unseen(chr(c))]
    assert len(bad) > 4000
    good = [c for c in "!~ \u00a0\u00ac\u00ae\u0300\u0600\u061b\u200a\u2010\u2027\u202f\u2070\ufdcf"
            "\ufdf0\ufffd\U00010000\U0001f5b4\U000e1000"]
    names = ["".join(bad[i:i + 200]).encode() for i in range(0, len(bad), 200)]
    names += ["".join(good).encode()]
    build("size 1M\n" + "".join(f"bitmap {quoted(n)}\n" for n in names), str(folder / "image"))
    done = run("dump", "image", "bitmaps/*/name")
    shown = re.findall(r"^name {22}(.*)$", harmless(done.stdout), re.M)
    assert shown == [escaped(n) for n in names]
    assert shown[-1] == "".join(good)
    raw = run("dump", "-j", "image", "bitmaps").stdout
    harmless(raw)
    bitmaps = documents(raw)[0]["extensions"][0]["data"]["bitmap_directory"]
    assert [b["name"].encode() for b in bitmaps] == names


HOSTILE = {
    "clear screen": b"a\x1b[2J\x1b[1;1Hb", "title": b"\x1b]0;owned\x07", "C1": b"a\xc2\x9b31mb",
    "bare C1": b"a\x9b31mb", "override": "safe\u202egpj.exe".encode(),
    "isolate": "\u2066a\u2069".encode(), "zero width": "a\u200bb\u200dc\ufeff".encode(),
    "separators": "a\u2028b\u2029c".encode(), "lines": b"a\nmagic 1\r\n\r\n{\"", "tab": b"\ta\t\tb",
    "back": b"abc\b\b\b\x7fxyz", "form": b"a\x0b\x0c\x0e\x0fb", "NUL": b"a\0b",
    "soft hyphen": "a\u00adb".encode(), "tag": "a\U000e0041b".encode(),
    "overlong": b"a\xc0\x8ab\xe0\x80\x8ac", "surrogate": b"a\xed\xa0\x80\xed\xb0\x80b",
    "too high": b"a\xf4\x90\x80\x80b\xff\xfe", "cut": b"a\xe2\x82", "backslash": b"a\\nb\\x1b\\",
    "percent": b"%s%n%1000000d%", "quotes": b"'\"`$(id)<&>;", "noncharacter": "a\ufffeb".encode(),
}
# Where an image can hold text of somebody's choice, and how often dump must show it as text.
PLACES = {
    "names": ("bitmap {0}\nsnapshot {0} name={0}\nbacking {0} {0}", 5),
    "data file": ("data_file {0} absent", 1),
    "feature": ("feature_names\nfeature_name incompatible 30 {0}\nincompatible 0x40000000", 0),
    "bytes": ("extension 0x12345678 {0}\nbitmap b0 flags=extra_data_compatible extra={0}\n"
              "snapshot s0 extra={0}\nappend {0}", 0),
    "LUKS1": ("luks1 cipher={0} mode={0} hash={0} uuid={0}", 4),
    "LUKS2": ("luks2 label={0}", 1),
}


@pytest.mark.parametrize("text", sorted(HOSTILE))
def test_hostile_text(text, folder):
    """Every place that holds text, in every command: escaped, and JSON says it all the same."""
    data = HOSTILE[text]
    for place, (recipe, times) in PLACES.items():
        if "LUKS" in place and "\ufffd" in data.decode("utf-8", "replace"):
            continue  # the forge makes these of characters
        build(f"size 1M\n{recipe.format(quoted(data[:31]))}\n", str(folder / "image"))
        shown = escaped(data[:31].split(b"\0")[0] if "LUKS" in place else data[:31])
        for reader in READERS:
            done = ask(reader, "image", program=QCOW2 if "dump" in reader else RELEASE)
            assert done.returncode in ((0, 1, 2) if "chain" in reader else (0, 2))
            harmless(done.stderr)
            text = harmless(done.stdout)
            if "-j" in reader:
                documents(done.stdout)
            elif reader == "dump":
                assert text.count(shown) >= times, (place, shown)
        assert sorted(os.listdir(folder)) == ["bad", "image"]


def test_text_adds_no_line(folder):
    """A name that holds newlines makes no line of its own, wherever it is shown."""
    lines = {}
    for name, data in (("plain", b"a" * 40), ("hostile", b"a\nb\r\nc\n\n" + b"\n" * 32)):
        build("size 1M\nbacking {0} {0}\nbitmap {0}\nsnapshot {0} name={0}\nfeature_names\n"
              "feature_name compatible 9 {0}\n".format(quoted(data)), str(folder / "image"))
        for reader in TEXT_READERS:
            text = ask(reader, "image").stdout.decode()
            kept = [line for line in text.splitlines()
                    if not re.match(r"(! )?(warning|corruption) |Problems:|$", line)]
            lines.setdefault(reader, []).append(kept)
    for reader, (plain, hostile) in lines.items():
        assert len(plain) == len(hostile), reader
        # What does not show the text is the same.
        assert [x for x in plain if "aaaa" not in x] == [
            x for x in hostile if "\\n\\n\\n" not in x], reader


@pytest.mark.parametrize("size", [120, 121, 1023, 4096, 20000, 65535])
def test_long_lines(size, folder):
    """A name of any length is whole in JSON; what is for people cuts it with a mark."""
    for character, data in ((b"n", b"n" * size), (b"\x01", b"\x01" * size),
                            (b"\xff", b"\xff" * size)):
        build(f"size 1M\nbitmap {quoted(character)}*{size}\n", str(folder / "image"))
        text = harmless(run("dump", "image", "bitmaps").stdout)
        mark = f"… ({size} bytes)" if size > 1024 else ""
        assert f"name                      {escaped(data[:1024])}{mark}\n" in text
        text = harmless(run("compat", "image", "dump-header").stdout)
        assert f"Bitmap name               {escaped(data)}\n" in text
        raw = run("dump", "-j", "image", "bitmaps").stdout
        bitmap = documents(raw)[0]["extensions"][0]["data"]["bitmap_directory"][0]
        assert bitmap["name"] == data.decode("utf-8", "replace")
        assert ("name-hex" in bitmap) == (character == b"\xff")
        shown = harmless(run("info", "image").stdout)
        assert shown.endswith(f" disabled       {escaped(data[:120])}{'…' * (size > 120)}\n")


def test_cut_between_characters(folder):
    """What is cut is cut before a character that would not be whole."""
    for character in ("\u00e9", "\u6f22", "\U0001f5b4"):
        for ahead in range(4):
            name = "a" * ahead + character * 1020
            build(f"size 1M\nbitmap {quoted(name.encode())}\n", str(folder / "image"))
            length = len(character.encode())
            text = harmless(run("dump", "image", "bitmaps/0/name").stdout)
            kept = "a" * ahead + character * ((1024 - ahead) // length)
            assert f"name                      {kept}\u2026 ({len(name.encode())} bytes)\n" in text
            text = harmless(run("info", "image").stdout)
            assert f" {'a' * ahead}{character * ((120 - ahead) // length)}\u2026\n" in text


@pytest.mark.parametrize("size, percent", [
    (512, "38400 %"), (65536, "300 %"), (196608, "100 %"), (198144, "99.2 %"), (3 << 20, "6.25 %"),
    (3 << 30, "0.0061 %"), (3 << 40, "below 0.001 %"), (0, None)])
def test_percent(size, percent, folder):
    """An image of 192 KiB beside its virtual size: a number that people write."""
    build(f"size {size}\ncluster_bits 16\nl1_size 8192\n", str(folder / "image"))
    with open(folder / "image", "r+b") as stream:
        data = stream.read()
        stream.truncate(0)
        stream.seek(0)
        stream.write((data + bytes(196608))[:196608])  # no holes
    shown = re.search(r"^on disk +192 KiB \(196608 bytes(?:, (.*) of the virtual size)?\)$",
                      run("info", "image").stdout.decode(), re.M)
    assert shown and shown[1] == percent


@pytest.mark.parametrize("name", [n for n in recipes() if re.search("name|text|escape|utf8", n) and
                                  not re.search("65535|long|equal|truncated|extension", n)])
def test_recipes_of_names(name, folder):
    """The forge's own collection of hostile names."""
    build_named(name, str(folder / "image"))
    for reader in ("dump", "info", "compat"):
        done = ask(reader, "image")
        assert done.returncode in (0, 2)
        harmless(done.stderr + done.stdout)
