# SPDX-License-Identifier: MIT
# Who may include whom, and who may call what. The rooms of lib/ stand one above the other; no room
# looks up, only lib/source touches a file, and the library never prints or ends the process.
"""The check `arrows`."""
import os
import re

from tests.lint import circles
from tests.runner import report

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
    "locate": ["base", "source", "format", "image", "claims", "walk"],
    "usage": ["base", "source", "format", "image", "rules", "claims", "check"],
    "measure": ["base", "image", "usage"],
    "diff": ["base", "source", "format", "image", "walk"],
    "guest": ["base", "source", "format", "codec", "image"],
    "vet": ["base", "source", "format", "image", "rules", "check"],
    "plan": ["base", "source", "format", "image", "claims", "check"],
    "guards": ["base", "source", "format", "image", "claims", "check", "plan"],
    "undo": ["base", "source", "format", "image", "claims", "check", "plan"],
    "edit": ["base", "source", "format", "image", "rules", "claims", "check", "walk",
             "plan"],
    "repair": ["base", "source", "format", "codec", "image", "rules", "claims", "check", "plan",
               "edit"],
    "rescue": ["base", "source", "format", "codec", "image", "rules", "claims", "check", "plan",
               "edit"],
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
# Threads write a new file at its places here: no image is opened by it.
PLACED_WRITERS = {"cmd/capture/write.c", "cmd/export/target.c"}
# Calls that load a library: libnbd, and only where an image over NBD is opened.
LOADERS = {"lib/source/nbd_calls.c"}
LOADS = ["dlopen", "dlmopen", "dlsym"]
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


def wrong_in_plugin(name, quoted):
    """A plugin is a program like any other: the public headers, and its own."""
    folder = "/".join(name.split("/")[:2])
    header = os.path.join("plugins", quoted)
    if not header.startswith(folder + "/") or not os.path.isfile(report.path(header)):
        return f'"{quoted}" is not a header of {folder} (name it as "{folder.split("/")[1]}/file.h")'
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
    if parts[0] == "plugins":
        return wrong_in_plugin(name, quoted)
    return f'"{quoted}": only <qcow2/…> and the system here'


def wrong_calls(name, names):
    text = report.without_comments(report.read(name))
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
    for match in pattern.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield f"{name}:{line}: calls {match.group(1)}()"


def wrong_includes(name):
    for line, angle, quoted, macro in includes(name):
        why = wrong_include(name, angle, quoted, macro)
        if why:
            yield f"{name}:{line}: {why}"


# Who may write to an image: a plan that is applied, an undo, and the making of undo files.
WRITERS = {"lib/undo/apply.c", "lib/undo/put_back.c", "lib/undo/save.c",
           "lib/undo/mark.c", "lib/plan/store.c", "lib/source/write.c"}
WRITES = ["q2_source_write", "q2_source_resize"]


def wrong_writes(name):
    """One door for change."""
    if name in WRITERS or not name.startswith("lib/") or not name.endswith(".c"):
        return
    yield from wrong_calls(name, WRITES)
    if '"source/write.h"' in report.read(name) and not name.startswith(("lib/plan/", "lib/undo/",
                                                                        "lib/source/")):
        yield f"{name}: only lib/plan and lib/undo may include source/write.h"


def wrong_opens(name):
    """The command replaces closed ones before all else, so that what is below a folder is safe."""
    names = OPENS if name.startswith("lib/") else [o for o in OPENS if o != "openat"]
    if name not in OPENERS:
        yield from wrong_calls(name, names)
    if name not in LOADERS:
        yield from wrong_calls(name, LOADS)


def forbidden(name, room):
    """Calls that no file of this room may make."""
    if name.startswith(("cmd/", "plugins/")):
        own = ("pread", "mmap") if name in PLACED_WRITERS else ("pread", "pwrite", "mmap")
        return [c for c in FILE_CALLS if c.startswith(own)]
    return LOUD_CALLS if room == "source" else LOUD_CALLS + FILE_CALLS


def check_room(out, room, files):
    """Lets a case speak for a whole room; what it says names the files."""
    def case(what, wrong):
        out.case(f"{what} of {room}", "\n".join(line for lines in wrong for line in lines))
    case("includes", (wrong_includes(name) for name in files))
    if not room.startswith(("lib/", "cmd", "plugins/")):
        return
    case("calls", (wrong_calls(name, forbidden(name, room[len("lib/"):])) for name in files))
    case("descriptors", (wrong_opens(name) for name in files))
    case("writes", (wrong_writes(name) for name in files))


TOPS = ("lib", "cmd", "plugins", "include", "examples")


def check(out):
    rooms = {}
    for name in report.tracked():
        parts = name.split("/")
        if name.endswith((".c", ".h")) and parts[0] in TOPS:
            rooms.setdefault("/".join(parts[:2]) if parts[0] in ("lib", "plugins") else parts[0],
                             []).append(name)
    unknown = [room for room in rooms if room.startswith("lib/") and room[len("lib/"):] not in BELOW]
    out.case("rooms are known", ", ".join(unknown))
    for name in sorted(WRITERS | OPENERS | LOADERS):
        out.case(f"{name}, which is let through, is there",
                 "" if os.path.isfile(report.path(name)) else "no such file")
    for room, files in rooms.items():
        if room not in unknown:
            check_room(out, room, files)
    circles.check(out)
