/* SPDX-License-Identifier: MIT */
/* What stands below a folder at a relative path. Nothing is opened. */
#ifndef Q2_SOURCE_BELOW_H
#define Q2_SOURCE_BELOW_H

#include <qcow2/base.h>

enum q2_below {
	Q2_BELOW_NOTHING, /* or it cannot be known */
	Q2_BELOW_FILE,    /* a regular file, in folders that are no links */
	Q2_BELOW_OTHER,   /* a link, a device, or what else is no file */
	Q2_BELOW_ITSELF,  /* the file that one comes from */
};

/*
 * name: a path without NUL, ".." and a slash in front. from: the file that has the name; NULL if that
 * is not known.
 */
enum q2_below q2_source_look_below(const char *folder, struct qcow2_bytes name, const char *from);

#endif
