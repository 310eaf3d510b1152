/* SPDX-License-Identifier: MIT */
/*
 * Opens the disks that a command line names, for commands that read the guest's bytes: the file, the
 * files that it names as far as the user asked for them, its snapshot, its passphrase.
 *
 *	const struct disk_request request = {.file = file, .snapshot = snapshot, .chain = chain};
 *	struct disk disk;
 *	int code = disks_open_sealed(command, &request, &disk, 1);
 *
 *	if (code == EXIT_FINE)
 *		code = show(disk.disk);
 *	disks_close(&disk, 1);
 */
#ifndef CMD_COMMON_DISK_H
#define CMD_COMMON_DISK_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/command.h"
#include "common/disk_keys.h"

#include <qcow2/guest.h>
#include <qcow2/image.h>
#include <qcow2/source.h>

/* What a command line says of a disk. All zeros but for the file: the active disk, standing alone. */
struct disk_request {
	const char *file;
	const char *snapshot; /* its ID or name; NULL: the active disk */
	/* "qcow2" or "raw"; NULL: qcow2 if the file begins so, raw if it is of no known format. */
	const char *format;
	struct disk_key_files key_files; /* passphrases of what is encrypted; maybe none */
	bool vm_state; /* the state of the machine that the snapshot keeps, not the disk */
	bool chain;    /* files that the image names are opened, where they are local files */
	/* What cannot be opened of these is missing, which is no error, and neither is any that is not. */
	bool salvage;
	/* A file that the command has locked itself, so that nobody is warned of it; or NULL. */
	const char *locked;
};

/* A file that a disk is read from. */
struct disk_file {
	char *path;
	struct qcow2_source *source;
	uint32_t depth; /* 0: the image, or its data file */
	enum qcow2_disk_role role;
	bool is_image; /* qcow2; not told of the one that was named */
	/* Which file it is, whatever its name; has_identity is false where nobody can tell. */
	bool has_identity;
	dev_t device;
	ino_t inode;
};

/* All zeros before it is opened. */
struct disk {
	const struct command *command;
	struct disk_request request;
	struct qcow2_disk *disk;
	struct qcow2_image *image; /* NULL: a raw file */
	uint64_t snapshot_index;   /* if a snapshot was asked for */
	struct disk_file *files;   /* [0] is the one that was named */
	size_t file_count;
	bool is_cut; /* a file that was asked for could not be opened, and is missing */

	struct qcow2_image *above; /* the image at the end of the chain so far, if not the first */
	/* For disk.c alone. */
	struct chain *chain;
	struct disk_keys keys; /* until it is open */
	char *blamed;          /* the file that `blame` is about */
	struct qcow2_error blame;
};

/*
 * Opens the files that are named, and reads the passphrases, but looks at no byte of an image: the
 * command may enter a sandbox then. requests: their texts stay as long as the disks.
 *
 * Returns EXIT_FINE, or EXIT_COULD_NOT when the error has been said; the disks have to be closed in
 * either case.
 */
int disks_take(const struct command *command, const struct disk_request *requests,
	       struct disk *disks, size_t count);

/*
 * Opens the disks, and the files that their images name. What the limit of memory allows is shared
 * by them. Returns as disks_take().
 */
int disks_open(struct disk *disks, size_t count);

/* Does both, and enters the sandbox: sealed afterwards, and before if no other file is needed. */
int disks_open_sealed(const struct command *command, const struct disk_request *requests,
		      struct disk *disks, size_t count);

/* Closes all, and forgets passphrases. */
void disks_close(struct disk *disks, size_t count);

/* The path of the file at a depth, for messages: of the image, not of its data file. */
const char *disk_path(const struct disk *disk, uint32_t depth);

/* The file of a source of the disk, or NULL. */
const struct disk_file *disk_file_of(const struct disk *disk, const struct qcow2_source *source);

#endif
