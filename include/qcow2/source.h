/* SPDX-License-Identifier: MIT */
/*
 * Sources: where the bytes of an image come from. A file, a block device, an NBD server, a buffer in
 * memory and a caller's own backend behave alike. All reads of the library go through qcow2_source_read(), which
 * compares them with the size of the source and charges them to a budget; so a hostile image can
 * make the library neither read past the end nor read without end.
 *
 * A source knows nothing of qcow2. To read an image from it, see qcow2_image_open():
 *
 *         struct qcow2_source *source = NULL;
 *         struct qcow2_image *image = NULL;
 *         struct qcow2_error err;
 *
 *         if (qcow2_source_open(path, &source, &err) != 0 ||
 *             qcow2_image_open(source, &image, &err) != 0)
 *                 fprintf(stderr, "%s: %s\n", path, err.text);
 *         …
 *         qcow2_image_close(image);
 *         qcow2_source_close(source);
 *
 * Threads: reading a source and asking for its size is thread safe, as far as a caller's backend
 * is. Changing its budget, writing through a plan and closing it are not.
 */
#ifndef QCOW2_SOURCE_H
#define QCOW2_SOURCE_H

#include <qcow2/base.h>
#include <qcow2/error.h>

QCOW2_BEGIN_DECLS

/* ---- open where bytes come from: file, device, NBD server, memory ---- */

struct qcow2_source;

/*
 * What a caller's own backend provides. The caller owns the structure and sets size; functions that
 * the backend does not have are NULL. Each is given the opaque pointer of qcow2_source_from_ops().
 */
struct qcow2_source_ops {
	size_t size; /* sizeof(struct qcow2_source_ops) */
	/*
	 * Reads exactly size bytes at offset_bytes into buffer. Never asked to pass the end that
	 * the source was made with. Returns 0, or an errno value (> 0) when it cannot. Called from
	 * several threads at once if the source is shared between threads, or checked with several.
	 */
	int (*read)(void *opaque, uint64_t offset_bytes, void *buffer, size_t size);
	/* Called once by qcow2_source_close(). May be NULL. */
	void (*close)(void *opaque);
	/* Does what qcow2_source_hole_end() says. NULL: there are no holes. */
	uint64_t (*hole_end)(void *opaque, uint64_t offset_bytes);
	/*
	 * For edits: a backend has all three or none. Each returns 0 or an errno value (> 0).
	 * write: writes exactly size bytes; where they pass the end, the end moves.
	 * resize: cuts the end off, or fills it up with zeros.
	 * sync: returns when all that was written is on the medium.
	 */
	int (*write)(void *opaque, uint64_t offset_bytes, const void *bytes, size_t size);
	int (*resize)(void *opaque, uint64_t size_bytes);
	int (*sync)(void *opaque);
};

/*
 * Opens a regular file or a block device for reading. Nothing that the file names is opened, and no
 * lock is taken: qcow2_source_in_use() tells whether another program is writing.
 *
 * path: a path of the host's file system; never taken for a URL or a "json:" name. If there is no
 *   file of such a name, the text of the error says that only files are read.
 * *out: set to the source; the caller closes it with qcow2_source_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_IO         it cannot be opened, or its size not be learned; errnum is set
 *   QCOW2_ERROR_NOT_QCOW2  it is a directory, FIFO, socket or character device. A FIFO is never
 *                          waited for.
 *   QCOW2_ERROR_MEMORY
 * Thread safe.
 */
QCOW2_API int qcow2_source_open(const char *path, struct qcow2_source **out,
				struct qcow2_error *err);

/* How to open an image over NBD. The caller owns the structure and sets size; 0 is a default. */
struct qcow2_nbd_options {
	size_t size; /* sizeof(struct qcow2_nbd_options) */
	/*
	 * When to give up, also while connecting, and the first deadline of the source: see
	 * qcow2_source_set_deadline(). 0: a server that does not answer is waited for.
	 */
	uint64_t deadline_ns;
	/*
	 * The most connections, which threads share, if the server allows several. 0: as many as
	 * there are processors, up to 4.
	 */
	unsigned connections;
};

