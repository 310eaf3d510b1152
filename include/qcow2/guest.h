/* SPDX-License-Identifier: MIT */
/*
 * The guest's bytes: what a virtual machine reads from its disk, over an image and all files below
 * it ("Cluster mapping", "Standard Cluster Descriptor", "Compressed Clusters Descriptor", "Extended
 * L2 Entries", "Full disk encryption header pointer").
 *
 * A disk is opened over an image or one of its snapshots. Files that the image names, its backing
 * file and its external data file, are strangers' words: a gate of the caller decides about each of
 * them, and without a gate none is opened. Nothing is ever written.
 *
 * Prints the first sector of a disk that stands alone:
 *
 *	uint8_t sector[512];
 *
 *	if (qcow2_disk_open(image, NULL, &disk, &err))
 *		return fail(&err);
 *	if (qcow2_disk_read(disk, (struct qcow2_guest){0}, sector,
 *			    sizeof(sector), &err) == 0)
 *		fwrite(sector, 1, sizeof(sector), stdout);
 *	qcow2_disk_close(disk);
 *
 * Sizes. A disk has whole sectors of 512 bytes, as QEMU shows it: an image whose size is no multiple
 * of that loses the rest of its last sector, and a raw file is filled up with zeros.
 *
 * Costs. Memory stays below the limit of the options, however many threads read, but for what one
 * cluster and one stream of extents per file of the chain take. A read costs the tables and the data
 * that it needs; compressed clusters are kept decompressed as far as the limit allows. What
 * mapping.h says of hostile tables holds for each file.
 *
 * Threads: a disk may be read by several threads at once. Streams of extents are used by one thread
 * at a time each. Opening and closing are not thread safe.
 */
#ifndef QCOW2_GUEST_H
#define QCOW2_GUEST_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/mapping.h>
#include <qcow2/problem.h>
#include <qcow2/source.h>

QCOW2_BEGIN_DECLS

/* ---- read the guest's disk ---- */

struct qcow2_disk;

/* What a file that an image names is to it. */
enum qcow2_disk_role {
	QCOW2_DISK_BACKING = 0,   /* the guest reads it where the image says nothing */
	QCOW2_DISK_DATA_FILE = 1, /* it holds all clusters of the guest ("External data file") */
};

/* A file that an image names, as the gate is asked about it. Lives until the gate returns. */
struct qcow2_disk_wanted {
	size_t size; /* set by the library */
	enum qcow2_disk_role role;
	/* Of the file that names it: 0 is the image of the disk, 1 its backing file, and so on. */
	uint32_t depth;
	const struct qcow2_image *image; /* that names it */
	/* As stored in the image: not NUL terminated, any bytes. Of a data file, maybe empty. */
	struct qcow2_bytes name;
	/* Of a backing file: the format that the image states, or empty. */
	struct qcow2_bytes format;
};

/* What a gate answers. */
enum qcow2_disk_answer {
	/*
	 * Here it is: *source is set. The disk reads it and leaves it open when it is closed: the
	 * caller keeps it, and closes it after the disk.
	 */
	QCOW2_DISK_GIVEN_QCOW2 = 1, /* read it as an image of this format */
	QCOW2_DISK_GIVEN_RAW =
		2, /* its bytes are the bytes of the disk; always so of a data file */
	/* It is not there. The disk opens, and reads that need it fail; see qcow2_disk_read_past(). */
	QCOW2_DISK_MISSING = 3,
	/* The disk must not be opened: *err is filled. */
	QCOW2_DISK_REFUSED = -1,
};

/*
 * Decides about a file that an image names. The gate resolves the name, which may be relative, lead
 * to a device or to a protocol of QEMU, and chooses a format where none is stated. It is asked while
 * the disk is opened, once for each file, from the image down.
 *
 * opaque: of the options. wanted: see there. source: set to a source for the two first answers.
 * Returns one of enum qcow2_disk_answer.
 */
