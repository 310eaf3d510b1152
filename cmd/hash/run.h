/* SPDX-License-Identifier: MIT */
/* One call of qcow2 hash. */
#ifndef CMD_HASH_RUN_H
#define CMD_HASH_RUN_H

#include "common/disk.h"
#include "hash/tree.h"
#include "out/json.h"
#include "out/progress.h"
#include "out/spool.h"

/* What is read at once. A piece has so many blocks at most; blocks of --block may be longer. */
#define HASH_READ_BYTES   ((size_t)1 << 20)
#define HASH_BLOCKS_MOST  (HASH_READ_BYTES / 512)
#define HASH_BLOCK_MOST   (UINT64_C(1) << 30)
#define HASH_REASON_BYTES 160

/* What a block of the disk holds. */
enum hash_kind { HASH_DATA, HASH_ZEROS, HASH_UNREADABLE };

/* A run of blocks, whose digests threads find out. */
struct hash_piece {
	uint64_t zeros_before; /* blocks in front of it that hold zeros, and are in no piece */
	uint64_t first, count; /* its blocks */
	bool is_unreadable;    /* all of them are: they may be very many, and have no kinds */
	enum hash_kind kinds[HASH_BLOCKS_MOST];
	uint8_t digests[HASH_BLOCKS_MOST][HASH_DIGEST_BYTES];
	char reason[HASH_REASON_BYTES]; /* of the first one that cannot be read */
};

struct hash_run {
	const struct command *command;
	struct disk_request request;
	bool by_block, as_json;
	uint64_t block_bytes;
	unsigned threads;
	struct disk disk;
	uint64_t size_bytes;
	uint8_t **buffers; /* one for each thread, made when it is needed */
	struct spool out;
	struct json json;
	struct progress progress;
	struct hash_tree tree; /* unless by_block */
	/* By block: a run of blocks without digests that is no row yet, and what could not be read. */
	enum hash_kind run_kind;
	uint64_t run_at, run_blocks;
	uint64_t unreadable_bytes;
	char reason[HASH_REASON_BYTES];
};

/*
 * Goes through the disk, and tells hash_use() of all blocks but those behind the last data, whose
 * number *zeros_after is set to. Returns 0, or -1 with *err filled.
 */
int hash_walk(struct hash_run *run, uint64_t *zeros_after, struct qcow2_error *err);

/* Begin a page, use what was found of the next blocks, and end the page. */
void hash_begin(struct hash_run *run);
void hash_use(struct hash_run *run, const struct hash_piece *piece);
void hash_end(struct hash_run *run, uint64_t zeros_after);

#endif
