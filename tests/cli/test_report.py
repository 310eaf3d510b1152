# SPDX-License-Identifier: MIT
# qcow2 report: a page that is whole, says what the other commands say, stays small, tells no names if it
# shall not, and does nothing in a browser but be read.
"""The page of qcow2 report."""
import collections
import json
import os
import re
import subprocess

import pytest

from tests.forge import build
from tests.support import schemas
from tests.support.browser import CHROMIUM, DARK, LIGHT, screenshot
from tests.support.faults import each_fault, fault
from tests.support.html import FORBIDDEN, Page
from tests.support.outside import complaint, run
from tests.support.programs import RELEASE, image, recipe_image

MOST = 2 << 20
NAMES = ("customer-7", "before <upgrade>", "document.title", "onerror", "nightly-2026", "second-id")
HOSTILE = """
size 64M
feature_names
backing /srv/images/customer-7.qcow2 qcow2
extension 0x12345678 "customer-7 was here, and here"
write 0 3M
snapshot 1 name="before <upgrade>" vmstate=70000 date=1764000000
write 1M 1M
snapshot second-id name="</script><script>document.title='x'</script>"
compressed 8M 256k
bitmap "\\"><img src=x onerror=document.title='x'>" bits=0-9
bitmap "<script>document.title='x'</script>" flags=in_use
bitmap "nightly-2026\\u202e" flags=auto bits=3,5,8-12
leak 3
gap 5
write 20M 2M
set l2/0/5 @l2/0 | 1<<63
"""
MADE = {**os.environ, "SOURCE_DATE_EPOCH": "1764000000"}


def report(path, *words, code=None, program=RELEASE):
    done = run("report", "--to=-", *words, path, program=program, env=MADE)
    assert done.returncode in ((0, 2) if code is None else (code,)), done.stderr
    assert len(done.stdout) < MOST
    return done.stdout.decode("utf-8")


def answer(*words):
    done = run(*words, program=RELEASE)
    return json.loads(done.stdout)


@pytest.fixture(name="hostile", scope="module")
def fixture_hostile():
    path = image(HOSTILE)[0]
    text = report(path, code=2)
    return path, text, Page(text)


# ---- the page itself ----

def assert_readable(page):
    """What people need who read with a keyboard, or do not see the page."""
    assert page.all("html") == [{"lang": "en"}]
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1, landmark
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
    assert all(text.strip() for _, text in page.headings)
    assert len(set(page.ids)) == len(page.ids)
    assert all(given.get("scope") in ("col", "row") for given in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 0
    for _, given in page.tags:
        if "aria-labelledby" in given:
            assert given["aria-labelledby"] in page.ids
        if given.get("tabindex") == "0":
            assert given["aria-label"] and given["role"] == "group"
    links = [given["href"] for given in page.all("a")]
    assert links[0] == "#content" and all(link[0] == "#" and link[1:] in page.ids for link in links)
    assert len(page.all("details")) == len(page.all("summary"))


def assert_harmless(page):
    """Nothing runs, and nothing is fetched."""
    assert page.all("script") == [{"type": "application/json", "id": "qcow2-report"}]
    assert not FORBIDDEN & {tag for tag, _ in page.tags}
    for tag, given in page.tags:
        for name, value in given.items():
            assert not name.startswith("on") and name not in ("src", "srcset", "data", "action"), tag
            assert name == "xmlns" or "//" not in (value or "") or name == "aria-label", (name, value)
    policy, = (given["content"] for given in page.all("meta") if "http-equiv" in given)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")


def test_page(hostile):
    _, text, page = hostile
    assert_readable(page)
    assert_harmless(page)
    assert [text for level, text in page.headings if level == 2] == [
        "Summary", "Check", "Layout", "Snapshots", "Bitmaps", "Structures", "Data"]
    picture = [given for given in page.all("svg") if given.get("role") == "img"]
    assert len(picture) == 1 and picture[0]["aria-label"].startswith("Layout of ")
    assert "\u202e" not in text and "nightly-2026\\u{202e}" in "".join(page.text)


EACH = [name for name in sorted(os.listdir(os.path.join(os.path.dirname(__file__), "../forge/recipes")))
        if name.endswith(".recipe")][::14]


def whole(value):
    """A document of another command without what says that it was cut."""
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items() if not re.search("-omitted(-bytes)?$", key)}
    return [whole(inner) for inner in value] if isinstance(value, list) else value


