# SPDX-License-Identifier: MIT
# The binding and the command stand on the same library: what the one returns, the other prints as
# JSON. Every small image of the forge is asked for all of it, good or bad.
"""What is read, against the command's own JSON."""
import re
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

import pytest

import qcow2
from tests.python.common import NAMES, NO_IMAGE, SAMPLE, command, recipe, said

ABOUT_INFO = re.compile("size|cluster-|backing|refcount-|v2|compress|crypt|corrupt|dirty|data-file|"
                        "extended-l2|aes|luks|sample|default|incompatible")
ABOUT_MAP = re.compile("l1|l2|data|cluster|compressed|guest|size|zero|backing|v2|default|holes|shared")
Piece = Tuple[int, int, Tuple[Any, ...]]


@pytest.mark.parametrize("name", NAMES)
def test_image(name: str) -> None:
    """Each of the functions below, where the image has something that it is about."""
    with qcow2.Image(recipe(name)) as image:
        same_check(image)
        same_dump(image)
        if ABOUT_INFO.search(name):
            same_info(image)
        if ABOUT_MAP.search(name):
            same_map(image)
        same_bitmaps(image)
        same_dirty_extents(image)
        same_snapshots(image)


def path_of(image: qcow2.Image) -> str:
    assert image.filename is not None
    return image.filename


# ---- info ----

def same_info(image: qcow2.Image) -> None:
    page = said("info", "-j", path_of(image))
    if page is None:
        return  # neither has qemu-img info an answer
    info = image.info()
    data = page["format-specific"]["data"]
    assert info.virtual_size // 512 * 512 == page["virtual-size"]  # as QEMU shows it
    assert info.allocated == page["actual-size"]
    assert info.cluster_size == page.get("cluster-size", info.cluster_size)
    assert info.dirty == page["dirty-flag"]
    assert (info.encryption is not None) == page.get("encrypted", False)
    assert data["compat"] == {2: "0.10", 3: "1.1"}[info.version]
    assert (info.backing_file is not None) == ("backing-filename" in page)
    if info.backing_file is not None and info.backing_file.isascii():
        assert info.backing_file == page["backing-filename"]
    if info.version > 2:
        assert info.refcount_bits == data.get("refcount-bits", info.refcount_bits)
        assert info.lazy_refcounts == data["lazy-refcounts"]
        assert info.corrupt == data["corrupt"]
        assert info.extended_l2 == data["extended-l2"]
    if "compression-type" in data:
        assert info.compression == data["compression-type"]
    assert (info.data_file or None) == data.get("data-file")


def test_info_is_not_empty() -> None:
    assert said("info", "-j", SAMPLE)["virtual-size"] == qcow2.Image(SAMPLE).info().virtual_size > 0


# ---- check ----

def guest_json(guest: qcow2.GuestRange) -> Dict[str, Any]:
    return {"start": guest.start, "length": guest.length,
            **({"snapshot": guest.snapshot} if guest.snapshot is not None else {}),
            **({"l1-entries": guest.count} if guest.count > 1 else {})}


def owner_json(owner: qcow2.Owner) -> Dict[str, Any]:
    return {"where": owner.where,
            **({"snapshot": owner.snapshot} if owner.snapshot is not None else {}),
            **({"bitmap": owner.bitmap} if owner.bitmap is not None else {}),
            **({"guest": guest_json(owner.guest)} if owner.guest else {})}


def problem_json(problem: qcow2.Problem) -> Dict[str, Any]:
    return {"id": problem.kind.id, "severity": problem.kind.severity, "where": problem.where,
            "offset": problem.offset, "found": problem.found, "text": problem.kind.text,
            "section": problem.kind.section,
            **({"cluster-offset": problem.cluster_offset}
               if problem.cluster_offset is not None else {}),
            **({"guest": guest_json(problem.guest)} if problem.guest else {}),
            **({"owners": [owner_json(owner) for owner in problem.owners],
                "references": problem.references} if problem.owners else {})}


