# SPDX-License-Identifier: MIT
# Who may include whom, and who may call what. The rooms of lib/ stand one above the other; no room
# looks up, only lib/source touches a file, and the library never prints or ends the process.
"""The check `arrows`."""
import os
import re

from . import circles, report

BELOW = {
    "base": [],
    "source": ["base"],
    "format": ["base"],
    "codec": ["base"],
    "image": ["base", "source", "format"],
    "rules": ["base", "source", "format", "image"],
    "claims": ["base", "source", "format", "image", "rules"],
    "check": ["base", "source", "format", "codec", "image", "rules", "claims"],
    "walk": ["base", "source", "format", "image", "rules"],
    "plan": ["base", "source", "format", "image", "check"],
    "guards": ["base", "source", "format", "image", "check", "plan"],
    "undo": ["base", "source", "format", "image", "check", "plan"],
    "edit": ["base", "source", "format", "image", "rules", "claims", "check", "walk", "plan"],
}

# Calls that reach a file. A member (x->read) or a longer word (take_open) is not a call of these.
FILE_CALLS = """open openat openat2 creat read readv pread pread64 preadv preadv2 write writev
pwrite pwrite64 pwritev pwritev2 mmap mmap64 lseek lseek64 ioctl ftruncate fsync fdatasync fallocate
copy_file_range sendfile fopen fopen64 fdopen freopen fread fgets getline opendir stat fstat lstat
statx access unlink rename""".split()
# Calls that make a descriptor, which must not be that of standard input, output or error: only these
# files make them.
OPENERS = {"lib/source/descriptor.c", "cmd/common/descriptors.c"}
OPENS = """open openat openat2 creat fopen fopen64 fdopen freopen tmpfile mkstemp dup dup2 dup3 pipe
pipe2 socket memfd_create eventfd epoll_create1""".split()
# Calls that no library makes.
LOUD_CALLS = """printf fprintf vprintf vfprintf dprintf puts fputs fputc putchar putc perror fwrite
exit _exit _Exit quick_exit abort atexit system popen fork vfork execve execvp signal sigaction
setenv putenv setlocale""".split()
# Headers whose only use would be one of the calls above.
FILE_HEADERS = {"fcntl.h", "sys/mman.h", "sys/ioctl.h", "sys/stat.h", "sys/uio.h", "linux/fs.h",
                "dirent.h"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:<([^>]+)>|"([^"]+)"|(\w+))', re.M)


def includes(name):
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), report.read(name),
                  flags=re.S)
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield line, match.group(1), match.group(2), match.group(3)


def public(header):
    """Whether <qcow2/…> names a header that exists."""
    return os.path.isfile(report.path("include", header))


def wrong_angle(header):
    if header.startswith("qcow2/") and not public(header):
        return f"<{header}> does not exist"
    return ""


def wrong_in_room(name, room, quoted):
    target = quoted.split("/")[0]
    if not os.path.isfile(report.path("lib", quoted)):
        return f'"{quoted}" is not a header of lib/ (name it as "room/file.h")'
    if target != room and target not in BELOW[room]:
        return f'{room} may not include "{quoted}": {target} is not below it'
    return ""


def wrong_in_cmd(name, quoted):
    if not os.path.isfile(report.path("cmd", quoted)):
        return f'"{quoted}" is not a header of cmd/'
    if name.startswith("cmd/out/") and not quoted.startswith("out/"):
        return f'an emitter may not include "{quoted}"'
    return ""


def wrong_include(name, angle, quoted, macro):
    """Why this include is not allowed in this file, or nothing."""
    parts = name.split("/")
    if angle:
        wrong = wrong_angle(angle)
        if not wrong and parts[0] == "lib" and parts[1] != "source" and angle in FILE_HEADERS:
            wrong = f"<{angle}> belongs to lib/source"
        return wrong
    if macro:
        return "an include through a macro hides its arrow"
    if parts[0] == "lib":
        return wrong_in_room(name, parts[1], quoted)
    if parts[0] == "cmd":
        return wrong_in_cmd(name, quoted)
    return f'"{quoted}": only <qcow2/…> and the system here'


def wrong_calls(name, names):
    text = report.without_comments(report.read(name))
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
    for match in pattern.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield f"{name}:{line}: calls {match.group(1)}()"


def check_includes(out, name):
    wrong = []
    for line, angle, quoted, macro in includes(name):
        why = wrong_include(name, angle, quoted, macro)
        if why:
            wrong.append(f"{name}:{line}: {why}")
    out.case(f"includes of {name}", "\n".join(wrong))


# Who may write to an image: a plan that is applied, an undo, and the making of undo files.
WRITERS = {"lib/undo/apply.c", "lib/undo/put_back.c", "lib/undo/save.c",
           "lib/undo/mark.c", "lib/plan/store.c", "lib/source/write.c"}
WRITES = ["q2_source_write", "q2_source_resize"]


def check_writers(out, name):
    """One door for change."""
    if name in WRITERS:
        return
    wrong = list(wrong_calls(name, WRITES))
    if '"source/write.h"' in report.read(name) and not name.startswith(("lib/plan/", "lib/undo/",
                                                                             "lib/source/")):
        wrong.append(f"{name}: only lib/plan and lib/undo may include source/write.h")
    out.case(f"writes of {name}", "\n".join(wrong))


def check_opens(out, name):
    """The command replaces closed ones before all else, so that what is below a folder is safe."""
    names = OPENS if name.startswith("lib/") else [o for o in OPENS if o != "openat"]
    if name not in OPENERS:
        out.case(f"descriptors of {name}", "\n".join(wrong_calls(name, names)))


def check(out):
    files = [f for f in report.tracked() if f.endswith((".c", ".h"))]
    for name in files:
        top = name.split("/")[0]
        if top not in ("lib", "cmd", "include", "examples"):
            continue
        check_includes(out, name)
        if top in ("lib", "cmd"):
            check_opens(out, name)
        if top == "lib":
            room = name.split("/")[1]
            out.case(f"room of {name}", "" if room in BELOW else f"no room is called {room}")
            names = LOUD_CALLS if room == "source" else LOUD_CALLS + FILE_CALLS
            out.case(f"calls of {name}", "\n".join(wrong_calls(name, names)))
            if name.endswith(".c"):
                check_writers(out, name)
        elif top == "cmd":
            images = [c for c in FILE_CALLS if c.startswith(("pread", "pwrite", "mmap"))]
            out.case(f"calls of {name}", "\n".join(wrong_calls(name, images)))
    circles.check(out)
