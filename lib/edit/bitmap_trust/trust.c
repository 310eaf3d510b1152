/* SPDX-License-Identifier: MIT */
/* Gathers who uses the clusters of bitmaps; claims.c judges. See trust.h. */
#include "edit/bitmap_trust/trust.h"

#include <string.h>

#include <qcow2/bitmap_edit.h>
#include <qcow2/entry.h>
#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/hash.h"
#include "edit/bitmap_trust/answers.h"
#include "edit/bitmap_trust/claims.h"
#include "edit/bitmap_trust/walk.h"
#include "image/extensions.h"
#include "image/internal.h"
#include "rules/bitmap_tail.h"
#include "rules/rules.h"

/* A file system may report fewer allocated bytes than the file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)
#define NAMES_MOST  ((size_t)1 << 22)

/* Gathering: what fills `trust`, and what it needs meanwhile. */
struct gathering {
	struct q2_bitmap_trust *trust;
	struct qcow2_table *table;
	struct q2_hash_key key;
	struct q2_name_set names, tables;
	uint64_t entries_left; /* that may still be read: tables may overlap */
	struct qcow2_error *err;
};

/* ---- one bitmap ---- */

/*
 * Returns the problem for which no bit of a bitmap can be believed, as far as its directory entry
 * shows.
 */
static enum qcow2_problem_id judge_whole(const struct qcow2_image *image,
					 const struct qcow2_bitmap *bitmap)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	const struct qcow2_bitmap_dir_entry *e = &bitmap->entry;
	uint64_t bits = qcow2_image_header(image)->autoclear_features;

	if (bitmap->cut)
		return QCOW2_PROBLEM_BITMAP_ENTRY_CUT;
	if (e->type != 1)
		return QCOW2_PROBLEM_BITMAP_TYPE;
	if (e->granularity_bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX)
		return QCOW2_PROBLEM_BITMAP_GRANULARITY;
	if (e->bitmap_table_offset == 0 ||
	    e->bitmap_table_offset % geometry->cluster_size_bytes != 0)
		return QCOW2_PROBLEM_BITMAP_TABLE_OFFSET;
	if (q2_passes_end(geometry, e->bitmap_table_offset, e->bitmap_table_size * UINT64_C(8)))
		return QCOW2_PROBLEM_BITMAP_TABLE_BEYOND_END;
	if (e->extra_data_size > 0 && !(e->flags & QCOW2_BITMAP_EXTRA_DATA_COMPATIBLE))
		return QCOW2_PROBLEM_BITMAP_EXTRA_DATA_UNKNOWN;
	if (!(bits & QCOW2_AUTOCLEAR_BITMAPS) || (e->flags & QCOW2_BITMAP_IN_USE))
		return QCOW2_PROBLEM_BITMAP_IN_USE;
	/* If the flags are damaged, in_use may have been set. */
	if (e->flags & ~QCOW2_BITMAP_FLAGS_KNOWN)
		return QCOW2_PROBLEM_BITMAP_FLAGS_RESERVED;
	/* The granularity may be the damaged field: then each bit stands for another place. */
	if (e->bitmap_table_size !=
	    qcow2_bitmap_table_entries_needed(geometry, e->granularity_bits))
		return QCOW2_PROBLEM_BITMAP_TABLE_SIZE;
	return QCOW2_PROBLEM_NONE;
}

/* Returns how many bytes of bits an entry has to hold for this disk. */
static uint64_t bytes_of_entry(const struct qcow2_geometry *geometry, unsigned granularity_bits,
			       uint64_t index)
{
	uint64_t cluster = geometry->cluster_size_bytes;
	uint64_t all = granularity_bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX
			       ? 0
			       : q2_div_ceil_u64(q2_div_ceil_u64(q2_tracked_bytes(geometry),
								 UINT64_C(1) << granularity_bits),
						 8);

	if (index >= q2_div_ceil_u64(all, cluster))
		return 0;
	return all - index * cluster < cluster ? all - index * cluster : cluster;
}

