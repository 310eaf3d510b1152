# SPDX-License-Identifier: MIT
# Encrypted disks that QEMU wrote, read with their passphrase and compared with what was written:
# ciphers, modes, initialization vectors and hashes, key slots, snapshots, kinds of images.
"""read --key-file against qemu-img and qemu-io."""
import random
import shutil

import pytest

from tests.support.programs import recipe_image, run
from tests.support.qemu import shell

MIB = 1 << 20
PASSPHRASE = "a passphrase"
LUKS = ("encrypt.format=luks", "encrypt.iter-time=10")
# All that qemu-img 7.2 can make was compared once; these have each cipher, length of the key, mode,
# initialization vector and hash. Each takes seconds, as QEMU measures how fast it hashes.
CIPHERS = (
    "aes-256 xts plain64 sha256", "aes-128 cbc essiv:md5 sha224", "aes-192 xts essiv:sha256 sha512",
    "serpent-192 xts plain sha1", "twofish-256 ctr plain64 sha384", "twofish-128 xts plain64 sha256",
    "cast5-128 ecb plain64 ripemd160", "serpent-256 cbc plain64 md5",
)
KINDS = {
    "aes": (("encrypt.format=aes",), PASSPHRASE),
    "aes short": (("encrypt.format=aes", "cluster_size=512"), "short"),
    "aes extended": (("encrypt.format=aes", "extended_l2=on"), PASSPHRASE),
    "luks clusters 512": ((*LUKS, "cluster_size=512"), PASSPHRASE),
    "luks clusters 2M": ((*LUKS, "cluster_size=2M"), PASSPHRASE),
    "luks extended": ((*LUKS, "extended_l2=on,cluster_size=16k"), PASSPHRASE),
}


def secret(passphrase=PASSPHRASE, name="s"):
    return ["--object", f"secret,id={name},data={passphrase}"]


def opened(image):
    return f"driver=qcow2,encrypt.key-secret=s,file.filename={image}"


class Disk:
    """An encrypted image of 4 MiB, and what its guest has written."""

    def __init__(self, folder, options, passphrase=PASSPHRASE):
        self.folder, self.passphrase = folder, passphrase
        self.image, self.written = str(folder / "image.qcow2"), bytearray(4 * MIB)
        shell("qemu-img", "create", "-q", "-f", "qcow2", *secret(passphrase), "-o",
              ",".join(("encrypt.key-secret=s", *options)), self.image, "4M", cwd=folder)

    def write(self, seed):
        chance = random.Random(seed)
        commands = []
        for number in range(12):
            start, size = chance.randrange(0, 7000) * 512, chance.randrange(1, 200) * 512
            data = chance.randbytes(size)
            (self.folder / f"{number}").write_bytes(data)
            self.written[start:start + size] = data
            commands += ["-c", f"write -s {self.folder}/{number} {start} {size}"]
        shell("qemu-io", *secret(self.passphrase), "--image-opts", *commands, opened(self.image),
              cwd=self.folder)

    def read(self, *arguments, passphrase=None):
        key = self.folder / "key"
        key.write_text(self.passphrase if passphrase is None else passphrase)
        return run("read", self.image, f"--key-file={key}", *arguments)

    def check(self, *arguments, written=None, passphrase=None):
        done = self.read(*arguments, passphrase=passphrase)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == bytes(self.written if written is None else written)


@pytest.mark.parametrize("way", CIPHERS)
def test_ciphers(way, tmp_path):
    cipher, mode, vector, hashed = way.split(" ")
    vector, _, essiv = vector.partition(":")
    options = [*LUKS, f"encrypt.cipher-alg={cipher}", f"encrypt.cipher-mode={mode}",
               f"encrypt.ivgen-alg={vector}", f"encrypt.hash-alg={hashed}"]
    if essiv:
        options.append(f"encrypt.ivgen-hash-alg={essiv}")
    disk = Disk(tmp_path, options)
    disk.write(way)
    disk.check()


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_and_snapshots(kind, tmp_path):
    disk = Disk(tmp_path, *KINDS[kind])
    disk.write(1)
    before = bytes(disk.written)
    shell("qemu-img", "snapshot", *secret(disk.passphrase), "-c", "one", "--image-opts",
          opened(disk.image), cwd=tmp_path)
    disk.write(2)
    disk.check()
    disk.check("--snapshot=one", written=before)
    for start, size in ((0, 1), (511, 2), (70001, 300000), (4 * MIB - 1, 1)):
        disk.check(f"--guest={start}+{size}", written=disk.written[start:start + size])


