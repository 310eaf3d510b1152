/* SPDX-License-Identifier: MIT */
/*
 * Header extensions ("Header extensions"): the list of typed pieces of data between the header and
 * the name of the backing file, within the first cluster.
 *
 * All of it was read when the image was opened. Nothing here reads the file, allocates or fails; a
 * list that breaks rules is gone through as far as it makes sense, and says where it stops.
 *
 *	struct qcow2_extensions it;
 *	struct qcow2_extension extension;
 *
 *	qcow2_extensions_begin(image, &it);
 *	while (qcow2_extensions_next(&it, &extension))
 *		printf("0x%08" PRIx32 ": %zu bytes\n", extension.header.magic, extension.data.size);
 */
#ifndef QCOW2_EXTENSION_H
#define QCOW2_EXTENSION_H

#include <qcow2/base.h>
#include <qcow2/format.h>

QCOW2_BEGIN_DECLS

struct qcow2_image;

/* Types of extensions (member magic of struct qcow2_extension_header). Others may be ignored. */
#define QCOW2_EXTENSION_END            UINT32_C(0)          /* ends the list */
#define QCOW2_EXTENSION_BACKING_FORMAT UINT32_C(0xe2792aca) /* name of the backing file's format */
#define QCOW2_EXTENSION_FEATURE_NAMES  UINT32_C(0x6803f857) /* "Feature name table" */
#define QCOW2_EXTENSION_BITMAPS        UINT32_C(0x23852875) /* "Bitmaps extension" */
#define QCOW2_EXTENSION_CRYPTO         UINT32_C(0x0537be77) /* place of the LUKS header */
#define QCOW2_EXTENSION_DATA_FILE      UINT32_C(0x44415441) /* name of the external data file */

/*
 * One extension. Its views are into the first cluster of the image and live as long as the image.
 */
struct qcow2_extension {
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

/*
 * An iterator in storage of the caller. It needs no release and may be copied to remember a place.
 * Its members say how far it came; only qcow2_extensions_next() changes them.
 */
struct qcow2_extensions {
	const struct qcow2_image *image;
	/* Host offset of the next extension; after the last one, where the list ended. */
	uint64_t at_bytes;
	/* Host offset of the end of the area, as far as the file has it. */
	uint64_t end_bytes;
	uint64_t next_index;
	/* No more extensions follow. */
	bool ended;
	/* The list ended with its end mark, as it should. */
	bool terminated;
};

/*
 * Starts an iteration at the first extension. The area reaches from the header's end
 * (header_length) to the name of the backing file if there is one in the first cluster, else to the
 * end of the first cluster, of the file, or of the first 2 MiB.
 *
 * image: not NULL; stays open as long as *it is used. *it: overwritten. Never fails. Thread safe.
 */
QCOW2_API void qcow2_extensions_begin(const struct qcow2_image *image, struct qcow2_extensions *it);

/*
 * Gives the next extension. The end mark is not given out: it sets it->terminated. Also ended is a
 * list with less than 8 bytes left, or after an extension that was cut.
 *
 * it: from qcow2_extensions_begin(). *out: filled if the result is true, else undefined.
 *
 * Returns true, or false when there are no more; further calls say false again. Never fails. Used
 * by one thread at a time for each iterator.
 */
QCOW2_API bool qcow2_extensions_next(struct qcow2_extensions *it, struct qcow2_extension *out);

/*
 * Finds the first extension of a type. An image should have at most one of each; a second one is a
 * problem of the check and is not found here.
 *
 * image: not NULL. magic: the type, QCOW2_EXTENSION_… or any other but QCOW2_EXTENSION_END. *out:
 * filled if the result is true, else undefined; its data may be cut or shorter than its structure.
 *
 * Returns false if there is none. Never fails. Thread safe.
 */
QCOW2_API bool qcow2_image_find_extension(const struct qcow2_image *image, uint32_t magic,
					  struct qcow2_extension *out);

QCOW2_END_DECLS

#endif
