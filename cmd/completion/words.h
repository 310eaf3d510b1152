/* SPDX-License-Identifier: MIT */
/* What may stand at the cursor: words from the tables of the format, and names of an image. */
#ifndef CMD_COMPLETION_WORDS_H
#define CMD_COMPLETION_WORDS_H

#include "completion/offer.h"

#include <qcow2/image.h>

/* What explain knows by a name without blanks: structures, their fields, problems. */
void words_explainable(struct offer *offer);

/* Names of features of a group, with - for blanks. */
void words_features(struct offer *offer, const char *group);

/* Types of header extensions. */
void words_extensions(struct offer *offer);

/* Fields of the header. */
void words_fields(struct offer *offer);

/*
 * Paths of what dump shows, or with `set` of what edit sets, where those that end a path have a =
 * and then the names of their values. image may be NULL.
 */
void words_paths(struct offer *offer, const struct qcow2_image *image, bool set);

/* Names of the bitmaps of an image, with their state. image may be NULL. */
void words_bitmaps(struct offer *offer, const struct qcow2_image *image);

/* IDs and names of the snapshots of an image. image may be NULL. */
void words_snapshots(struct offer *offer, const struct qcow2_image *image);

#endif
