/* SPDX-License-Identifier: MIT */
/* Adds to an error about a name that does not exist which names there are, as many as fit. */
#ifndef CMD_COMMON_EXISTING_H
#define CMD_COMMON_EXISTING_H

#include <qcow2/error.h>
#include <qcow2/image.h>

/* Each changes the text of an error that says that something is not found, and no other. */

/* The bitmaps of an image. image may be NULL: then nothing is added. */
void existing_bitmaps(const struct qcow2_image *image, struct qcow2_error *err);

/* What a path of 'qcow2 edit set' may mean: a field that is spelled nearly so, or all of them. */
void existing_path(const char *path, struct qcow2_error *err);

/* The names that the values of a number have, if it has any and the error is about an argument. */
void existing_value(const char *path, const char *value, struct qcow2_error *err);

/* The same for the name of a feature or of its group, also if the error is about an argument. */
void existing_feature(const char *group, const char *name, struct qcow2_error *err);

#endif
