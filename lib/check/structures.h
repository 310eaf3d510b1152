/* SPDX-License-Identifier: MIT */
/*
 * The part of a check that a change of the header can alter. A check has two parts: header,
 * extensions and structures come first; entries of L2 tables and refcounts, which are nearly all of
 * the metadata, come last. If an image and its changed copy differ in header fields alone that the
 * last part does not depend on, a check of one image tells what the last part finds in the other.
 */
#ifndef Q2_CHECK_STRUCTURES_H
#define Q2_CHECK_STRUCTURES_H

#include "base/digest.h"
#include "check/check.h"

/* What the first part of a check found, and what the last part begins with. */
struct q2_structures {
	uint64_t by_kind[Q2_PROBLEM_NUMBERS]; /* indexed by enum qcow2_problem_id */
	uint64_t corruptions, leaks, warnings;
	struct q2_digest digest; /* zeros unless the options ask for one */
	bool is_whole;         /* the first part came to its end, and no bound left anything out */
	uint64_t mark;         /* a sum over tables, blocks and snapshots that were found */
	uint64_t lowest_bytes; /* offset of the first L2 table or refcount block; else UINT64_MAX */
};

/* As q2_check(), and fills *structures once the first part is through. */
int q2_check_noting(const struct qcow2_image *image, const struct qcow2_check_options *options,
		    struct q2_check_totals *totals, struct q2_structures *structures,
		    struct qcow2_error *err);

/* The first part alone. Tells problems as q2_check() does. options->damage is not set. */
int q2_check_structures(const struct qcow2_image *image, const struct qcow2_check_options *options,
			struct q2_structures *structures, struct qcow2_error *err);

/* Whether the first cluster is the header's alone, and the part of the digest besides structures. */
struct q2_header_alone {
	bool is_alone; /* false as well where that is not certain */
	struct q2_digest rest;
};

/*
 * The first part; then reads L2 tables, and refcount blocks too if the options ask for a digest, but
 * counts and compares nothing. Fills *alone if structures->is_whole. Errors as q2_check().
 */
int q2_check_header_alone(const struct qcow2_image *image,
			  const struct qcow2_check_options *options,
			  struct q2_structures *structures, struct q2_header_alone *alone,
			  struct qcow2_error *err);

/* An image, and a source that has the same bytes and holes from same_from_bytes on. */
struct q2_changed {
	const struct qcow2_image *before;
	struct qcow2_source *after;
	uint64_t same_from_bytes;
};

/*
 * Checks the structures of changed->after and fills *found. *shares is set if the last part of a
 * check finds the same in both images, so that q2_structures_derive() may be used. *shares is false
 * as well if the source is no image. Tells no problems. Errors: QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
int q2_check_changed(const struct q2_changed *changed, const struct qcow2_check_options *options,
		     struct q2_structures *found, bool *shares, struct qcow2_error *err);

/*
 * Whether the last part of both checks begins with the same. q2_check_changed() has proved that
 * already, unless somebody wrote to the file since.
 */
bool q2_structures_match(const struct q2_structures *one, const struct q2_structures *other);

/*
 * Makes the totals of the changed image from those of the image before it, of which `had` are the
 * structures; `has` are those of the changed image.
 */
void q2_structures_derive(struct q2_check_totals *after, const struct q2_check_totals *before,
			  const struct q2_structures *had, const struct q2_structures *has);

/*
 * Makes totals of structures alone: problems, and with `digest` the digest of all metadata, of which
 * `alone` has the rest. clusters_checked is false.
 */
void q2_structures_total(struct q2_check_totals *totals, const struct qcow2_image *image,
			 const struct q2_structures *structures,
			 const struct q2_header_alone *alone, bool digest);

struct q2_check;

/* Fills check->structures at the end of the first part. */
void q2_structures_note(const struct q2_check *check);

/* Fills check->header_alone after that. 0, or -1 with check->err filled. */
int q2_check_read_rest(struct q2_check *check);

#endif
