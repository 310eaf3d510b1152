/* SPDX-License-Identifier: MIT */
/*
 * What the parts of `qcow2 compat` share: one walk in the order of QEMU's qcow2.py, and the pages
 * that show it. The walk knows no page, the pages know no image.
 */
#ifndef CMD_COMPAT_COMPAT_H
#define CMD_COMPAT_COMPAT_H

#include "compat/fields.h"
#include "out/json.h"
#include "out/spool.h"

#include <qcow2/error.h>
#include <qcow2/format.h>
#include <qcow2/image.h>

#include <stdbool.h>
#include <stdint.h>

/* Parts of the answer, each told by one begin and one end. */
enum compat_part {
	COMPAT_HEADER,
	COMPAT_EXTENSIONS, /* the list of all */
	COMPAT_EXTENSION,
	COMPAT_BITMAPS,   /* the data of a bitmaps extension */
	COMPAT_DIRECTORY, /* the list of its bitmaps */
	COMPAT_BITMAP,
	COMPAT_TABLE, /* the list of its table's entries */
};

/* An entry of a bitmap table, taken apart. */
struct compat_entry {
	uint64_t index;
	const char *type;      /* "serialized", "all-zeroes", "all-ones" or "invalid" */
	uint64_t offset_bytes; /* of the data cluster in the image */
	uint64_t reserved;     /* the reserved bits, in place */
	uint64_t size_bytes;   /* a cluster if serialized, else 0 */
};

/* A page: each function gets opaque first. Everything told is valid during the call only. */
struct compat_page {
	void *opaque;
	void (*begin)(void *opaque, enum compat_part part);
	void (*end)(void *opaque, enum compat_part part);
	void (*field)(void *opaque, const struct compat_field *field, uint64_t value);
	/* The data of an extension that is not taken apart; is_text if qcow2.py shows it. */
	void (*data)(void *opaque, struct qcow2_bytes data, bool is_text);
	/* First thing within COMPAT_BITMAP. */
	void (*bitmap)(void *opaque, const struct qcow2_bitmap *bitmap);
	void (*entry)(void *opaque, const struct compat_entry *entry);
	bool with_tables; /* whether the page shows entries at all */
};

/* Told of what the image claims to have and does not: one line of safe text without its end. */
struct compat_flaws {
	void *opaque;
	void (*flaw)(void *opaque, const char *text);
};

/*
 * Tells the page of the image, with or without its header. Work and output are bounded by what the
 * file really stores.
 *
 * Returns 0, or -1 with *err filled if the source could not be read or memory ran out.
 */
int compat_walk(const struct qcow2_image *image, bool with_header, const struct compat_page *page,
		const struct compat_flaws *flaws, struct qcow2_error *err);

/* A page of lines on out, in the layout qemu or v7. */
struct compat_text {
	struct spool *out;
	bool v7;
};

/* Makes page show itself as text, which the caller keeps alive. */
void compat_text_page(struct compat_text *text, struct compat_page *page);

/* A page of JSON: the header's document, an empty line, the list of extensions. */
struct compat_json {
	struct spool *out;
	struct json json;
	unsigned documents; /* that were begun */
};

/* Makes page show itself as JSON, which the caller keeps alive. */
void compat_json_page(struct compat_json *json, struct compat_page *page);

#endif