static enum qcow2_problem_id judge_entry(const struct qcow2_geometry *geometry, uint64_t entry,
					 uint64_t bytes)
{
	uint64_t offset = qcow2_bitmap_table_entry_decode(entry).offset;

	if (entry & qcow2_bitmap_table_entry_reserved)
		return QCOW2_PROBLEM_BITMAP_ENTRY_RESERVED;
	if (qcow2_bitmap_entry_classify(entry) == QCOW2_BITMAP_ENTRY_INVALID)
		return QCOW2_PROBLEM_BITMAP_ENTRY_ALL_ONES;
	if (offset % geometry->cluster_size_bytes != 0)
		return QCOW2_PROBLEM_BITMAP_DATA_UNALIGNED;
	/* Bits that the end of the file cuts off are lost, not clean. */
	if (offset != 0 &&
	    (offset >= geometry->file_size_bytes || bytes > geometry->file_size_bytes - offset))
		return QCOW2_PROBLEM_BITMAP_DATA_BEYOND_END;
	return QCOW2_PROBLEM_NONE;
}

static int gather_entry(struct gathering *g, const struct qcow2_bitmap *bitmap, uint64_t index)
{
	const struct qcow2_geometry *geometry = g->trust->geometry;
	struct q2_claimant who = {(uint32_t)bitmap->index, (uint32_t)index};
	uint64_t bytes = bytes_of_entry(geometry, bitmap->entry.granularity_bits, index);
	uint64_t entry, offset;
	enum qcow2_problem_id fault;

	if (qcow2_table_entry(g->table, index, &entry, g->err))
		return -1;
	if (entry <= 1)
		return 0;
	fault = judge_entry(geometry, entry, bytes);
	offset = qcow2_bitmap_table_entry_decode(entry).offset;
	if (fault != QCOW2_PROBLEM_NONE && q2_claims_fault(g->trust, who, fault, g->err))
		return -1;
	if (offset == 0 || offset >= geometry->file_size_bytes)
		return 0;
	if (index + 1 ==
	    qcow2_bitmap_table_entries_needed(geometry, bitmap->entry.granularity_bits & 63))
		q2_claims_bitmap(g->trust, bitmap->index)->last_data = offset;
	return q2_claims_add(g->trust, offset, geometry->cluster_size_bytes, who, g->err);
}

/* Entries in a hole of the file are zeros. Returns the index of the first entry behind it. */
static uint64_t skip_hole(const struct gathering *g, uint64_t table, uint64_t index)
{
	uint64_t at = table + index * 8;

	if (index % 512 != 0 || at >= g->trust->geometry->file_size_bytes)
		return index;
	return index + (qcow2_source_hole_end(qcow2_image_source(g->trust->image), at) - at) / 8;
}

/* Whether the table of a bitmap, of any granularity, can have this number of entries. */
static bool is_possible(const struct qcow2_geometry *geometry, uint64_t entries)
{
	for (unsigned bits = QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN;
	     bits <= QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX; bits++)
		if (qcow2_bitmap_table_entries_needed(geometry, bits) == entries)
			return true;
	return false;
}

/*
 * Returns how many entries of a table may be in use. If its size does not fit the granularity,
 * either field may be wrong: the longer table counts. But a size that no granularity has is
 * certainly wrong, and must not cost other bitmaps their trust whose clusters it covers.
 */
static uint64_t entries_in_use(const struct qcow2_geometry *geometry,
			       const struct qcow2_bitmap_dir_entry *e)
{
	uint64_t most = QCOW2_LIMIT_QEMU_BITMAP_DATA_BYTES >> geometry->cluster_bits, needed = 0;

	if (e->granularity_bits <= 63)
		needed = qcow2_bitmap_table_entries_needed(geometry, e->granularity_bits);
	if (e->bitmap_table_size == needed)
		return needed;
	if (needed == 0 || needed > most)
		needed = 1;
	if (e->bitmap_table_size > needed && is_possible(geometry, e->bitmap_table_size))
		return e->bitmap_table_size;
	return needed;
}

