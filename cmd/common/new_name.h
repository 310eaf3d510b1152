/* SPDX-License-Identifier: MIT */
/*
 * A file that gets its name once it is whole. Until then it lies beside that name, with ".part-" and
 * some digits behind it, and is removed if the command fails or is ended by a signal that can be
 * caught. At most NEW_NAMES_MOST at once.
 */
#ifndef CMD_COMMON_NEW_NAME_H
#define CMD_COMMON_NEW_NAME_H

#include <stdbool.h>
#include <sys/types.h>

#define NEW_NAMES_MOST 3
#define NEW_NAME_MAX   4096

/* All zeros, or closed: there is none. */
struct new_name {
	bool is_there;
	bool replaces; /* a file had that name when this one was made: */
	dev_t old_device;
	ino_t old_inode;
	dev_t device; /* of this one */
	ino_t inode;
	int fd;                       /* the caller writes to it, and does not close it */
	int folder;                   /* that it lies in */
	char path[NEW_NAME_MAX];      /* what it will be called */
	char part[NEW_NAME_MAX + 32]; /* what it is called */
};

/*
 * Makes the file beside `path`, with links in that followed if they lead to a file. It gets the
 * permissions of a file that is there. Returns 0 or an errno value.
 */
int new_name_make(struct new_name *name, const char *path);

/* Whether both will have the same name. */
bool new_name_is_same(const struct new_name *name, const struct new_name *other);

/*
 * Gives the file its name, and closes it. replace: the file that had the name when this one was made
 * may be replaced, but none that came since: nobody has looked at that. sync: what is in it, and then
 * its name, is on the medium. Returns 0 or an errno value, EEXIST for a file that came since; after an
 * error the file is still to be dropped.
 */
int new_name_give(struct new_name *name, bool replace, bool sync);

/* Lets a file replace one that got the same name before, and only that. */
void new_name_follows(struct new_name *name, const struct new_name *before);

/* Removes and closes the file, if there is one. */
void new_name_drop(struct new_name *name);

#endif
