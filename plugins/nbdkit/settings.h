/* SPDX-License-Identifier: MIT */
/* What the command line of nbdkit says. */
#ifndef NBDKIT_SETTINGS_H
#define NBDKIT_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nbdkit/keys.h"

/* All zeros before the first setting: the active disk of an image, standing alone. */
struct settings {
	char *file;
	char *snapshot; /* its ID or name; NULL: the active disk */
	bool raw;       /* the file is a raw disk, whatever it holds */
	bool chain;     /* files that the image names are opened, where they are local files */
	char **bitmaps; /* names; dirty in any of them is dirty */
	size_t bitmap_count;
	struct keys keys;      /* passphrases of what is encrypted, until it is open */
	uint64_t memory_bytes; /* what the disk may take; 0: what the library takes by itself */
};

/* The help text of `nbdkit qcow2 --help`. */
extern const char settings_help[];

/*
 * Takes one setting of the command line, key=value.
 *
 * Returns 0, or -1 after nbdkit_error().
 */
int settings_take(struct settings *settings, const char *key, const char *value);

/*
 * Whether the settings make sense together.
 *
 * Returns 0, or -1 after nbdkit_error().
 */
int settings_check(const struct settings *settings);

/* Frees all, overwrites the passphrases first, and leaves zeros. */
void settings_release(struct settings *settings);

#endif
