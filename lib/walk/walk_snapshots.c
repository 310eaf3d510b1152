/* SPDX-License-Identifier: MIT */
/* Walks the snapshot table: each entry with its extra data, ID, name and, if asked, its L1 table.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "walk/lost.h"

/* The most IDs among which duplicates are found: above QEMU's limit of 65,536 snapshots. */
#define NAMES_MAX   1000000
#define FIXED_BYTES sizeof(struct qcow2_snapshot_header)

static void walk_names(struct q2_walk_state *w, const struct qcow2_snapshot *snapshot)
{
	uint64_t at = snapshot->offset_bytes + FIXED_BYTES + snapshot->header.extra_data_size;
	struct qcow2_value value = {.name = "id",
				    .kind = QCOW2_VALUE_TEXT,
				    .style = QCOW2_STYLE_TEXT,
				    .bytes = snapshot->id,
				    .raw = snapshot->id,
				    .offset_bytes = at};

	q2_walk_label(w, &value);
	value.name = "name";
	value.bytes = value.raw = snapshot->name;
	value.offset_bytes += snapshot->header.id_str_size;
	q2_walk_label(w, &value);
}

/* Tells the known fields that the extra data reaches, then the bytes behind them. */
static void walk_extra(struct q2_walk_state *w, const struct qcow2_snapshot *snapshot)
{
	struct q2_placed placed = {snapshot->extra_data, snapshot->offset_bytes + FIXED_BYTES};
	size_t known = qcow2_snapshot_extra_structure.size_bytes;

	q2_walk_fields(w, &qcow2_snapshot_extra_structure, &placed);
	if (placed.bytes.size < known)
		known = placed.bytes.size & ~(size_t)7;
	if (placed.bytes.size > known)
		q2_walk_bytes(
			w, "unknown-extra-data", false,
			(struct qcow2_bytes){placed.bytes.data + known, placed.bytes.size - known},
			placed.offset_bytes + known);
}

static void walk_l1(struct q2_walk_state *w, const struct q2_walk_l1 *l1)
{
	struct qcow2_node list = q2_walk_node("l1", "L1 table of the snapshot");
	uint64_t omitted;

	if (!w->geometry || !q2_walk_enter_bulk(w, "l1"))
		return;
	q2_walk_begin_list(w, &list);
	omitted = q2_walk_l1_rows(w, l1);
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
	q2_walk_omitted(w, "l1-omitted", omitted);
}

/* Walks the L1 table of a snapshot, and the L2 tables below it. */
static void walk_tables(struct q2_walk_state *w, const struct qcow2_snapshot *snapshot)
{
	const struct q2_disk disk = {snapshot->disk_size_bytes, true, snapshot->index,
				     snapshot->name};
	char path[48];
	const struct q2_walk_l1 l1 = {path, snapshot->header.l1_table_offset,
				      snapshot->header.l1_size, &disk};

	if (snapshot->raw.size < FIXED_BYTES)
		return;
	snprintf(path, sizeof(path), "snapshots/%" PRIu64 "/l1", snapshot->index);
	walk_l1(w, &l1);
	q2_walk_l2_tables(w, &l1);
}

static void walk_snapshot(struct q2_walk_state *w, const struct qcow2_snapshot *snapshot)
{
	struct q2_placed placed = {snapshot->raw, snapshot->offset_bytes};
	struct qcow2_node node = q2_walk_node(NULL, "Snapshot");

	node.offset_bytes = snapshot->offset_bytes;
	node.offset_key = "offset";
	node.index = snapshot->index;
	q2_walk_begin(w, &node);
	walk_names(w, snapshot);
	q2_walk_fields(w, &qcow2_snapshot_structure, &placed);
	walk_extra(w, snapshot);
	walk_tables(w, snapshot);
	q2_walk_end(w, &node);
}

/* Applies the rules to an entry, then walks it if it is wanted. */
static void visit(struct q2_walk_state *w, const struct qcow2_snapshot *snapshot,
		  struct q2_names_seen *seen)
{
	struct q2_step step = {
		.name = snapshot->name, .index = snapshot->index, .id = &snapshot->id};