static int gather_table(struct gathering *g, const struct qcow2_bitmap *bitmap)
{
	const struct qcow2_bitmap_dir_entry *e = &bitmap->entry;
	uint64_t there = qcow2_table_begin(g->table, e->bitmap_table_offset,
					   entries_in_use(g->trust->geometry, e));
	struct q2_claimant who = {(uint32_t)bitmap->index, Q2_CLAIM_TABLE};
	uint64_t earlier;

	if (e->bitmap_table_offset == 0)
		return 0;
	if (q2_claims_add(g->trust, e->bitmap_table_offset, there * 8, who, g->err))
		return -1;
	/* A table begins at a cluster: entries read elsewhere would be noise. */
	if (e->bitmap_table_offset % g->trust->geometry->cluster_size_bytes != 0)
		return 0;
	/*
	 * The clusters of a table that several bitmaps have are taken, although none of them owns
	 * it.
	 */
	if (q2_name_set_insert(&g->tables, e->bitmap_table_offset, bitmap->index, &earlier) ==
	    QCOW2_ERROR_MEMORY)
		return q2_fail_memory(g->err);
	if (earlier != Q2_NAME_SET_NEW)
		q2_claims_bitmap(g->trust, earlier)->shared_table = true;
	for (uint64_t i = 0; i < there && earlier == Q2_NAME_SET_NEW; i++) {
		i = skip_hole(g, e->bitmap_table_offset, i);
		if (i >= there)
			break;
		if (g->entries_left-- == 0) {
			g->trust->incomplete = true;
			g->entries_left = 0;
			break;
		}
		if (gather_entry(g, bitmap, i))
			return -1;
	}
	return 0;
}

static int gather_bitmap(struct gathering *g, const struct qcow2_bitmap *bitmap)
{
	struct q2_trusted_bitmap trusted = {.whole = judge_whole(g->trust->image, bitmap),
					    .tail_entry = UINT32_MAX};
	uint64_t earlier = Q2_NAME_SET_NEW;

	if (bitmap->raw.size == qcow2_bitmap_dir_entry_structure.size_bytes && !bitmap->cut &&
	    q2_name_set_insert(&g->names, q2_hash(&g->key, bitmap->name), bitmap->index,
			       &earlier) == QCOW2_ERROR_MEMORY)
		return q2_fail_memory(g->err);
	if (earlier != Q2_NAME_SET_NEW) {
		trusted.same_name = true;
		q2_claims_bitmap(g->trust, earlier)->same_name = true;
	}
	if (q2_vector_push(&g->trust->bitmaps, &trusted) != QCOW2_ERROR_NONE)
		return q2_fail_memory(g->err);
	if (bitmap->raw.size < qcow2_bitmap_dir_entry_structure.size_bytes || g->trust->incomplete)
		return 0;
	return gather_table(g, bitmap);
}

/* ---- all of them ---- */

/* Whether there are several bitmaps extensions that differ. Nobody knows which of them is older. */
static bool extensions_differ(const struct qcow2_image *image)
{
	struct q2_extensions it;
	struct qcow2_extension extension;
	struct qcow2_bytes first = {NULL, 0};

	q2_extensions_begin(image, &it);
	while (q2_extensions_next(&it, &extension)) {
		if (extension.header.magic != QCOW2_EXTENSION_BITMAPS)
			continue;
		if (first.data && (first.size != extension.data.size ||
				   memcmp(first.data, extension.data.data, first.size) != 0))
			return true;
		first = extension.data;
	}
	return false;
}

static int gather(struct gathering *g)
{
	const struct q2_claimant who = {Q2_CLAIM_DIRECTORY, Q2_CLAIM_TABLE};
	struct q2_directory_walk walk;
	int more;

	if (q2_directory_walk_open(&walk, g->trust->image, g->err))
		return g->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	while ((more = q2_directory_walk_next(&walk, g->err)) > 0)
		if (gather_bitmap(g, walk.bitmap)) {
			more = -1;
			break;
		}
	if (more == 0)
		more = q2_claims_add(g->trust, walk.claimed.bitmap_directory_offset, walk.used, who,
				     g->err);
	q2_directory_walk_close(&walk);
	return more;
}

/* ---- bits past the end ---- */

static void hear_tail(void *opaque, const struct qcow2_problem *problem)
{
	(void)problem;
	*(bool *)opaque = true;
}

/*
 * Sets *is if the bits past the end look as QEMU leaves them. When it stores a bitmap whose last
 * entry was all ones, it sets the bits up to the next multiple of 64, and no others. This pattern
 * says nothing against the bits before the end.
 */
