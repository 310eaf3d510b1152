/* SPDX-License-Identifier: MIT */
/* Finds the bytes of an image file that its metadata is made of. */
#ifndef CMD_CAPTURE_GATHER_H
#define CMD_CAPTURE_GATHER_H

#include "capture/fail.h"
#include "capture/ranges.h"

#include <qcow2/check.h>
#include <qcow2/error.h>
#include <qcow2/image.h>

/* Of the start of a LUKS header, what a capture looks at: header and key slots of version 1. */
#define CAPTURE_LUKS_BYTES ((size_t)1024)
/* What stands at the start of a leaked cluster whose content was left out: no L2 table has it. */
#define CAPTURE_MARK_BYTES ((size_t)8)
#define CAPTURE_MARK       0xff

/* What is to be found. */
struct capture_wanted {
	bool compressed; /* payloads of compressed clusters as well */
	bool data;       /* where the guest's data are, too; nothing is copied of them */
	bool leaks;      /* what the check looks at in leaked clusters */
	bool plain_text; /* LUKS: without its UUID and label */
	unsigned threads;
	uint64_t memory_limit_bytes; /* 0: the defaults of the library */
};

/* All zeros before, and released in any case. All ranges are settled, and end within the file. */
struct capture_content {
	/*
	 * NULL, or why nothing but the header, its extensions and the names there could be found:
	 * a phrase.
	 */
	const char *header_alone;
	struct capture_ranges metadata;         /* with tables that leaked, without the LUKS area */
	struct capture_ranges compressed;       /* payloads that are no metadata */
	struct capture_ranges data;             /* guest data, as it is claimed */
	struct capture_ranges tables_in_header; /* of the first cluster, what a table claims */
	struct capture_ranges keys;             /* the LUKS area, which is left out */
	struct capture_ranges marks; /* the start of leaked clusters that hold something */
	/* What is kept of the LUKS header: its fields without digests and salts. */
	uint64_t luks_at_bytes;
	size_t luks_size;
	uint8_t luks[CAPTURE_LUKS_BYTES];
	uint64_t orphan_tables; /* leaked clusters that read as L2 tables: they are in metadata */
	bool has_problems;      /* there was a check, which counted: */
	uint64_t corruptions, leaks, warnings;
};

/*
 * Looks through an image. 0, or -1 with *err filled: what cannot be read, the limits of memory and
 * time. Damage is no error; whatever the image says is metadata counts as that.
 */
int capture_gather(const struct qcow2_image *image, const struct capture_wanted *wanted,
		   struct capture_content *content, struct qcow2_error *err);

void capture_content_release(struct capture_content *content);

/* The parts that have files of their own. As above. */
int capture_gather_leaks(const struct qcow2_image *image, const struct capture_wanted *wanted,
			 struct capture_content *content, struct qcow2_error *err);
int capture_gather_luks(const struct qcow2_image *image, const struct capture_wanted *wanted,
			struct capture_content *content, struct qcow2_error *err);
int capture_gather_entries(const struct qcow2_image *image, struct capture_content *content,
			   struct qcow2_error *err);

#endif
