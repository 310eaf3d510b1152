/* SPDX-License-Identifier: MIT */
/*
 * Undo files: the way back from every change. qcow2_plan_apply() writes one before it changes the
 * image; the functions here read it, judge whether the image can be put back, and put it back.
 *
 * An undo proves that it is right, or refuses. The proof is a digest of all metadata, which the
 * undo file holds for the image as the change found it and as the change left it. What no metadata
 * shows is a guest that wrote to its data in place. Only the modification time of a regular file
 * can tell that nobody did. Where it does not, an undo brings back no more than what is safe to
 * believe: a dirty bitmap comes back marked in use, so that nobody trusts it.
 *
 *         struct qcow2_undo_result result = {.size = sizeof(result)};
 *
 *         if (qcow2_undo_open("image.undo", &undo, &err) == 0 &&
 *             qcow2_source_open_for_edit("image.qcow2", 0, &source, &err) == 0 &&
 *             qcow2_undo_apply(undo, source, NULL, &result, &err) == 0)
 *                 puts(result.is_exact ? "as it was" : "as far as it is safe");
 *
 * An undo file that is open may be used by one thread at a time.
 */
#ifndef QCOW2_UNDO_H
#define QCOW2_UNDO_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/source.h>

QCOW2_BEGIN_DECLS

/* ---- undo files: the way back from every change ---- */

/* How far a change and its undo got. */
enum qcow2_undo_state {
	QCOW2_UNDO_APPLYING = 1, /* the change began and did not end */
	QCOW2_UNDO_APPLIED = 2,  /* the change ended */
	QCOW2_UNDO_UNDOING = 3,  /* an undo began and did not end */
	QCOW2_UNDO_UNDONE = 4,   /* an undo ended */
};

struct qcow2_undo;

/*
 * What an undo file says of itself. The library owns it, for as long as the undo file is open.
 * Texts are as they are stored, not safe for a terminal: see qcow2_text_escape().
 */
struct qcow2_undo_info {
	size_t size; /* set by the library */
	enum qcow2_undo_state state;
	struct qcow2_bytes image_path; /* as the change was told; absolute from the command */
	struct qcow2_bytes command;    /* what was done, one line */
	uint64_t time_seconds;         /* when it was made, since the Epoch */
	uint64_t old_size_bytes;       /* of the image before the change */
	uint64_t new_size_bytes;       /* of the image after it */
	uint64_t pieces;               /* places in the image that are put back */
	uint64_t bytes;                /* in all of them, as they were before */
	uint64_t freed_bytes;          /* of clusters that the change freed, kept as well */
	bool proves_metadata; /* it holds digests; false if the image could not be checked */
	bool is_device;       /* the image is a block device */
};

/* A place that an undo puts back. The library owns it and its bytes, until the next call. */
struct qcow2_undo_piece {
	size_t size;                  /* set by the library */
	uint64_t offset_bytes;        /* in the image file */
	struct qcow2_bytes old_bytes; /* what is put back; what passes the old end is cut off */
	struct qcow2_bytes new_bytes; /* what the edit left; what passes the new end is zeros */
};

/*
 * Opens an undo file and reads its head. The rest is proved by its checksums before a byte of it is
 * used: an undo file may come from anywhere, too.
 *
 * path: of the undo file.
 * *out: set to the open file; the caller closes it with qcow2_undo_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_NOT_QCOW2    no undo file, or one of a change that never began
 *   QCOW2_ERROR_UNSUPPORTED  of another layout
 *   QCOW2_ERROR_BROKEN       cut or damaged
 *   QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_undo_open(const char *path, struct qcow2_undo **out, struct qcow2_error *err);

/*
 * Closes an undo file, which stays where it is. undo: may be NULL, then nothing happens. It must
 * not be in the options of a later call any more.
 */
QCOW2_API void qcow2_undo_close(struct qcow2_undo *undo);

/*
 * Tells what an undo file says of itself. Its state is that of when qcow2_undo_open(),
 * qcow2_undo_judge() or qcow2_undo_apply() last read it: open it again to learn what an undo made of
 * it.
 *
 * Returns a structure that lives as long as the undo file is open; never NULL.
 */
QCOW2_API const struct qcow2_undo_info *qcow2_undo_describe(const struct qcow2_undo *undo);

/*
 * Shows one place that an undo puts back.
 *
 * index: below the member pieces of qcow2_undo_describe(), in the order of the image.
 * *out: set to the place, which lives until the next call with this undo file.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (there is no such place),
 * QCOW2_ERROR_BROKEN (the file is damaged), QCOW2_ERROR_LIMIT (over 2^23 records), QCOW2_ERROR_IO,
 * QCOW2_ERROR_MEMORY. The first call reads the whole file, to prove it.
 */
QCOW2_API int qcow2_undo_at(struct qcow2_undo *undo, uint64_t index,
			    const struct qcow2_undo_piece **out, struct qcow2_error *err);