static int is_qemus_tail(const struct q2_bitmap_trust *trust, uint64_t bits, uint64_t data,
			 bool *is, struct qcow2_error *err)
{
	size_t cluster = (size_t)trust->geometry->cluster_size_bytes;
	size_t from = (size_t)(bits % (cluster * 8)), word = from / 64 * 8;
	uint8_t *raw = q2_alloc_buffer(cluster);
	uint64_t last = 0;

	if (!raw)
		return q2_fail_memory(err);
	if (q2_image_read_padded(trust->image, data, raw, cluster, err)) {
		q2_free(raw);
		return -1;
	}
	for (unsigned i = 0; i < 8; i++)
		last |= (uint64_t)raw[word + i] << (i * 8);
	*is = from % 64 != 0 && last >> from % 64 == UINT64_MAX >> from % 64;
	for (size_t i = word + 8; i < cluster; i++)
		*is &= raw[i] == 0;
	q2_free(raw);
	return 0;
}

static int judge_tail(struct q2_bitmap_trust *trust, const struct qcow2_bitmap *bitmap,
		      uint64_t data, uint8_t *piece, struct qcow2_error *err)
{
	bool set = false, qemus = false;
	const struct q2_reporter reporter = {.problem = hear_tail, .opaque = &set};
	uint64_t bits = q2_div_ceil_u64(q2_tracked_bytes(trust->geometry),
					UINT64_C(1) << bitmap->entry.granularity_bits);

	if (q2_rule_bitmap_tail(trust->image, bitmap, data, piece, &reporter, err) ||
	    (set && is_qemus_tail(trust, bits, data, &qemus, err)))
		return -1;
	if (set && !qemus)
		q2_claims_bitmap(trust, bitmap->index)->tail_entry =
			bitmap->entry.bitmap_table_size - 1;
	return 0;
}

/* Looks at bits past the end, of bitmaps whose last cluster has no other user: it is read once. */
static int judge_tails(struct q2_bitmap_trust *trust, struct qcow2_error *err)
{
	uint8_t *piece = q2_alloc_buffer(Q2_TAIL_PIECE_BYTES);
	struct q2_directory_walk walk;
	int more = -1;

	if (!piece)
		return q2_fail_memory(err);
	if (q2_directory_walk_open(&walk, trust->image, err)) {
		q2_free(piece);
		return err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	}
	while ((more = q2_directory_walk_next(&walk, err)) > 0) {
		const struct qcow2_bitmap *bitmap = walk.bitmap;
		uint64_t data = q2_claims_bitmap(trust, bitmap->index)->last_data;

		if (data == 0 || q2_trust_whole(trust, bitmap->index) != QCOW2_PROBLEM_NONE ||
		    q2_trust_entry(trust, bitmap->index, bitmap->entry.bitmap_table_size - 1) !=
			    QCOW2_PROBLEM_NONE)
			continue;
		if (judge_tail(trust, bitmap, data, piece, err)) {
			more = -1;
			break;
		}
	}
	q2_directory_walk_close(&walk);
	q2_free(piece);
	return more;
}

void q2_bitmap_trust_free(struct q2_bitmap_trust *trust)
{
	if (!trust)
		return;
	q2_vector_release(&trust->claims);
	q2_vector_release(&trust->faults);
	q2_vector_release(&trust->bitmaps);
	q2_free(trust);
}

int q2_bitmap_trust_new(struct qcow2_image *image, const struct q2_bitmap_within *within,
			struct q2_bitmap_trust **out, struct qcow2_error *err)
{
	struct gathering g = {.trust = q2_claims_new(image), .err = err};
	int failed;

	if (!g.trust)
		return q2_fail_memory(err);
	g.trust->within = within;
	g.entries_left =
		(qcow2_source_allocated_bytes(qcow2_image_source(image)) + SLACK_BYTES) / 8;
	q2_hash_key_make(&g.key);
	q2_name_set_init(&g.names, NAMES_MOST);
	q2_name_set_init(&g.tables, NAMES_MOST);
	failed = qcow2_table_open(image, &g.table, err) || gather(&g);
	g.trust->duplicate = extensions_differ(image);
	qcow2_table_close(g.table);
	q2_name_set_release(&g.names);
	q2_name_set_release(&g.tables);
	failed = failed || q2_claims_judge(g.trust, err) || judge_tails(g.trust, err);
	if (failed)
		q2_bitmap_trust_free(g.trust);
	else
		*out = g.trust;
	return failed ? -1 : 0;
}
