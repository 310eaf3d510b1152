/* SPDX-License-Identifier: MIT */
/*
 * See holes.h. Zero entries are nothing unusual, and neither are leaks: a writer that was killed
 * leaves both. So a hole has to begin and end as what disks lose does, and the leaks have to lie
 * where a writer that writes in order puts clusters.
 */
#include "check/holes.h"

#include <inttypes.h>

#include "check/stages.h"
#include "format/l2_table.h"

/* What disks lose at once, at the least. */
#define SECTOR_BYTES 512
/* Fewer leaks fit by chance. */
#define LEAKS_LEAST UINT64_C(8)
/* What is read of tables unless the check is deep: those of 2 TiB with clusters of 64 KiB. */
#define BYTES_MOST (UINT64_C(256) << 20)

/* A table that is looked at. */
struct look {
	struct q2_check *check;
	const struct q2_orphans *orphans;
	const struct q2_l2_ref *ref;
	struct q2_disk disk;
	const uint8_t *bytes;
	uint64_t entries; /* that the file has, as far as the disk goes */
};

/* Entries [first, end) of it. */
struct hole {
	uint64_t first, end;
};

static bool is_zero(const struct look *look, uint64_t index)
{
	unsigned width = look->check->geometry->l2_entry_bytes;

	return q2_l2_entry_at(look->bytes, index, width) == 0 &&
	       q2_l2_subclusters_at(look->bytes, index, width) == 0;
}

/* The cluster that an entry leads to, or UINT64_MAX. */
static uint64_t target(const struct look *look, uint64_t index)
{
	const struct qcow2_geometry *geometry = look->check->geometry;
	uint64_t entry = q2_l2_entry_at(look->bytes, index, geometry->l2_entry_bytes);
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l2_entry, offset);

	if (qcow2_l2_is_compressed(entry) || offset == 0 || offset >= geometry->file_size_bytes ||
	    offset % geometry->cluster_size_bytes != 0)
		return UINT64_MAX;
	return offset >> geometry->cluster_bits;
}

static bool is_metadata(const struct q2_cluster_state *state)
{
	return state->use == QCOW2_USE_METADATA || state->use == QCOW2_USE_L2_COPIED ||
	       state->use == QCOW2_USE_L2_SHARED;
}

/* Leaks next to a cluster, and the cluster that ended the search for them. */
struct leaks {
	uint64_t count, end;
};

/*
 * How many of the `most` clusters behind a cluster, or in front of it, leak and hold something. The
 * nearest one has to. Metadata in between does not count, since writers put tables there; other
 * clusters that nothing refers to are zeros that the guest wrote. Data of others ends the search.
 */
static struct leaks count_leaks(const struct look *look, uint64_t cluster, bool behind,
				uint64_t most)
{
	struct leaks leaks = {.count = 0, .end = cluster};
	uint64_t seen = 0, skipped = 0;

	if (cluster == UINT64_MAX)
		return leaks;
	while (seen <= most && skipped <= most) {
		struct q2_cluster_state state;

		if (behind ? leaks.end + 1 >= look->check->file_clusters : leaks.end == 0)
			break;
		leaks.end += behind ? 1 : UINT64_MAX;
		if (seen < most && q2_bits_has(&look->orphans->content, leaks.end)) {
			seen++;
			leaks.count++;
			continue;
		}
		state = q2_clusters_get(&look->check->workers[0].clusters, leaks.end);
		if (is_metadata(&state)) {
			skipped++;
			continue;
		}
		/* Most of them have to leak, so that a search in vain is short. */
		if (state.use != QCOW2_USE_NONE || seen - leaks.count >= most / 2 ||
		    leaks.count == 0)
			break;
		seen++;
	}
	return leaks;
}

/* The whole sectors of a run of zero entries. False if it has none. */
static bool whole_sectors(const struct look *look, const struct hole *run, struct hole *hole)
{
	uint64_t sector = SECTOR_BYTES / look->check->geometry->l2_entry_bytes;

	hole->first = (run->first + sector - 1) / sector * sector;
	hole->end = run->end == look->entries ? run->end : run->end / sector * sector;
	return hole->first < hole->end;
}

/* At least `least`, and more than by chance, if there are so many. */
static bool are_enough(const struct look *look, uint64_t leaks, uint64_t least)
{
	uint64_t all = look->orphans->content.count;

	return leaks > 0 && leaks >= least && (leaks >= LEAKS_LEAST || leaks == all);
}

/*
 * Whether leaks fit the whole sectors of a run of zero entries. If they fill the file between the
 * clusters of both neighbours, half of the entries may have been unallocated. Next to one neighbour
 * alone, three quarters of them have to leak, as a writer that was killed leaves leaks, too; and
 * all if the run ends elsewhere than the sectors do.
 */
