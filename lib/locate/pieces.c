/* SPDX-License-Identifier: MIT */
/*
 * The stream of pieces: goes through a range cluster by cluster, each with its owners, and joins
 * clusters that have the same ones.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sized.h"
#include "image/internal.h"
#include "locate/tell.h"

/* The most clusters of the file that a range may have: so many walks are 64. */
#define RANGE_CLUSTERS_MOST (UINT64_C(64) * Q2_WINDOW_CLUSTERS)

struct qcow2_pieces {
	const struct qcow2_image *image;
	uint64_t memory_limit_bytes;
	uint64_t at, last; /* bytes: [at, last] has not been told, unless over */
	bool over;
	bool gathered; /* owners are those of the clusters from at on */
	struct q2_owners owners;
	struct q2_refcount_reader refcounts;
	struct q2_owner_list lists[2]; /* of the piece, and of the cluster behind it */
	struct q2_told_claims claims;
	struct qcow2_refcount_path refcount;
	struct qcow2_piece told;
};

int qcow2_pieces_open(const struct qcow2_image *image, const struct qcow2_pieces_options *options,
		      struct qcow2_pieces **out, struct qcow2_error *err)
{
	struct qcow2_pieces_options mine;
	struct qcow2_pieces *pieces;

	if (q2_sized_take(&mine, sizeof(mine), options, err) || q2_image_check_known(image, err))
		return -1;
	pieces = q2_alloc(sizeof(*pieces));
	if (!pieces)
		return q2_fail_memory(err);
	pieces->image = image;
	pieces->over = true;
	pieces->memory_limit_bytes =
		mine.memory_limit_bytes ? mine.memory_limit_bytes : QCOW2_CLAIMS_MEMORY_BYTES;
	if (q2_refcount_reader_init(&pieces->refcounts, image, err)) {
		qcow2_pieces_close(pieces);
		return -1;
	}
	*out = pieces;
	return 0;
}

static void forget(struct qcow2_pieces *pieces)
{
	q2_told_claims_release(&pieces->claims);
	q2_owner_list_release(&pieces->lists[0]);
	q2_owner_list_release(&pieces->lists[1]);
	if (pieces->owners.metadata.image)
		q2_owners_release(&pieces->owners);
	memset(&pieces->owners, 0, sizeof(pieces->owners));
	pieces->gathered = false;
}

void qcow2_pieces_seek(struct qcow2_pieces *pieces, struct qcow2_host start, uint64_t length_bytes)
{
	forget(pieces);
	pieces->over = length_bytes == 0;
	pieces->at = start.byte;
	pieces->last = length_bytes - 1 > UINT64_MAX - start.byte ? UINT64_MAX
								  : start.byte + (length_bytes - 1);
}

/*
 * How many clusters to gather from at on. Past the end of the file, one window is looked at; the
 * rest of the range has no owners that are known.
 */
static int choose_window(const struct qcow2_pieces *pieces, uint64_t *count,
			 struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(pieces->image);
	const unsigned bits = geometry->cluster_bits;
	const uint64_t size = geometry->file_size_bytes, first = pieces->at >> bits;
	uint64_t last = pieces->last >> bits;

	if (pieces->at < size) {
		uint64_t in_file = (pieces->last < size ? pieces->last : size - 1) >> bits;

		if (in_file - first >= RANGE_CLUSTERS_MOST)
			return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
				       "the range has %llu clusters of the file; at most %llu are "
				       "located at once",
				       (unsigned long long)(in_file - first + 1),
				       (unsigned long long)RANGE_CLUSTERS_MOST);
		last = in_file;
	}
	*count = last - first < Q2_WINDOW_CLUSTERS ? last - first + 1 : Q2_WINDOW_CLUSTERS;
	return 0;
}

static int gather(struct qcow2_pieces *pieces, struct qcow2_error *err)
{
	const unsigned bits = qcow2_image_geometry(pieces->image)->cluster_bits;
	struct q2_owners *owners = &pieces->owners;
	uint64_t count = 0;

	forget(pieces);
	if (choose_window(pieces, &count, err))
		return -1;
	owners->memory = (struct q2_memory){.limit_bytes = pieces->memory_limit_bytes,
					    .user = "the search for owners"};
	q2_metadata_init(&owners->metadata, pieces->image, &owners->memory, err);
	owners->first = pieces->at >> bits;
	owners->count = count;
	owners->start = pieces->at;
	owners->last = pieces->last;
	pieces->gathered = true;
	return q2_owners_gather(owners, err);
}

/* Whether a cluster is one of those that were gathered. */
static bool is_known(const struct qcow2_pieces *pieces, uint64_t cluster)
{
	return cluster - pieces->owners.first < pieces->owners.count;
}

