/* SPDX-License-Identifier: MIT */
/*
 * Sources: where the bytes of an image come from. A file, a block device, a buffer in memory and a
 * caller's own backend behave alike. All reads of the library go through qcow2_source_read().
 */
#ifndef QCOW2_SOURCE_H
#define QCOW2_SOURCE_H

#include <qcow2/base.h>
#include <qcow2/error.h>

QCOW2_BEGIN_DECLS

struct qcow2_source;

/* What a caller's own backend provides. */
struct qcow2_source_ops {
	size_t size; /* sizeof(struct qcow2_source_ops) */
	/*
	 * Reads exactly size bytes at offset_bytes into buffer; never asked to pass the end that
	 * the source was made with. Returns 0, or an errno value (> 0) when it cannot.
	 * Must be callable from several threads if the source is shared between threads.
	 */
	int (*read)(void *opaque, uint64_t offset_bytes, void *buffer, size_t size);
	/* Called once by qcow2_source_close(); may be NULL. */
	void (*close)(void *opaque);
	/* See qcow2_source_hole_end(); NULL: there are no holes. */
	uint64_t (*hole_end)(void *opaque, uint64_t offset_bytes);
	/*
	 * For edits; all three or none. write() writes exactly size bytes and may pass the end,
	 * which moves it; resize() cuts, or fills up with zeros; sync() returns when all that was
	 * written is on the medium. Each returns 0 or an errno value.
	 */
	int (*write)(void *opaque, uint64_t offset_bytes, const void *bytes, size_t size);
	int (*resize)(void *opaque, uint64_t size_bytes);
	int (*sync)(void *opaque);
};

/*
 * Opens a regular file or a block device, read-only.
 *
 * path: a path of the host's file system; never interpreted as a URL or a "json:" name.
 * *out: set on success; the caller closes it with qcow2_source_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_IO         it cannot be opened or its size not be learned (errnum set)
 *   QCOW2_ERROR_NOT_QCOW2  it is a directory, FIFO, socket or character device. A FIFO is never
 *                          waited for.
 *   QCOW2_ERROR_MEMORY
 * May be called from several threads.
 */
QCOW2_API int qcow2_source_open(const char *path, struct qcow2_source **out,
				struct qcow2_error *err);

enum qcow2_edit_flags {
	/* Even if nobody has the permission to write the file, which root could still do. */
	QCOW2_EDIT_READ_ONLY_TOO = 1 << 0,
	/* Even if it cannot be known whether another program uses it, and nobody is kept out. */
	QCOW2_EDIT_WITHOUT_LOCKS = 1 << 1,
};

/*
 * Opens a regular file or a block device for an edit (see edit.h), and keeps QEMU and other edits
 * out until it is closed, with the locks that QEMU uses; where the file system knows no locks,
 * nobody is kept out (qcow2_source_in_use() tells). What the source knows of the file was learned
 * when the locks were held. Nothing is written by opening.
 *
 * flags: of enum qcow2_edit_flags, or 0. Returns 0, or -1 with *err filled, besides those of
 * qcow2_source_open():
 *   QCOW2_ERROR_IN_USE  another program has it open for writing, or allows nobody to write;
 *                       with errnum set, that cannot be known, as a call for a lock failed;
 *                       or it was changed or replaced before it could be locked: try again
 *   QCOW2_ERROR_IO      nobody may write it, or not you (EACCES, EROFS, EPERM): the text says why,
 *                       and what would help
 * May be called from several threads.
 */
QCOW2_API int qcow2_source_open_for_edit(const char *path, unsigned flags,
					 struct qcow2_source **out, struct qcow2_error *err);

/* Whether another program has a file open for writing. */
enum qcow2_in_use {
	QCOW2_IN_USE_NO = 0,
	QCOW2_IN_USE_YES = 1,      /* what is read may be inconsistent */
	QCOW2_IN_USE_UNKNOWN = 2,  /* a call for a lock failed */
	QCOW2_IN_USE_NO_LOCKS = 3, /* the file system has no locks: nobody can know */
};

/*
 * Whether another program has the file open for writing, as far as QEMU's locks tell: programs that
 * take none are not seen. Of a source that was opened for an edit, the last two values say that
 * nobody else is kept out. QCOW2_IN_USE_NO for sources that are no files. Thread safe.
 */
QCOW2_API enum qcow2_in_use qcow2_source_in_use(const struct qcow2_source *source);

/*
 * A source over size bytes at data, which the caller keeps alive and unchanged until the source is
 * closed. data may be NULL if size is 0. Errors: QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_source_from_memory(const void *data, size_t size, struct qcow2_source **out,
				       struct qcow2_error *err);

/*
 * A source over the caller's own backend of size_bytes bytes. ops is copied; opaque is handed back
 * to it. On error ops->close is not called. Errors: QCOW2_ERROR_MEMORY, QCOW2_ERROR_ARGUMENT
 * (no read function, some but not all of write, resize and sync, or a size over INT64_MAX).
 */
QCOW2_API int qcow2_source_from_ops(const struct qcow2_source_ops *ops, void *opaque,
				    uint64_t size_bytes, struct qcow2_source **out,
				    struct qcow2_error *err);

/* Closes and frees a source. NULL is fine. No image made from it may be in use any more. */
QCOW2_API void qcow2_source_close(struct qcow2_source *source);

/* The size of the source in bytes, learned when it was opened. Thread safe. */
QCOW2_API uint64_t qcow2_source_size_bytes(const struct qcow2_source *source);

/*
 * The bytes that the source occupies on the medium (st_blocks × 512 for a file, its size for
 * memory, a device and a caller's backend). Thread safe.
 */
QCOW2_API uint64_t qcow2_source_allocated_bytes(const struct qcow2_source *source);

/*
 * The end of the hole that covers offset_bytes: everything in [offset_bytes, result) is known to
 * read as zeros without being stored. Returns offset_bytes itself if there is data there or the
 * system cannot tell, and the size of the source if only a hole follows. Never fails. Thread safe.
 */
QCOW2_API uint64_t qcow2_source_hole_end(const struct qcow2_source *source, uint64_t offset_bytes);

/*
 * Limits how many bytes may be read from now on; further reads fail with QCOW2_ERROR_LIMIT.
 * UINT64_MAX (the default) means no limit. Not thread safe against reads under way.
 */
QCOW2_API void qcow2_source_set_budget(struct qcow2_source *source, uint64_t budget_bytes);

/* How many bytes have been read through this source so far. Thread safe. */
QCOW2_API uint64_t qcow2_source_read_bytes(const struct qcow2_source *source);

/*
 * Reads exactly size bytes at offset_bytes. Short reads and interruptions of the system are
 * resumed. buffer is undefined after an error.
 *
 * Returns 0, or -1 with *err filled (offset_bytes set):
 *   QCOW2_ERROR_BROKEN  the range passes the end of the source
 *   QCOW2_ERROR_IO      the system could not read, or the file became shorter meanwhile
 *   QCOW2_ERROR_LIMIT   the budget is used up
 * Thread safe.
 */
QCOW2_API int qcow2_source_read(struct qcow2_source *source, uint64_t offset_bytes, void *buffer,
				size_t size, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
