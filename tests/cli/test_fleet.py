# SPDX-License-Identifier: MIT
# docs/fleet.md and examples/fleet: each shown command is run, over ssh to servers of the test's own,
# with the images of a small fleet in place of /srv/images.
"""Vetting on many machines, in services and in front of a store."""
import json
import os
import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from tests.forge import build
from tests.support import hosts
from tests.support.programs import RELEASE, SAMPLE, TOP, recipe_image, tool

EXAMPLES = os.path.join(TOP, "examples", "fleet")
HOOK = os.path.join(EXAMPLES, "upload-hook")
SHARDS = 8
# Paths of the document, which are in a folder of the test here.
ELSEWHERE = {"/srv/images": "images", "/srv/store": "store", "/var/lib/qcow2-vet": "state", "/data": "work"}
# Numbers of another version of systemd.
EXPOSURE = re.compile(r"(exposure level for qcow2-vet.service: )\d\.\d .*")


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as stream:
        return stream.read()


def in_place(text, place):
    for there, here in ELSEWHERE.items():
        text = re.sub(rf"(?<![\w/]){there}\b", f"{place}/{here}", text)
    return text


def sandbox():
    """What of the sandbox can be asked for where the tests run."""
    done = subprocess.run([RELEASE, "vet", SAMPLE], env={**os.environ, "QCOW2_SANDBOX": "require"}, check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return "try" if done.returncode else "require"


def vet(*words, **more):
    return subprocess.run([RELEASE, "vet", "--output=ndjson", *words], stdout=subprocess.PIPE, check=False,
                          timeout=60, **more)


def make_images(folder):
    """24 images, 4 of them unsafe, some of them with names that are not easy."""
    kinds = ("good-empty", "good-default", "good-bitmaps", "good-snapshots", "good-dirty", "good-compressed")
    for index in range(24):
        below = folder / f"rack {index % 3}"
        below.mkdir(parents=True, exist_ok=True)
        name = f"disk\n{index}.qcow2" if index == 7 else f"disk {index}.qcow2"
        shutil.copy(recipe_image(kinds[index % 6])[0], below / name)


@pytest.fixture(name="place", scope="module")
def fixture_place(tmp_path_factory):
    place = tmp_path_factory.mktemp("fleet")
    for name in ("bin", "store", "state", "work", "parallel", "ssh"):
        (place / name).mkdir()
    make_images(place / "images")
    for name in ("parallel", "systemd-analyze"):
        (place / "bin" / name).symlink_to(tool(name))
    (place / "bin" / "qcow2").symlink_to(RELEASE)
    (place / "bin" / "upload-hook").symlink_to(HOOK)
    (place / "qcow2-vet.service").symlink_to(os.path.join(EXAMPLES, "qcow2-vet.service"))
    (place / "parallel" / "will-cite").touch()
    shutil.copy(SAMPLE, place / "sound")
    shutil.copy(recipe_image("good-hostile-backing-passwd")[0], place / "unsafe")
    return place


@pytest.fixture(name="env", scope="module")
def fixture_env(place):
    units = os.path.join(TOP, "build", "deps", "lib", "systemd", "system")
    return {**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8",
            "PARALLEL_HOME": f"{place}/parallel", "SYSTEMD_UNIT_PATH": f"{units}:", "STORAGE": f"{place}/store"}


@pytest.fixture(name="names", scope="module")
def fixture_names(place):
    found = subprocess.run(["find", place / "images", "-type", "f", "-print0"], stdout=subprocess.PIPE, check=True)
    return found.stdout


@pytest.fixture(name="lines", scope="module")
def fixture_lines(names):
    """The answers of one run, in the order of their text."""
    done = vet("--files-from=-", input=names)
    assert done.returncode == 2
    return sorted(done.stdout.splitlines())


# ---- the document ----

def shown():
    """(command, what it prints) of each "$ " line in the document."""
    found = []
    for block in re.findall(r"^```\n(.*?)^```$", read(TOP, "docs", "fleet.md"), re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command = re.match(r"(?:.*\\\n)*.*\n", part)[0]
            found.append((command.rstrip("\n"), part[len(command):]))
    return found


def test_the_document(place, env, lines):
    """Runs all of it, where pods and service have run."""
    (place / "state" / "answers.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    for index in range(SHARDS):
        (place / "work" / f"answers.{index}").write_bytes(b"".join(line + b"\n" for line in lines[index::SHARDS]))
    commands = shown()
    assert len(commands) >= 18
    with hosts.serve(place / "ssh", env["PATH"]) as ssh:
        for command, said in commands:
            done = subprocess.run(["bash", "-c", in_place(command, place)], cwd=place, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env={**env, "PARALLEL_SSH": ssh}, timeout=60, check=False)
            assert done.returncode == 0, (command, done)
            printed = EXPOSURE.sub(r"\1", done.stdout.decode())
            assert printed == EXPOSURE.sub(r"\1", said), command
            assert done.stderr == b"" or "parallel" in command, (command, done)
            if command.endswith(">answers"):
                assert sorted(set(read(place, "answers").encode().splitlines())) == lines, command


def test_the_document_has_all_examples():
    text = read(TOP, "docs", "fleet.md")
    for name in os.listdir(EXAMPLES):
        assert f"(../examples/fleet/{name})" in text


# ---- several hosts ----

def test_a_host_that_is_down_loses_nothing(place, env, names, lines):
    folder = place / "ssh-down"
    folder.mkdir()
    with hosts.serve(folder, env["PATH"]) as ssh:
        done = subprocess.run(
            ["parallel", "-j1", "-S", "down,one,two", "--retries", "3", "--joblog", folder / "jobs", "--pipe",
             "--recend", "\\0", "-N", "4",
             "qcow2 vet --files-from=- --output=ndjson || [ $? -eq 2 ]"], input=names, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**env, "PARALLEL_SSH": ssh}, timeout=60, check=False)
    assert done.returncode == 0 and sorted(done.stdout.splitlines()) == lines, done
    jobs = [line.split("\t") for line in read(folder, "jobs").splitlines()[1:]]
    assert {job[1].split("/")[-1] for job in jobs if job[6] == "0"} == {"one", "two"}


# ---- the service ----

def unit_run(place, env, images):
    """Runs the command of the unit, with its environment."""
    text = re.sub(r"\\\n\s*", " ", read(EXAMPLES, "qcow2-vet.service"))
    command, = re.findall(r"^ExecStart=(.*)$", text, re.M)
    words = shlex.split(in_place(command, place).replace(f"{place}/images", str(images)).replace("$$", "$"))
    more = dict(setting.split("=", 1) for setting in re.findall(r"^Environment=(.*)$", text, re.M))
    assert set(more) == {"QCOW2_SANDBOX", "QCOW2_MEMORY_LIMIT"}
    return subprocess.run(words, env={**env, **more, "QCOW2_SANDBOX": sandbox(), "STATE_DIRECTORY": f"{place}/state"},
                          timeout=60, check=False, stderr=subprocess.PIPE)


def test_the_service(place, env, lines):
    state = place / "state"
    for name in os.listdir(state):
        os.unlink(state / name)
    assert unit_run(place, env, place / "images").returncode == 0
    assert sorted(read(state, "answers.ndjson").encode().splitlines()) == lines
    assert sorted(os.listdir(state)) == ["answers.ndjson", "names"]
    (state / "answers.ndjson").write_text("old", encoding="utf-8")
    assert unit_run(place, env, place / "nothing").returncode != 0
    assert read(state, "answers.ndjson") == "old"


def test_systemd_knows_all_options(place, env, tmp_path):
    (tmp_path / "qcow2-vet.service").write_text(read(EXAMPLES, "qcow2-vet.service") + "NoSuchOption=yes\n")
    for path, complains in ((place / "qcow2-vet.service", False), (tmp_path / "qcow2-vet.service", True)):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], env=env, check=False, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert (b"NoSuchOption" in done.stderr) == complains and (complains or done.stderr == b""), done


# ---- the Job ----

@pytest.fixture(name="job", scope="module")
def fixture_job():
    job = yaml.safe_load(read(EXAMPLES, "job.yaml"))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    return job["spec"]


def pod_run(job, index, place, env):
    """Runs what pod `index` runs, with /data and /srv/images elsewhere."""
    container, = job["template"]["spec"]["containers"]
    more = {row["name"]: row["value"] for row in container["env"]}
    assert all(isinstance(value, str) for value in more.values())
    more["QCOW2_SANDBOX"] = sandbox()
    return subprocess.run([in_place(word, place) for word in container["command"]], timeout=60, check=False,
                          stderr=subprocess.PIPE, env={**env, **more, "JOB_COMPLETION_INDEX": str(index)})


def test_the_job_is_of_one_piece(job):
    pod = job["template"]["spec"]
    container, = pod["containers"]
    env = {row["name"]: row["value"] for row in container["env"]}
    assert job["completionMode"] == "Indexed" and job["completions"] == int(env["SHARDS"]) == SHARDS
    mebibytes = {"M": 1, "Mi": 1, "Gi": 1024}
    limit, unit = re.fullmatch(r"(\d+)(\w+)", container["resources"]["limits"]["memory"]).groups()
    ours, unit_of_ours = re.fullmatch(r"(\d+)(M)", env["QCOW2_MEMORY_LIMIT"]).groups()
    assert int(ours) * mebibytes[unit_of_ours] < int(limit) * mebibytes[unit]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    assert {mount["mountPath"] for mount in mounts.values()} == {"/data", "/srv/images"}
    assert mounts["images"]["readOnly"] and container["securityContext"]["readOnlyRootFilesystem"]


def test_lines_of_all_pods_join(job, place, env, names, lines):
    work = place / "work"
    for name in os.listdir(work):
        os.unlink(work / name)
    assert pod_run(job, 0, place, env).returncode != 0 and os.listdir(work) in ([], ["names.0"])
    (work / "names").write_bytes(names)
    for index in range(SHARDS):
        done = pod_run(job, index, place, env)
        assert (done.returncode, done.stderr) == (0, b""), done
    assert sorted(os.listdir(work)) == sorted(["names", *(f"{kind}.{index}" for kind in ("answers", "names")
                                                          for index in range(SHARDS))])
    joined = [line for index in range(SHARDS) for line in read(work, f"answers.{index}").encode().splitlines()]
    assert sorted(joined) == lines and len(joined) == 24


def test_a_pod_that_cannot_look_fails(job, env, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "names").write_bytes(f"{SAMPLE}\0{tmp_path}/nothing\0".encode() * 8)
    codes = [pod_run(job, index, tmp_path, env).returncode for index in range(SHARDS)]
    assert codes == [0, 1] * 4
    left = set(os.listdir(tmp_path / "work"))
    assert {"answers.0", "answers.1.part"} <= left and not {"answers.1", "answers.0.part"} & left
    answers = [json.loads(line) for line in read(tmp_path, "work", "answers.1.part").splitlines()]
    assert [answer["verdict"] for answer in answers] == ["could not look"] * 2


# ---- uploads ----

@pytest.fixture(name="hook")
def fixture_hook(env, tmp_path):
    """Starts the hook, with a store of its own; programs of `instead` stand before those of the system."""
    store, instead = tmp_path / "store", tmp_path / "instead"
    store.mkdir()
    instead.mkdir()

    def start(name, size, **more):
        return subprocess.Popen([HOOK, name, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **more, env={**env, "STORAGE": str(store), "PATH":
                                                                     f"{instead}:{env['PATH']}"})
    start.store, start.instead = store, instead
    return start


def upload(hook, data, size=None, name="a.qcow2", **more):
    """(exit code, answer or None, what the store has then, standard error)."""
    with hook(name, len(data) if size is None else size, **more) as process:
        out, err = process.communicate(data, timeout=60)
    answer = json.loads(out) if out else None
    assert answer is None or answer["filename"] == name
    return process.returncode, answer and answer["verdict"], os.listdir(hook.store), err.decode()


def data_of(name):
    with open(SAMPLE if name == "sample" else recipe_image(name)[0], "rb") as stream:
        return stream.read()


def stand_in(hook, name, text):
    path = hook.instead / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def test_an_upload_is_stored_once_it_is_accepted(hook):
    data = data_of("sample")
    for name in ("sync", "mv"):
        stand_in(hook, name, f'echo {name} "$@" >>"$STORAGE/../log"; exec {shutil.which(name)} "$@"')
    with hook("a b.qcow2", len(data)) as process:
        process.stdin.write(data[:-1])
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        assert not (hook.store / "a b.qcow2").exists()
        out, err = process.communicate(data[-1:], timeout=60)
    assert process.returncode == 0 and err == b"" and json.loads(out)["verdict"] == "accepted"
    assert os.listdir(hook.store) == ["a b.qcow2"] and (hook.store / "a b.qcow2").read_bytes() == data
    log = re.sub(r"\.upload\.\w+", "PART", read(hook.store, "..", "log")).splitlines()
    assert log == [f"sync -- {hook.store}/PART", f"mv -fT -- {hook.store}/PART {hook.store}/a b.qcow2",
                   f"sync -- {hook.store}"]


@pytest.mark.parametrize("ignored", [False, True])
def test_an_upload_is_refused_early(hook, ignored):
    """The sender would send 1 TiB."""
    data, sent = data_of("good-hostile-backing-passwd"), 0
    with hook("a.qcow2", 1 << 40, restore_signals=not ignored) as process:
        with pytest.raises(BrokenPipeError):
            while sent < 1 << 30:
                sent += process.stdin.write(data if sent == 0 else bytes(1 << 16))
                process.stdin.flush()
        process.stdin = None
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, b"") and sent < 1 << 24
    assert json.loads(out)["verdict"] == "refused" and os.listdir(hook.store) == []


def test_more_than_was_announced_is_not_taken(hook):
    sent = 0
    with hook("a.qcow2", 100000) as process:
        with pytest.raises(BrokenPipeError):
            while sent < 1 << 30:
                sent += process.stdin.write(data_of("sample") if sent == 0 else bytes(1 << 16))
                process.stdin.flush()
        process.stdin = None
        process.communicate(timeout=60)
    assert process.returncode == 1 and sent < 1 << 24 and os.listdir(hook.store) == []


def test_what_is_not_stored(hook):
    sample, unsafe = data_of("sample"), data_of("good-dirty")
    assert upload(hook, unsafe)[:3] == (2, "refused", [])
    for size in (len(sample) + 1, len(sample) - 1, 1):
        assert upload(hook, sample, size)[:3] == (1, None, []), size
    assert upload(hook, sample[:4096], len(sample))[:3] == (1, None, [])
    assert upload(hook, b"", 4096)[:3] == (1, None, [])
    for name in ("", ".", "..", "../a", "a/b", ".a"):
        assert upload(hook, sample, name=name)[:3] == (1, None, []), name
    for size in ("", "x", "0", "010", "-1", "1+1"):
        assert upload(hook, sample, size)[:3] == (1, None, []), size


def test_a_full_disk(hook):
    """What is not stored is no image that was accepted."""
    stand_in(hook, "mktemp", 'ln -s /dev/full "$STORAGE/.upload.x" && echo "$STORAGE/.upload.x"')
    code, answer, left, error = upload(hook, data_of("sample"))
    assert (code, answer, left) == (1, None, []) and "No space left on device" in error
    assert upload(hook, data_of("good-dirty"))[0] in (1, 2)  # whoever is first; its header is enough
    assert os.listdir(hook.store) == []
    (hook.instead / "mktemp").unlink()
    stand_in(hook, "sync", "exit 1")  # told when the file is flushed
    assert upload(hook, data_of("sample"))[:3] == (1, None, [])


def test_what_a_pipe_cannot_judge(hook, tmp_path):
    build("size 64T\nwrite 0 8M\nsnapshot 1 name=x\n", str(tmp_path / "large"))
    with open(tmp_path / "large", "rb") as stream:
        data = stream.read()
    assert json.loads(vet("-", input=data).stdout)["verdict"] == "could not look"
    assert upload(hook, data)[:3] == (0, "accepted", ["a.qcow2"])


def test_vet_that_ends_early(hook):
    stand_in(hook, "qcow2", "kill -9 $$")
    assert upload(hook, data_of("sample"))[:3] == (1, None, [])
    stand_in(hook, "qcow2", "exit 0")  # without reading: whatever it says, it has not seen the image
    assert upload(hook, data_of("sample") + bytes(1 << 20))[:3] == (1, None, [])