	if (!w->probe)
		q2_rules_snapshot(w->image, snapshot, seen, &w->reporter);
	if (!q2_walk_enter(w, &step))
		return;
	walk_snapshot(w, snapshot);
	q2_walk_leave(w);
}

/*
 * Notes what a snapshot is to a segment. As in QEMU, a text means an ID, or else a name. A number
 * means an index or a name first: the paths that are printed hold indexes.
 */
struct meaning {
	struct q2_segment *segment;
	bool is_id, is_index_or_name;
};

static void compare(struct meaning *meaning, const struct qcow2_snapshot *snapshot)
{
	const struct q2_segment *segment = meaning->segment;

	meaning->is_id |= q2_segment_calls(segment, snapshot->id);
	meaning->is_index_or_name |=
		segment->numeric &&
		(segment->first == snapshot->index || q2_segment_calls(segment, snapshot->name));
	meaning->segment->by_id = meaning->is_id && !meaning->is_index_or_name;
}

/* Decides whether the selectors that go on with a text or a number mean the ID of a snapshot. */
static int find_ids(struct q2_walk_state *w)
{
	struct meaning meanings[Q2_SELECTORS_MAX];
	size_t count = 0;
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	uint64_t used = 0;
	int more = 0;

	for (size_t s = 0; s < w->selection->count; s++) {
		struct q2_segment *segment = q2_selection_next(w->selection, s);

		if (segment && segment->literal)
			meanings[count++] = (struct meaning){.segment = segment};
	}
	if (count == 0)
		return 0;
	if (qcow2_snapshots_open(w->image, &snapshots, w->err))
		return -1;
	while (used <= w->left.directories &&
	       (more = qcow2_snapshots_next(snapshots, &snapshot, w->err)) > 0) {
		for (size_t i = 0; i < count; i++)
			compare(&meanings[i], snapshot);
		used = snapshot->offset_bytes - w->header->snapshot_offset;
	}
	qcow2_snapshots_close(snapshots);
	return more < 0 ? -1 : 0;
}

/* Walks the entries of the table. Returns how many the budget did not pay for. */
static uint64_t walk_entries(struct q2_walk_state *w, struct qcow2_snapshots *snapshots)
{
	struct q2_names_seen seen = {.key = w->hash_key};
	const struct qcow2_snapshot *snapshot;
	uint64_t used = 0, entries = 0;
	int more = 1;

	q2_name_set_init(&seen.set, NAMES_MAX);
	while (!q2_walk_over(w) && used <= w->left.directories) {
		more = qcow2_snapshots_next(snapshots, &snapshot, w->err);
		if (more <= 0)
			break;
		visit(w, snapshot, &seen);
		used = snapshot->offset_bytes - w->header->snapshot_offset;
		entries++;
	}
	if (seen.short_of_memory)
		more = q2_fail_memory(w->err);
	if (more < 0)
		q2_walk_fail(w);
	q2_name_set_release(&seen.set);
	return more > 0 && !q2_walk_over(w) ? w->header->nb_snapshots - entries : 0;
}

void q2_walk_snapshots(struct q2_walk_state *w)
{
	struct qcow2_node list = q2_walk_node("snapshots", NULL);
	struct qcow2_snapshots *snapshots = NULL;
	struct qcow2_error reason;
	uint64_t omitted = 0;

	if (w->header->nb_snapshots == 0)
		q2_walk_lost_list(w, list.key, "this image has no snapshots");
	/* An image without snapshots shows an empty list only if it was asked for. */
	if ((w->header->nb_snapshots == 0 && w->empty == 0) || !q2_walk_enter_key(w, list.key))
		return;
	q2_walk_begin_list(w, &list);
	if (qcow2_snapshots_open(w->image, &snapshots, &reason) == 0) {
		if (find_ids(w))
			q2_walk_fail(w);
		else
			omitted = walk_entries(w, snapshots);
	} else if (reason.code == QCOW2_ERROR_MEMORY) {
		*w->err = reason;
		q2_walk_fail(w);
	} else { /* the rules of the header tell why as well */
		q2_walk_lost_none(w, reason.text);
	}
	qcow2_snapshots_close(snapshots);
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
	q2_walk_omitted(w, "snapshots-omitted", omitted);
}
