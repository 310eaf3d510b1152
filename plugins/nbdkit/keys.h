/* SPDX-License-Identifier: MIT */
/*
 * Passphrases, in the order of the command line. The first one is for the first encrypted file from
 * the image down, the second one for the next below it, and so on; the last one is for all that are
 * left.
 */
#ifndef NBDKIT_KEYS_H
#define NBDKIT_KEYS_H

#include <stddef.h>
#include <stdint.h>

struct key {
	uint8_t *bytes;
	size_t size;
};

/* All zeros before the first one. */
struct keys {
	struct key *list;
	size_t count;
	size_t next; /* the one for the next encrypted file */
};

/* Each takes a value of the command line. Returns 0, or -1 after nbdkit_error(). */
int keys_add_password(struct keys *keys, const char *value);
int keys_add_file(struct keys *keys, const char *value);

/* The passphrase for the next encrypted file; NULL if there is none at all. */
const struct key *keys_take(struct keys *keys);

/* Overwrites and frees them, and leaves zeros. */
void keys_forget(struct keys *keys);

#endif