/*
 * Tells whether a name is one for qcow2_source_open_nbd(): whether it starts with "nbd://" or
 * "nbd+unix://", or with the names of the same with TLS, which are refused there. Letters have to be
 * small. A file of such a name is opened as "./nbd://…".
 *
 * name: not NULL.
 *
 * Never fails. Pure and thread safe.
 */
QCOW2_API bool qcow2_source_is_nbd(const char *name);

/*
 * Connects to an NBD server and opens an export of it for reading. Call it for names that the user of
 * a program gives, never for a name that stands in an image: else an image of a stranger decides to
 * which machines yours connects. No other function of the library opens a connection.
 *
 * The library is loaded here, libnbd.so.0, and stays loaded: programs that never call this function
 * do not load it. A program that locks itself up calls it before; afterwards reading needs nothing
 * but to send, to receive and to poll.
 *
 * Reads are thread safe. They end at the deadline of the source even if the server hangs; a connection
 * that was waited for in vain, or that broke, is not made again. Holes are those that the server tells
 * (base:allocation), and qcow2_source_allocated_bytes() is the size.
 *
 * uri: "nbd://HOST[:PORT]/[EXPORT]" or "nbd+unix:///[EXPORT]?socket=PATH", as the document "NBD URI"
 *   of the protocol says. TLS is refused (nbds:).
 * options: copied; may be NULL.
 * *out: set to the source; the caller closes it with qcow2_source_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_IO           no server, no such export, or the server broke the protocol; errnum is set:
 *                            ETIMEDOUT if the deadline has passed. Asking for the address of a host
 *                            may take longer than that.
 *   QCOW2_ERROR_UNSUPPORTED  TLS; the library was built without libnbd, or there is none here; or the
 *                            server's block sizes make no sense
 *   QCOW2_ERROR_ARGUMENT     the name is no such URI, or a member of options is not known
 *   QCOW2_ERROR_MEMORY
 * Thread safe. Example:
 *
 *         failed = qcow2_source_open_nbd("nbd://backup.example.org/disk", NULL,
 *                                        &source, &err);
 */
QCOW2_API int qcow2_source_open_nbd(const char *uri, const struct qcow2_nbd_options *options,
				    struct qcow2_source **out, struct qcow2_error *err);

/* How to open for an edit; combined with |. */
enum qcow2_edit_flags {
	/* Even if nobody has the permission to write the file, which root could still do. */
	QCOW2_EDIT_READ_ONLY_TOO = 1 << 0,
	/* Even if it cannot be known whether another program uses it, and nobody is kept out. */
	QCOW2_EDIT_WITHOUT_LOCKS = 1 << 1,
};

/*
 * Opens a regular file or a block device for an edit (edit.h), and keeps QEMU and other edits out
 * until the source is closed, with the locks that QEMU uses. Where the file system knows no locks,
 * nobody is kept out; qcow2_source_in_use() tells. What the source knows of the file was learned
 * when the locks were held. Opening writes nothing.
 *
 * path, *out: as for qcow2_source_open().
 * flags: of enum qcow2_edit_flags, or 0.
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_IN_USE  another program has it open for writing, or allows nobody to write;
 *                       with errnum set, that cannot be known, as a call for a lock failed;
 *                       or it was changed or replaced before it could be locked: try again
 *   QCOW2_ERROR_IO      nobody may write it, or not you (EACCES, EROFS, EPERM): the text says why,
 *                       and what would help
 *   QCOW2_ERROR_ARGUMENT  an unknown flag
 *   the errors of qcow2_source_open()
 * Thread safe.
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
 * Asks whether another program has the file of a source open for writing, as far as QEMU's locks
 * tell. Programs that take none are not seen. The answer may be old as soon as it is given.
 *
 * source: any; a source that is no file or device is not in use.
 *
 * Returns the answer. For a source that was opened for an edit, the last two values say that nobody
 * else is kept out. Never fails. Thread safe.
 */
