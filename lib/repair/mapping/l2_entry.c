/* SPDX-License-Identifier: MIT */
/* Mends one L2 entry. See l2_entry.h. */
#include "repair/mapping/l2_entry.h"

#define OFFSET     QCOW2_ENTRY_MASK(l2_entry, offset)
#define COPIED     QCOW2_ENTRY_MASK(l2_entry, copied)
#define COMPRESSED QCOW2_ENTRY_MASK(l2_entry, compressed)
#define ZERO       QCOW2_ENTRY_MASK(l2_entry, zero)
#define ALLOCATED  QCOW2_ENTRY_MASK(l2_subclusters, allocated)
#define ZEROES     QCOW2_ENTRY_MASK(l2_subclusters, zeroes)

const enum qcow2_problem_id q2_l2_kinds[] = {
	QCOW2_PROBLEM_COMPRESSED_DATA_FILE,  QCOW2_PROBLEM_COMPRESSED_COPIED,
	QCOW2_PROBLEM_COMPRESSED_OFFSET,     QCOW2_PROBLEM_COMPRESSED_BEYOND_END,
	QCOW2_PROBLEM_SUBCLUSTER_COMPRESSED, QCOW2_PROBLEM_L2_ENTRY_RESERVED,
	QCOW2_PROBLEM_L2_ENTRY_ZERO_FLAG,    QCOW2_PROBLEM_L2_ENTRY_OFFSET_ZERO,
	QCOW2_PROBLEM_DATA_FILE_OFFSET,      QCOW2_PROBLEM_DATA_FILE_COPIED_CLEAR,
	QCOW2_PROBLEM_DATA_UNALIGNED,        QCOW2_PROBLEM_DATA_BEYOND_END,
	QCOW2_PROBLEM_ZERO_BEYOND_END,       QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET,
	QCOW2_PROBLEM_SUBCLUSTER_BOTH,       QCOW2_PROBLEM_NONE,
};

/* The entry, the facts and the answer. */
struct mending {
	const struct q2_entries *entries;
	const struct q2_l2_facts *facts;
	struct q2_l2_pair pair;
	struct q2_l2_mended *out;
};

static uint64_t within(const struct q2_entries *entries)
{
	return entries->geometry->cluster_size_bytes - 1;
}

/* Whether a standard entry has a place that QEMU refuses. */
static bool is_unaligned(const struct q2_entries *entries, uint64_t entry)
{
	return (entry & OFFSET & within(entries)) != 0;
}

/* The words of a cluster none of whose allocated subclusters can be read: these become zeros. */
static struct q2_l2_pair without_place(const struct q2_entries *entries, struct q2_l2_pair pair)
{
	if (!entries->geometry->extended_l2)
		return (struct q2_l2_pair){ZERO, 0};
	return (struct q2_l2_pair){0, (pair.subclusters & ZEROES) | pair.subclusters << 32};
}

bool q2_l2_zeros(const struct q2_entries *entries, struct q2_l2_pair *out)
{
	*out = (struct q2_l2_pair){0, 0};
	if (entries->geometry->extended_l2)
		out->subclusters = ZEROES;
	else if (!entries->version_2)
		out->entry = ZERO;
	else
		return !entries->has_backing;
	return true;
}

/* The whole cluster becomes zeros. */
static void make_zeros(const struct mending *m, bool costs, const char *does)
{
	m->out->wants_zeros = !q2_l2_zeros(m->entries, &m->out->pair);
	m->out->costs = costs;
	m->out->does = does;
}

/* What had a place becomes zeros; subclusters that had none stay. */
static void make_placeless(const struct mending *m, bool costs, const char *does)
{
	if (m->entries->version_2) {
		make_zeros(m, costs, does);
		return;
	}
	m->out->pair = without_place(m->entries, m->pair);
	m->out->costs = costs;
	m->out->does = does;
}

/* Whether the entry says that no byte of the cluster's place is read. */
static bool has_no_data(const struct mending *m)
{
	if (m->entries->geometry->extended_l2)
		return (m->pair.subclusters & ALLOCATED) == 0;
	return !m->entries->version_2 && (m->pair.entry & ZERO);
}

