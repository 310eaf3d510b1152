/* SPDX-License-Identifier: MIT */
/*
 * How much of a cut file is missing. An entry with a flipped bit may lead to any place, so a place
 * past the end counts only if refcounts say that its cluster was in use, or if enough of the
 * clusters between the end and that place are referred to as well.
 */
#include "check/damage.h"

#include "check/run.h"
#include "image/extensions.h"

/* Of so many clusters up to a place, one has to be referred to. */
#define DENSE 8
/* As QEMU, which takes no larger directory of bitmaps. */
#define DIRECTORY_MOST (UINT64_C(64) << 20)

static unsigned top_bit(uint64_t number)
{
	return 63 - (unsigned)__builtin_clzll(number);
}

/* The class of a distance, which is at least 1. */
static unsigned class_of(uint64_t clusters)
{
	unsigned top = top_bit(clusters);
	unsigned fraction =
		(unsigned)((top >= 3 ? clusters >> (top - 3) : clusters << (3 - top)) & 7);

	return top * 8 + fraction;
}

/* The cluster that holds the byte before end. */
static uint64_t last_cluster(const struct q2_check *check, uint64_t end)
{
	return (end - 1) >> check->geometry->cluster_bits;
}

void q2_missing_note(struct q2_check *check, uint64_t offset_bytes, uint64_t length_bytes)
{
	struct q2_missing *missing = &check->damage.missing;
	uint64_t end = offset_bytes + length_bytes, last;
	unsigned class;

	if (!check->damage.wanted || end <= offset_bytes || end <= check->geometry->file_size_bytes)
		return;
	last = last_cluster(check, end);
	/* What ends in the cluster that the file ends in may have been stored without its rest. */
	if (last < check->file_clusters)
		return;
	class = class_of(last - check->file_clusters + 1);
	missing->any = true;
	missing->counts[class]++;
	if (end > missing->ends[class])
		missing->ends[class] = end;
}

void q2_missing_note_l1_entry(struct q2_check *check, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);

	if (offset % check->geometry->cluster_size_bytes != 0)
		return;
	q2_missing_note(check, offset, check->geometry->cluster_size_bytes);
	check->damage.missing.l2_tables += offset >= check->geometry->file_size_bytes;
}

void q2_missing_note_directory(struct q2_check *check)
{
	struct qcow2_bitmaps_extension bitmaps;
	struct qcow2_extension extension;

	if (!(check->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) ||
	    !q2_find_extension(check->image, QCOW2_EXTENSION_BITMAPS, &extension) ||
	    extension.data.size < sizeof(bitmaps))
		return;
	qcow2_bitmaps_extension_decode(&bitmaps, extension.data.data, extension.data.size);
	if (bitmaps.bitmap_directory_offset >= check->geometry->file_size_bytes &&
	    bitmaps.bitmap_directory_offset % check->geometry->cluster_size_bytes == 0 &&
	    bitmaps.bitmap_directory_size <= DIRECTORY_MOST)
		q2_missing_note(check, bitmaps.bitmap_directory_offset,
				bitmaps.bitmap_directory_size);
}

/* Whether the guest reads nothing of a place that an entry names. */
static bool reads_nothing(const struct q2_check *check, uint64_t entry, uint64_t subclusters)
{
	if (qcow2_l2_is_compressed(entry))
		return false;
	return check->geometry->extended_l2
		       ? qcow2_l2_subclusters_decode(subclusters).allocated == 0
		       : (entry & QCOW2_ENTRY_MASK(l2_entry, zero)) != 0;
}

void q2_missing_note_l2_entry(struct q2_check *check, const struct q2_l2_ref *ref, uint64_t entry,
			      uint64_t subclusters)
{
	struct qcow2_claim claim;

	if (!check->damage.wanted || reads_nothing(check, entry, subclusters) ||
	    !q2_l2_claim(check->geometry, ref, entry, &claim) ||
	    (claim.use != QCOW2_USE_COMPRESSED &&
	     claim.offset_bytes % check->geometry->cluster_size_bytes != 0))
		return;
	q2_missing_note(check, claim.offset_bytes, claim.length_bytes);
}

/* Whether a block in the file has refcounts for a cluster past the end. */
static bool is_counted(const struct q2_check *check, uint64_t cluster)
{
	const struct q2_refcount_block *block =
		q2_check_block(check, cluster / check->geometry->refcount_block_entries);

	return block && !block->hole;
}

