/* SPDX-License-Identifier: MIT */
/*
 * Undo files: the way back from every change. qcow2_plan_apply() writes one before it changes the
 * image; the functions here read it, judge whether the image can be put back, and put it back.
 *
 * An undo proves that it is right, or refuses. What proves it is a digest of all metadata, which
 * the undo file holds for the image as the change found it and as the change left it. What no
 * metadata shows is a guest that wrote to its data in place. Only the modification time of a
 * regular file can tell that nobody did; where it does not, an undo brings back no more than what
 * is safe to believe: a dirty bitmap that comes back does so in use, so that nobody trusts it.
 *
 * An undo file that is open may be used by one thread at a time.
 */
#ifndef QCOW2_UNDO_H
#define QCOW2_UNDO_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/source.h>

QCOW2_BEGIN_DECLS

enum qcow2_undo_state {
	QCOW2_UNDO_APPLYING = 1, /* the change began and did not end */
	QCOW2_UNDO_APPLIED = 2,
	QCOW2_UNDO_UNDOING = 3, /* an undo began and did not end */
	QCOW2_UNDO_UNDONE = 4,
};

struct qcow2_undo;

/* What an undo file says of itself. Texts are as stored: not safe for a terminal. */
struct qcow2_undo_info {
	size_t size; /* set by the library */
	enum qcow2_undo_state state;
	struct qcow2_bytes image_path; /* as the change was told it; absolute from the command */
	struct qcow2_bytes command;    /* what was done, one line */
	uint64_t time_seconds;         /* when it was made, since the Epoch */
	uint64_t old_size_bytes, new_size_bytes; /* of the image, before and after the change */
	uint64_t pieces;                         /* places in the image that are put back */
	uint64_t bytes;                          /* in all of them, as they were before */
	uint64_t freed_bytes; /* of clusters that the change freed, kept as well */
	bool proves_metadata; /* it holds digests; false if the image could not be checked */
	bool is_device;       /* the image is a block device */
};

/* A place that an undo puts back; views live until the next call. */
struct qcow2_undo_piece {
	size_t size; /* set by the library */
	uint64_t offset_bytes;
	struct qcow2_bytes old_bytes; /* what is put back; what passes the old end is cut off */
	struct qcow2_bytes new_bytes; /* what the edit left; what passes the new end is zeros */
};

/*
 * Opens an undo file and reads its head. The rest of it is proved by its checksums before a byte
 * of it is used.
 *
 * Errors: QCOW2_ERROR_NOT_QCOW2 (no undo file, or one of a change that never began),
 * QCOW2_ERROR_UNSUPPORTED (of another layout), QCOW2_ERROR_BROKEN (cut or damaged),
 * QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY. Close *out with qcow2_undo_close().
 */
QCOW2_API int qcow2_undo_open(const char *path, struct qcow2_undo **out, struct qcow2_error *err);

/* NULL is fine. */
QCOW2_API void qcow2_undo_close(struct qcow2_undo *undo);

/* Fills *out; its texts live as long as the undo file is open. */
QCOW2_API const struct qcow2_undo_info *qcow2_undo_describe(const struct qcow2_undo *undo);

/*
 * The piece of that index, below info.pieces, in the order of the image. Errors:
 * QCOW2_ERROR_BROKEN, QCOW2_ERROR_LIMIT (over 2^23 records), QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_undo_at(struct qcow2_undo *undo, uint64_t index,
			    const struct qcow2_undo_piece **out, struct qcow2_error *err);

/* Whether a source is the very file or device that the change was made to. */
QCOW2_API bool qcow2_undo_is_of(const struct qcow2_undo *undo, const struct qcow2_source *image);

/*
 * Whether later is the undo file of a change that began with just what the change of earlier left,
 * metadata and size: then later has to be undone first. False if either holds no digests. Changes
 * that bring an earlier state back follow each other both ways: then their age tells them apart.
 */
QCOW2_API bool qcow2_undo_follows(const struct qcow2_undo *later, const struct qcow2_undo *earlier);

enum qcow2_undo_flags {
	QCOW2_UNDO_ELSEWHERE = 1 << 0, /* it need not be the same file: it moved, or is a copy */
	QCOW2_UNDO_EXACT = 1 << 1, /* the saved bytes, even where they may not be true any more */
};

/* How to undo; all zeros undoes the very file that was changed. */
struct qcow2_undo_options {
	size_t size;    /* sizeof(struct qcow2_undo_options) */
	unsigned flags; /* of enum qcow2_undo_flags */
	/*
	 * Undo files of later changes of the image, as far as they are known. Those that were
	 * undone prove that the modification time is theirs and not a guest's.
	 */
	struct qcow2_undo *const *later;
	size_t later_count;
};

/* Why an undo could not prove that nobody has written to the guest's data since. */
enum qcow2_undo_doubt {
	QCOW2_UNDO_NO_DOUBT,
	QCOW2_UNDO_DOUBT_TIME,        /* the file was modified after the change */
	QCOW2_UNDO_DOUBT_DEVICE,      /* a device has no modification time */
	QCOW2_UNDO_DOUBT_DATA_FILE,   /* the guest's data are in another file */
	QCOW2_UNDO_DOUBT_INTERRUPTED, /* the change, or an undo of it, did not end */
	QCOW2_UNDO_DOUBT_ELSEWHERE,   /* another file than the one that was changed */
};

/* What an undo would do, or has done. */
struct qcow2_undo_result {
	size_t size;                 /* sizeof(struct qcow2_undo_result) */
	bool is_undone;              /* nothing has to be done: it was undone before */
	bool is_exact;               /* every byte becomes what it was before the change */
	enum qcow2_undo_doubt doubt; /* the first that there was, even if the undo is exact */
	uint64_t bitmaps_in_use;     /* bitmaps that come back in use, though they were not */
	uint64_t autoclear_lost;     /* autoclear bits that were set before and stay clear */
};

/*
 * Finds out what qcow2_undo_apply() would do, and writes nothing. image may be open for reading
 * only. options may be NULL.
 *
 * Errors: QCOW2_ERROR_MISMATCH (another file, or written to since; the text says what), those of
 * qcow2_undo_open() and qcow2_undo_at(), and of qcow2_check() but for QCOW2_ERROR_STOPPED.
 */
QCOW2_API int qcow2_undo_judge(struct qcow2_undo *undo, struct qcow2_source *image,
			       const struct qcow2_undo_options *options,
			       struct qcow2_undo_result *result, struct qcow2_error *err);

/*
 * Puts an image, opened with qcow2_source_open_for_edit(), back to what it was before the change.
 *
 * After the change ended (state applied) the metadata must have the digest that the change left;
 * after an interruption each byte of a piece must be an old one or one that the change writes. In
 * both cases what is left must have the digest of the image before the change, and what the change
 * freed must still be as it was. Anything else is refused, with nothing written. If nothing proves
 * that the guest's data were left alone, bitmaps that come back are marked in use, unknown
 * autoclear bits stay clear, and an undo that would take what a guest may have written out of its
 * sight is refused, unless QCOW2_UNDO_EXACT is given.
 *
 * An undo may be interrupted and repeated; undoing what is undone does nothing. Undoing a copy
 * (QCOW2_UNDO_ELSEWHERE) leaves the undo file as it is. *result may be NULL, as options may be.
 *
 * Errors: those of qcow2_undo_judge(), QCOW2_ERROR_ARGUMENT (not opened for an edit).
 */
QCOW2_API int qcow2_undo_apply(struct qcow2_undo *undo, struct qcow2_source *image,
			       const struct qcow2_undo_options *options,
			       struct qcow2_undo_result *result, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
