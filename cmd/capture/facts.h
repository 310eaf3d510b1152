/* SPDX-License-Identifier: MIT */
/* What is known of a capture besides its bytes: its manifest. */
#ifndef CMD_CAPTURE_FACTS_H
#define CMD_CAPTURE_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "hash/tree.h"

#include <qcow2/base.h>

#define CAPTURE_FORMAT         "qcow2-capture"
#define CAPTURE_FORMAT_VERSION 1

/* What a manifest says of a capture. */
struct capture_facts {
	bool whole;      /* all metadata; else the header alone */
	bool redacted;   /* names are others */
	bool compressed; /* with payloads of compressed clusters */
	bool leaks;      /* with what a check looks at in leaked clusters */
	uint64_t size_bytes;
	uint8_t digest[HASH_DIGEST_BYTES];
	/* Not read again, and 0 when a manifest was read: */
	uint64_t metadata_bytes, compressed_bytes, keys_bytes, left_out_bytes;
	uint64_t orphan_tables, marked, names;
	bool has_problems;
	uint64_t corruptions, leak_count, warnings;
};

/*
 * Reads what a document says into *facts, which is all zeros before. False: it is no manifest of a
 * capture, and facts may be filled in part.
 */
bool capture_manifest_parse(struct qcow2_bytes document, struct capture_facts *facts);

#endif