def assert_follows_schemas(data):
    schemas.validator("report")(data, ())
    for name in ("info", "check"):
        if name in data:
            schemas.validator(name)(data[name], ())
    for name in ("dump", "tables"):
        if data.get(name):
            schemas.validator("dump")(whole(data[name]), ())
    if data.get("layout"):
        schemas.validator("layout")({**data["layout"], "runs": []}, ())


@pytest.mark.parametrize("name", [name[:-7] for name in EACH])
def test_all_images(name):
    """Whatever the image is like, the page is whole, or there is none; its exit code tells."""
    path = recipe_image(name)[0]
    done = run("report", "--to=-", path, program=RELEASE)
    if done.returncode == 1:
        assert done.stdout == b"" and not name.startswith("good-")
        return
    page = Page(done.stdout.decode())
    assert_readable(page)
    assert_harmless(page)
    assert_follows_schemas(page.data())
    if "check" in page.data():
        assert page.data()["check"] == answer("check", "-j", path)
    broken = {run(word, "-q", path, program=RELEASE).returncode for word in ("check", "info")}
    assert done.returncode == (2 if 2 in broken or "check" not in page.data() else 0)


def test_hostile_names(tmp_path):
    """Names that end elements, comments, lines or directions of text, and bytes that are no text."""
    path = tmp_path / "<img src=x onerror=alert(1)> & \"x\" \u202e.qcow2"
    build("size 1M\nsnapshot \"</SCRIPT><!--\" name=\"<!--<script>]]></script>--!>\"\n"
          "snapshot \"\\u2028\\u2029\" name=\"\\u202e\\u2066rtl\\u200b\"\n"
          "snapshot \"a\\0b\" name=\"\\xed\\xa0\\x80\\xc0\\xaf\\xf5<svg/onload=alert(1)>\"\n"
          "bitmap \"&lt;&#60;script&#62;\" bits=0\nbitmap \"' style='x' \\e]0;x\\x07\"\n", str(path))
    text = report(path)
    page = Page(text)
    assert_readable(page)
    assert_harmless(page)
    assert_follows_schemas(page.data())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", text)
    snapshots = page.data()["snapshots"]
    assert snapshots[0]["name"] == "<!--<script>]]></script>--!>" and snapshots[1]["id"] == "\u2028\u2029"
    assert snapshots[2]["id"] == "a\0b" and snapshots[2]["name-hex"].startswith("eda080c0aff5")


# ---- what it says ----

def test_facts(hostile):
    """The document holds what the other commands print, and the page shows it."""
    path, text, page = hostile
    data = page.data()
    assert_follows_schemas(data)
    assert data["info"] == answer("info", "-j", path)
    assert data["check"] == answer("check", "-j", path)
    dump = answer("dump", "-j", "--offsets", "--hex", path)
    assert data["dump"] == dump
    assert {key: data["tables"].pop(key) for key in [*data["tables"]] if key.endswith("-omitted")} == {
        "refcount_table-omitted": 8192 - 50}
    assert data["tables"]["refcounts"][0].pop("entries-omitted") == 32768 - 50
    assert data["tables"] == answer("dump", "-j", "--offsets", "--hex", path, "l1/0..49",
                                    "refcount_table/0..49", "refcounts/0/0..49")
    layout = answer("layout", "-j", path)
    del layout["runs"]
    assert data["layout"] == layout
    space, listed = answer("snapshot", "space", "-j", path), answer("bitmap", "list", "-j", path)
    for mine, its in zip(data["snapshots"], space["snapshots"], strict=True):
        assert {key: mine[key] for key in its if key in mine} == {k: v for k, v in its.items() if k in mine}
        assert len(set(its) & set(mine)) == 7
    for mine, row, its in zip(data["bitmaps"], listed["bitmaps"], space["bitmaps"], strict=True):
        both = {**row, **its}
        assert {key: both[key] for key in mine} == mine
    said = "".join(page.text)
    for problem in data["check"]["problems"]:
        assert problem["text"] in said and problem["consequence"] in said and problem["where"] in said
    for step in data["check"]["next"]:
        assert step["command"] in said
    assert said.count("customer-7.qcow2") >= 2 and "0x514649fb" in said
    assert f"The image is corrupt: 2 corruptions, 4 leaks, {data['check']['warnings']} warnings." in said
    explained = run("explain", "refcount-low", program=RELEASE).stdout.decode()
    assert " ".join("A cluster is referenced more often than its refcount says.".split()) in \
        " ".join(explained.split()) and "A cluster is referenced more often" in text