def same_check(image: qcow2.Image) -> None:
    page = said("check", "-j", "-a", path_of(image))
    check = image.check()
    problems = list(check)
    result = check.result
    for key, value in (("corruptions", result.corruptions), ("leaks", result.leaks),
                       ("warnings", result.warnings), ("total-clusters", result.total_clusters),
                       ("allocated-clusters", result.allocated_clusters),
                       ("fragmented-clusters", result.fragmented_clusters),
                       ("compressed-clusters", result.compressed_clusters),
                       ("image-end-offset", result.image_end_offset)):
        assert page.get(key, 0) == value, key
    assert page["verdict"] == result.verdict
    assert page["clusters-checked"] == result.clusters_checked
    assert page["guest-damage"]["lost-bytes"] == result.lost_bytes
    assert page["lost-mappings"]["leaks-may-be-data"] == result.leaks_may_be_data
    wanted: List[Dict[str, Any]] = []
    for one in page["problems"]:
        kept = problem_json(problems[0]).keys() | {"cluster-offset", "guest", "owners", "references"}
        if not isinstance(one["expected"], str):
            at = len(wanted)
            assert one["expected"] == problems[at].expected
        wanted.append({key: value for key, value in one.items() if key in kept})
    assert wanted == [problem_json(problem) for problem in problems]
    assert sum(result.counts.values()) == result.corruptions + result.leaks + result.warnings
    # Without an iteration, the same.
    assert image.check().result == result
    assert result.sound == (page.get("corruptions", 0) == page.get("leaks", 0) == 0)


# ---- map ----

def joined(pieces: Iterable[Piece]) -> List[Piece]:
    """Neighbours that say the same are one."""
    found: List[Piece] = []
    for start, end, what in pieces:
        if found and found[-1][2] == what and found[-1][1] == start:
            found[-1] = (found[-1][0], end, what)
        else:
            found.append((start, end, what))
    return found


def piece_of_json(extent: Dict[str, Any]) -> Piece:
    start, length = extent["start"], extent["length"]
    # Holes of the file below data are the command's own finding.
    zero = extent["zero"] and not extent["data"]
    place = extent["offset"] - start if "offset" in extent else None
    return start, start + length, (extent["present"], zero, extent["data"], extent["compressed"],
                                   place, extent.get("invalid"))


def piece_of(extent: qcow2.Extent, info: qcow2.ImageInfo) -> Piece:
    kind = extent.kind
    compressed = kind is qcow2.ExtentKind.COMPRESSED
    data = kind in (qcow2.ExtentKind.DATA, qcow2.ExtentKind.COMPRESSED, qcow2.ExtentKind.INVALID)
    unallocated = kind is qcow2.ExtentKind.UNALLOCATED
    zero = kind.zero or (unallocated and info.backing_file is None)
    hidden = compressed or (data and info.encryption is not None)
    place = extent.offset - extent.start if extent.offset is not None and not hidden else None
    return extent.start, extent.end, (not unallocated, zero, data, compressed, place,
                                      extent.problem)


def same_map(image: qcow2.Image) -> None:
    page = said("map", "-j", path_of(image))
    try:
        extents = list(image.map())
    except qcow2.Qcow2Error as error:
        assert page is None, error
        return
    assert page is not None
    wanted = joined(map(piece_of_json, (extent for extent in page if extent["length"])))
    end = wanted[-1][1] if wanted else 0
    info = image.info()
    found = joined(piece_of(extent, info) for extent in extents)
    cut = [(start, min(stop, end), what) for start, stop, what in found if start < end]
    assert cut == wanted
    assert sum(extent.length for extent in extents) == info.virtual_size


@pytest.mark.parametrize("start, length", [(0, 1), (511, 66000), (1 << 19, None), (1 << 40, None)])
def test_map_ranges(start: int, length: Optional[int]) -> None:
    with qcow2.Image(recipe("good-compressed")) as image:
        extents = list(image.map(start, length))
        size = image.info().virtual_size
    stop = size if length is None else min(size, start + length)
    if start >= size:
        assert not extents
    else:
        assert extents[0].start == start and extents[-1].end == stop


