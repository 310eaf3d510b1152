# SPDX-License-Identifier: MIT
# The uploads of tests/cli/uploads.txt: how they are made, and what each program says of them. The
# tests compare it with what is written there; scripts/generate makes docs/vet-uploads.md of it.
"""Uploads, and the verdicts of vet, oslo.utils and qemu-img.

python3 -B -m tests.support.uploads writes the verdicts of today into uploads.txt, to be reviewed."""
import concurrent.futures
import dataclasses
import functools
import json
import os
import re
import subprocess
import tempfile
import textwrap

from tests.forge import build, build_named
from tests.support.programs import QCOW2, RELEASE

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli", "uploads.txt")
POLICIES = ("upload", "chain", "strict")
SPEAKERS = (*POLICIES, "deep", "oslo", "qemu-img", "why")
KINDS = ("safe", "chain", "unsafe", "damaged")
# The rules of the wrapper around qemu-img info: those of services of images.
MEMORY_BYTES, SECONDS, SIZE_BYTES = 1 << 30, 30, 64 << 40
# The version that the verdicts are of.
QEMU = "7.2."


@dataclasses.dataclass
class Upload:
    section: str
    name: str
    kind: str
    sentence: str
    recipe: list
    commands: list
    said: dict  # a policy to the rules that refuse, another speaker to its words

    def make(self, folder):
        """Makes it in a folder of its own; returns its path."""
        os.mkdir(folder)
        path = os.path.join(folder, "disk")
        if self.recipe[:1] and self.recipe[0].startswith("recipe "):
            build_named(self.recipe[0].split()[1], path)
        elif self.recipe:
            build("\n".join(self.recipe) + "\n", path)
        if self.commands:
            script = "\n".join(["set -e", *self.commands]).replace("{}", "disk")
            subprocess.run(["sh", "-c", script], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return path


def _add(upload, line):
    """A line below the first one of an upload."""
    if line.startswith("$ "):
        upload.commands.append(line[2:])
    elif line.startswith("> "):
        who, _, what = line[2:].partition(": ")
        for speaker in POLICIES if who == "vet" else (who,):
            assert speaker in SPEAKERS, line
            upload.said[speaker] = what if who in ("why", "oslo", "qemu-img") else sorted(what.split())
    else:
        upload.recipe += line.split("; ")


def load():
    """All uploads, in their order."""
    uploads, section = [], ""
    with open(DATA, encoding="utf-8") as stream:
        for line in stream.read().splitlines():
            head = re.fullmatch(r"\[([a-z0-9-]+)\] (\w+): (.+)", line)
            if head:
                assert head[2] in KINDS, line
                uploads.append(Upload(section, *head.groups(), [], [], {}))
            elif line.startswith("== "):
                section = line[3:]
            elif line and not line.startswith("#"):
                _add(uploads[-1], line)
    return uploads


def vet(paths, *options, program=RELEASE):
    """The rules by which each of the files is refused."""
    done = subprocess.run([program, "vet", "--output=ndjson", "--files-from=-", *options], timeout=60,
                          input="\0".join(paths).encode(), stdout=subprocess.PIPE, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["filename"] for one in found] == paths and done.returncode in (0, 2), done
    assert {one["verdict"] for one in found} <= {"accepted", "refused"}
    return [sorted({reason["rule"] for reason in one["reasons"]}) for one in found]


def oslo(path):
    """What oslo.utils says, or None if its checker is not installed."""
    try:
        from oslo_utils.imageutils import format_inspector as inspector
    except ImportError:
        return None
    try:
        found = inspector.detect_file_format(path)
        found.safety_check()
    except inspector.SafetyCheckFailed as failed:
        return " ".join(sorted(failed.failures))
    except inspector.ImageFormatError:
        return "several formats"
    return "" if str(found) == "qcow2" else f"as {found}"


def qemu_img(path):
    """What the wrapper says of it."""
    # Within that memory qemu-img can fail to start a thread, and aborts: it is then asked again.
    for _ in range(8):
        done = subprocess.run(["prlimit", f"--as={MEMORY_BYTES}", f"--cpu={SECONDS}", "qemu-img", "info",
                               "--output=json", path], cwd=os.path.dirname(path), stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False, timeout=60)
        if done.returncode >= 0:
            break
    if done.returncode:
        return "error" if done.returncode == 1 else "killed"
    info = json.loads(done.stdout)
    data = info.get("format-specific", {}).get("data", {})
    why = [word for word in ("backing-filename", "encrypted") if info.get(word)]
    why += ["data-file"] if "data-file" in data else []
    why += ["virtual-size"] if info["virtual-size"] > SIZE_BYTES else []
    return " ".join(why) or ("" if info["format"] == "qcow2" else f"as {info['format']}")


def _make(folder, upload):
    """Its path, with what oslo.utils and qemu-img say of it."""
    path = upload.make(os.path.join(folder, upload.name))
    return path, oslo(path), qemu_img(path)


def measure(uploads, folder):
    """{speaker: what it says of each}; of oslo.utils None if it is not installed."""
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        made = list(pool.map(functools.partial(_make, folder), uploads, chunksize=8))
    paths, *others = map(list, zip(*made))
    # Sanitizers are slow: they watch the policy that looks at most.
    said = {policy: vet(paths, f"--policy={policy}", program=QCOW2 if policy == "strict" else RELEASE)
            for policy in POLICIES}
    said["deep"] = [sorted(set(deep) - set(known))
                    for deep, known in zip(vet(paths, "--deep"), said["upload"])]
    return {**said, **dict(zip(("oslo", "qemu-img"), others))}


def _verdicts(upload):
    """The lines of its verdicts."""
    said = {speaker: " ".join(what) if isinstance(what, list) else what for speaker, what in upload.said.items()}
    ours = [said.get(policy, "") for policy in POLICIES]
    if len(set(ours)) == 1:
        said = {"vet": ours[0], **{speaker: said.get(speaker) for speaker in SPEAKERS[len(POLICIES):]}}
    return "".join(f"> {speaker}: {said[speaker]}\n" for speaker in ("vet", *SPEAKERS) if said.get(speaker))


def write(uploads):
    """Writes their verdicts into uploads.txt."""
    with open(DATA, encoding="utf-8") as stream:
        parts = re.split(r"^(?=\[)", stream.read(), flags=re.M)
    text = parts[0]
    for part, upload in zip(parts[1:], uploads, strict=True):
        made, _, rest = part.partition("\n\n")
        lines = [line for line in made.rstrip("\n").split("\n") if not line.startswith("> ")]
        text += "\n".join(lines) + "\n" + _verdicts(upload) + (f"\n{rest}" if rest or part.endswith("\n\n") else "")
    with open(DATA, "w", encoding="utf-8") as stream:
        stream.write(text)


# ---- the document ----

CELLS = {"safe": "safe", "chain": "in a chain", "unsafe": "unsafe", "damaged": "damaged"}


def _cell(said):
    """yes, or what refuses it, or as what it is accepted."""
    return "yes" if not said else "no" if isinstance(said, list) else said


def _ticked(rules):
    return ", ".join(f"`{rule}`" for rule in rules)


def _rules(upload):
    """By which rules the policies refuse it, in words."""
    said = {speaker: upload.said.get(speaker, []) for speaker in (*POLICIES, "deep")}
    more = [rule for rule in said["strict"] if rule not in said["upload"]]
    # The other policies differ in these rules alone.
    assert said["chain"] == [rule for rule in said["upload"] if rule != "backing-file"], upload.name
    assert set(said["upload"]) <= set(said["strict"]), upload.name
    parts = [_ticked(said["upload"])] if said["upload"] else []
    parts += [f"with strict {_ticked(more)}"] if more else []
    parts += [f"with `--deep` {_ticked(said['deep'])}"] if said["deep"] else []
    return "; ".join(parts)


def _item(upload):
    words = f"- `{upload.name}`: {upload.sentence}"
    if _rules(upload):
        words += f" *{_rules(upload)}*"
    if "why" in upload.said:
        words += f" {upload.said['why']}"
    return textwrap.fill(words, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) + "\n"


def _summary(uploads):
    """How many of each kind are accepted by whom."""
    rows = "| kind | images | upload | chain | strict | oslo.utils | qemu-img info |\n|---|---|---|---|---|---|---|\n"
    for kind in KINDS:
        them = [upload for upload in uploads if upload.kind == kind]
        counts = [sum(not upload.said.get(speaker) for upload in them)
                  for speaker in (*POLICIES, "oslo", "qemu-img")]
        rows += f"| {CELLS[kind]} | {len(them)} | {' | '.join(map(str, counts))} |\n"
    return rows


def document():
    """The part of docs/vet-uploads.md that is made of the uploads."""
    uploads, text = load(), ""
    for section in dict.fromkeys(upload.section for upload in uploads):
        them = [upload for upload in uploads if upload.section == section]
        text += f"## {section}\n\n| image | | upload | chain | strict | oslo.utils | qemu-img info |\n"
        text += "|---|---|---|---|---|---|---|\n"
        for upload in them:
            cells = [_cell(upload.said.get(speaker)) for speaker in (*POLICIES, "oslo", "qemu-img")]
            text += f"| `{upload.name}` | {CELLS[upload.kind]} | {' | '.join(cells)} |\n"
        text += "\n" + "".join(map(_item, them)) + "\n"
    return f"{_summary(uploads)}\n{text.rstrip()}\n"


def main():
    uploads = load()
    with tempfile.TemporaryDirectory(prefix="qcow2-uploads-") as folder:
        for speaker, found in measure(uploads, folder).items():
            for upload, said in zip(uploads, found):
                if said is not None:
                    upload.said[speaker] = said
    write(uploads)


if __name__ == "__main__":
    main()
