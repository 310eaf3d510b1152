/* SPDX-License-Identifier: MIT */
/*
 * Chains of backing files: an image, the backing file that it names, and so on. Only files are
 * opened, and only those that the chain leads to; loops and long chains end with an error.
 *
 *	struct chain chain;
 *	struct qcow2_error err;
 *	int more;
 *
 *	chain_begin(&chain, file);
 *	while ((more = chain_next(&chain, &err)) > 0)
 *		show(&chain.link);
 *	if (more < 0)
 *		report_error(command, chain.link.file, &err);
 *	chain_end(&chain);
 */
#ifndef CMD_COMMON_CHAIN_H
#define CMD_COMMON_CHAIN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "common/command.h"

#include <qcow2/image.h>
#include <qcow2/probe.h>
#include <qcow2/source.h>

#define CHAIN_MAX 256

/* A file of a chain. It is closed when the next one is asked for. */
struct chain_link {
	const char *file; /* its path */
	/* The path of the image that names it as its backing file. NULL: it is the first. */
	const char *named_by;
	struct qcow2_source *source;
	struct qcow2_image *image; /* NULL: the chain ends here, as its format is not qcow2 */
	/*
	 * The format: the one that the image above states, or else the one that QEMU finds:
	 * "qcow2", "raw" or another. Nothing but "qcow2" and "raw" can be read here.
	 */
	char format[16];
	/* What the file is by its first bytes, if its format is not stated; else NULL. */
	const struct qcow2_file_kind *probed;
};

struct chain {
	struct chain_link link;
	char *file, *named_by;       /* what link.file and link.named_by lead to */
	char stated[16];             /* the format that was stated for it, or "" */
	bool last;                   /* the name of the file says that it has no backing file */
	bool keep;                   /* set by the caller: see chain_begin() */
	const struct common *common; /* set by the caller: limits for all files, or NULL */
	/* Set by the caller, who has opened the first file already, or NULL: see chain_begin(). */
	struct qcow2_source *first;
	dev_t devices[CHAIN_MAX];    /* of the files that were there */
	ino_t inodes[CHAIN_MAX];
	size_t length;
};

/*
 * Prepares a chain that starts with an image. file: the caller's; it stays as long as the chain.
 *
 * A caller that sets chain->keep after this closes link.image and link.source of each file itself,
 * the image first, and not before the chain has come to the next one or has failed. One that sets
 * chain->first keeps that source whatever happens, and sets keep as well.
 */
void chain_begin(struct chain *chain, const char *file);

/*
 * Goes to the next file: the first one, and then the backing file of the one before. The first
 * one has to be a qcow2 image.
 *
 * Returns 1 with chain->link set; 0 if the chain has ended; or -1 with *err filled, and
 * chain->link.file the file that it is about: one that cannot be opened, with the image that names
 * it in the text; or an image whose backing file cannot be followed. After -1 the chain is over.
 */
int chain_next(struct chain *chain, struct qcow2_error *err);

/* Closes what is open, and frees. */
void chain_end(struct chain *chain);

/*
 * The path of a backing file: name as it is if it is absolute or of a protocol, else relative to
 * the directory of file. The caller frees it; NULL if memory is short.
 */
char *chain_full_name(const char *file, struct qcow2_bytes name);

#endif