QCOW2_API enum qcow2_in_use qcow2_source_in_use(const struct qcow2_source *source);

/*
 * Makes a source over bytes in memory, for images that are downloaded, embedded or forged by a
 * test.
 *
 * data: size bytes, which the caller keeps alive and unchanged until the source is closed. May be
 *   NULL if size is 0.
 * *out: set to the source; the caller closes it with qcow2_source_close(), which does not free
 *   data.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_MEMORY. Thread safe.
 */
QCOW2_API int qcow2_source_from_memory(const void *data, size_t size, struct qcow2_source **out,
				       struct qcow2_error *err);

/*
 * Makes a source over a caller's own backend: a connection, an object store, another image format.
 *
 * ops: copied. The backend has a read function, and either all of write, resize and sync or none.
 * opaque: handed to each function of ops.
 * size_bytes: the size of the source, at most INT64_MAX.
 * *out: set to the source; the caller closes it with qcow2_source_close(), which calls ops->close.
 *   If this function fails, ops->close is not called.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (the size of ops is not set, a function
 * is missing, or the source is too large), QCOW2_ERROR_MEMORY. Thread safe. Example:
 *
 *         const struct qcow2_source_ops ops = {
 *                 .size = sizeof(ops), .read = my_read};
 *
 *         failed = qcow2_source_from_ops(&ops, mine, size, &source, &err);
 */
QCOW2_API int qcow2_source_from_ops(const struct qcow2_source_ops *ops, void *opaque,
				    uint64_t size_bytes, struct qcow2_source **out,
				    struct qcow2_error *err);

/*
 * Closes a source: gives up its file and its locks, or calls ops->close. Images, plans and undo
 * files that use it have to be closed before. source: may be NULL, then nothing happens.
 */
QCOW2_API void qcow2_source_close(struct qcow2_source *source);

/* ---- the size of a source, and its holes ---- */

/*
 * Tells the size of a source, which was learned when it was opened. A file that grows meanwhile is
 * read up to this size; one that shrinks makes reads fail.
 *
 * Returns the size in bytes. Never fails. Thread safe.
 */
QCOW2_API uint64_t qcow2_source_size_bytes(const struct qcow2_source *source);

/*
 * Tells how much of a source is stored: with holes, less than its size. The library takes it as the
 * measure of what a hostile image may cost.
 *
 * Returns a number of bytes: those that the file system counts for a file (st_blocks × 512), and
 * the size for memory, a device and a caller's backend. Never fails. Thread safe.
 */
QCOW2_API uint64_t qcow2_source_allocated_bytes(const struct qcow2_source *source);

/*
 * Tells where the hole ends that covers an offset. Everything in front of that end is known to read
 * as zeros without being stored, so that it need not be read.
 *
 * offset_bytes: any; past the end of the source, the answer is the offset itself.
 *
 * Returns the end of the hole in bytes: offset_bytes itself if there is data, or if the system
 * cannot tell; the size of the source if only a hole follows. Never fails. Thread safe.
 */
QCOW2_API uint64_t qcow2_source_hole_end(const struct qcow2_source *source, uint64_t offset_bytes);

/*
 * Tells where the data ends that covers an offset, so that together with qcow2_source_hole_end() the
 * holes of a file can be found without reading it.
 *
 * offset_bytes: any; inside a hole, or past the end of the source, the answer is the offset itself.
 *
 * Returns where the next hole starts, in bytes; the size of the source if none follows, or if the
 * system cannot tell, as for memory, devices and a caller's backend. Never fails. Thread safe.
 */
QCOW2_API uint64_t qcow2_source_data_end(const struct qcow2_source *source, uint64_t offset_bytes);

/* ---- read a source, within limits ---- */

