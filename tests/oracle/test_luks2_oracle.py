# SPDX-License-Identifier: MIT
# LUKS version 2 in images: headers of cryptsetup in front of data that QEMU has encrypted with the same
# key, or, in sectors that QEMU does not know, OpenSSL. At the end, headers that lie.
"""read --key-file against cryptsetup, QEMU and OpenSSL."""
import functools
import hashlib
import json
import random
import shutil
import struct

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support.luks2 import (ARGON2I, ARGON2ID, NEW, PBKDF2, Header, area_of, cryptsetup, data_clusters,
                                 new_header, put_header, qemu_image, volume_key)
from tests.support.programs import build, run
from tests.support.qemu import shell

MIB = 1 << 20
# How QEMU encrypts, the same in LUKS2's words, and what makes keys of passphrases.
WAYS = {
    "aes-256 xts plain64": ("aes-xts-plain64", ARGON2ID),
    "aes-128 cbc essiv:md5": ("aes-cbc-essiv:md5", (*PBKDF2, "--hash=sha512")),
    "aes-256 ctr plain": ("aes-ctr-plain", (*ARGON2I, "--hash=sha1")),
}


def read(image, *arguments, passphrase=NEW):
    return run("read", image, "--key-file=-", *arguments, input=passphrase.encode())


def check(image, written, *arguments, passphrase=NEW):
    done = read(image, *arguments, passphrase=passphrase)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == bytes(written)


def write(folder, how, what, written, seed):
    """The guest of QEMU writes a few ranges."""
    chance, commands = random.Random(seed), []
    for number in range(6):
        start, size = chance.randrange(0, 7000) * 512, chance.randrange(1, 300) * 512
        data = chance.randbytes(size)
        (folder / f"{number}").write_bytes(data)
        written[start:start + size] = data
        commands += ["-c", f"write -s {folder}/{number} {start} {size}"]
    shell("qemu-io", *how, *commands, what, cwd=folder)


@pytest.mark.parametrize("way", WAYS)
def test_data_of_qemu(way, tmp_path):
    """The sectors have the numbers that they have with LUKS1: those of their places in the file."""
    cipher, mode, vector = way.split(" ")
    vector, _, essiv = vector.partition(":")
    options = [f"encrypt.cipher-alg={cipher}", f"encrypt.cipher-mode={mode}", f"encrypt.ivgen-alg={vector}"]
    if essiv:
        options.append(f"encrypt.ivgen-hash-alg={essiv}")
    image, how, what = qemu_image(tmp_path, options)
    written = bytearray(4 * MIB)
    write(tmp_path, how, what, written, way)
    before = bytes(written)
    shell("qemu-img", "snapshot", *how[:2], "-c", "one", *how[2:], what, cwd=tmp_path)
    write(tmp_path, how, what, written, way + "again")
    with open(image, "rb") as file:
        volume_key(tmp_path, file.read())
    encryption, kdf = WAYS[way]
    header = new_header(tmp_path, f"--cipher={encryption}", kdf=kdf)
    cryptsetup("open", "--test-passphrase", "--key-file=-", str(header), passphrase=NEW)
    put_header(image, Header(header.read_bytes()).raw)
    check(image, written)
    check(image, before, "--snapshot=one")
    check(image, written[70001:370001], "--guest=70001+300000")
    for wrong in ("", "old words", NEW + "\n"):
        done = read(image, passphrase=wrong)
        assert (done.returncode, done.stdout) == (1, b"") and b"opens no key slot" in done.stderr, done
    checked = run("check", image)
    assert checked.returncode == 0 and b"luks-version-qemu" in checked.stdout, checked


@pytest.fixture(name="base", scope="module")
def make_base(tmp_path_factory):
    """An image of QEMU with a key of 512 bits, and a header of cryptsetup; what its guest has written."""
    folder = tmp_path_factory.mktemp("luks2")
    image, how, what = qemu_image(folder, ())
    written = bytearray(4 * MIB)
    write(folder, how, what, written, 1)
    with open(image, "rb") as file:
        key = volume_key(folder, file.read())
    return folder, image, key, written