/* Whether L1 tables hold what are no entries: then what they hold besides leads anywhere. */
static bool l1_is_broken(const struct q2_check *check)
{
	return check->by_kind[QCOW2_PROBLEM_L1_ENTRY_RESERVED] > 0 ||
	       check->by_kind[QCOW2_PROBLEM_L1_ENTRY_OFFSET_ZERO] > 0 ||
	       check->by_kind[QCOW2_PROBLEM_L2_TABLE_UNALIGNED] > 0;
}

/*
 * The end of the last plausible place. Distances are looked at in classes, the nearest first. A
 * single L2 table counts as a cluster; several of them stand for the clusters that they map, which
 * were lost with them.
 */
static uint64_t plausible_end(const struct q2_check *check)
{
	const struct q2_missing *missing = &check->damage.missing;
	uint64_t count = 0, end = 0;

	if (missing->l2_tables > 1 && !l1_is_broken(check))
		count = missing->l2_tables * check->geometry->l2_entries;
	for (unsigned class = 0; class < Q2_MISSING_CLASSES; class ++) {
		uint64_t last;

		if (missing->counts[class] == 0)
			continue;
		count += missing->counts[class];
		last = last_cluster(check, missing->ends[class]);
		if (last < check->damage.beyond_end ||
		    (!is_counted(check, last) &&
		     count >= (last - check->file_clusters + 1) / DENSE))
			end = missing->ends[class];
	}
	return end;
}

/* Whether refcounts are in a cluster: the table of their blocks, or a block. */
static bool holds_refcounts(const struct q2_check *check, uint64_t cluster)
{
	const unsigned bits = check->geometry->cluster_bits;
	uint64_t table = check->header->refcount_table_offset >> bits;

	for (size_t i = 0; i < check->block_count; i++)
		if (check->blocks[i].offset_bytes >> bits == cluster)
			return true;
	return cluster >= table && cluster - table < check->header->refcount_table_clusters;
}

/* Whether the file ends inside a cluster of data, refcounts or an L2 table: these are whole. */
static bool ends_inside(const struct q2_check *check)
{
	struct q2_cluster_state last;

	if (check->geometry->file_size_bytes % check->geometry->cluster_size_bytes == 0)
		return false;
	last = q2_clusters_get(&check->workers[0].clusters, check->file_clusters - 1);
	switch (last.use) {
	case QCOW2_USE_DATA:
	case QCOW2_USE_DATA_COPIED:
	case QCOW2_USE_DATA_SHARED:
	case QCOW2_USE_L2_COPIED:
	case QCOW2_USE_L2_SHARED:
		return true;
	case QCOW2_USE_METADATA:
		return holds_refcounts(check, check->file_clusters - 1);
	case QCOW2_USE_NONE:
	case QCOW2_USE_COMPRESSED:
		break;
	}
	return false;
}

/*
 * Without its L2 tables, nobody knows what a file had behind them. Then refcounts say more, if
 * those past the end are dense as well.
 */
static uint64_t counted_end(const struct q2_check *check)
{
	uint64_t last = check->damage.beyond_end, beyond = check->damage.beyond_count;

	if (last <= check->file_clusters || beyond < (last - check->file_clusters) / DENSE)
		return 0;
	return last << check->geometry->cluster_bits;
}

/* Whether tables are missing, and refcounts do not say what was behind them. */
static bool maybe_longer(const struct q2_check *check)
{
	return counted_end(check) == 0 &&
	       (check->damage.missing.l2_tables > 0 ||
		check->by_kind[QCOW2_PROBLEM_L1_BEYOND_END] > 0 ||
		check->by_kind[QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END] > 0);
}

void q2_missing_sum_up(struct q2_check *check)
{
	struct qcow2_check_result *result = check->result;
	uint64_t end = check->damage.missing.any ? plausible_end(check) : 0;

	if (end > 0 && check->damage.missing.l2_tables > 0 && counted_end(check) > end)
		end = counted_end(check);
	if (end == 0 && ends_inside(check))
		end = check->file_clusters << check->geometry->cluster_bits;
	if (end <= check->geometry->file_size_bytes)
		return;
	result->file_cut = true;
	result->file_whole_bytes = end;
	result->file_maybe_longer = maybe_longer(check);
	result->file_missing_bytes = end - check->geometry->file_size_bytes;
}
