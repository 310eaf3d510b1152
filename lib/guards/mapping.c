/* SPDX-License-Identifier: MIT */
/* See mapping.h. */
#include "guards/mapping.h"

#include <qcow2/entry.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/hash.h"
#include "guards/touched.h"

int q2_maps_nothing(const struct qcow2_image *image, bool *nothing, struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(image);
	struct qcow2_table *table;
	uint64_t there, entry = 0;

	*nothing = false;
	if (!qcow2_image_geometry(image) || header->nb_snapshots > 0)
		return 0;
	if (qcow2_table_open(image, &table, err))
		return -1;
	there = qcow2_table_begin(table, header->l1_table_offset, header->l1_size);
	*nothing = there == header->l1_size;
	for (uint64_t i = 0; i < there && *nothing; i++)
		*nothing = qcow2_table_entry(table, i, &entry, err) == 0 && entry == 0;
	qcow2_table_close(table);
	return 0;
}

/* An L2 table, and which guest clusters it maps. */
struct l2 {
	const struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	struct qcow2_table *table;
	uint64_t index, clusters; /* of the table; of the disk */
};

/* Sets *plain if entry `i` of the table is data at its own guest offset. */
static int is_plain(const struct l2 *l2, uint64_t i, bool *plain, struct qcow2_error *err)
{
	unsigned words = l2->geometry->l2_entry_bytes / 8;
	uint64_t guest = (l2->index * l2->geometry->l2_entries + i) << l2->geometry->cluster_bits;
	const uint64_t all = QCOW2_ENTRY_MASK(l2_subclusters, allocated);
	uint64_t entry, subclusters = all;
	struct qcow2_l2_entry fields;

	if (qcow2_table_entry(l2->table, i * words, &entry, err) ||
	    (words > 1 && qcow2_table_entry(l2->table, i * words + 1, &subclusters, err)))
		return -1;
	fields = qcow2_l2_entry_decode(entry);
	*plain = qcow2_l2_classify(entry, words > 1, true) == QCOW2_L2_DATA && fields.copied &&
		 fields.offset == guest && subclusters == all;
	return 0;
}

static int is_table_plain(struct l2 *l2, uint64_t offset, bool *plain, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = l2->geometry;
	uint64_t first = l2->index * geometry->l2_entries, words = geometry->cluster_size_bytes / 8;

	*plain = offset != 0 && qcow2_table_begin(l2->table, offset, words) == words;
	for (uint64_t i = 0; i < geometry->l2_entries && first + i < l2->clusters && *plain; i++)
		if (is_plain(l2, i, plain, err))
			return -1;
	return 0;
}

static int is_all_plain(struct l2 *l2, struct qcow2_table *l1, bool *plain, struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(l2->image);
	uint64_t needed = l2->geometry->l1_entries_needed, entry;

	*plain = qcow2_table_begin(l1, header->l1_table_offset, header->l1_size) >= needed;
	for (l2->index = 0; l2->index < needed && *plain; l2->index++)
		if (qcow2_table_entry(l1, l2->index, &entry, err) ||
		    is_table_plain(l2, qcow2_l1_entry_decode(entry).offset, plain, err))
			return -1;
	return 0;
}

int q2_is_raw_alone(const struct qcow2_image *image, bool *is_raw, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	struct l2 l2 = {.image = image, .geometry = geometry};
	struct qcow2_table *l1 = NULL;
	int failed;

	*is_raw = false;
	if (!geometry || !geometry->data_file || qcow2_image_backing_name(image).size > 0)
		return 0;
	l2.clusters = q2_div_ceil_u64(geometry->virtual_size_bytes, geometry->cluster_size_bytes);
	failed = qcow2_table_open(image, &l1, err) || qcow2_table_open(image, &l2.table, err) ||
		 is_all_plain(&l2, l1, is_raw, err);
	qcow2_table_close(l1);
	qcow2_table_close(l2.table);
	if (!failed)
		return 0;
	*is_raw = false;
	return q2_is_fault(err) ? -1 : 0;
}

#define TABLES_MOST ((size_t)1 << 22)

/* L2 tables before and after a plan, compared for compressed clusters. */
struct compressed_search {
	const struct qcow2_plan *plan;
	struct qcow2_table *before, *after; /* readers */
	struct q2_name_set seen;            /* tables, by offset: many entries may lead to one */
	uint64_t words;                     /* of a table */
	unsigned step;                      /* words of an entry */
	bool found;
	struct qcow2_error *err;
};

/* Compares words of the table at which the readers are; `before` of them are in the old file. */
static int search_words(struct compressed_search *search, struct q2_touched_words words,
			uint64_t before)
{
	uint64_t old, new;

	for (uint64_t i = words.first / search->step * search->step;
	     i < words.end && !search->found; i += search->step) {
		old = 0;
		if (qcow2_table_entry(search->after, i, &new, search->err) ||
		    (i < before && qcow2_table_entry(search->before, i, &old, search->err)))
			return -1;
		search->found = qcow2_l2_is_compressed(new) &&
				((old ^ new) & ~QCOW2_ENTRY_MASK(l2_entry, copied)) != 0;
	}
	return 0;
}

/* Stops with 1 at the first one that the plan changes. */
static int search_table(void *opaque, uint64_t offset)
{
	struct compressed_search *search = opaque;
	struct q2_touched_words words = {0, 0};
	uint64_t there, before, earlier;

	if (q2_name_set_insert(&search->seen, offset, 0, &earlier) == QCOW2_ERROR_MEMORY)
		return q2_fail_memory(search->err);
	if (earlier != Q2_NAME_SET_NEW)
		return 0;
	there = qcow2_table_begin(search->after, offset, search->words);
	before = qcow2_table_begin(search->before, offset, search->words);
	while (!search->found && q2_next_touched_words(search->plan, offset, there, &words))
		if (search_words(search, words, before))
			return -1;
	return search->found;
}

int q2_changes_compressed(const struct qcow2_image *before, const struct qcow2_image *after,
			  const struct qcow2_plan *plan, bool *changes, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(after);
	struct compressed_search search = {.plan = plan,
					   .words = geometry->cluster_size_bytes / 8,
					   .step = geometry->l2_entry_bytes / 8,
					   .err = err};
	const struct q2_touched_tables told = {.opaque = &search, .l2 = search_table};
	int failed;

	q2_name_set_init(&search.seen, TABLES_MOST);
	failed = qcow2_table_open(before, &search.before, err) ||
		 qcow2_table_open(after, &search.after, err) ||
		 q2_each_touched_table(after, plan, &told, err) < 0;
	qcow2_table_close(search.before);
	qcow2_table_close(search.after);
	q2_name_set_release(&search.seen);
	*changes = search.found;
	return failed ? -1 : 0;
}