typedef int qcow2_disk_gate(void *opaque, const struct qcow2_disk_wanted *wanted,
			    struct qcow2_source **source, struct qcow2_error *err);

/* The longest passphrase that a callback can give: files with keys for LUKS often have 4096 bytes. */
#define QCOW2_DISK_KEY_BYTES 8192

/*
 * Gives the passphrase of an encrypted image. It is asked while the disk is opened, once for each
 * encrypted file. What it has written is overwritten in the library's memory when it was used.
 *
 * opaque: of the options. image: the encrypted one. depth: of it in the chain, 0 is the image of the
 * disk. key: room for QCOW2_DISK_KEY_BYTES bytes. *key_bytes: set to how many were written.
 * Returns 0, or -1 with *err filled: then the disk cannot be opened.
 */
typedef int qcow2_disk_key(void *opaque, const struct qcow2_image *image, uint32_t depth,
			   uint8_t *key, size_t *key_bytes, struct qcow2_error *err);

/*
 * Hears that a backing file cannot be opened: it is no image, it has an unknown feature or a broken
 * header, no passphrase opens it, or its name cannot be read. Not of what the gate refused, nor of what
 * says nothing of the file: short memory, a limit, a deadline that has passed.
 *
 * opaque: of the options. depth: of the file. err: why, as qcow2_disk_open() would say it.
 * Returns 0 to go on as if the gate had said QCOW2_DISK_MISSING, or -1 to fail with that error.
 */
typedef int qcow2_disk_lost(void *opaque, uint32_t depth, const struct qcow2_error *err);

/* How a disk is opened. All zeros but for size: the active disk, standing alone, not encrypted. */
struct qcow2_disk_options {
	size_t size;           /* sizeof(struct qcow2_disk_options) */
	qcow2_disk_gate *gate; /* NULL: every file that an image names is refused */
	qcow2_disk_key *key;   /* NULL: encrypted images are refused */
	void *opaque;          /* for all callbacks */
	/* The snapshot to show, by its index in the table; has_snapshot says whether. */
	bool has_snapshot;
	/*
	 * Show the state of the machine that the snapshot keeps, as a disk that begins at 0. It needs
	 * has_snapshot. It has no backing file.
	 */
	bool vm_state;
	uint64_t snapshot_index;
	/* What the disk may take, in bytes; 0: 64 MiB. */
	uint64_t memory_limit_bytes;
	/*
	 * What finding the key of an encrypted image may take, in bytes, for a moment while the disk is
	 * opened: LUKS version 2 makes keys with Argon2, and programs make it take up to 1 GiB. 0: as
	 * memory_limit_bytes, or QCOW2_LIMIT_LUKS_ARGON2_BYTES if that is 0, too.
	 */
	uint64_t key_memory_limit_bytes;
	qcow2_disk_lost *lost; /* NULL: a backing file that cannot be opened is an error */
};

/*
 * Opens the disk over an image.
 *
 * image: stays open until the disk is closed, and is not changed meanwhile. options: may be NULL.
 * *out: set on success; the caller closes it with qcow2_disk_close().
 *
 * Returns 0, or -1 with *err filled. Where another file than the image is at fault, the text names
 * its depth.
 *   QCOW2_ERROR_ARGUMENT     the options make no sense, or a passphrase is longer than
 *                            QCOW2_DISK_KEY_BYTES
 *   QCOW2_ERROR_NOT_FOUND    there is no such snapshot
 *   QCOW2_ERROR_BROKEN       the geometry is insane, the encryption header makes no sense, the entry of the snapshot is cut off, or the name
 *                            of a backing file does not lie in the first cluster. An L1 table that is
 *                            not there is no error here: what it would map is unreadable.
 *   QCOW2_ERROR_UNSUPPORTED  an unknown incompatible feature, a method of encryption or compression
 *                            that is not known, or a file that the gate refused for want of one
 *   QCOW2_ERROR_MISMATCH     the passphrase does not open the image
 *   QCOW2_ERROR_LIMIT        the chain has more than QCOW2_DISK_DEPTH_MAX files, or opening the key
 *                            would take longer than anybody means, or more memory than is allowed
 *   QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY, QCOW2_ERROR_NOT_QCOW2, and what the callbacks say
 */