def test_map_of_snapshots() -> None:
    seen = 0
    for name in (name for name in NAMES if name.startswith("good-")):
        with qcow2.Image(recipe(name)) as image:
            for snapshot in image.snapshots:
                page = said("map", "-j", f"--snapshot={snapshot.id}", path_of(image))
                info = image.info()
                found = joined(piece_of(one, info) for one in image.map(snapshot=snapshot))
                assert found == joined(map(piece_of_json, page))
                assert list(image.map(snapshot=snapshot.index)) == \
                    list(image.map(snapshot=snapshot.id))
                seen += 1
    assert seen > 3


# ---- measure ----

def test_measure() -> None:
    """Those rows that the command shows; it leaves out what is equal by itself."""
    seen = set()
    for name in (name for name in NAMES if re.search("good-(compressed|snap|bitmap|v2|data-file|l2)|"
                                                     "bad-(l2|l1|snapshot)", name)):
        page = said("measure", "-j", recipe(name))
        with qcow2.Image(recipe(name)) as image:
            try:
                sizes = image.measure()
            except qcow2.Qcow2Error as error:
                assert page is None, error
                continue
        if page is not None:
            for key, value in page["image"].items():
                field = key.replace("-", "_")
                if hasattr(sizes, field):
                    assert getattr(sizes, field) == value, (name, key)
                    seen.add(field)
    assert seen == sizes.__dict__.keys()


# ---- bitmaps ----

def state_of(image: qcow2.Image, bitmap: qcow2.Bitmap) -> str:
    bad = [problem for problem in image.bitmaps.problems(bitmap.name)
           if problem.kind.id == "bitmap-extra-data-unknown" or
           (problem.kind.severity == "corruption" and problem.kind.id != "bitmap-data-tail")]
    if bad:
        return "unusable"
    if not image.info().bitmaps_saved:
        return "inconsistent"
    if bitmap.in_use:
        return "in use"
    return "enabled" if bitmap.enabled else "disabled"


TOTALS = {"dirty-bytes": "dirty_bytes", "disk-bytes": "disk_bytes",
          "serialized-entries": "serialized_entries", "all-zeroes-entries": "all_zeroes_entries",
          "all-ones-entries": "all_ones_entries"}


def same_bitmaps(image: qcow2.Image) -> None:
    try:
        bitmaps = list(image.bitmaps)
    except qcow2.Qcow2Error as error:
        assert said("bitmap", "list", "-j", path_of(image)) is None, error
        return
    page = said("bitmap", "list", "-j", path_of(image)) if bitmaps else None
    if page is None:
        return  # the command refuses an image whose directory claims more than there is
    rows = page["bitmaps"]
    assert [bitmap.index for bitmap in bitmaps] == list(range(len(rows)))
    for bitmap, row in zip(bitmaps, rows):
        if bitmap.name.isascii() and bitmap.name.isprintable():
            assert bitmap.name == row["name"]
        assert row["granularity"] is None or bitmap.granularity == row["granularity"]
        if image.bitmaps.names().count(bitmap.name) == 1:
            assert state_of(image, bitmap) == row["state"]
            if row.get("dirty-bytes") is not None:
                totals = image.bitmaps.totals(bitmap.name)
                for key, field in TOTALS.items():
                    assert getattr(totals, field) == row[key]


def same_dirty_extents(image: qcow2.Image) -> None:
    try:
        names = image.bitmaps.names()
    except qcow2.Qcow2Error:
        return
    for name in names:
        if not name or not name.isprintable() or "'" in name or name.startswith("-"):
            continue
        page = said("bitmap", "extents", "-j", path_of(image), name)
        try:
            extents = list(image.dirty_extents(name))
        except qcow2.Qcow2Error as error:
            assert page is None, error
            continue
        assert [{"start": one.start, "length": one.length, "dirty": one.dirty}
                for one in extents] == page
        assert list(image.dirty_extents(name, dirty_only=True)) == \
            [one for one in extents if one.dirty]


# ---- snapshots ----

