/* SPDX-License-Identifier: MIT */
/*
 * Header extensions for the files of the library: an iterator on the stack, which neither allocates
 * nor fails. Programs use qcow2_extensions_open(), whose iterator may grow.
 */
#ifndef Q2_IMAGE_EXTENSIONS_H
#define Q2_IMAGE_EXTENSIONS_H

#include <qcow2/image.h>

/* May be copied to remember a place. Only q2_extensions_next() changes its members. */
struct q2_extensions {
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

/* Starts at the first extension of an image, which stays open as long as *it is used. */
void q2_extensions_begin(const struct qcow2_image *image, struct q2_extensions *it);

/* Fills *out with the next extension, as qcow2_extensions_next() says; false when there is none. */
bool q2_extensions_next(struct q2_extensions *it, struct qcow2_extension *out);

/* Fills *out with the first extension of a type; false, with *out undefined, if there is none. */
bool q2_find_extension(const struct qcow2_image *image, uint32_t magic,
		       struct qcow2_extension *out);

#endif
