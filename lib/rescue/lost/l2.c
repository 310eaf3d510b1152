/* SPDX-License-Identifier: MIT */
/*
 * L2 tables of which entries are gone: they read as zeros, while clusters leak to which they may
 * have led. Two things tell which entry led where. A snapshot's table has the entries that were not
 * written to since, and refcounts show which of those the active disk has as well. And a program
 * that writes in order puts clusters side by side: what leaks behind the cluster of the entry before
 * the hole, and fits the hole, is what the hole led to.
 */
#include "rescue/lost/l2.h"

#include "base/error.h"
#include "image/guest.h"

/* What disks lose at once, at the least. */
#define SECTOR_BYTES 512
/* Fewer clusters fit a hole by chance. */
#define FIT_LEAST 8
/* Clusters of other metadata that a writer puts between those of a table. */
#define GAP_MOST 4
/* Clusters that are looked up in all. */
#define LOOKUPS_MOST   (UINT64_C(1) << 30)
#define SNAPSHOTS_MOST 65536

#define CONFIDENCE_FITS       90
#define CONFIDENCE_COUNT_FITS 80
#define CONFIDENCE_MORE       60
#define CONFIDENCE_FEWER      45

/* Entries [first, end) that are 0, and the clusters in front of it and behind it, or UINT64_MAX. */
struct hole {
	uint64_t first, end;
	uint64_t before, after;
};

/* Clusters that leak, side by side but for metadata, and the one that ended them. */
struct leaks {
	uint64_t count, end;
};

/* The cluster that an entry leads to, or UINT64_MAX. */
static uint64_t target(const struct q2_rebuild *rebuild, uint64_t index)
{
	const struct qcow2_geometry *geometry = rebuild->state->geometry;
	uint64_t entry = q2_l2_entry_at(rebuild->table, index, geometry->l2_entry_bytes);
	uint64_t begin, end;

	if (qcow2_l2_is_compressed(entry) || !q2_lost_target(geometry, entry, &begin, &end))
		return UINT64_MAX;
	return begin >> geometry->cluster_bits;
}

/* A writer puts refcount blocks between data. L2 tables begin what another table leads to. */
static bool is_passed(const struct q2_rebuild *rebuild, uint64_t cluster)
{
	const struct q2_cluster_state uses = q2_clusters_get(&rebuild->state->clusters, cluster);

	return cluster == rebuild->cluster || (uses.count > 0 && uses.use == QCOW2_USE_METADATA);
}

/* Finds at most `most` clusters that leak, from one on. */
static int find_leaks(struct q2_rebuild *rebuild, uint64_t from, uint64_t most, struct leaks *leaks)
{
	struct q2_lost_state *state = rebuild->state;
	unsigned passed = 0;
	bool is_leak;

	leaks->count = 0;
	for (leaks->end = from; leaks->count < most && leaks->end < state->file_clusters;
	     leaks->end++) {
		if (rebuild->lookups_left == 0)
			return 0;
		rebuild->lookups_left--;
		if (q2_lost_leaks(state, leaks->end, &is_leak))
			return -1;
		if (is_leak)
			rebuild->leaks[leaks->count++] = leaks->end;
		else if (!is_passed(rebuild, leaks->end) || passed++ == GAP_MOST)
			return 0;
		if (is_leak)
			passed = 0;
	}
	return 0;
}

/* ---- what lies side by side ---- */

/* What lies in front of the table's data, and behind it, by the tables of the places beside. */
static uint64_t before_table(const struct q2_rebuild *rebuild)
{
	const struct q2_lost_state *state = rebuild->state;
	uint32_t table = rebuild->slot > 0 ? state->slots[rebuild->slot - 1].table : Q2_LOST_NONE;

	if (table == Q2_LOST_NONE || state->tables[table].data == 0 ||
	    state->tables[table].last_index + 1 != state->geometry->l2_entries)
		return UINT64_MAX;
	return state->tables[table].last_bytes >> state->geometry->cluster_bits;
}

static uint64_t after_table(const struct q2_rebuild *rebuild)
{
	const struct q2_lost_state *state = rebuild->state;
	uint32_t table = rebuild->slot + 1 < state->slot_count
				 ? state->slots[rebuild->slot + 1].table
				 : Q2_LOST_NONE;

	if (table == Q2_LOST_NONE || state->tables[table].data == 0 ||
	    state->tables[table].first_index != 0)
		return UINT64_MAX;
	return state->tables[table].first_bytes >> state->geometry->cluster_bits;
}