static enum qcow2_piece_state judge(const struct qcow2_pieces *pieces, uint64_t at,
				    const struct q2_owner_list *list)
{
	if (at >= qcow2_image_geometry(pieces->image)->file_size_bytes)
		return QCOW2_PIECE_BEYOND_END;
	if (list->count > 0)
		return QCOW2_PIECE_USED;
	return pieces->refcount.known && pieces->refcount.refcount > 0 ? QCOW2_PIECE_LEAKED
								       : QCOW2_PIECE_FREE;
}

/* The last byte of the part of the range that is in the cluster of a byte, and in the file or not. */
static uint64_t part_last(const struct qcow2_pieces *pieces, uint64_t at)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(pieces->image);
	uint64_t last = at | (geometry->cluster_size_bytes - 1);

	if (last > pieces->last)
		last = pieces->last;
	if (at < geometry->file_size_bytes && last >= geometry->file_size_bytes)
		last = geometry->file_size_bytes - 1;
	return last;
}

static bool same_refcount(const struct qcow2_refcount_path *a, const struct qcow2_refcount_path *b)
{
	return a->known == b->known && a->refcount == b->refcount;
}

/* Lets the piece that ends with *last go on over clusters that are the same. */
static int extend(struct qcow2_pieces *pieces, uint64_t *last, struct qcow2_error *err)
{
	const unsigned bits = qcow2_image_geometry(pieces->image)->cluster_bits;

	while (*last < pieces->last && is_known(pieces, (*last + 1) >> bits)) {
		const uint64_t at = *last + 1;
		struct qcow2_refcount_path refcount;

		if (q2_owner_list_fill(&pieces->owners, at, part_last(pieces, at),
				       &pieces->lists[1], err) ||
		    q2_refcount_reader_find(&pieces->refcounts, (struct qcow2_host){at}, &refcount,
					    err))
			return -1;
		if (!q2_owner_list_same(&pieces->lists[0], &pieces->lists[1]) ||
		    !same_refcount(&pieces->refcount, &refcount) ||
		    judge(pieces, at, &pieces->lists[1]) != pieces->told.state)
			return 0;
		*last = part_last(pieces, at);
	}
	return 0;
}

/* Behind the window past the end of the file, nothing is looked for. */
static bool is_far(const struct qcow2_pieces *pieces)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(pieces->image);

	return pieces->gathered && pieces->owners.start >= geometry->file_size_bytes &&
	       !is_known(pieces, pieces->at >> geometry->cluster_bits);
}

static int find(struct qcow2_pieces *pieces, uint64_t *last, struct qcow2_error *err)
{
	const uint64_t cluster = pieces->at >> qcow2_image_geometry(pieces->image)->cluster_bits;
	const struct q2_owner_list *list = &pieces->lists[0];
	bool far = is_far(pieces);

	if (!far && (!pieces->gathered || !is_known(pieces, cluster)) && gather(pieces, err))
		return -1;
	if (q2_owner_list_fill(&pieces->owners, pieces->at, part_last(pieces, pieces->at),
			       &pieces->lists[0], err) ||
	    q2_refcount_reader_find(&pieces->refcounts, (struct qcow2_host){pieces->at},
				    &pieces->refcount, err))
		return -1;
	pieces->told = (struct qcow2_piece){.size = sizeof(pieces->told),
					    .start.byte = pieces->at,
					    .state = judge(pieces, pieces->at, list),
					    .unclaimed = list->unclaimed,
					    .owners_total = list->total,
					    .refcount = &pieces->refcount};
	*last = far ? pieces->last : part_last(pieces, pieces->at);
	return extend(pieces, last, err);
}

int qcow2_pieces_next(struct qcow2_pieces *pieces, const struct qcow2_piece **out,
		      struct qcow2_error *err)
{
	struct qcow2_piece *told = &pieces->told;
	uint64_t last;

	if (pieces->over)
		return 0;
	if (find(pieces, &last, err))
		return -1;
	told->length_bytes = last - pieces->at == UINT64_MAX ? UINT64_MAX : last - pieces->at + 1;
	if (q2_told_claims_make(&pieces->owners, &pieces->lists[0], told, &pieces->claims, err))
		return -1;
	told->owners = (const struct qcow2_claim *const *)pieces->claims.pointers;
	told->owner_count = pieces->claims.count;
	if (told->owners_total < told->owner_count)
		told->owners_total = told->owner_count;
	pieces->over = last == pieces->last;
	pieces->at = last + 1;
	*out = told;
	return 1;
}

void qcow2_pieces_close(struct qcow2_pieces *pieces)
{
	if (!pieces)
		return;
	forget(pieces);
	q2_refcount_reader_release(&pieces->refcounts);
	q2_free(pieces);
}
