/* SPDX-License-Identifier: MIT */
/*
 * The snapshot table ("Snapshots"): internal snapshots of the disk, each with an L1 table of its
 * own, and possibly with the state of the virtual machine behind the end of the disk.
 *
 * Entries have no fixed size and follow each other, so that they can only be found in order. They
 * are read in pieces; memory is bounded whatever the table claims. Whether they obey the rules of
 * the format is for qcow2_check() to say. What a snapshot's disk maps is told by
 * qcow2_mapping_open_snapshot() (mapping.h).
 *
 *	struct qcow2_snapshots *snapshots;
 *	const struct qcow2_snapshot *snapshot;
 *	char name[256];
 *
 *	if (qcow2_snapshots_open(image, &snapshots, &err))
 *		return err.code == QCOW2_ERROR_NOT_FOUND ? 0 : -1;
 *	while (qcow2_snapshots_next(snapshots, &snapshot, &err) > 0) {
 *		qcow2_text_escape(snapshot->name, name, sizeof(name));
 *		printf("%s: %" PRIu64 " bytes\n", name, snapshot->disk_size_bytes);
 *	}
 *	qcow2_snapshots_close(snapshots);
 */
#ifndef QCOW2_SNAPSHOT_H
#define QCOW2_SNAPSHOT_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/format.h>

QCOW2_BEGIN_DECLS

/* ---- which snapshots an image has ---- */

struct qcow2_image;

/*
 * One entry of the table. It and its views belong to the iterator and live until the next call on
 * that: copy what you keep.
 */
struct qcow2_snapshot {
	size_t size; /* set by the library */
	/* The fixed part, decoded. What the file does not have of it is 0. */
	struct qcow2_snapshot_header header;
	/* The known extra data, decoded. Fields that extra_data does not reach are 0. */
	struct qcow2_snapshot_extra extra;
	/* 0, 1, … in the order of the table. */
	uint64_t index;
	/* Host offset of the entry, and its size as it claims to be, with padding to 8 bytes. */
	uint64_t offset_bytes;
	uint64_t size_bytes;
	/* The fixed 40 bytes; fewer if the file ends before. */
	struct qcow2_bytes raw;
	/* At most the first 4096 bytes of it. */
	struct qcow2_bytes extra_data;
	/*
	 * Bytes of the image: not NUL terminated, maybe not text. qcow2_text_escape() makes them
	 * safe.
	 */
	struct qcow2_bytes id;
	struct qcow2_bytes name;
	/* That of the extra data if it has the field, else that of the fixed part. */
	uint64_t vm_state_size_bytes;
	/* That of the extra data if has_disk_size, else the size of the active disk. */
	uint64_t disk_size_bytes;
	bool has_disk_size;
	/* The extra data has an instruction count, and it is not all ones, which means none. */
	bool has_icount;
	/* The entry passes the end of the file. Nothing can follow, and the views are cut. */
	bool cut;
};

struct qcow2_snapshots;

/*
 * Opens an iterator over the snapshot table.
 *
 * image: not NULL; stays open until the iterator is closed. *out: set on success; the caller closes
 * it with qcow2_snapshots_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_NOT_FOUND  nb_snapshots of the header is 0
 *   QCOW2_ERROR_BROKEN     the image has no geometry, or the table starts past the end of the file
 *   QCOW2_ERROR_MEMORY
 * Several iterators over one image may be used at once, each by one thread at a time.
 */
QCOW2_API int qcow2_snapshots_open(const struct qcow2_image *image, struct qcow2_snapshots **out,
				   struct qcow2_error *err);

/*
 * Gives the next entry.
 *
 * snapshots: not NULL. *out: if the result is 1, points to the entry, which belongs to the iterator
 * and lives until the next call on it; else left alone. Its members header and extra may be copied
 * and kept.
 *
 * Returns 1; 0 at the end, which is after nb_snapshots entries, at the end of the file, or after an
 * entry that was cut; or -1 with *err filled: QCOW2_ERROR_IO and QCOW2_ERROR_LIMIT as
 * qcow2_source_read().
 */
QCOW2_API int qcow2_snapshots_next(struct qcow2_snapshots *snapshots,
				   const struct qcow2_snapshot **out, struct qcow2_error *err);

/* Closes and frees the iterator. snapshots: NULL is fine. The image stays open. */
QCOW2_API void qcow2_snapshots_close(struct qcow2_snapshots *snapshots);

QCOW2_END_DECLS

#endif
