/* SPDX-License-Identifier: MIT */
/*
 * What a file is, told from its bytes: an image of another format, a compressed file, an archive.
 * It is for messages and for choosing a program; nothing of the file is trusted or unpacked.
 *
 * qcow2_image_open() asks by itself, and names what it found in the text of its error. A program
 * that wants to do more than say so asks here:
 *
 *	const struct qcow2_file_kind *kind;
 *
 *	if (qcow2_image_open(source, &image, &err) != 0 &&
 *	    err.code == QCOW2_ERROR_NOT_QCOW2 &&
 *	    qcow2_probe(source, &kind, &err) == 0)
 *		printf("%s: %s\n", kind->name, kind->advice);
 *
 * A raw image can hold anything, and a guest can make it look like an image of any format. A raw
 * image must therefore be called raw by whoever uses it, and not be probed: that is why an image
 * should state the format of its backing file.
 */
#ifndef QCOW2_PROBE_H
#define QCOW2_PROBE_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/source.h>

QCOW2_BEGIN_DECLS

/* ---- what a file is, also one that is no qcow2 image ---- */

/* Kinds of files. The numbers never change; later versions may add new ones. */
enum qcow2_file_kind_number {
#define QCOW2_FILE_KIND(number, ID, id, qemu_format, name, advice) QCOW2_FILE_##ID = (number),
#include <qcow2/def/file_kinds.def>
#undef QCOW2_FILE_KIND
};

/* A kind of file. It is constant and belongs to the library. */
struct qcow2_file_kind {
	size_t size;     /* set by the library */
	unsigned number; /* of enum qcow2_file_kind_number */
	const char *id;  /* a short fixed name in lower case: "vmdk", "gzip" */
	/*
	 * The format that QEMU takes such a file for when none is stated, as its tools spell it.
	 * It is "raw" for all that QEMU does not look for: a gzip file is a raw disk to it.
	 */
	const char *qemu_format;
	const char *name;   /* for people, with an article: "a gzip file" */
	const char *advice; /* for people: "unpack it first (gunzip)"; or "" */
};

/*
 * Tells what kind of file a source holds. Reads its first 64 KiB and its last 512 bytes, or less if
 * it is shorter; the rest may be of another kind.
 *
 * source: any; stays the caller's. *out: set to the kind on success, never to NULL.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_MEMORY, and QCOW2_ERROR_IO and QCOW2_ERROR_LIMIT as
 * qcow2_source_read(). That a file is of no known kind is no error. Thread safe.
 */
QCOW2_API int qcow2_probe(struct qcow2_source *source, const struct qcow2_file_kind **out,
			  struct qcow2_error *err);

/*
 * Gives a kind by its number.
 *
 * number: of enum qcow2_file_kind_number, or any other.
 *
 * Returns the kind, or NULL if the library has none of that number. Pure and thread safe.
 */
QCOW2_API const struct qcow2_file_kind *qcow2_file_kind_get(unsigned number);

QCOW2_END_DECLS

#endif