/* Subcluster bits that can stand with an entry of a standard cluster. */
static uint64_t sane_subclusters(const struct mending *m)
{
	uint64_t bits = m->pair.subclusters;

	if (!m->entries->geometry->extended_l2)
		return 0;
	return bits == 0 || (bits & ALLOCATED & bits >> 32) ? ALLOCATED : bits;
}

static void mend_compressed_data_file(const struct mending *m)
{
	uint64_t right = m->facts->guest_byte | COPIED;

	if (m->entries->raw || (m->pair.entry & ~COMPRESSED) == right) {
		m->out->pair = (struct q2_l2_pair){right, sane_subclusters(m)};
		m->out->does = "points to the cluster's place in the data file";
		return;
	}
	make_zeros(m, true, "makes zeros of a compressed cluster that no file holds");
}

/*
 * Of a compressed cluster with the copied flag, either flag may be wrong. It is the other one if
 * the data does not inflate, and the entry leads to a cluster of its own without it.
 */
static void mend_compressed_copied(const struct mending *m)
{
	if (!m->facts->inflates && m->facts->owned == Q2_OWNED_SURE) {
		m->out->pair =
			(struct q2_l2_pair){m->pair.entry & ~COMPRESSED, sane_subclusters(m)};
		m->out->does = "clears the compressed flag of a cluster that is not compressed";
		return;
	}
	m->out->pair.entry &= ~COPIED;
	m->out->does = "clears the copied flag of a compressed cluster";
}

/* A descriptor that claims the sectors that its data takes. */
static uint64_t refit(const struct mending *m)
{
	unsigned bits = m->entries->geometry->cluster_bits;
	struct qcow2_l2_compressed fields = qcow2_l2_compressed_decode(m->pair.entry, bits);

	fields.offset = q2_l2_compressed_at(m->entries, m->pair.entry);
	fields.additional_sectors =
		(fields.offset + m->facts->used_bytes - 1) / 512 - fields.offset / 512;
	return qcow2_l2_compressed_encode(&fields, bits);
}

static void mend_compressed_place(const struct mending *m)
{
	if (m->facts->inflates) {
		m->out->pair.entry = refit(m);
		m->out->does = "claims the bytes that the compressed cluster inflates from";
		return;
	}
	make_zeros(m, true, "makes zeros of a compressed cluster that cannot be read");
}

static void mend_zero_flag(const struct mending *m)
{
	uint64_t offset = m->pair.entry & OFFSET;

	m->out->pair.entry &= ~ZERO;
	m->out->does = "clears the zero flag";
	if (m->entries->geometry->extended_l2)
		return;
	if (offset != 0 && m->facts->owned != Q2_OWNED_NOT) {
		m->out->costs = m->facts->owned == Q2_OWNED_MAYBE;
		m->out->does = "clears the zero flag, so that the cluster's data is read";
		return;
	}
	/* Whatever the entry should say: it is zeros. */
	make_zeros(m, offset != 0 || m->entries->has_backing,
		   "says in the way of version 2 that the cluster is zeros");
}

static void mend_data_file_offset(const struct mending *m)
{
	uint64_t entry = m->pair.entry, offset = entry & OFFSET;

	if (offset == 0 && (entry & ZERO) && !m->entries->geometry->extended_l2) {
		m->out->pair.entry &= ~COPIED;
		m->out->does = "clears the copied flag of a cluster without a place";
		return;
	}
	m->out->pair.entry = (entry & ~OFFSET) | m->facts->guest_byte;
	m->out->costs = offset == 0 && m->entries->has_backing;
	m->out->does = "points to the cluster's place in the data file";
}

static void mend_unaligned(const struct mending *m)
{
	if (m->facts->owned == Q2_OWNED_SURE) {
		m->out->pair.entry &= ~(OFFSET & within(m->entries));
		m->out->does = "points to the start of the cluster, which lacks a reference";
	} else if (has_no_data(m)) {
		make_placeless(m, false, "takes the place from a cluster that has no data");
	} else {
		make_placeless(m, true, "makes zeros of a cluster whose data cannot be found");
	}
}