QCOW2_API int qcow2_disk_open(const struct qcow2_image *image,
			      const struct qcow2_disk_options *options, struct qcow2_disk **out,
			      struct qcow2_error *err);

/* The most files that a chain may have. */
#define QCOW2_DISK_DEPTH_MAX 256

/*
 * Opens the disk that a raw file is, so that a program can treat both alike.
 *
 * source: stays open until the disk is closed. *out: as qcow2_disk_open().
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_disk_open_raw(struct qcow2_source *source, struct qcow2_disk **out,
				  struct qcow2_error *err);

/* Closes and frees a disk, and forgets its keys. disk: NULL is fine. No source is closed. */
QCOW2_API void qcow2_disk_close(struct qcow2_disk *disk);

/*
 * Gives the size of the disk. disk: not NULL. Returns bytes, whole sectors. Never fails. Thread
 * safe.
 */
QCOW2_API uint64_t qcow2_disk_size_bytes(const struct qcow2_disk *disk);

/*
 * Gives the number of files in the chain: 1 for a disk that stands alone. One that is missing is
 * counted, as the last. disk: not NULL. Never fails. Thread safe.
 */
QCOW2_API uint32_t qcow2_disk_depth(const struct qcow2_disk *disk);

/*
 * Reads bytes of the disk.
 *
 * start, size: the range, all of it inside the disk; any size, in bytes. buffer: room for size
 * bytes. What it holds after an error is undefined.
 *
 * Returns 0, or -1 with *err filled: the first thing that could not be read in the order of the
 * disk, with its host offset, and the guest's offset in the text.
 *   QCOW2_ERROR_ARGUMENT     the range passes the end of the disk
 *   QCOW2_ERROR_BROKEN       an L2 entry has no meaning, its data lie past the end of the file, or
 *                            compressed data do not decompress to a cluster
 *   QCOW2_ERROR_NOT_FOUND    it lies in a file that is missing
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT, QCOW2_ERROR_MEMORY
 * Thread safe.
 */
QCOW2_API int qcow2_disk_read(struct qcow2_disk *disk, struct qcow2_guest start, void *buffer,
			      size_t size, struct qcow2_error *err);

/* A range of the disk that cannot be read. Lives until the callback returns. */
struct qcow2_disk_fault {
	size_t size; /* set by the library */
	struct qcow2_guest start;
	uint64_t length_bytes; /* never 0 */
	uint32_t depth;        /* of the file at fault */
	/* The rule that an L2 entry breaks, or QCOW2_PROBLEM_NONE. */
	enum qcow2_problem_id problem;
	struct qcow2_error error; /* as qcow2_disk_read() gives it */
};

/* Hears of a fault. Returns 0 to go on, with zeros in place of the range, or another to stop. */
typedef int qcow2_disk_fault_fn(void *opaque, const struct qcow2_disk_fault *fault);

/*
 * Reads bytes of the disk past what cannot be read: such ranges are zeros, and the caller is told of
 * each, in rising order, from within the call. A range that ends where the next one begins may be
 * told in pieces. Short memory is no fault of a range, it ends the call.
 *
 * fault: must not read the same disk, as it may wait for memory that this call has. NULL: the first
 * fault ends the call, as with qcow2_disk_read().
 *
 * Returns what qcow2_disk_read() does, but fails with other errors:
 *   QCOW2_ERROR_ARGUMENT, QCOW2_ERROR_MEMORY
 *   QCOW2_ERROR_LIMIT    the budget of a source is used up, or a limit of this library or of the options
 *                        is reached: what cannot be read then says nothing of the disk
 *   QCOW2_ERROR_IO       with the errnum ETIMEDOUT alone: the deadline of a source has passed
 *   QCOW2_ERROR_STOPPED  the callback asked for it
 */