def same_snapshots(image: qcow2.Image) -> None:
    try:
        snapshots = list(image.snapshots)
    except qcow2.Qcow2Error as error:
        page = said("snapshot", "list", "-j", path_of(image))
        assert page is None or not page["snapshots"], error
        return
    page = said("snapshot", "list", "-j", path_of(image)) if snapshots else None
    if page is None:
        return
    rows = page["snapshots"]
    assert len(snapshots) == len(rows)
    for snapshot, row in zip(snapshots, rows):
        assert snapshot.index == row["index"] and snapshot.cut == row["cut"]
        assert snapshot.vm_state_size == row["vm-state-size"]
        assert snapshot.disk_size == row["disk-size"]
        assert snapshot.date_seconds == row["date-sec"]
        assert snapshot.offset == row["entry"]["offset"]
        assert snapshot.l1_table_offset == row["entry"]["l1_table_offset"]
        for ours, theirs in ((snapshot.id, row["id"]), (snapshot.name, row["name"])):
            if ours.isascii() and ours.isprintable():
                assert ours == theirs


# ---- dump ----

def plain(value: Any) -> Any:
    """The document without what it says a second time, and without texts that JSON spells anew."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()
                if not key.endswith(("-name", "-names", "-hex", "-escaped", "-omitted"))
                and not isinstance(inner, (str, bytes))}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def same_dump(image: qcow2.Image) -> None:
    page = said("dump", "-j", path_of(image))
    assert page is not None
    tree, problems = image.dump()
    found = [(problem.kind.id, problem.where) for problem in problems]
    wanted = [(one["id"], one["where"]) for one in page["problems"]]
    # The command shows a hundred of each kind.
    assert found == wanted or (set(wanted) < set(found) and "problems-omitted" in page)
    for key in ("filename", "problems", "problems-omitted"):
        page.pop(key, None)
    assert plain(tree) == plain(page)


@pytest.mark.parametrize("selector", ["header/size", "l2/0/0..2", "l1/*", "bitmaps", "refcounts/0/0..4"])
def test_dump_of_selectors(selector: str) -> None:
    page = said("dump", "-j", SAMPLE, selector)
    with qcow2.Image(SAMPLE) as image:
        tree, _ = image.dump(selector)
    assert tree.keys() == page.keys() - {"filename", "problems"}
    assert plain(tree) == plain({key: page[key] for key in tree})


# ---- what is no image ----

@pytest.mark.parametrize("name", NO_IMAGE)
def test_no_image(name: str) -> None:
    done = command("info", recipe(name))
    assert done.returncode == 1
    with pytest.raises(qcow2.Qcow2Error) as caught:
        qcow2.Image(recipe(name))
    assert caught.value.text in done.stderr.decode()
    assert caught.value.code in (qcow2.ErrorCode.NOT_QCOW2, qcow2.ErrorCode.BROKEN,
                                 qcow2.ErrorCode.UNSUPPORTED)


def by_descriptor(path: str) -> qcow2.Image:
    with open(path, "rb") as stream:
        return qcow2.Image.from_fd(stream.fileno())  # and close ours


OPENERS: List[Callable[[str], qcow2.Image]] = [
    qcow2.Image, lambda path: qcow2.Image(path.encode(), is_path=True),
    lambda path: qcow2.Image(open(path, "rb").read()),
    lambda path: qcow2.Image(bytearray(open(path, "rb").read())),
    by_descriptor,
    lambda path: qcow2.Image(qcow2.Source.open(path)),
]


@pytest.mark.parametrize("opener", OPENERS)
def test_all_sources_read_the_same(opener: Callable[[str], qcow2.Image]) -> None:
    with qcow2.Image(SAMPLE) as wanted, opener(SAMPLE) as image:
        assert list(image.map()) == list(wanted.map())
        assert image.check().result == wanted.check().result
        assert image.read(0, 8192) == wanted.read(0, 8192) == b"\x11" * 8192
        assert list(image.dirty_extents("weekly")) == list(wanted.dirty_extents("weekly"))