def test_key_slots(tmp_path):
    disk = Disk(tmp_path, LUKS)
    disk.write(1)
    for slot in (1, 4, 7):
        shell("qemu-img", "amend", *secret(), *secret(f"number {slot}", "new"), "-o",
              f"encrypt.state=active,encrypt.new-secret=new,encrypt.keyslot={slot},"
              "encrypt.iter-time=10", "--image-opts", opened(disk.image), cwd=tmp_path)
    for slot in (1, 4, 7):
        disk.check(passphrase=f"number {slot}")
    disk.check()
    for wrong in ("", "number 8", PASSPHRASE + "\n"):
        done = disk.read(passphrase=wrong)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"the passphrase opens no key slot" in done.stderr


def test_file_of_a_chain(tmp_path):
    """Data of a backing file that is encrypted, below an overlay that is not."""
    disk = Disk(tmp_path, LUKS)
    disk.write(1)
    overlay = str(tmp_path / "overlay.qcow2")
    shell("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", disk.image, "-F", "qcow2", overlay,
          "4M", cwd=tmp_path)
    disk.image = overlay
    disk.check("--chain")
    assert b"file 1 of the chain" in disk.read("--chain", passphrase="wrong").stderr


AES = ("encrypt.format=aes",)


def chain_of_three(folder):
    """base ("zero"), middle ("one") and top ("two") below each other, of AES, which is made at once; what the guest reads."""
    written, below = bytearray(MIB), None
    for number, (name, passphrase) in enumerate((("base", "zero"), ("middle", "one"), ("top", "two"))):
        shell("qemu-img", "create", "-q", "-f", "qcow2", *secret(passphrase), "-o",
              ",".join(("encrypt.key-secret=s", *AES)), name, "1M", cwd=folder)
        start = number * 131072
        shell("qemu-io", *secret(passphrase), "--image-opts", "-c", f"write -P {number + 1} {start} 192k", opened(name),
              cwd=folder)
        if below:
            shell("qemu-img", "rebase", *secret(passphrase), "-u", "-b", below, "-F", "qcow2", "--image-opts", opened(name),
                  cwd=folder)
        written[start:start + 196608] = bytes([number + 1]) * 196608
        (folder / passphrase).write_text(passphrase)
        below = name
    return bytes(written)


def test_passphrases_of_a_chain(tmp_path, monkeypatch):
    """Each encrypted file has its own one, from the image down; the last one is for all that are left."""
    monkeypatch.chdir(tmp_path)
    written = chain_of_three(tmp_path)

    def read(*names, **more):
        return run("read", "--chain", "top", *(f"--key-file={name}" for name in names), **more)

    done = read("two", "one", "zero")
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout == written
    for number, name in enumerate(("two", "one", "zero")):
        names = ["two", "one", "zero"]
        names[number] = "-"
        assert read(*names, input=name.encode()).stdout == written
    assert read("-", "one", "zero", "zero", input=b"two").stdout == written
    wrong = read("two", "one").stdout
    assert wrong[:131072] != written[:131072] and wrong[131072:] == written[131072:]
    (tmp_path / "clear").write_bytes(written)
    assert run("compare", "--chain", "--key-file-a=two", "--key-file-a=one", "--key-file-a=zero", "--format-b=raw",
               "top", "clear").returncode == 0
    # an error names the file that its passphrase does not open
    shutil.copy(recipe_image("good-luks1")[0], "base")
    done = read("two", "one")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"base: the passphrase opens no key slot; this is file 2 of the chain" in done.stderr
    done = read(*["two"] * 65)
    assert done.returncode == 1 and b"--key-file: there are more than 64 of them" in done.stderr
