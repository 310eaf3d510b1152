# SPDX-License-Identifier: MIT
# The uploads of uploads.txt, which are the rows of docs/vet-uploads.md: each of them is made, and
# what vet, oslo.utils and qemu-img say of it is compared with what is written.
"""Uploads, and the verdicts on them."""
import os
import re
import warnings

from tests.support import uploads
from tests.support.programs import TOP
from tests.support.qemu import tool

ALL = uploads.load()


def read(*parts):
    with open(os.path.join(TOP, *parts), encoding="utf-8") as stream:
        return stream.read()


def wrong(speaker, found):
    """The names of those of which the speaker says something else than what is written."""
    return {upload.name: said for upload, said in zip(ALL, found)
            if said != upload.said.get(speaker, type(said)())}


def test_verdicts(tmp_path):
    """`python3 -B -m tests.support.uploads` writes down what is found."""
    said = uploads.measure(ALL, str(tmp_path))
    for speaker in (*uploads.POLICIES, "deep"):
        assert not wrong(speaker, said[speaker]), speaker
    version = tool("qemu-img", "--version").split()[2]
    if version.startswith(uploads.QEMU):
        assert not wrong("qemu-img", said["qemu-img"])
    else:
        warnings.warn(f"the column of qemu-img is that of {uploads.QEMU}, this is {version}: not compared")
    if None not in said["oslo"]:
        assert not wrong("oslo", said["oslo"])
    else:
        warnings.warn("oslo.utils has no checker here: its column is not compared")


def test_what_the_kinds_let_expect():
    """A verdict that is none says why."""
    assert len({upload.name for upload in ALL}) == len(ALL)
    for kind, least in (("safe", 60), ("unsafe", 100)):
        assert sum(upload.kind == kind for upload in ALL) >= least
    for upload in ALL:
        said = [upload.said.get(policy, []) for policy in uploads.POLICIES]
        expected = {"safe": said == [[], [], []], "unsafe": all(said), "damaged": said[2],
                    "chain": said == [["backing-file"], [], ["backing-file"]]}[upload.kind]
        assert bool(expected) != ("why" in upload.said), upload


def test_all_published_cases_are_there():
    text = " ".join(upload.name + " " + upload.sentence for upload in ALL).upper()
    cases = set(re.findall(r"CVE-\d+-\d+", read("docs", "security.md")))
    assert len(cases) >= 12 and all(case in text for case in cases)


def test_every_rule_refuses_one():
    rules = {rule for upload in ALL for speaker in (*uploads.POLICIES, "deep")
             for rule in upload.said.get(speaker, [])}
    known = re.findall(r'^QCOW2_VET_RULE\(\d+, \w+, "([^"]+)", "[^"]+", \w+, \w+, \w+, (\w+)',
                       read("include", "qcow2", "def", "vet_rules.def"), re.M)
    assert rules <= {name for name, _ in known}
    # An image that takes QEMU ten seconds to open takes this test as long, and all have one name here.
    others = {"open-time", "file-name"}
    assert {name for name, strict in known if strict not in ("ALLOW", "NO_LIMIT")} == rules | others


def test_the_document_has_them():
    assert uploads.document() in read("docs", "vet-uploads.md")