static bool fits(const struct look *look, const struct hole *run, const struct hole *hole)
{
	uint64_t count = hole->end - hole->first;
	uint64_t before = run->first > 0 ? target(look, run->first - 1) : UINT64_MAX;
	uint64_t after = run->end < look->entries ? target(look, run->end) : UINT64_MAX;
	bool exact = run->first == hole->first && run->end == hole->end;
	uint64_t least = exact ? count - count / 4 : count;
	struct leaks leaks = {.count = 0};

	if (look->orphans->content.count < (count + 1) / 2)
		return false;
	if (run->first == hole->first)
		leaks = count_leaks(look, before, true, count);
	if (exact && after != UINT64_MAX && leaks.end == after &&
	    are_enough(look, leaks.count, (count + 1) / 2))
		return true;
	if (are_enough(look, leaks.count, least))
		return true;
	return run->end == hole->end &&
	       are_enough(look, count_leaks(look, after, false, count).count, least);
}

static void report_hole(const struct look *look, const struct hole *hole)
{
	const struct qcow2_geometry *geometry = look->check->geometry;
	const struct q2_l2_ref *ref = look->ref;
	struct qcow2_claim claim = {.part = QCOW2_CLAIM_L2_TABLE, .index = ref->index};
	char where[QCOW2_CLAIM_WHERE_MAX];

	q2_claim_set_list(&claim, ref->list);
	q2_report(
		&look->check->reporter,
		&(struct q2_finding){
			.id = QCOW2_PROBLEM_L2_ENTRIES_EMPTY,
			.offset_bytes = ref->offset_bytes + hole->first * geometry->l2_entry_bytes,
			.disk = &look->disk,
			.guest = q2_guest_clusters(geometry, look->disk.size_bytes,
						   ref->index * geometry->l2_entries + hole->first,
						   hole->end - hole->first),
			.shared_by = ref->weight,
		},
		"%s/%" PRIu64 "..%" PRIu64, qcow2_claim_where(&claim, where, sizeof(where)),
		hole->first, hole->end - 1);
}

static void look_at_runs(const struct look *look)
{
	struct hole run, hole;

	for (uint64_t i = 0; i < look->entries; i++) {
		if (!is_zero(look, i))
			continue;
		run.first = i;
		while (i < look->entries && is_zero(look, i))
			i++;
		run.end = i;
		if (whole_sectors(look, &run, &hole) && fits(look, &run, &hole))
			report_hole(look, &hole);
	}
}

/* How many entries of a table map a part of the disk: those behind are always zero. */
static uint64_t entries_of_disk(const struct look *look)
{
	const struct qcow2_geometry *geometry = look->check->geometry;
	uint64_t clusters = (look->disk.size_bytes >> geometry->cluster_bits) +
			    (look->disk.size_bytes % geometry->cluster_size_bytes != 0);
	uint64_t before = look->ref->index * geometry->l2_entries;

	/* The saved state of the machine lies past the end of the disk of a snapshot. */
	if (clusters <= before || clusters - before > geometry->l2_entries)
		return geometry->l2_entries;
	return clusters - before;
}

static int look_at_table(struct q2_check *check, const struct q2_orphans *orphans,
			 const struct q2_l2_ref *ref)
{
	struct look look = {
		.check = check,
		.orphans = orphans,
		.ref = ref,
		.disk = q2_metadata_disk(&check->metadata, ref->list),
		.bytes = check->workers[0].buffer,
	};
	uint64_t size;

	if (q2_metadata_read_l2(&check->metadata, ref->offset_bytes, &size))
		return -1;
	look.entries = entries_of_disk(&look);
	if (look.entries > size / check->geometry->l2_entry_bytes)
		look.entries = size / check->geometry->l2_entry_bytes;
	look_at_runs(&look);
	return q2_check_progress(check);
}

int q2_holes_find(struct q2_check *check, const struct q2_orphans *orphans, bool *all)
{
	uint64_t left = check->options->deep ? UINT64_MAX : BYTES_MOST;

	*all = true;
	if (orphans->content.count == 0 || check->geometry->data_file)
		return 0;
	for (size_t i = 0; i < check->metadata.table_count; i++) {
		const struct q2_l2_ref *ref = &check->metadata.tables[i];

		if (!ref->used)
			continue;
		*all = check->geometry->cluster_size_bytes <= left;
		if (!*all)
			return 0;
		left -= check->geometry->cluster_size_bytes;
		if (look_at_table(check, orphans, ref))
			return -1;
	}
	return 0;
}