/*
 * Tells whether a source is the very file or device that the change was made to, by its identity in
 * the file system, whatever its name is now.
 *
 * image: any source; what is no file or device is never that.
 *
 * Returns whether it is. Never fails.
 */
QCOW2_API bool qcow2_undo_is_of(const struct qcow2_undo *undo, const struct qcow2_source *image);

/*
 * Tells whether one change began with just what another one left, metadata and size: then the later
 * one has to be undone first. Changes that bring an earlier state back follow each other both ways;
 * then their age tells them apart.
 *
 * later, earlier: undo files of the two changes.
 *
 * Returns whether it did; false if either holds no digests. Never fails.
 */
QCOW2_API bool qcow2_undo_follows(const struct qcow2_undo *later, const struct qcow2_undo *earlier);

/* What an undo may do; combined with |. */
enum qcow2_undo_flags {
	QCOW2_UNDO_ELSEWHERE = 1 << 0, /* it need not be the same file: it moved, or is a copy */
	QCOW2_UNDO_EXACT = 1 << 1, /* put the saved bytes back, even where they may be outdated */
};

/* How to undo. The caller owns it and sets size; zeros undo the very file that was changed. */
struct qcow2_undo_options {
	size_t size;    /* sizeof(struct qcow2_undo_options) */
	unsigned flags; /* of enum qcow2_undo_flags */
	/*
	 * later_count undo files of later changes of the image, as far as they are known. Those
	 * that were undone prove that the modification time is theirs and not a guest's.
	 */
	struct qcow2_undo *const *later;
	size_t later_count;
};

/* Why an undo could not prove that nobody has written to the guest's data since the change. */
enum qcow2_undo_doubt {
	QCOW2_UNDO_NO_DOUBT = 0,
	QCOW2_UNDO_DOUBT_TIME = 1,        /* the file was modified after the change */
	QCOW2_UNDO_DOUBT_DEVICE = 2,      /* a device has no modification time */
	QCOW2_UNDO_DOUBT_DATA_FILE = 3,   /* the guest's data are in another file */
	QCOW2_UNDO_DOUBT_INTERRUPTED = 4, /* the change, or an undo of it, did not end */
	QCOW2_UNDO_DOUBT_ELSEWHERE = 5,   /* another file than the one that was changed */
};

/* What an undo would do, or has done. The caller owns it and sets size. */
struct qcow2_undo_result {
	size_t size;                 /* sizeof(struct qcow2_undo_result) */
	bool is_undone;              /* nothing has to be done: it was undone before */
	bool is_exact;               /* every byte becomes what it was before the change */
	enum qcow2_undo_doubt doubt; /* the first that there was, even if the undo is exact */
	uint64_t bitmaps_in_use;     /* bitmaps that come back in use, though they were not */
	uint64_t autoclear_lost;     /* autoclear bits that were set before and stay clear */
};

/*
 * Finds out what qcow2_undo_apply() would do, and writes nothing.
 *
 * image: the image, which may be open for reading alone.
 * options: NULL for all defaults.
 * *result: filled as far as the work got, whether or not the call fails. May be NULL.
 *
 * Returns 0 if the image can be put back, or -1 with *err filled:
 *   QCOW2_ERROR_MISMATCH  another file, or written to since; the text says what differs
 *   QCOW2_ERROR_ARGUMENT  the size of the options or of the result is not set, or an unknown flag is
 *   the errors of qcow2_undo_at(), and those of qcow2_check() without QCOW2_ERROR_STOPPED
 */
QCOW2_API int qcow2_undo_judge(struct qcow2_undo *undo, struct qcow2_source *image,
			       const struct qcow2_undo_options *options,
			       struct qcow2_undo_result *result, struct qcow2_error *err);

/*
 * Puts an image back to what it was before the change.
 *
 * After the change ended (state applied) the metadata must have the digest that the change left;
 * after an interruption each byte of a piece must be an old one or one that the change writes. In
 * both cases what is left must have the digest of the image before the change, and what the change
 * freed must still be as it was. Anything else is refused, with nothing written. If nothing proves
 * that the guest's data were left alone, bitmaps that come back are marked in use, unknown
 * autoclear bits stay clear, and an undo is refused that would take what a guest may have written
 * out of its sight, unless QCOW2_UNDO_EXACT is given.
 *
 * An undo may be interrupted and repeated; undoing what is undone does nothing. Undoing a copy
 * (QCOW2_UNDO_ELSEWHERE) leaves the undo file as it is.
 *
 * image: opened with qcow2_source_open_for_edit(), or a backend that can be written.
 * options: NULL for all defaults.
 * *result: filled as far as the work got, whether or not the call fails. May be NULL.
 *
 * Returns 0, or -1 with *err filled: the errors of qcow2_undo_judge(), QCOW2_ERROR_ARGUMENT (image
 * cannot be written), QCOW2_ERROR_IO (the text says whether the image was changed in part).
 */
QCOW2_API int qcow2_undo_apply(struct qcow2_undo *undo, struct qcow2_source *image,
			       const struct qcow2_undo_options *options,
			       struct qcow2_undo_result *result, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