def test_sound():
    page = Page(report(image("size 1M\nwrite 0 64k\n")[0], code=0))
    said = "".join(page.text)
    assert "The image is sound." in said and "No problems were found." in said
    assert page.data()["check"]["verdict"] == "sound" and page.data()["exit-code"] == 0


def test_reproducible(hostile):
    """The same image gives the same page; without a date from outside, it has that of now."""
    path, text, _ = hostile
    assert report(path) == text and "on 2025-11-24 16:00:00 UTC." in text
    done = run("report", "-o", "-", path, program=RELEASE, env={**MADE, "SOURCE_DATE_EPOCH": "x"})
    assert b"2025-11-24T16:00:00Z" not in done.stdout


def test_state(tmp_path):
    """Which state of which file it is, and what made the page: also without names, and of what is left."""
    path = tmp_path / "a b.qcow2"
    build("size 1M\nwrite 0 64k\n", str(path))
    os.utime(path, (1760000000, 1760000000))
    page = Page(report(path))
    data, said = page.data(), "".join(page.text)
    assert data["modified"] == "2025-10-09T08:53:20Z" and "2025-10-09 08:53:20 UTC" in said
    assert data["command"] == f"qcow2 report '{path}'" and data["command"] in said
    version = run("--version", program=RELEASE).stdout.split()[-1].decode()
    assert data["qcow2-utils"] in version and f"qcow2-utils {data['qcow2-utils']}, 2025-11-24" in said
    assert data["metadata-digest"] in said and "What to do next" not in said
    (tmp_path / "copy").write_bytes(path.read_bytes())
    assert Page(report(tmp_path / "copy")).data()["metadata-digest"] == data["metadata-digest"]
    run("edit", "--force", tmp_path / "copy", "set", "header/autoclear_features=0x10", program=RELEASE)
    assert Page(report(tmp_path / "copy")).data()["metadata-digest"] != data["metadata-digest"]
    assert Page(report(path, "--redact")).data()["command"] == "qcow2 report --redact IMAGE"
    page = Page(report(recipe_image("bad-magic")[0], code=2))
    assert page.data()["modified"] and "next" in page.ids and "metadata-digest" not in page.data()


def test_lost_header():
    """What cannot be opened has a page as long as there is something to tell."""
    page = Page(report(recipe_image("bad-magic")[0], code=2))
    assert_readable(page)
    assert_harmless(page)
    schemas.validator("report")(page.data(), ())
    rescued = answer("rescue", "-j", recipe_image("bad-magic")[0])["candidates"]
    assert [found["confidence"] for found in page.data()["candidates"]] == [
        found["confidence"] for found in rescued]
    for evidence in rescued[0]["evidence"]:
        assert evidence["text"] in "".join(page.text)
    done = run("report", "-o-", recipe_image("bad-zeros")[0])
    assert "a file that starts with zeros" in complaint(done, "report", recipe_image("bad-zeros")[0])[0]


# ---- its size ----

def test_many():
    """As many bitmaps as there can be."""
    text = report(recipe_image("bad-hostile-bitmaps-65535")[0], code=2)
    data, said = Page(text).data(), "".join(Page(text).text)
    assert len(data["bitmaps"]) == 50 and data["bitmaps-omitted"] == 65535 - 50
    assert data["info"]["format-specific"]["data"]["bitmaps-omitted"] == 65535 - 50
    assert said.count("… and 65485 more: qcow2 ") == 2 and "… and 65524 more: qcow2 check" in said


