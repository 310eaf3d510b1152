/* SPDX-License-Identifier: MIT */
/*
 * The files that a disk is read from, and the gate that decides about those which an image names.
 * Names are resolved as QEMU does it, but only local files are opened, and none without chain=yes.
 */
#ifndef NBDKIT_FILES_H
#define NBDKIT_FILES_H

#include <stdbool.h>
#include <sys/types.h>

#include <qcow2/guest.h>
#include <qcow2/source.h>

/* A file that is open. */
struct file {
	char *path;
	struct qcow2_source *source;
	dev_t device;
	ino_t inode;
	uint32_t depth; /* 0: the image, or its data file */
	enum qcow2_disk_role role;
};

/* All zeros before the first file. */
struct files {
	bool chain;
	struct file *files; /* [0] is the image */
	size_t count;
	char *blamed; /* the file that the gate's error is about, or NULL */
};

/*
 * Opens the file that the user names, which stays open until files_close().
 *
 * Returns its source, which the files own; or NULL with *err filled.
 */
struct qcow2_source *files_open(struct files *files, const char *path, struct qcow2_error *err);

/* The gate of the library; opaque is the struct files. */
int files_gate(void *opaque, const struct qcow2_disk_wanted *wanted, struct qcow2_source **source,
	       struct qcow2_error *err);

/*
 * The path of the file that an error of qcow2_disk_open() is about. path: the one that the user named,
 * which it is where nothing else is known.
 */
const char *files_at_fault(const struct files *files, const char *path,
			   const struct qcow2_error *err);

/* Closes all files, and leaves zeros. */
void files_close(struct files *files);

#endif