static void mend_beyond_end(const struct mending *m)
{
	bool unaligned = is_unaligned(m->entries, m->pair.entry);

	if (m->facts->owned == Q2_OWNED_SURE && !unaligned) {
		m->out->pair.entry =
			(m->pair.entry & ~OFFSET) | q2_l2_candidate(m->entries, m->pair);
		m->out->does =
			"clears a bit of the offset, so that it leads to a cluster that lacks "
			"a reference";
		return;
	}
	make_placeless(m, unaligned, "says that a cluster past the end of the file is zeros");
}

static void mend_both(const struct mending *m)
{
	uint32_t both = (uint32_t)(m->pair.subclusters & m->pair.subclusters >> 32);
	uint32_t data = both & ~m->facts->zeros;

	/* Where the place holds zeros, both bits say the same. */
	m->out->pair.subclusters &= ~(uint64_t)(both & ~data);
	m->out->pair.subclusters &= ~((uint64_t)data << 32);
	m->out->costs = data != 0;
	m->out->does = data ? "reads the data of subclusters that are said to be zeros as well"
			    : "says that subclusters which hold zeros are zeros";
}

static void mend_compressed(const struct mending *m, enum qcow2_problem_id id)
{
	switch ((unsigned)id) {
	case QCOW2_PROBLEM_COMPRESSED_DATA_FILE:
		mend_compressed_data_file(m);
		break;
	case QCOW2_PROBLEM_COMPRESSED_COPIED:
		mend_compressed_copied(m);
		break;
	case QCOW2_PROBLEM_SUBCLUSTER_COMPRESSED:
		m->out->pair.subclusters = 0;
		m->out->does = "clears the subcluster bits of a compressed cluster";
		break;
	case QCOW2_PROBLEM_COMPRESSED_OFFSET:
	case QCOW2_PROBLEM_COMPRESSED_BEYOND_END:
		mend_compressed_place(m);
		break;
	}
}

static void mend_standard(const struct mending *m, enum qcow2_problem_id id)
{
	struct q2_l2_mended *out = m->out;
	uint64_t allocated = m->pair.subclusters & ALLOCATED;

	switch ((unsigned)id) {
	case QCOW2_PROBLEM_L2_ENTRY_RESERVED:
		out->pair.entry &= ~qcow2_l2_entry_reserved;
		out->does = "clears reserved bits";
		break;
	case QCOW2_PROBLEM_L2_ENTRY_ZERO_FLAG:
		mend_zero_flag(m);
		break;
	case QCOW2_PROBLEM_L2_ENTRY_OFFSET_ZERO:
		out->pair.entry &= ~COPIED;
		out->does = "clears the copied flag of a cluster without a place";
		break;
	case QCOW2_PROBLEM_DATA_FILE_OFFSET:
		mend_data_file_offset(m);
		break;
	case QCOW2_PROBLEM_DATA_FILE_COPIED_CLEAR:
		out->pair.entry |= COPIED;
		out->does = "sets the copied flag of a cluster of the data file";
		break;
	case QCOW2_PROBLEM_DATA_UNALIGNED:
		mend_unaligned(m);
		break;
	case QCOW2_PROBLEM_DATA_BEYOND_END:
		mend_beyond_end(m);
		break;
	case QCOW2_PROBLEM_ZERO_BEYOND_END:
		make_placeless(m, false, "takes the place past the end of the file from zeros");
		break;
	case QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET:
		out->costs = (allocated & ~(m->pair.subclusters >> 32)) != 0;
		out->pair = without_place(m->entries, m->pair);
		out->does = "makes zeros of subclusters whose cluster has no place";
		break;
	case QCOW2_PROBLEM_SUBCLUSTER_BOTH:
		mend_both(m);
		break;
	}
}

bool q2_l2_mend(const struct q2_entries *entries, enum qcow2_problem_id id, struct q2_l2_pair pair,
		const struct q2_l2_facts *facts, struct q2_l2_mended *out)
{
	const struct mending m = {entries, facts, pair, out};

	*out = (struct q2_l2_mended){.pair = pair};
	/* Past what 64 bits can say, no guest reads. */
	if (facts->guest_byte == UINT64_MAX && entries->geometry->data_file)
		return false;
	if (qcow2_l2_is_compressed(pair.entry))
		mend_compressed(&m, id);
	else
		mend_standard(&m, id);
	return out->does != NULL;
}