def test_damaged_snapshots():
    """What every list of damage would take is bounded, and counted, without giving up the other lists."""
    text = report(image("size 1M\ncluster_bits 12\nrefcount_order 6\nwrite 0 4k\n"
                        f"repeat 4000 snapshot {{}} name=\"{'<' * 64}{{}}\"\n"
                        "set refcount_of/data/0 1\n")[0], code=2)
    page = Page(text)
    data, said = page.data(), "".join(page.text)
    assert_follows_schemas(data)
    damage = data["check"]["guest-damage"]
    assert len(damage["snapshots"]) + damage["snapshots-omitted"] == 4000
    assert len(damage["ranges"]) + damage["ranges-omitted"] == 4001
    assert len(data["snapshots"]) == 50 and data["snapshots-omitted"] == 3950
    assert said.count("at risk\n") == 11 and "… and 3990 more: qcow2 check" in said
    assert "can be read, but something else may overwrite it" in said and "no program reads it" not in said


def test_tables():
    """Of large tables, the page says how much is missing; of a broken image, it has those that are there."""
    page = Page(report(image("size 1T\n")[0], code=0))
    data, said = page.data(), "".join(page.text)
    assert (data["tables"]["l1-omitted"], data["tables"]["refcount_table-omitted"]) == (1998, 8142)
    assert data["tables"]["refcounts"][0]["entries-omitted"] == 32718
    assert len(data["tables"]["l1"]) == 50 and "… and 1998 more: qcow2 dump" in said
    for what, left in (("set refcount_table/0 0", {"l1", "refcount_table"}),
                       ("set header/l1_size 0", {"refcount_table", "refcounts"})):
        page = Page(report(image(f"size 1M\nwrite 0 64k\n{what}\n")[0], code=2))
        assert_follows_schemas(page.data())
        assert set(whole(page.data()["tables"])) == {"filename", "problems", *left}


@pytest.mark.parametrize("words", [[], ["--redact"]], ids=["names", "redacted"])
def test_long_names(words):
    """Names that become six times as long as they are: the page has the beginnings of them, and says so."""
    text = report(image("size 1M\nrepeat 60 bitmap \"{:04}%s\"\nrepeat 60 snapshot \"{:04}%s\" name=\"%s{:04}\"\n"
                        % ("\\\"<&" * 330, "\\x01&" * 1600, "'\\x01" * 2000))[0], *words)
    page = Page(text)
    assert_readable(page)
    data = page.data()
    assert_follows_schemas(data)
    for name, sizes in (("bitmaps", {"name": 994}), ("snapshots", {"id": 3204, "name": 4004})):
        assert len(data[name]) == 50 and data[f"{name}-omitted"] == 10
        for entry in data[name]:
            for key, size in sizes.items():
                assert len(entry[key]) + entry[f"{key}-omitted-bytes"] == size
    assert len(re.findall("… and 10 more: ", "".join(page.text))) >= 4


# ---- without names ----

def test_redact(hostile):
    path, _, plain = hostile
    text = report(path, "--redact", code=2)
    page = Page(text)
    data, before = page.data(), plain.data()
    assert data["filename"] == "IMAGE" and data["redacted"] and data["redaction-exact"]
    assert "qcow2 repair IMAGE" in "".join(page.text) and "read the page before you send it" in text
    for name in (*NAMES, os.path.basename(path), os.path.dirname(path)):
        assert name not in "".join(page.text) + json.dumps(data), name
        assert name.encode().hex() not in text, name
        for at in range(0, len(name) - 7):  # in the rows of bytes
            assert name[at:at + 8] not in "".join(page.text) or name[at:at + 8] in "document", name
    # everything else stays
    for key in ("corruptions", "leaks", "warnings", "verdict", "guest-damage", "lost-mappings"):
        assert strip_names(data["check"][key]) == strip_names(before["check"][key])
    assert data["layout"]["totals"] == before["layout"]["totals"]
    assert data["info"]["virtual-size"] == before["info"]["virtual-size"]
    assert [b["dirty-bytes"] for b in data["bitmaps"]] == [b["dirty-bytes"] for b in before["bitmaps"]]
    assert [b["name"].rstrip("-") for b in data["bitmaps"]][:2] == ["bitmap-0", "bitmap-1"]
    assert data["info"]["format-specific"] != before["info"]["format-specific"]
    assert data["info"]["backing-filename-format"] == "qcow2" and "dirty bit" in text


