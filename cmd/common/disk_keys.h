/* SPDX-License-Identifier: MIT */
/*
 * The passphrases of a disk's files, from the files that --key-file names. The first one is for the
 * first encrypted file from the image down, the second one for the next below it, and so on; the last
 * one is for all that are left. They are not tried in turn: of the old AES method, nothing shows which
 * passphrase is right.
 */
#ifndef CMD_COMMON_DISK_KEYS_H
#define CMD_COMMON_DISK_KEYS_H

#include "common/command.h"

#include <qcow2/error.h>

/* More than anybody has in a chain. */
#define DISK_KEYS_MOST 64

/* What a command line names, in its order; - is standard input. */
struct disk_key_files {
	const char *names[DISK_KEYS_MOST];
	size_t count;
};

/* Adds a file. option: its name, for the message. False, with a message, if there are too many. */
bool disk_key_files_add(const struct command *command, const char *option,
			struct disk_key_files *files, const char *name);

struct disk_key {
	const char *file;
	uint8_t *bytes;
	size_t size;
};

/* All zeros before they are read. */
struct disk_keys {
	struct disk_key list[DISK_KEYS_MOST];
	size_t count;
	size_t next;                    /* the one for the next encrypted file */
	const struct disk_keys *before; /* of the disk that was named before, or NULL */
};

/*
 * Reads the files. One that was read before, also for the disk before, is not read again: standard
 * input has its bytes once. Returns 0, or -1 with *err filled; what was read is kept in either case.
 */
int disk_keys_read(struct disk_keys *keys, const struct disk_key_files *files,
		   struct qcow2_error *err);

/* The passphrase for the next encrypted file; NULL if there is none at all. */
const struct disk_key *disk_keys_take(struct disk_keys *keys);

/* Overwrites and frees them. */
void disk_keys_forget(struct disk_keys *keys);

#endif
