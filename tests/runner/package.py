# SPDX-License-Identifier: MIT
# Packages as a distribution makes them: built twice, looked at by lintian, installed over a copy of this
# system that is gone afterwards, and tested there from outside. The tarball of a release, made twice.
"""The checks `package` and `release`."""
import glob
import hashlib
import os
import re
import shutil

from tests.runner import report

PLACE = report.path("build/package")
DEBIAN = report.path("packaging/debian")
NEEDS = ["debhelper", "dh-python", "dpkg-dev", "libargon2-dev", "lintian", "pybuild-plugin-pyproject",
         "python3-all-dev", "rpm", "ruby", "xz-utils"]
PACKAGES = ["libqcow2-0", "libqcow2-dev", "nbdkit-plugin-qcow2", "python3-qcow2", "qcow2-utils"]


def version():
    return report.run([report.path("scripts/version")])[1].strip()


def missing_tools():
    """Says what apt-get has to install before."""
    status, text = report.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *NEEDS])
    there = {line.split()[1] for line in text.splitlines() if line.startswith("installed ")}
    missing = [name for name in NEEDS if name not in there]
    return f"apt-get install {' '.join(missing)}" if status not in (0, 1) or missing else ""


def copy_tree(to):
    """What is or will be in git, and nothing else."""
    for name in report.tracked():
        path = os.path.join(to, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy2(report.path(name), path, follow_symlinks=False)


def build(out, name, env):
    """Builds all packages in a folder of that name; returns the folder, or None."""
    place = os.path.join(PLACE, name)
    shutil.rmtree(place, ignore_errors=True)
    source = os.path.join(place, f"qcow2-utils-{version()}")
    copy_tree(source)
    report.run(["tar", "-czf", f"qcow2-utils_{version()}.orig.tar.gz", os.path.basename(source)], cwd=place)
    shutil.copytree(DEBIAN, os.path.join(source, "debian"))
    # As builders of packages have it: another Python in front would be taken for the system's.
    status, text = report.run(["dpkg-buildpackage", "-us", "-uc"], cwd=source, timeout=3600,
                              env={"DEB_BUILD_OPTIONS": f"parallel={os.cpu_count()}",
                                   "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env})
    out.case(f"dpkg-buildpackage, {name} time", text[-6000:] if status else "")
    return None if status else place


def debs(place):
    return {os.path.basename(path).split("_")[0]: path for path in glob.glob(os.path.join(place, "*.deb"))
            if "-dbgsym_" not in path}


def digest(path):
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def check_twice(out, first, second):
    """The same source gives the same packages in another folder, on another day, in another language."""
    theirs = debs(second)
    for name, path in sorted(debs(first).items()):
        same = name in theirs and digest(path) == digest(theirs[name])
        out.case(f"{name} is built the same twice", "" if same else f"{path} and {theirs.get(name)} differ")


def check_versions(out):
    """The number is in one place; what has to repeat it does not differ."""
    number = version()
    for name, pattern in (("packaging/debian/changelog", r"^qcow2-utils \((.*)-1\)"),
                          ("packaging/qcow2-utils.spec", r"^Version: *(\S+)"),
                          ("packaging/qcow2-utils.rb", r'^  version "(.*)"'), ("NEWS.md", r"^## (\S+)")):
        with open(report.path(name), encoding="utf-8") as stream:
            found = re.search(pattern, stream.read(), re.M)
        out.case(f"{name} has the version", "" if found and found[1] == number else f"{found} is not {number}")


def check_spec(out):
    """rpmspec parses the spec, and rpm and Debian build of the same parts."""
    status, text = report.run(["rpmspec", "-q", "--qf", "%{name}\n", report.path("packaging/qcow2-utils.spec"),
                               "--define", "meson true", "--define", "meson_build true",
                               "--define", "meson_install true"])
    wanted = {"qcow2-utils", "libqcow2", "libqcow2-devel", "nbdkit-qcow2-plugin"}
    out.case("rpmspec reads the spec", "" if status == 0 and wanted <= set(text.split()) else text)


def check_formula(out):
    status, text = report.run(["ruby", "-wc", report.path("packaging/qcow2-utils.rb")])
    out.case("ruby reads the formula", "" if status == 0 and text.strip() == "Syntax OK" else text)


# Runs in a mount namespace of its own: the system below, and all that is written goes to a folder.
INSIDE = """
set -eu
mkdir -p {place}/upper {place}/work {place}/root {place}/tmp
mount -t tmpfs none {place}/tmp
mkdir {place}/tmp/upper {place}/tmp/work
mount -t overlay overlay -o lowerdir=/,upperdir={place}/tmp/upper,workdir={place}/tmp/work {place}/root
mount --rbind /dev {place}/root/dev
mount -t proc proc {place}/root/proc
mount -t tmpfs none {place}/root/tmp
cp -R {debs} {source} {place}/root/tmp
exec chroot {place}/root /bin/sh /tmp/{name}/packaging/try-packages {version}
"""


def check_installed(out, place):
    """Installs the packages over this system, and runs what packaging/debian/tests has."""
    source = os.path.join(place, f"qcow2-utils-{version()}")
    script = INSIDE.format(place=os.path.join(place, "over"), debs=" ".join(debs(place).values()), source=source,
                           name=os.path.basename(source), version=version())
    status, text = report.run(["unshare", "--mount", "--pid", "--fork", "sh", "-c", script], timeout=1800)
    for name, result in re.findall(r"^TRY (.*): (\S+)$", text, re.M):
        out.case(f"installed: {name}", "" if result == "ok" else text[-4000:])
    out.case("all was tried on the installed packages", "" if status == 0 and "TRY end: ok" in text else text[-4000:])


def check(out):
    missing = missing_tools()
    if missing:
        out.bad("tools of packages", f"{missing}, then once more")
        return
    check_versions(out)
    check_spec(out)
    check_formula(out)
    first = build(out, "first", {"TZ": "UTC", "LC_ALL": "C.UTF-8"})
    if not first:
        return
    out.case("all packages are there", "" if set(PACKAGES) <= set(debs(first)) else str(debs(first)))
    # Nobody has announced a package to Debian yet, and so there is no bug to close.
    status, text = report.run(["lintian", "--allow-root", "--info", "--fail-on", "error,warning",
                               "--suppress-tags", "initial-upload-closes-no-bugs",
                               *glob.glob(os.path.join(first, "*.changes"))], timeout=900)
    out.case("lintian has nothing to say", text if status or re.search(r"^[EW]:", text, re.M) else "")
    check_installed(out, first)
    second = build(out, "second", {"TZ": "Pacific/Apia", "LC_ALL": "C", "USER": "somebody"})
    if second:
        check_twice(out, first, second)


def check_release(out):
    """Two tarballs of one commit, of which one is made in a clone by another umask, are the same."""
    place = os.path.join(PLACE, "release")
    shutil.rmtree(place, ignore_errors=True)
    made = []
    for number, umask in enumerate((0o022, 0o077)):
        tree, to = os.path.join(place, f"tree{number}"), os.path.join(place, f"to{number}")
        os.makedirs(to)
        status, text = report.run(["git", "-c", "safe.directory=*", "clone", "-q", report.ROOT, tree],
                                  preexec_fn=lambda mask=umask: os.umask(mask) and None)
        if not status:
            status, text = report.run([os.path.join(tree, "scripts/dist"), to], cwd=tree,
                                      preexec_fn=lambda mask=umask: os.umask(mask) and None)
        out.case(f"a tarball is made, {number + 1}", text if status else "")
        made += glob.glob(os.path.join(to, "*.tar.xz"))
    same = len(made) == 2 and digest(made[0]) == digest(made[1])
    out.case("one commit has one tarball", "" if same else f"{made} differ")
    if same:
        check_builds(out, made[0], place)


def check_builds(out, tarball, place):
    """What is in the tarball builds without git, and knows its version."""
    tree = os.path.join(place, f"qcow2-utils-{version()}")
    for command in (["tar", "-xf", tarball, "-C", place], ["meson", "setup", "build", "-Ddocs=disabled"],
                    ["ninja", "-C", "build", "cmd/qcow2"]):
        status, text = report.run(command, cwd=tree if os.path.isdir(tree) else place, timeout=1800)
        out.case(f"the tarball: {command[0]}", text[-3000:] if status else "")
    status, text = report.run([os.path.join(tree, "build/cmd/qcow2"), "--version"])
    out.case("what the tarball builds says its version", "" if version() in text and not status else text)