def test_redact_places():
    """Names in all places that have some, those that other parts of the document show included."""
    for text in ("data_file 7customer raw\nwrite 0 64k\n",
                 "backing 7customer:7customer 7Customer\nfeature_name compatible 9 \"7customer\"\n",
                 "header_length 128\nheader_tail 37637573746f6d6537637573746f6d65\nwrite 0 64k\n",
                 "snapshot 7custome name=7customer extra=\"7customer7customer\"\nbitmap 7customer\n"):
        path = image(f"size 1M\n{text}")[0]
        plain, redacted = report(path), report(path, "--redact")
        assert "7custom" in plain or b"7custom".hex() in plain
        assert "7custom" not in redacted.lower() and b"7custom".hex() not in redacted
        assert_follows_schemas(Page(redacted).data())


def strip_names(value):
    if isinstance(value, dict):
        return {key: strip_names(inner) for key, inner in value.items() if key not in ("name", "snapshot")}
    return [strip_names(inner) for inner in value] if isinstance(value, list) else value


def test_redact_luks():
    path = recipe_image("good-luks1")[0]
    plain, text = report(path), report(path, "--redact")
    uuid = answer("info", "-j", path)["format-specific"]["data"]["encrypt"]["uuid"]
    assert uuid in plain and uuid not in text and uuid.encode().hex() not in text
    assert "xts-plain64" in text and "sha256" in text
    salt = re.search(r'mk_digest_salt.*?([0-9a-f]{64})', plain, re.S)[1]
    assert salt not in text


def test_equal_names():
    """Names that were equal are so still, and only they."""
    path = image("size 1M\nbitmap twins\nbitmap twins\nbitmap other\nbitmap a\nbitmap b\n"
                 "snapshot 1 name=twins\n")[0]
    data = Page(report(path, "--redact", code=2)).data()
    names = [bitmap["name"] for bitmap in data["bitmaps"]]
    assert names[0] == names[1] and len(set(names)) == 4
    assert [len(name) for name in names] == [5, 5, 5, 1, 1]
    assert collections.Counter(p["id"] for p in data["check"]["problems"]) == collections.Counter(
        p["id"] for p in answer("check", "-j", path)["problems"])


# ---- where it goes ----

def test_targets(tmp_path):
    build("size 1M\nbacking base.qcow2 qcow2 make=1M\n", str(tmp_path / "a.qcow2"))
    build("size 1M\n", str(tmp_path / "b.qcow2"))
    build("size 1M\nbacking file:raw raw\n", str(tmp_path / "c.qcow2"))
    (tmp_path / "raw").write_bytes(bytes(1 << 20))
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def refused(to, why, *words, image="a.qcow2"):
        done = run("report", "-o", to, *words, image, cwd=tmp_path)
        assert why in complaint(done, "report", to)[0]
        assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before

    refused("a.qcow2", "it is the image", "--force")
    refused("b.qcow2", "it exists already")
    refused("b.qcow2", "it is a QCOW2 image", "--force")
    refused("base.qcow2", "the image needs this file", "--force")
    refused("raw", "the image needs this file", "--force", image="c.qcow2")
    (tmp_path / "deep").write_bytes(bytes(MOST + 1))  # such as the raw disk below the backing file
    before["deep"] = bytes(MOST + 1)
    refused("deep", "it has more than 2 MiB", "--force")
    refused("nowhere/page", "cannot make a file beside it")
    assert run("report", "-o", "page", "a.qcow2", cwd=tmp_path).stdout == b""
    Page((tmp_path / "page").read_text())
    before["page"] = (tmp_path / "page").read_bytes()
    refused("page", "it exists already")
    (tmp_path / "page").write_bytes(b"old")
    assert run("report", "-o", "page", "--force", "a.qcow2", cwd=tmp_path).returncode == 0
    assert len((tmp_path / "page").read_bytes()) == len(before["page"])
    done = run("report", "a.qcow2", cwd=tmp_path)
    assert done.returncode == 1 and b"no file given for the page" in done.stderr
    # a page that fails leaves nothing
    done = run("report", "-o", "new", "nothing", cwd=tmp_path)
    assert done.returncode == 1 and sorted(os.listdir(tmp_path)) == sorted(before)
    done = run("report", "-o", "new", "page", cwd=tmp_path)
    assert done.returncode == 1 and sorted(os.listdir(tmp_path)) == sorted(before)


