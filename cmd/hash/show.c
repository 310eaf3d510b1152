/* SPDX-License-Identifier: MIT */
/* What comes of the blocks: rows of --block, or the digest of the tree. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hash/run.h"

#include <qcow2/text.h>

#define HEX_BYTES (2 * HASH_DIGEST_BYTES + 1)

static const char *hex(const uint8_t *digest, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < HASH_DIGEST_BYTES; i++) {
		text[2 * i] = digits[digest[i] >> 4];
		text[2 * i + 1] = digits[digest[i] & 15];
	}
	text[2 * HASH_DIGEST_BYTES] = '\0';
	return text;
}

/* ---- rows ---- */

/* Adds a row for blocks. digest: NULL if they are zeros, or cannot be read. */
static void add_row(struct hash_run *run, uint64_t first, uint64_t count, enum hash_kind kind,
		    const uint8_t *digest)
{
	const uint64_t start = first * run->block_bytes, left = run->size_bytes - start;
	const uint64_t length = count <= left / run->block_bytes ? count * run->block_bytes : left;
	char text[HEX_BYTES];

	if (kind == HASH_UNREADABLE)
		run->unreadable_bytes += length;
	if (!run->as_json) {
		spool_print(&run->out, "0x%-13" PRIx64 " 0x%-11" PRIx64 " %s\n", start, length,
			    kind == HASH_DATA    ? hex(digest, text)
			    : kind == HASH_ZEROS ? "zeros"
						 : "unreadable");
		return;
	}
	json_begin_line_object(&run->json);
	json_number_member(&run->json, "start", start);
	json_number_member(&run->json, "length", length);
	json_key(&run->json, "zero");
	json_bool(&run->json, kind == HASH_ZEROS);
	json_key(&run->json, "sha256");
	if (kind == HASH_DATA)
		json_text(&run->json, hex(digest, text));
	else
		json_null(&run->json);
	json_end_object(&run->json);
}

static void end_run(struct hash_run *run)
{
	if (run->run_blocks > 0)
		add_row(run, run->run_at, run->run_blocks, run->run_kind, NULL);
	run->run_blocks = 0;
}

/* Blocks without digests that follow each other are one row, if they are of one kind. */
static void add_run(struct hash_run *run, uint64_t first, uint64_t count, enum hash_kind kind)
{
	if (count == 0)
		return;
	if (kind != run->run_kind)
		end_run(run);
	if (run->run_blocks == 0)
		run->run_at = first;
	run->run_kind = kind;
	run->run_blocks += count;
}

static void use_rows(struct hash_run *run, const struct hash_piece *piece)
{
	if (run->reason[0] == '\0')
		memcpy(run->reason, piece->reason, sizeof(run->reason));
	add_run(run, piece->first - piece->zeros_before, piece->zeros_before, HASH_ZEROS);
	if (piece->is_unreadable) {
		add_run(run, piece->first, piece->count, HASH_UNREADABLE);
		return;
	}
	for (size_t i = 0; i < piece->count; i++) {
		if (piece->kinds[i] != HASH_DATA) {
			add_run(run, piece->first + i, 1, piece->kinds[i]);
			continue;
		}
		end_run(run);
		add_row(run, piece->first + i, 1, HASH_DATA, piece->digests[i]);
	}
}

/* ---- both ---- */

void hash_begin(struct hash_run *run)
{
	json_init(&run->json, &run->out, 2, false);
	if (!run->by_block)
		hash_tree_begin(&run->tree);
	else if (run->as_json)
		json_begin_array(&run->json);
	else
		spool_print(&run->out, "%-15s %-13s %s\n", "Offset", "Length", "SHA-256");
}

void hash_use(struct hash_run *run, const struct hash_piece *piece)
{
	if (run->by_block) {
		use_rows(run, piece);
		return;
	}
	hash_tree_add_zeros(&run->tree, piece->zeros_before);
	/* A piece of a tree is one block. */
	if (piece->kinds[0] == HASH_ZEROS)
		hash_tree_add_zeros(&run->tree, 1);
	else
		hash_tree_add(&run->tree, piece->digests[0]);
}

static void end_tree(struct hash_run *run)
{
	uint8_t digest[HASH_DIGEST_BYTES];
	char text[HEX_BYTES], named[HEX_BYTES + sizeof(HASH_NAME)], file[4096];
	const char *path = run->request.file;
	const struct qcow2_bytes bytes = {(const uint8_t *)path, strlen(path)};

	hash_tree_end(&run->tree, run->size_bytes, digest);
	snprintf(named, sizeof(named), HASH_NAME ":%s", hex(digest, text));
	if (!run->as_json) {
		qcow2_text_escape(bytes, file, sizeof(file));
		spool_print(&run->out, "%s  %s\n", named, file);
		return;
	}
	json_begin_object(&run->json);
	json_text_member(&run->json, "filename", bytes);
	json_number_member(&run->json, "size", run->size_bytes);
	json_key(&run->json, "digest");
	json_text(&run->json, named);
	json_end_object(&run->json);
}

void hash_end(struct hash_run *run, uint64_t zeros_after)
{
	const uint64_t blocks =
		run->size_bytes / run->block_bytes + (run->size_bytes % run->block_bytes != 0);

	if (run->by_block) {
		add_run(run, blocks - zeros_after, zeros_after, HASH_ZEROS);
		end_run(run);
		if (run->as_json)
			json_end_array(&run->json);
	} else {
		hash_tree_add_zeros(&run->tree, zeros_after);
		end_tree(run);
	}
	if (run->as_json)
		spool_text(&run->out, "\n");
}
