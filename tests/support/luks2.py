# SPDX-License-Identifier: MIT
# Images whose encryption header is LUKS version 2, which QEMU does not make: QEMU makes one with
# version 1, and cryptsetup a header of version 2 with the same key, which takes its place.
"""LUKS2 headers of cryptsetup in images of QEMU."""
import hashlib
import json
import struct
import subprocess

from tests.support.qemu import shell

BINARY = 4096
PASSPHRASE = "old words"
NEW = "new words"
# As cheap as cryptsetup lets them be.
PBKDF2 = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
ARGON2ID = ("--pbkdf", "argon2id", "--pbkdf-memory", "64", "--pbkdf-parallel", "2", "--pbkdf-force-iterations", "4")
ARGON2I = ("--pbkdf", "argon2i", "--pbkdf-memory", "999", "--pbkdf-parallel", "3", "--pbkdf-force-iterations", "5")


def cryptsetup(*words, passphrase=PASSPHRASE):
    done = subprocess.run(["cryptsetup", "-q", *words], input=passphrase.encode(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode == 0, done
    return done.stdout


def qemu_image(folder, options, size="4M"):
    """A new image that QEMU encrypts with LUKS1, and how to open it."""
    image = str(folder / "image.qcow2")
    secret = ["--object", f"secret,id=s,data={PASSPHRASE}"]
    shell("qemu-img", "create", "-q", "-f", "qcow2", *secret, "-o",
          ",".join(("encrypt.format=luks", "encrypt.key-secret=s", "encrypt.iter-time=10", *options)), image, size,
          cwd=folder)
    return image, [*secret, "--image-opts"], f"driver=qcow2,encrypt.key-secret=s,file.filename={image}"


def area_of(raw):
    """Where an image has its encryption header, and how long it is."""
    at = raw.index(bytes.fromhex("0537be7700000010"))
    return struct.unpack(">QQ", raw[at + 8:at + 24])


def volume_key(folder, raw):
    """The key of a LUKS1 image, which cryptsetup gets out of its header."""
    offset, length = area_of(raw)
    # cryptsetup wants to see some of the data behind it
    (folder / "luks1").write_bytes(raw[offset:offset + length] + bytes(1 << 20))
    (folder / "volume-key").unlink(missing_ok=True)
    cryptsetup("luksDump", "--dump-volume-key", "--volume-key-file", str(folder / "volume-key"), "--key-file=-",
               str(folder / "luks1"))
    return (folder / "volume-key").read_bytes()


def new_header(folder, *options, kdf=ARGON2ID, keyslots="384k"):
    """A file with a LUKS2 header of the key in folder/volume-key, of as many bits, for sectors of 512 bytes."""
    path = folder / "luks2"
    path.unlink(missing_ok=True)
    with open(path, "wb") as file:
        file.truncate(4 << 20)
    bits = (folder / "volume-key").stat().st_size * 8
    cryptsetup("luksFormat", "--type=luks2", "--volume-key-file", str(folder / "volume-key"), f"--key-size={bits}",
               "--keyslot-cipher=aes-xts-plain64", "--keyslot-key-size=512", "--luks2-metadata-size=16k", "--sector-size=512",
               f"--luks2-keyslots-size={keyslots}", *kdf, *options, str(path), "-", passphrase=NEW)
    return path


class Header:
    """A LUKS2 header that can be changed: its two copies, and the key material."""

    def __init__(self, raw):
        self.hdr_size = struct.unpack(">Q", raw[8:16])[0]
        self.raw = bytearray(raw)
        self.json = json.loads(raw[BINARY:self.hdr_size].rstrip(b"\0"))
        self.end = 2 * self.hdr_size + int(self.json["config"]["keyslots_size"])
        del self.raw[self.end:]

    @property
    def slot(self):
        return self.json["keyslots"]["0"]

    @property
    def segment(self):
        return self.json["segments"]["0"]

    @property
    def digest(self):
        return self.json["digests"]["0"]

    def put(self, text=None, copies=(0, 1), seqid=None):
        """Writes the JSON, or other text in its place, with true checksums."""
        text = json.dumps(self.json).encode() if text is None else text
        assert len(text) <= self.hdr_size - BINARY
        for copy in copies:
            at = copy * self.hdr_size
            self.raw[at + BINARY:at + self.hdr_size] = text.ljust(self.hdr_size - BINARY, b"\0")
            if seqid is not None:
                self.raw[at + 16:at + 24] = struct.pack(">Q", seqid)
            self.sign(copy)
        return self

    def sign(self, copy):
        at = copy * self.hdr_size
        self.raw[at + 448:at + 512] = bytes(64)
        self.raw[at + 448:at + 480] = hashlib.sha256(self.raw[at:at + self.hdr_size]).digest()


def put_header(image, raw):
    """Puts a LUKS2 header in the place of the header of an image."""
    with open(image, "r+b") as file:
        offset, length = area_of(file.read(65536))
        assert len(raw) <= length
        file.seek(offset)
        file.write(raw)


def data_clusters(raw):
    """(guest offset, host offset) of the data clusters of a small image, by its L1 and L2 tables."""
    bits, = struct.unpack(">I", raw[20:24])
    entries, = struct.unpack(">I", raw[36:40])
    l1, = struct.unpack(">Q", raw[40:48])
    mask = (1 << 56) - 512
    found = []
    for i, table in enumerate(struct.unpack(f">{entries}Q", raw[l1:l1 + 8 * entries])):
        table &= mask
        if table == 0:
            continue
        for k, entry in enumerate(struct.unpack(f">{1 << bits >> 3}Q", raw[table:table + (1 << bits)])):
            if entry & mask:
                found.append((((i << bits >> 3) + k) << bits, entry & mask))
    return found