@pytest.mark.parametrize("words", [[], ["--redact"]], ids=["names", "redacted"])
def test_faults(shim, words):
    """Memory that is short and reads that fail are errors, and no half page."""
    path = image("size 1M\nsnapshot one\nbitmap a bits=0\nwrite 0 64k\nset l2/0/0 0\n")[0]
    arguments = ["report", "--to=-", *words, path]
    undisturbed, _ = fault(shim, arguments, SOURCE_DATE_EPOCH="1764000000")
    assert undisturbed.returncode in (0, 2)
    for call in ("FAIL_ALLOC", "FAIL_READ"):
        for _, done in each_fault(shim, arguments, call):
            assert done.returncode == 1 and done.stdout == b"" or b" UTC." in done.stdout and \
                call == "FAIL_ALLOC" and len(done.stdout) == len(undisturbed.stdout), done
            assert done.returncode != 1 or re.search(
                rb"out of memory|Cannot allocate memory|Input/output error", done.stderr), done


# ---- in a browser ----

def seen_by(page, folder):
    """The page after all that could run has run, and what the browser complained about."""
    done = subprocess.run(
        [CHROMIUM, "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
         f"--user-data-dir={folder}/profile", "--enable-logging=stderr", "--dump-dom", f"file://{page}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=True,
        env={**os.environ, "HOME": str(folder)})
    console = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return done.stdout.decode(), console


def test_browser(hostile, tmp_path):
    """No name does anything, nothing is complained of, and headings and picture are there."""
    path, text, page = hostile
    (tmp_path / "page.html").write_text(text)
    dom, console = seen_by(tmp_path / "page.html", tmp_path)
    assert console == []
    assert re.search("<title>(.*?)</title>", dom)[1] == f"{os.path.basename(path)} – qcow2 report"
    assert "<img" not in dom and dom.count("<script") == 1
    for level, heading in page.headings:
        if level < 3:
            assert re.search(rf"<h{level}[^>]*>(<bdi>)?{re.escape(heading)}<", dom), heading
    assert dom.count('role="img"') == 1 and dom.count('<rect class="') > 50
    assert json.loads(re.search('id="qcow2-report">(.*?)</script>', dom, re.S)[1]) == page.data()
    # a page in which something runs is noticed
    (tmp_path / "bad.html").write_text("<title>a</title><script>document.title='x'; console.error(7)</script>")
    dom, console = seen_by(tmp_path / "bad.html", tmp_path)
    assert "<title>x</title>" in dom and len(console) == 1


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_shown(hostile, tmp_path, scheme):
    """The reader's choice is followed, and what is wide does not widen the page of a narrow screen."""
    (tmp_path / "page.html").write_text(hostile[1])
    shown = screenshot(tmp_path / "page.html", tmp_path, 375, 1400, scheme)
    behind = colours(hostile[1], scheme)["--page"]
    assert {row[1] for row in shown.rows[700:]} == {row[-2] for row in shown.rows[700:]} == {behind}
    assert sum(behind) > 700 if scheme == LIGHT else sum(behind) < 60


def colours(text, scheme):
    """The variables of the style."""
    light, dark = re.findall(r":root\{(.*?)\}", text)[:2]
    found = dict(re.findall(r"(--[a-z-]+):#([0-9a-f]{6})(?:;|$)", light))
    if scheme == DARK:
        found.update(re.findall(r"(--[a-z-]+):#([0-9a-f]{6})(?:;|$)", dark))
    return {name: tuple(bytes.fromhex(value)) for name, value in found.items()}


def contrast(one, other):
    def luminance(colour):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                 for c in (value / 255 for value in colour)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(hostile, scheme):
    found = colours(hostile[1], scheme)
    for text in ("--text", "--soft", "--link"):
        for behind in ("--page", "--card"):
            assert contrast(found[text], found[behind]) >= 4.5, (text, behind)
    assert contrast(found["--text"], found["--code"]) >= 4.5
    for mood in ("--good", "--fair", "--bad", "--note"):
        assert contrast(found[mood], found[mood + "-behind"]) >= 4.5, mood