/* Finds the next hole at or behind `from`. */
static bool find_hole(const struct q2_rebuild *rebuild, uint64_t from, struct hole *hole)
{
	while (from < rebuild->entries && !q2_rebuild_is_zero(rebuild, from))
		from++;
	hole->first = hole->end = from;
	while (hole->end < rebuild->entries && q2_rebuild_is_zero(rebuild, hole->end))
		hole->end++;
	if (hole->end == from)
		return false;
	hole->before = from > 0 ? target(rebuild, from - 1) : before_table(rebuild);
	hole->after =
		hole->end < rebuild->entries ? target(rebuild, hole->end) : after_table(rebuild);
	return true;
}

/* Whether a hole begins and ends as what disks lose does. */
static bool is_of_sectors(const struct q2_rebuild *rebuild, const struct hole *hole)
{
	const unsigned width = rebuild->state->geometry->l2_entry_bytes;

	return hole->first * width % SECTOR_BYTES == 0 &&
	       (hole->end == rebuild->entries || hole->end * width % SECTOR_BYTES == 0);
}

/* Whether leaks end where what follows the hole begins; its own table may lie in between. */
static bool end_in_time(const struct q2_rebuild *rebuild, const struct hole *hole,
			const struct leaks *leaks)
{
	const struct q2_lost_state *state = rebuild->state;

	if (leaks->end == hole->after)
		return true;
	return hole->end == rebuild->entries && rebuild->slot + 1 < state->slot_count &&
	       state->slots[rebuild->slot + 1].table_bytes >> state->geometry->cluster_bits ==
		       leaks->end &&
	       hole->after > leaks->end && hole->after - leaks->end <= GAP_MOST;
}

/* How sure it is that these clusters were those of the hole; 0: they were not. */
static unsigned judge(const struct q2_rebuild *rebuild, const struct hole *hole,
		      const struct leaks *leaks, const char **text)
{
	const uint64_t count = hole->end - hole->first;
	const bool fits = leaks->count == count;

	if (leaks->count == 0)
		return 0;
	if (fits && end_in_time(rebuild, hole, leaks)) {
		*text = "as many clusters leak as entries are gone, and they lie between those of "
			"the "
			"entries beside";
		return CONFIDENCE_FITS;
	}
	if (!is_of_sectors(rebuild, hole))
		return 0;
	if (fits && count >= FIT_LEAST) {
		*text = "as many clusters leak side by side as entries are gone";
		return CONFIDENCE_COUNT_FITS;
	}
	*text = "clusters leak side by side, but not as many as entries are gone: which were "
		"empty, "
		"nothing tells";
	if (leaks->count > count)
		return hole->before != UINT64_MAX ? CONFIDENCE_MORE : Q2_LOST_POSSIBLE;
	return hole->before != UINT64_MAX || end_in_time(rebuild, hole, leaks) ? CONFIDENCE_FEWER
									       : Q2_LOST_POSSIBLE;
}

/* Leads the entries of a hole to what leaks, from its begin, or up to its end. */
static int fill_hole(struct q2_rebuild *rebuild, const struct hole *hole, const struct leaks *leaks)
{
	const struct qcow2_geometry *geometry = rebuild->state->geometry;
	const struct qcow2_l2_subclusters all = {.allocated = UINT32_MAX};
	const uint64_t room = hole->end - hole->first;
	const uint64_t count = leaks->count < room ? leaks->count : room;
	uint64_t first = hole->first, refcount;

	if (leaks->count < room && hole->before == UINT64_MAX && end_in_time(rebuild, hole, leaks))
		first = hole->end - leaks->count;
	for (uint64_t i = 0; i < count; i++) {
		struct qcow2_l2_entry entry = {.offset = rebuild->leaks[i]
							 << geometry->cluster_bits};

		if (q2_lost_refcount(rebuild->state, rebuild->leaks[i], &refcount))
			return -1;
		entry.copied = refcount == 1;
		q2_rebuild_set(rebuild, first + i, qcow2_l2_entry_encode(&entry),
			       qcow2_l2_subclusters_encode(&all));
	}
	return 0;
}

