/* SPDX-License-Identifier: MIT */
/*
 * Header extensions ("Header extensions"): the list of typed pieces of data between the header and
 * the name of the backing file, within the first cluster.
 *
 * All of it was read when the image was opened. Nothing here reads the file; a list that breaks
 * rules is gone through as far as it makes sense, and says where it stops.
 *
 *	struct qcow2_extensions *extensions;
 *	const struct qcow2_extension *extension;
 *
 *	if (qcow2_extensions_open(image, &extensions, &err))
 *		return -1;
 *	while (qcow2_extensions_next(extensions, &extension))
 *		printf("0x%08" PRIx32 ": %zu bytes\n", extension->header.magic,
 *		       extension->data.size);
 *	qcow2_extensions_close(extensions);
 */
#ifndef QCOW2_EXTENSION_H
#define QCOW2_EXTENSION_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/format.h>

QCOW2_BEGIN_DECLS

/* ---- the header extensions of an image ---- */

struct qcow2_image;

/* Types of extensions (member magic of struct qcow2_extension_header). Others may be ignored. */
#define QCOW2_EXTENSION_END            UINT32_C(0)          /* ends the list */
#define QCOW2_EXTENSION_BACKING_FORMAT UINT32_C(0xe2792aca) /* name of the backing file's format */
#define QCOW2_EXTENSION_FEATURE_NAMES  UINT32_C(0x6803f857) /* "Feature name table" */
#define QCOW2_EXTENSION_BITMAPS        UINT32_C(0x23852875) /* "Bitmaps extension" */
#define QCOW2_EXTENSION_CRYPTO         UINT32_C(0x0537be77) /* place of the LUKS header */
#define QCOW2_EXTENSION_DATA_FILE      UINT32_C(0x44415441) /* name of the external data file */

/*
 * One extension. It belongs to the iterator and lives until the next call on that; its views are
 * into the first cluster of the image and live as long as the image.
 */
struct qcow2_extension {
	size_t size; /* set by the library */
	/* Type and length in bytes, as stored. */
	struct qcow2_extension_header header;
	/* Host offset of the type. */
	uint64_t offset_bytes;
	/* 0, 1, … in file order. */
	uint64_t index;
	/* The 8 bytes of type and length. */
	struct qcow2_bytes raw;
	/* header.length bytes; fewer if the extension is cut. */
	struct qcow2_bytes data;
	/* The 0 to 7 bytes that fill up to a multiple of 8; fewer if the area ends before. */
	struct qcow2_bytes padding;
	/* The length passes the end of the area. Nothing can follow. */
	bool cut;
};

struct qcow2_extensions;

/*
 * Opens an iterator at the first extension. The area reaches from the header's end (header_length)
 * to the name of the backing file if there is one in the first cluster, else to the end of the
 * first cluster, of the file, or of the first 2 MiB.
 *
 * image: not NULL; stays open until the iterator is closed. *out: set on success; the caller closes
 * it with qcow2_extensions_close().
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_MEMORY. Several iterators over one image may be
 * used at once, each by one thread at a time.
 */
QCOW2_API int qcow2_extensions_open(const struct qcow2_image *image, struct qcow2_extensions **out,
				    struct qcow2_error *err);

/*
 * Gives the next extension. The list ends at its end mark, which is not given out; where fewer than
 * 8 bytes are left; and after an extension that is cut.
 *
 * extensions: not NULL. *out: if the result is true, points to the extension, which belongs to the
 * iterator and lives until the next call on it; else left alone. Its views live longer, as long as
 * the image.
 *
 * Returns true, or false at the end; further calls return false again. Never fails.
 */
QCOW2_API bool qcow2_extensions_next(struct qcow2_extensions *extensions,
				     const struct qcow2_extension **out);

/*
 * Says whether the list ended with its end mark, as it should. extensions: not NULL; the result is
 * false until qcow2_extensions_next() has returned false. Never fails.
 */
QCOW2_API bool qcow2_extensions_terminated(const struct qcow2_extensions *extensions);

/*
 * Tells the host offset of the next extension, or of the place where the list ended: that of the
 * end mark if there is one. An extension that is cut counts with the length that it claims, so the
 * offset may lie past the end of the file. extensions: not NULL. Never fails.
 */
QCOW2_API uint64_t qcow2_extensions_at_bytes(const struct qcow2_extensions *extensions);

/* Closes and frees the iterator. extensions: NULL is fine. The image stays open. */
QCOW2_API void qcow2_extensions_close(struct qcow2_extensions *extensions);

/*
 * Finds the data of the first extension of a type. An image should have at most one of each; a
 * second one is a problem of the check and is not found here.
 *
 * image: not NULL. magic: the type, QCOW2_EXTENSION_… or any other but QCOW2_EXTENSION_END. *data:
 * set if the result is true, else left alone: a view into the first cluster that lives as long as
 * the image. It may be cut, or shorter than the structure of the type; whether it is cut, the
 * iterator tells.
 *
 * Returns false if there is none. Never fails, needs no iterator. Thread safe.
 */
QCOW2_API bool qcow2_image_find_extension(const struct qcow2_image *image, uint32_t magic,
					  struct qcow2_bytes *data);

QCOW2_END_DECLS

#endif
