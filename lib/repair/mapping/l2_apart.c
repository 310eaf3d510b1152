/* SPDX-License-Identifier: MIT */
/*
 * L2 tables of an image with a data file to which several L1 entries lead. A data file has one place
 * for each cluster of the guest ("Header"), so that such a table is right for one of them at most.
 * The others cannot read what it maps: they get a copy that has zeros there.
 */
#include "repair/mapping/l2_table.h"

#include <string.h>

#include "format/l2_table.h"
#include "image/guest.h"

/* The most copies that are made of a table. */
#define COPIES_MOST 1024

/* Whether an entry leads to a cluster of the data file, or cannot be read at all. */
static bool is_placed(struct q2_l2_pair pair)
{
	return qcow2_l2_is_compressed(pair.entry) || qcow2_l2_has_offset(pair.entry, true);
}

static struct q2_l2_pair pair_at(const struct q2_l2_mender *mender, uint64_t index)
{
	unsigned width = mender->repair->geometry->l2_entry_bytes;

	return (struct q2_l2_pair){q2_l2_entry_at(mender->table, index, width),
				   q2_l2_subclusters_at(mender->table, index, width)};
}

/* Whether the table is right for one L1 entry only. */
static bool leads_anywhere(const struct q2_l2_mender *mender)
{
	for (uint64_t i = 0; i < mender->repair->geometry->l2_entries; i++)
		if (is_placed(pair_at(mender, i)))
			return true;
	return false;
}

/* How many entries lead where they have to for an L1 entry. */
static uint64_t count_right(const struct q2_l2_mender *mender, uint32_t l1_index)
{
	const struct qcow2_geometry *geometry = mender->repair->geometry;
	uint64_t right = 0;

	for (uint64_t i = 0; i < geometry->l2_entries; i++) {
		uint64_t entry = pair_at(mender, i).entry;

		right += !qcow2_l2_is_compressed(entry) && qcow2_l2_has_offset(entry, true) &&
			 (entry & QCOW2_ENTRY_MASK(l2_entry, offset)) ==
				 q2_guest_byte(geometry, l1_index, i);
	}
	return right;
}

/* Plans the copy, and that the L1 entry leads there. */
static int give_copy(struct q2_l2_mender *mender, const struct q2_l2_use *use)
{
	struct q2_repair *repair = mender->repair;
	size_t size = (size_t)repair->geometry->cluster_size_bytes;
	uint64_t entry_at =
		mender->teller.disks[use->user.list].l1_offset + use->user.l1_index * UINT64_C(8);
	struct q2_l2_pair zeros;
	uint64_t offset;

	q2_l2_zeros(&mender->entries, &zeros);
	memcpy(mender->data, mender->table, size);
	for (uint64_t i = 0; i < repair->geometry->l2_entries; i++)
		if (is_placed(pair_at(mender, i)))
			q2_l2_put(mender->data, i, repair->geometry->l2_entry_bytes,
				  (const uint64_t[2]){zeros.entry, zeros.subclusters});
	if (q2_space_take(repair, 1, &offset) ||
	    q2_repair_write(repair, QCOW2_PHASE_NEW, offset,
			    (struct qcow2_bytes){mender->data, size}, "an L2 table of its own"))
		return -1;
	return q2_repair_write_number(repair, QCOW2_PHASE_POINT, entry_at,
				      offset | QCOW2_ENTRY_MASK(l1_entry, copied), 8,
				      "an entry of the L1 table");
}

static int tell(struct q2_l2_mender *mender, const struct q2_l2_use *use)
{
	return q2_teller_add(&mender->teller, use->user,
			     &(struct q2_entry_told){
				     .id = QCOW2_PROBLEM_DATA_FILE_OFFSET,
				     .does = "makes zeros of what the L2 table of another part of "
					     "the disk maps",
				     .costs = true,
				     .is_l1 = true,
				     .count = 1,
				     .before = QCOW2_READS_ERROR,
				     .after = QCOW2_READS_ZEROS,
			     });
}

int q2_l2_apart(struct q2_l2_mender *mender, const struct q2_l2_sick *sick, bool *planned)
{
	size_t count = 0, keeps = 0;
	const struct q2_l2_use *uses = q2_l2_users_of(&mender->users, sick->offset_bytes, &count);
	uint64_t most = 0;

	*planned = false;
	if (!uses || count < 2 || count > COPIES_MOST ||
	    !q2_repair_may(mender->repair, QCOW2_PROBLEM_DATA_FILE_OFFSET, true))
		return 0;
	if (q2_plan_read(mender->repair->plan, sick->offset_bytes, mender->table,
			 (size_t)mender->repair->geometry->cluster_size_bytes, mender->repair->err))
		return -1;
	if (!leads_anywhere(mender))
		return 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t right = count_right(mender, uses[i].user.l1_index);

		if (right > most)
			keeps = i;
		most = right > most ? right : most;
	}
	for (size_t i = 0; i < count; i++)
		if (i != keeps && (tell(mender, &uses[i]) || give_copy(mender, &uses[i])))
			return -1;
	mender->repair->begin_again = true;
	*planned = true;
	return 0;
}