QCOW2_API int qcow2_disk_read_past(struct qcow2_disk *disk, struct qcow2_guest start, void *buffer,
				   size_t size, qcow2_disk_fault_fn *fault, void *opaque,
				   struct qcow2_error *err);

/* ---- extents of the guest's disk over a chain of files ---- */

/* What a guest reads. The numbers never change. */
enum qcow2_disk_kind {
	QCOW2_DISK_UNALLOCATED = 0, /* zeros, as no file of the chain says anything */
	QCOW2_DISK_ZERO = 1,        /* zeros, as a file of the chain says so */
	QCOW2_DISK_DATA = 2,        /* bytes of a file, which may be zeros, too */
	QCOW2_DISK_UNREADABLE =
		3, /* nothing: an entry has no meaning, a table ends too soon, or a file is missing */
};

/* An extent of the disk. The stream owns it, until the next call on the stream. */
struct qcow2_disk_extent {
	size_t size; /* set by the library */
	struct qcow2_guest start;
	uint64_t length_bytes; /* never 0 */
	enum qcow2_disk_kind kind;
	/*
	 * Of the file that says so. Of UNALLOCATED, the last one, or the one that ends before this place,
	 * as those below it do not matter here.
	 */
	uint32_t depth;
	bool compressed, encrypted;
	/* Of kind UNREADABLE: the rule that is broken, or NONE if a file is missing. Else NONE. */
	enum qcow2_problem_id problem;
	/*
	 * Of kind DATA, if the bytes of the guest are in a file as they are: that source, and where
	 * the byte `start` lies in it. The bytes behind follow without a gap, and zeros follow where
	 * the source ends. Of compressed data: where these begin in the source. Else NULL and
	 * QCOW2_NO_OFFSET. Of encrypted data, they say where the bytes lie, not what they are.
	 */
	struct qcow2_source *source;
	struct qcow2_host host;
};

struct qcow2_disk_extents;

/*
 * Opens a stream of the extents of a disk over all files of its chain. It shows the whole disk until
 * qcow2_disk_extents_seek() is called.
 *
 * disk: stays open until the stream is closed. *out: closed with qcow2_disk_extents_close().
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_MEMORY. Thread safe.
 */
QCOW2_API int qcow2_disk_extents_open(struct qcow2_disk *disk, struct qcow2_disk_extents **out,
				      struct qcow2_error *err);

/* Shows a range from now on, as qcow2_mapping_seek() does; it is cut where the disk ends. */
QCOW2_API void qcow2_disk_extents_seek(struct qcow2_disk_extents *extents, struct qcow2_guest start,
				       uint64_t length_bytes);

/*
 * Finds the next extent of the range. Extents rise and leave no gaps. Neighbours that say the same
 * and whose places follow each other are one extent; each compressed cluster is one of its own.
 *
 * Returns 1 with *out set, which lives until the next call; 0 at the end of the range; or -1 with
 * *err filled, as qcow2_mapping_next(): a table could not be read.
 */
QCOW2_API int qcow2_disk_extents_next(struct qcow2_disk_extents *extents,
				      const struct qcow2_disk_extent **out,
				      struct qcow2_error *err);

/* Closes and frees the stream. extents: NULL is fine. */
QCOW2_API void qcow2_disk_extents_close(struct qcow2_disk_extents *extents);

/*
 * Names a kind: "unallocated", "zero", "data" or "unreadable".
 *
 * Returns a constant string, or NULL for a number that is no kind. Pure, thread safe.
 */
QCOW2_API const char *qcow2_disk_kind_name(enum qcow2_disk_kind kind);

QCOW2_END_DECLS

#endif
