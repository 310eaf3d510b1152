# SPDX-License-Identifier: MIT
# An SSH server of the test's own on a port of this machine, which has several names. It knows one user,
# by the key that is made here, whoever runs the tests; no account and no key of theirs is touched.
"""Other hosts, which are this one."""
import contextlib
import glob
import os
import socket
import subprocess
import time

from tests.support.programs import tool

SERVER = """ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
SetEnv PATH={path}
"""
CLIENT = """Host down
HostName 127.0.0.1
Port 1

Host *
HostName 127.0.0.1
Port {port}
User fleet
IdentityFile {folder}/user
IdentitiesOnly yes
UserKnownHostsFile {folder}/known
BatchMode yes
LogLevel ERROR
"""
USERS = """fleet:x:{user}:{group}::{folder}:/bin/sh
sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin
"""
GROUPS = """fleet:x:{group}:
nogroup:x:65534:
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def make_files(folder, port, path):
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    values = {"port": port, "folder": folder, "path": path, "user": os.getuid(), "group": os.getgid()}
    for name, text in (("server", SERVER), ("client", CLIENT), ("users", USERS), ("groups", GROUPS)):
        (folder / name).write_text(text.format(**values), encoding="utf-8")
    key = " ".join((folder / "host.pub").read_text(encoding="utf-8").split()[:2])
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key}\n", encoding="utf-8")
    client = folder / "ssh"
    client.write_text(f'#!/bin/sh\nexec ssh -F {folder}/client "$@"\n', encoding="utf-8")
    client.chmod(0o755)
    return str(client)


def wait_for(port, server):
    for _ in range(1500):
        assert server.poll() is None, "sshd has ended"
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("sshd does not answer")


@contextlib.contextmanager
def serve(folder, path):
    """Gives the program that reaches all names but `down` instead of ssh; PATH is path there."""
    port = free_port()
    client = make_files(folder, port, path)
    if os.getuid() == 0:
        os.makedirs("/run/sshd", 0o755, exist_ok=True)  # sshd shuts strangers in there
    wrapper, = glob.glob("/usr/lib/*/libnss_wrapper.so") or ["libnss_wrapper.so"]
    env = {**os.environ, "LD_PRELOAD": wrapper, "NSS_WRAPPER_PASSWD": str(folder / "users"),
           "NSS_WRAPPER_GROUP": str(folder / "groups")}
    with open(folder / "log", "wb") as log, subprocess.Popen(
            [tool("sshd"), "-D", "-e", "-f", folder / "server"], env=env, stderr=log) as server:
        try:
            wait_for(port, server)
            yield client
        finally:
            server.terminate()