/*
 * Limits how many bytes may be read through a source from now on. A program that opens images of
 * strangers sets a budget, so that no image costs it more.
 *
 * budget_bytes: reads that would pass it fail with QCOW2_ERROR_LIMIT. UINT64_MAX, which is the
 *   default, means no limit. A call replaces the budget of before.
 *
 * Not thread safe against reads that are under way.
 */
QCOW2_API void qcow2_source_set_budget(struct qcow2_source *source, uint64_t budget_bytes);

/*
 * Sets a time after which nothing is read through a source any more. A program that answers in time
 * whatever the image holds sets it before it opens the image: all calls that work on the image then
 * fail soon after.
 *
 * deadline_ns: of the clock CLOCK_MONOTONIC, in nanoseconds; 0, which is the default, means none.
 *   Reads that begin later fail with QCOW2_ERROR_IO and the errnum ETIMEDOUT, as reads of a device
 *   that does not answer do, so that no call takes what could not be read for damage. A call replaces
 *   the deadline of before.
 *
 *	struct timespec now;
 *
 *	clock_gettime(CLOCK_MONOTONIC, &now);
 *	qcow2_source_set_deadline(source,
 *				  ((uint64_t)now.tv_sec + 10) * 1000000000);
 *
 * Thread safe.
 */
QCOW2_API void qcow2_source_set_deadline(struct qcow2_source *source, uint64_t deadline_ns);

/*
 * Tells how much was read through a source since it was made, whatever its budget: to show what a
 * call cost, or progress.
 *
 * Returns a number of bytes; a byte that is read twice counts twice. Never fails. Thread safe.
 */
QCOW2_API uint64_t qcow2_source_read_bytes(const struct qcow2_source *source);

/*
 * Reads bytes of a source. Short reads and interruptions of the system are resumed.
 *
 * offset_bytes, size: the range to read; all of it lies before the end of the source.
 * buffer: size bytes, which the caller owns. What it holds after an error is undefined.
 *
 * Returns 0, or -1 with *err filled and its offset_bytes set:
 *   QCOW2_ERROR_BROKEN  the range passes the end of the source
 *   QCOW2_ERROR_IO      the system could not read, the file became shorter meanwhile, or the deadline
 *                       has passed
 *   QCOW2_ERROR_LIMIT   the budget is used up
 * Thread safe.
 */
QCOW2_API int qcow2_source_read(struct qcow2_source *source, uint64_t offset_bytes, void *buffer,
				size_t size, struct qcow2_error *err);

/*
 * Lets a file share bytes of a source, so that they are on the disk once (reflink). Nothing is read
 * and nothing is written but the tables of the file system. Btrfs, XFS and others can do that within
 * one file system, for whole blocks.
 *
 * source: any. offset_bytes, size: the range of it.
 * fd: a descriptor of the caller, of a file that can be written; never that of the source.
 * fd_offset_bytes: where the bytes are to be in that file.
 *
 * Returns true if the file has them now; false if the system cannot share them, or the source is no
 * file, or the range passes its end: then nothing has changed, and the bytes have to be copied. The
 * bytes do not count as read, and no budget pays for them. Thread safe.
 */
QCOW2_API bool qcow2_source_share(const struct qcow2_source *source, uint64_t offset_bytes,
				  uint64_t size, int fd, uint64_t fd_offset_bytes);

/* ---- how many processors may work on an image ---- */

/*
 * Tells how many threads are worth starting for work on an image: as many as there are processors
 * that this process may use at once. These are the processors of its affinity mask (taskset), and no
 * more than the CPU quota of its control group pays for (containers), rounded up. What the system does
 * not tell is no limit.
 *
 * Returns a number of processors, at least 1. It may differ from call to call, as masks and quotas
 * change. Reads files of the system unless the mask has one processor. Never fails. Thread safe.
 */
QCOW2_API unsigned qcow2_processors(void);

QCOW2_END_DECLS

#endif
