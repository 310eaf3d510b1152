/* SPDX-License-Identifier: MIT */
/* The rules of bitmaps for one at a time, without counting who uses which cluster. See bitmap.h. */
#include <stdio.h>

#include <qcow2/bitmap.h>
#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/error.h"
#include "rules/bitmap_tail.h"
#include "rules/rules.h"

/* How many different names and tables duplicates are looked for among. */
#define NAMES_MAX 1000000
/* What holes may add to what the file stores before the rest of tables is not looked at. */
#define SLACK_BYTES (UINT64_C(1) << 20)

struct qcow2_bitmap_health {
	const struct qcow2_image *image;
	struct qcow2_table *table;
	uint8_t *piece;
	struct q2_names_seen seen;
	uint64_t table_bytes_left;
};

int qcow2_bitmap_health_open(const struct qcow2_image *image, struct qcow2_bitmap_health **out,
			     struct qcow2_error *err)
{
	struct qcow2_bitmap_health *health;

	if (!qcow2_image_geometry(image))
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the cluster size is not known");
	health = q2_alloc(sizeof(*health));
	if (!health)
		return q2_fail_memory(err);
	health->image = image;
	q2_hash_key_make(&health->seen.key);
	q2_name_set_init(&health->seen.set, NAMES_MAX);
	q2_name_set_init(&health->seen.tables, NAMES_MAX);
	health->table_bytes_left =
		qcow2_source_allocated_bytes(qcow2_image_source(image)) + SLACK_BYTES;
	health->piece = q2_alloc_buffer(Q2_TAIL_PIECE_BYTES);
	if (!health->piece || qcow2_table_open(image, &health->table, err)) {
		qcow2_bitmap_health_close(health);
		return q2_fail_memory(err);
	}
	*out = health;
	return 0;
}

void qcow2_bitmap_health_close(struct qcow2_bitmap_health *health)
{
	if (!health)
		return;
	q2_name_set_release(&health->seen.set);
	q2_name_set_release(&health->seen.tables);
	qcow2_table_close(health->table);
	q2_free(health->piece);
	q2_free(health);
}

static int examine_table(struct qcow2_bitmap_health *health, const struct qcow2_bitmap *bitmap,
			 const struct q2_reporter *reporter, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(health->image);
	const struct qcow2_bitmap_dir_entry *e = &bitmap->entry;
	uint64_t needed = qcow2_bitmap_table_entries_needed(geometry, e->granularity_bits);
	uint64_t there =
		qcow2_table_begin(health->table, e->bitmap_table_offset, e->bitmap_table_size);
	struct q2_entry_place place = {.guest_byte = bitmap->index};
	char owner[64];

	if (there > health->table_bytes_left / 8)
		there = health->table_bytes_left / 8;
	health->table_bytes_left -= there * 8;
	snprintf(owner, sizeof(owner), "bitmaps/%llu/table", (unsigned long long)bitmap->index);
	place.owner = owner;
	for (uint64_t i = 0; i < there; i++) {
		uint64_t entry, offset;

		if (qcow2_table_entry(health->table, i, &entry, err))
			return -1;
		if (entry <= 1)
			continue;
		place.index = i;
		place.offset_bytes = e->bitmap_table_offset + i * 8;
		q2_rules_bitmap_table_entry(geometry, &place, entry, reporter);
		offset = qcow2_bitmap_table_entry_decode(entry).offset;
		if (i + 1 == needed && offset != 0 && offset < geometry->file_size_bytes &&
		    !(e->flags & QCOW2_BITMAP_IN_USE) &&
		    q2_rule_bitmap_tail(health->image, bitmap, offset, health->piece, reporter,
					err))
			return -1;
	}
	return 0;
}

/* Who hears of problems, until nobody wants to. */
struct listener {
	qcow2_problem_callback problem;
	void *opaque;
	bool stopped;
};

static void hear(void *opaque, const struct qcow2_problem *problem)
{
	struct listener *listener = opaque;

	if (!listener->stopped)
		listener->stopped = listener->problem(listener->opaque, problem) != 0;
}

int qcow2_bitmap_health_examine(struct qcow2_bitmap_health *health,
				const struct qcow2_bitmap *bitmap, qcow2_problem_callback problem,
				void *opaque, struct qcow2_error *err)
{
	struct listener listener = {.problem = problem, .opaque = opaque};
	const struct q2_reporter reporter = {.problem = hear, .opaque = &listener};

	q2_rules_bitmap(health->image, bitmap, &health->seen, &reporter);
	if (health->seen.short_of_memory)
		return q2_fail_memory(err);
	if (bitmap->raw.size >= qcow2_bitmap_dir_entry_structure.size_bytes &&
	    examine_table(health, bitmap, &reporter, err))
		return -1;
	if (listener.stopped)
		return q2_fail(err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
	return 0;
}