static int mend_hole(struct q2_rebuild *rebuild, const struct hole *hole)
{
	const char *text = "";
	unsigned confidence;
	struct leaks leaks;
	uint64_t from = hole->before + 1;

	if (hole->before == UINT64_MAX) {
		if (hole->first > 0)
			return 0;
		from = rebuild->cluster + 1;
	}
	if (find_leaks(rebuild, from, hole->end - hole->first + 1, &leaks))
		return -1;
	/* One more than fits ends with the one that is too many. */
	confidence = judge(rebuild, hole, &leaks, &text);
	if (confidence == 0)
		return 0;
	if (rebuild->compressed && confidence < CONFIDENCE_FITS)
		confidence = Q2_LOST_POSSIBLE;
	return fill_hole(rebuild, hole, &leaks) || q2_rebuild_tell(rebuild, confidence, text) ? -1
											      : 0;
}

static int mend_table(struct q2_rebuild *rebuild)
{
	struct q2_lost_state *state = rebuild->state;
	const uint64_t cluster_bytes = state->geometry->cluster_size_bytes;
	struct hole hole = {0};

	if (q2_lost_read_cluster(state, rebuild->cluster))
		return -1;
	memcpy(rebuild->table, state->buffer, (size_t)cluster_bytes);
	if (!find_hole(rebuild, 0, &hole))
		return 0;
	if (rebuild->snapshots.count > 0 && q2_rebuild_ask_snapshots(rebuild))
		return -1;
	for (uint64_t at = 0; rebuild->lookups_left > 0 && find_hole(rebuild, at, &hole);
	     at = hole.end)
		if (mend_hole(rebuild, &hole))
			return -1;
	return 0;
}

/* The entries of a table that map the disk. */
static uint64_t entries_of(const struct q2_lost_state *state, uint32_t slot)
{
	const struct qcow2_geometry *geometry = state->geometry;
	const struct q2_guest_range guest =
		q2_guest_l1(geometry, geometry->virtual_size_bytes, slot, 1);

	return (guest.length_bytes + geometry->cluster_size_bytes - 1) >> geometry->cluster_bits;
}

/* Only tables that one entry alone leads to, and that the image uses for nothing else. */
static int mend_tables(struct q2_rebuild *rebuild)
{
	struct q2_lost_state *state = rebuild->state;
	const size_t places = state->lost->places.count;

	for (rebuild->slot = 0; rebuild->slot < state->slot_count; rebuild->slot++) {
		const struct q2_lost_slot *slot = &state->slots[rebuild->slot];

		if (slot->kind != Q2_SLOT_LIVE && slot->kind != Q2_SLOT_EMPTIED)
			continue;
		rebuild->cluster = slot->table_bytes >> state->geometry->cluster_bits;
		rebuild->entries = entries_of(state, rebuild->slot);
		if (q2_clusters_get(&state->clusters, rebuild->cluster).count == 1 &&
		    mend_table(rebuild))
			return -1;
	}
	state->lost->emptied = state->lost->places.count - places;
	return 0;
}

static bool has_compressed(const struct q2_lost_state *state)
{
	for (uint32_t i = 0; i < state->table_count; i++)
		if (state->tables[i].compressed > 0)
			return true;
	return false;
}

int q2_lost_rebuild(struct q2_lost_state *state)
{
	const struct qcow2_geometry *geometry = state->geometry;
	struct q2_rebuild rebuild = {
		.state = state, .lookups_left = LOOKUPS_MOST, .compressed = has_compressed(state)};
	const uint64_t entries = geometry->l2_entries, bytes = geometry->cluster_size_bytes;
	int failed;

	/* Without refcounts, nothing tells what leaks. */
	if (!state->refcounts || geometry->data_file)
		return 0;
	q2_vector_init(&rebuild.snapshots, sizeof(struct q2_snapshot_l1), SNAPSHOTS_MOST);
	rebuild.table = q2_memory_get(&state->memory, bytes, 1);
	rebuild.filled = q2_memory_get(&state->memory, entries, 1);
	rebuild.leaks = q2_memory_get(&state->memory, entries + 1, sizeof(uint64_t));
	if (rebuild.table && rebuild.filled && rebuild.leaks)
		failed = q2_rebuild_read_snapshots(&rebuild) || mend_tables(&rebuild);
	else
		failed = q2_memory_fail(&state->memory, state->err);
	q2_memory_put(&state->memory, rebuild.table, bytes, 1);
	q2_memory_put(&state->memory, rebuild.filled, entries, 1);
	q2_memory_put(&state->memory, rebuild.leaks, entries + 1, sizeof(uint64_t));
	q2_vector_release(&rebuild.snapshots);
	return failed ? -1 : 0;
}
