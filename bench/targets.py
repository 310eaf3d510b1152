# SPDX-License-Identifier: MIT
"""What has to hold, all in one place. bench/run exits with 1 if one of these is missed."""

# start: what info of a small image may take, in seconds or in times of `true`.
START_SECONDS, START = 0.0012, 2
# info: how many times faster than qemu-img info.
INFO_ORDINARY = 4
INFO_BITMAPS = 50
# dump of 65,535 bitmaps, of as many with names of 1,000 bytes, and of 80 MiB of tables, in seconds;
# compat dump-header of a directory that claims 8 GiB.
DUMP_DIRECTORY_SECONDS = 1.0
DUMP_NAMES_SECONDS = 0.4
DUMP_TABLES_SECONDS = 2.4
COMPAT_CLAIMED_SECONDS = 0.1
# check: how many times faster than qemu-img check, and how many times the time of reading the same
# tables, by the titles in check_shapes.all_images().
CHECK = 30
CHECK_READINGS = {
    "1 TiB in order": 2.3,
    "1 TiB half full, scattered runs": 3.8,
    "1 TiB shuffled": 5.5,
    "1 TiB, extended L2, one entry in four with subclusters": 2.2,
    "64 GiB, 100 snapshots that share all": 4,
    "64 GiB, 100 snapshots, tables rewritten between": 3,
    "64 GiB, half compressed": 14,
    "64 GiB in clusters of 512 bytes": 2.2,
    "65,535 bitmaps with names of 1,000 bytes": 3,
}
# snapshot space: how many times faster than qemu-img check.
SPACE = 5
# repair of all refcounts: in times of our own check of the damaged image, and how many times faster
# than qemu-img check -r all; of a sound image: in times of its check.
REPAIR_CHECKS, REPAIR = 3, 10
REPAIR_SOUND = 2.5
# edit of the header without undo: in times of rebase -u and of merely reading the tables.
EDIT = 1.5
# plans: all steps, in times of merely writing and syncing.
PLANS = 8
# bitmap extents: how many times faster than qemu-nbd and nbdinfo, and seconds for the extents that
# are far apart; list: times of reading the file.
BITMAP_EXTENTS = 30
BITMAP_FAR_SECONDS = 0.035
BITMAP_LIST = 2
# Guest extents by examples/map_image.c, in order and scattered; qcow2 map: times faster than qemu-img.
EXTENTS_IN_ORDER, EXTENTS_SCATTERED = 20, 4
MAP = 50
# snapshot diff: how many times faster than mapping both disks.
SNAPSHOT_DIFF = 2
# layout: how many times faster than qemu-img check and map; and in times of our own check.
LAYOUT = 10
LAYOUT_CHECKS = 2.5
# measure: how many times faster than qemu-img measure.
MEASURE = 5
# export of compressed disks: how many times faster than qemu-img convert. Both use the same library for
# zstd.
EXPORT = {"zlib": 3, "zstd": 2}
# compare and hash: how many times faster than qemu-img compare, and than NBD and sha256sum.
COMPARE, HASH = 1.5, 3
# vet: small images a second on one core, or in times of reading them; and how many times faster than
# qemu-img info.
VET_A_SECOND, VET_READINGS, VET = 20000, 3, 4
# diff: in times of reading the tables of both images.
DIFF_READINGS = 2.5
# locate: --guest in seconds, --host in times of our own check.
LOCATE_GUEST_SECONDS = 0.02
LOCATE_HOST_CHECKS = 2
# The peak memory of info and dump, whatever an image claims.
MEMORY_KIB = 64 * 1024