def copy_of(base, tmp_path, name="image.qcow2"):
    shutil.copy(base[1], tmp_path / name)
    (tmp_path / "volume-key").write_bytes(base[2])
    return str(tmp_path / name)


# ---- sectors ----

def vector_of(kind, key, number):
    if kind == "essiv:sha256":
        essiv = Cipher(algorithms.AES(hashlib.sha256(key).digest()), modes.ECB()).encryptor()
        return essiv.update(struct.pack("<QQ", number, 0))
    return struct.pack("<QQ", number & 0xffffffff if kind == "plain" else number, 0)


def encrypt(name, key, number, sector):
    """A sector of any length, with the number of its first 512 bytes, as dm-crypt counts."""
    _, mode, kind = name.split("-")
    vector = vector_of(kind, key, number)
    mode = {"xts": modes.XTS, "cbc": modes.CBC, "ctr": modes.CTR}[mode](vector)
    return Cipher(algorithms.AES(key), mode).encryptor().update(sector)


def encrypt_clusters(image, written, name, key, sector_bytes, tweak=0):
    with open(image, "r+b") as file:
        for guest, host in data_clusters(file.read()):
            plain = written[guest:guest + 65536]
            file.seek(host)
            for at in range(0, 65536, sector_bytes):
                number = (tweak + (host + at) // 512) % (1 << 64)
                file.write(encrypt(name, key, number, bytes(plain[at:at + sector_bytes])))


@pytest.mark.parametrize("name, key_bytes, sector_bytes, tweak", [
    ("aes-xts-plain64", 64, 4096, 0), ("aes-xts-plain64", 32, 2048, 8), ("aes-xts-plain64", 64, 512, 12345),
    ("aes-xts-plain", 64, 1024, (1 << 32) - 300), ("aes-cbc-essiv:sha256", 32, 4096, (1 << 64) - 512),
    ("aes-cbc-plain64", 16, 1024, 1 << 40), ("aes-ctr-plain64", 32, 4096, 0)])
def test_sectors(name, key_bytes, sector_bytes, tweak, base, tmp_path):
    """Sectors of each size, and numbers that do not begin with 0."""
    image, key = copy_of(base, tmp_path), base[2][:key_bytes]
    (tmp_path / "volume-key").write_bytes(key)
    header = Header(new_header(tmp_path, f"--cipher={name}", f"--sector-size={sector_bytes}").read_bytes())
    assert header.segment["sector_size"] == sector_bytes
    header.segment["iv_tweak"] = str(tweak)
    put_header(image, header.put().raw)
    encrypt_clusters(image, base[3], name, key, sector_bytes, tweak)
    written = bytearray(4 * MIB)
    with open(image, "rb") as file:
        for guest, _ in data_clusters(file.read()):
            written[guest:guest + 65536] = base[3][guest:guest + 65536]
    check(image, written)
    chance = random.Random(name)
    for _ in range(6):
        start = chance.randrange(4 * MIB - 20000)
        size = chance.randrange(1, 20000)
        check(image, written[start:start + size], f"--guest={start}+{size}")


# ---- key slots ----

def test_key_slots(base, tmp_path):
    """Slots of each kind, with priorities; one that is bound to nothing opens nothing."""
    image = copy_of(base, tmp_path)
    path = new_header(tmp_path, "--cipher=aes-xts-plain64", keyslots="1536k")
    (tmp_path / "new").write_text("third")
    for number, kdf in ((1, ARGON2I), (2, (*PBKDF2, "--hash=sha512"))):
        (tmp_path / "new").write_text(f"number {number}")
        cryptsetup("luksAddKey", "--key-file=-", f"--key-slot={number}", *kdf, str(path), str(tmp_path / "new"),
                   passphrase=NEW)
    (tmp_path / "new").write_text("bound to nothing")
    cryptsetup("luksAddKey", "--unbound", "--key-size=512", "--key-slot=3", *PBKDF2, str(path), "-",
               passphrase="bound to nothing")
    cryptsetup("config", "--key-slot=2", "--priority=prefer", str(path))
    cryptsetup("config", "--key-slot=1", "--priority=ignore", str(path))
    put_header(image, Header(path.read_bytes()).raw)
    for passphrase in (NEW, "number 1", "number 2"):
        check(image, base[3], passphrase=passphrase)
    for wrong in ("bound to nothing", "number 3"):
        assert b"the passphrase opens no key slot\n" in read(image, passphrase=wrong).stderr
    cryptsetup("luksKillSlot", "--key-file=-", str(path), "1", passphrase=NEW)
    put_header(image, Header(path.read_bytes()).raw)
    assert b"the passphrase opens no key slot\n" in read(image, passphrase="number 1").stderr
    check(image, base[3], passphrase="number 2")


def test_file_of_a_chain(base, tmp_path):
    """Below an overlay, and compared with the data in the clear."""
    image = copy_of(base, tmp_path)
    put_header(image, Header(new_header(tmp_path, "--cipher=aes-xts-plain64").read_bytes()).raw)
    overlay = str(tmp_path / "overlay.qcow2")
    shell("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", image, "-F", "qcow2", overlay, "4M", cwd=tmp_path)
    check(overlay, base[3], "--chain")
    (tmp_path / "clear").write_bytes(base[3])
    (tmp_path / "key").write_text(NEW)
    done = run("compare", f"--key-file-a={tmp_path}/key", image, str(tmp_path / "clear"), "--format-b=raw")
    assert done.returncode == 0, done


# ---- copies of the header ----

@functools.lru_cache
def header_of(folder, size):
    return new_header(folder, "--cipher=aes-xts-plain64", f"--luks2-metadata-size={size}").read_bytes()


def headers(base, size="16k"):
    return header_of(base[0], size)


def spoil(raw, at, size=1):
    raw[at:at + size] = bytes(byte ^ 0xff for byte in raw[at:at + size])


@pytest.mark.parametrize("size", ["16k", "64k"])
@pytest.mark.parametrize("at, length", [(0, 1), (6, 2), (8, 8), (256, 8), (100, 1), (448, 1), (5000, 1), (0, 16384)])
def test_a_damaged_copy(size, at, length, base, tmp_path):
    """Either copy alone is enough, wherever the other one is damaged."""
    image = copy_of(base, tmp_path)
    good = Header(headers(base, size))
    for copies in ((0,), (1,), (0, 1)):
        raw = bytearray(good.raw)
        for copy in copies:
            spoil(raw, copy * good.hdr_size + at, length)
        put_header(image, raw)
        done = read(image)
        if len(copies) == 1:
            assert (done.returncode, done.stderr) == (0, b"") and done.stdout == bytes(base[3])
        else:
            assert (done.returncode, done.stdout) == (1, b"")
            assert b"LUKS" in done.stderr and done.stderr.count(b"\n") == 1, done




@pytest.mark.parametrize("newer", [0, 1])
def test_the_newer_copy_counts(newer, base, tmp_path):
    image = copy_of(base, tmp_path)
    header = Header(headers(base))
    header.put(seqid=7, copies=(newer,))
    slots = dict(header.json["keyslots"])
    header.json["keyslots"].clear()
    header.put(seqid=6, copies=(1 - newer,))
    put_header(image, header.raw)
    check(image, base[3])
    header.put(seqid=8, copies=(1 - newer,))
    put_header(image, header.raw)
    assert b"no key slot has the key of its data" in read(image).stderr
    header.json["keyslots"] = slots
    header.put(seqid=9, copies=(1 - newer,))
    put_header(image, header.raw)
    check(image, base[3])


# ---- headers that lie ----

def kdf(header, **members):
    header.slot["kdf"].update(members)


def drop(where, *names):
    for name in names:
        del where[name]


def twice(header):
    """JSON with a member twice, and the second one first."""
    return json.dumps(header.json).replace('"sector_size": 512', '"sector_size": 512, "sector_size": 512').encode()


def second_slot(header):
    header.json["keyslots"]["1"] = json.loads(json.dumps(header.slot))
    header.json["keyslots"]["1"]["area"]["offset"] = str(int(header.slot["area"]["offset"]) + 4096)


# What is changed in the header of a sound image, and what the error says. A change may give other JSON.
LIES = {
    "memory of 4 TiB": (lambda h: kdf(h, memory=(1 << 32) - 1), "Argon2, and its memory limit is 1024 MiB (--memory"),
    "memory over 32 bits": (lambda h: kdf(h, memory=1 << 32), "all key slots of the LUKS header are damaged"),
    "memory of nothing": (lambda h: kdf(h, memory=0), "all key slots of the LUKS header are damaged"),
    "2^32 - 1 passes": (lambda h: kdf(h, time=(1 << 32) - 1), "need too many iterations"),
    "2^32 passes": (lambda h: kdf(h, time=1 << 32), "damaged"),
    "no passes": (lambda h: kdf(h, time=0), "damaged"),
    "no lanes": (lambda h: kdf(h, cpus=0), "damaged"),
    "more lanes than memory": (lambda h: kdf(h, cpus=9), "damaged"),
    "2^24 lanes": (lambda h: kdf(h, cpus=1 << 24), "damaged"),
    "a short salt": (lambda h: kdf(h, salt="AAAA"), "damaged"),
    "a long salt": (lambda h: kdf(h, salt="A" * 4096), "damaged"),
    "a salt of other letters": (lambda h: kdf(h, salt="A" * 42 + "!="), "damaged"),
    "passes below 0": (lambda h: kdf(h, time=-4), "damaged"),
    "passes and a half": (lambda h: kdf(h, time=4.5), "damaged"),
    "passes in words": (lambda h: kdf(h, time="4"), "damaged"),
    "scrypt": (lambda h: kdf(h, type="scrypt"), "make keys in a way that is not known"),
    "2^32 - 1 rounds": (lambda h: kdf(h, type="pbkdf2", hash="sha256", iterations=(1 << 32) - 1), "too many iterations"),
    "2^32 rounds": (lambda h: kdf(h, type="pbkdf2", hash="sha256", iterations=1 << 32), "damaged"),
    "no rounds": (lambda h: kdf(h, type="pbkdf2", hash="sha256", iterations=0), "damaged"),
    "an unknown hash": (lambda h: kdf(h, type="pbkdf2", hash="sha9", iterations=9), "not known"),
    "no stripes": (lambda h: h.slot["af"].update(stripes=0), "damaged"),
    "2^32 - 1 stripes": (lambda h: h.slot["af"].update(stripes=(1 << 32) - 1), "damaged"),
    "stripes past the area": (lambda h: h.slot["af"].update(stripes=4033), "damaged"),
    "an area in the header": (lambda h: h.slot["area"].update(offset="4096"), "damaged"),
    "an area past the slots": (lambda h: h.slot["area"].update(offset="200000"), "damaged"),
    "an area past all": (lambda h: h.slot["area"].update(offset=str((1 << 64) - 4096)), "damaged"),
    "an area over 64 bits": (lambda h: h.slot["area"].update(offset=str(1 << 64)), "damaged"),
    "a key of the area": (lambda h: h.slot["area"].update(key_size=63), "not known"),
    "a slot's key": (lambda h: h.slot.update(key_size=1 << 40), "length of the key is not known"),
    "a slot's key of nothing": (lambda h: h.slot.update(key_size=0), "no key slot has the key"),
    "slots over each other": (second_slot, "shares key material"),
    "a slot of another number": (lambda h: h.json["keyslots"].update({"32": {}}), "has no number of its own"),
    "a slot with two numbers": (lambda h: json.dumps(h.json).replace('"tokens"', '"keyslots"', 1).encode(), "no key slot"),
    "a slot that reencrypts": (lambda h: h.json["keyslots"].update({"1": {"type": "reencrypt"}}), "being reencrypted"),
    "an unbound slot": (lambda h: h.digest.update(keyslots=[]), "no key slot has the key of its data"),
    "a digest of nothing": (lambda h: h.digest.update(segments=[]), "its segment has not one digest"),
    "two digests": (lambda h: h.json["digests"].update({"1": h.digest}), "its segment has not one digest"),
    "many digests": (lambda h: h.json["digests"].update({str(i): {} for i in range(1, 40)}), "too many digests"),
    "a digest that is short": (lambda h: h.digest.update(digest="AAAA"), "not as long as its hash"),
    "no digest": (lambda h: h.digest.update(digest=""), "not as long as its hash"),
    "a digest without rounds": (lambda h: h.digest.update(iterations=0), "its digest makes no sense"),
    "a digest that takes long": (lambda h: h.digest.update(iterations=(1 << 32) - 1), "too many iterations"),
    "a digest of another kind": (lambda h: h.digest.update(type="x"), "type of its digest is not known"),
    "no segment": (lambda h: h.json["segments"].clear(), "no segment"),
    "two segments": (lambda h: h.json["segments"].update({"1": h.segment}), "more than one segment"),
    "a linear segment": (lambda h: h.segment.update(type="linear"), "not of the type 'crypt'"),
    "a segment with flags": (lambda h: h.segment.update(flags=["in-reencryption"]), "flags"),
    "integrity": (lambda h: h.segment.update(integrity={"type": "hmac(sha256)"}), "authenticated"),
    "a detached header": (lambda h: h.segment.update(offset="0"), "detached"),
    "an odd offset": (lambda h: h.segment.update(offset="1048577"), "offset of its segment"),
    "a segment of one sector": (lambda h: h.segment.update(size="512"), "smaller than the disk"),
    "a segment of nothing": (lambda h: h.segment.update(size="0"), "size of its segment"),
    "an odd size": (lambda h: h.segment.update(size="4194305"), "size of its segment"),
    "sectors of 0": (lambda h: h.segment.update(sector_size=0), "sector_size"),
    "sectors of 8192": (lambda h: h.segment.update(sector_size=8192), "sector_size"),
    "sectors of 1000": (lambda h: h.segment.update(sector_size=1000), "sector_size"),
    "an odd tweak": (lambda h: h.segment.update(sector_size=4096, iv_tweak="1"), "iv_tweak"),
    "a cipher": (lambda h: h.segment.update(encryption="cipher_null-ecb"), "the cipher is not known"),
    "authenticated encryption": (lambda h: h.segment.update(encryption="aes-gcm-random"), "the mode is not known"),
    "a cipher of the kernel": (lambda h: h.segment.update(encryption="capi:xts(aes)-plain64"), "not known"),
    "a cipher without a mode": (lambda h: h.segment.update(encryption="aes"), "the mode is not known"),
    "a cipher with a tail": (lambda h: h.segment.update(encryption="a" * 4000), "name of its cipher"),
    "a cipher with a NUL": (lambda h: h.segment.update(encryption="aes-xts-plain64\0"), "name of its cipher"),
    "a requirement": (lambda h: h.json["config"].update(requirements={"mandatory": ["online-reencrypt-v2"]}), "requires"),
    "requirements": (lambda h: h.json["config"].update(requirements=["online-reencrypt-v2"]), "requirements make no"),
    "the size of the JSON": (lambda h: h.json["config"].update(json_size="12287"), "sizes of its areas"),
    "the size of slots": (lambda h: h.json["config"].update(keyslots_size=str((1 << 64) - 1)), "sizes of its areas"),
    "a member twice": (twice, "sector_size"),
    "a list in place of slots": (lambda h: h.json.update(keyslots=[h.slot]), "no key slot"),
    "no config": (lambda h: drop(h.json, "config"), "sizes of its areas"),
    "no members": (lambda h: b"{}", "sizes of its areas"),
    "no object": (lambda h: b"[]", "neither copy"),
    "no JSON": (lambda h: b"", "neither copy"),
    "half of the JSON": (lambda h: json.dumps(h.json).encode()[:-1], "neither copy"),
    "JSON with a tail": (lambda h: json.dumps(h.json).encode() + b"\0 ", "neither copy"),
    "JSON with a comma": (lambda h: json.dumps(h.json).encode()[:-1] + b",}", "neither copy"),
    "JSON that is not UTF-8": (lambda h: json.dumps(h.json).encode()[:-1] + b', "\xff": 0}', "neither copy"),
    "JSON that fills the area": (lambda h: json.dumps(h.json).encode().ljust(12288), "neither copy"),
    "deep JSON": (lambda h: json.dumps(h.json).encode()[:-1] + b', "x": ' + b"[" * 900 + b"]" * 900 + b"}", "neither copy"),
}
# What is unusual, and opens all the same.
TRUTHS = {
    "escapes": lambda h: json.dumps(h.json).replace('"sha256"', r'"\u0073ha256"').replace("argon2id", r"argon2\u0069d").encode(),
    "blanks": lambda h: json.dumps(h.json, indent=7).encode(),
    "a size": lambda h: h.segment.update(size="4194304"),
    "empty lists": lambda h: (h.segment.update(flags=[]), h.json["config"].update(requirements={"mandatory": []})),
    "flags of the volume": lambda h: h.json["config"].update(flags=["allow-discards"]),
    "tokens": lambda h: h.json["tokens"].update({"0": {"type": "x", "keyslots": [], "\u00e4\ud83d\ude00": [1.5e-3, None, True]}}),
    "an unknown slot": lambda h: (h.json["keyslots"].update({"1": {"type": "x"}}), h.digest.update(keyslots=["1", "0"])),
    "a damaged slot": lambda h: (h.json["keyslots"].update({"1": {**h.slot, "kdf": {}, "area": {}}}),
                                 h.digest.update(keyslots=["0", "1"])),
}


def changed(base, change):
    header = Header(headers(base))
    text = change(header)
    return header.put(text if isinstance(text, bytes) else None).raw


@pytest.mark.parametrize("lie", LIES)
def test_lies(lie, base, tmp_path):
    image = copy_of(base, tmp_path)
    change, words = LIES[lie]
    put_header(image, changed(base, change))
    done = read(image)
    assert (done.returncode, done.stdout) == (1, b"") and done.stderr.count(b"\n") == 1, done
    assert words.encode() in done.stderr, done.stderr


@pytest.mark.parametrize("truth", TRUTHS)
def test_truths(truth, base, tmp_path):
    image = copy_of(base, tmp_path)
    put_header(image, changed(base, TRUTHS[truth]))
    check(image, base[3])


def test_areas_that_are_cut(base, tmp_path):
    """The image names fewer bytes than the header says, or the file ends before."""
    raw = headers(base)
    for length in (0, 511, 4096, 16384, 32767, 32768 + 255999):
        image = copy_of(base, tmp_path)
        put_header(image, Header(raw).raw)
        with open(image, "r+b") as file:
            at = file.read(65536).index(bytes.fromhex("0537be7700000010"))
            file.seek(at + 16)
            file.write(struct.pack(">Q", length))
        done = read(image)
        assert (done.returncode, done.stdout) == (1, b""), (length, done)


def test_memory_limit(base, tmp_path):
    """Argon2 takes no more memory than is allowed, and the option that allows it is named."""
    image = copy_of(base, tmp_path)
    put_header(image, changed(base, lambda h: kdf(h, memory=1 << 18, time=1)))
    done = read(image, "--memory-limit=256M")
    assert done.returncode == 1 and done.stdout == b"", done
    assert b"needs 256 MiB of memory for Argon2, and its memory limit is 192 MiB (--memory-limit)" in done.stderr
    done = read(image, "--memory-limit=384M")
    assert done.returncode == 1 and b"the passphrase opens no key slot" in done.stderr, done


@pytest.mark.parametrize("cluster_bits, sector_size, fits", [(9, 1024, False), (10, 1024, True), (12, 4096, True)])
def test_sectors_and_clusters(cluster_bits, sector_size, fits, base, tmp_path):
    """A sector lies in one cluster."""
    image = str(tmp_path / "image")
    build(f"size 64k\ncluster_bits {cluster_bits}\nluks2\n", image)
    with open(image, "rb") as file:
        offset, length = area_of(file.read(65536))
    header = changed(base, lambda h: h.segment.update(sector_size=sector_size))
    assert len(header) <= length
    with open(image, "r+b") as file:
        file.seek(offset)
        file.write(header)
    done = read(image)
    if fits:
        assert (done.returncode, done.stdout) == (0, bytes(65536)), done
    else:
        assert done.returncode == 1 and b"larger than a cluster" in done.stderr, done
