/* SPDX-License-Identifier: MIT */
/* Looks up refcounts of single clusters, and where they are stored. */
#ifndef Q2_LOCATE_REFCOUNT_READER_H
#define Q2_LOCATE_REFCOUNT_READER_H

#include <qcow2/locate.h>

/* Two readers, so that neighbouring clusters cost no further reads. */
struct q2_refcount_reader {
	const struct qcow2_image *image; /* with a geometry */
	struct qcow2_table *table, *block;
	uint64_t table_entries; /* that the file has */
	uint64_t shown_block;   /* the offset that the second reader is at, or 0 */
	uint64_t block_words;   /* that the file has of it */
};

/* Returns 0, or -1 with *err filled. Release it after a failure, too. */
int q2_refcount_reader_init(struct q2_refcount_reader *refcounts, const struct qcow2_image *image,
			    struct qcow2_error *err);
void q2_refcount_reader_release(struct q2_refcount_reader *refcounts);

/* Fills *path for the cluster that holds a host byte. Returns 0, or -1 with *err filled. */
int q2_refcount_reader_find(struct q2_refcount_reader *refcounts, struct qcow2_host byte,
			    struct qcow2_refcount_path *path, struct qcow2_error *err);

#endif
