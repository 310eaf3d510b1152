/* SPDX-License-Identifier: MIT */
/* See shared.h. */
#include "image/mapping/shared.h"

#include "base/bytes.h"

#define ENTRY_BYTES sizeof(uint64_t)

/* Entries of an L1 table in a row; bytes NULL: none of them leads to a table. */
struct entries {
	const uint8_t *bytes;
	uint64_t count;
};

static int look_at_l1(struct qcow2_mapping *m, uint64_t index, struct entries *out,
		      struct qcow2_error *err)
{
	struct q2_mapping_glance glance;

	*out = (struct entries){NULL, UINT64_MAX};
	if (index >= m->l1.claimed)
		return 0;
	out->count = 0;
	if (index >= m->l1.stored) /* what the lost entries say is not known */
		return 0;
	if (q2_mapping_look(&m->l1_window, m->l1.offset_bytes + index * ENTRY_BYTES, ENTRY_BYTES,
			    &glance, err))
		return -1;
	if (glance.hole_bytes > 0)
		out->count = glance.hole_bytes / ENTRY_BYTES;
	else
		*out = (struct entries){glance.bytes.data, glance.bytes.size / ENTRY_BYTES};
	return 0;
}

static uint64_t table_of(const struct entries *entries, uint64_t index)
{
	if (!entries->bytes)
		return 0;
	return q2_load_be64(entries->bytes + index * ENTRY_BYTES) &
	       QCOW2_ENTRY_MASK(l1_entry, offset);
}

int q2_mapping_shared_tables(struct qcow2_mapping *const m[2], uint64_t end, uint64_t *to,
			     unsigned *blamed, struct qcow2_error *err)
{
	const unsigned bits = m[0]->image->geometry.cluster_bits + m[0]->l2_bits;
	const uint64_t first = q2_mapping_cluster(m[0]) >> m[0]->l2_bits;
	struct entries entries[2];
	uint64_t most, count = 0;

	*to = m[0]->at;
	if (*to >= end)
		return 0;
	for (unsigned i = 0; i < 2; i++) {
		*blamed = i;
		if (look_at_l1(m[i], first, &entries[i], err))
			return -1;
	}
	most = entries[0].count < entries[1].count ? entries[0].count : entries[1].count;
	if (!entries[0].bytes && !entries[1].bytes)
		count = most;
	while (count < most && table_of(&entries[0], count) == table_of(&entries[1], count))
		count++;
	if (count == 0)
		return 0;
	/* An L2 table of clusters of 2 MiB maps 2^39 bytes: no shift by 64. */
	*to = count > (end - 1) >> bits || first + count > (end - 1) >> bits
		      ? end
		      : (first + count) << bits;
	return 0;
}

/* The copied flag says nothing of the mapping: it is set in the tables of the active image alone. */
static bool are_equal(const uint8_t *a, const uint8_t *b)
{
	return ((q2_load_be64(a) ^ q2_load_be64(b)) & ~QCOW2_ENTRY_MASK(l2_entry, copied)) == 0;
}

/* How many of `most` entries are equal. Eight are compared at a time. */
static uint64_t count_equal(const uint8_t *a, const uint8_t *b, uint64_t most)
{
	uint64_t count = 0, differ = 0;

	while (most - count >= 8) {
		const uint8_t *x = a + count * ENTRY_BYTES, *y = b + count * ENTRY_BYTES;

		for (unsigned i = 0; i < 8 * ENTRY_BYTES; i += ENTRY_BYTES)
			differ |= q2_load_be64(x + i) ^ q2_load_be64(y + i);
		if (differ & ~QCOW2_ENTRY_MASK(l2_entry, copied))
			break;
		count += 8;
	}
	while (count < most && are_equal(a + count * ENTRY_BYTES, b + count * ENTRY_BYTES))
		count++;
	return count;
}

uint64_t q2_mapping_skip_equal(struct qcow2_mapping *const m[2], uint64_t end)
{
	const struct q2_mapping_ahead *a = &m[0]->ahead, *b = &m[1]->ahead;
	const unsigned bits = m[0]->image->geometry.cluster_bits;
	uint64_t most = a->entries < b->entries ? a->entries : b->entries;
	uint64_t at = m[0]->at, count;

	/* Whole clusters: where the shorter disk ends in the midst of one, that is decoded. */
	if (most > (end - at) >> bits)
		most = (end - at) >> bits;
	for (unsigned i = 0; i < 2; i++)
		if (most > m[i]->limit_bytes / ENTRY_BYTES)
			most = m[i]->limit_bytes / ENTRY_BYTES;
	if (most == 0)
		return at;
	count = count_equal(a->bytes, b->bytes, most);
	if (count == 0)
		return at;
	at += count << bits;
	for (unsigned i = 0; i < 2; i++)
		q2_mapping_pass(m[i], count, at);
	return at;
}

void q2_mapping_move(struct qcow2_mapping *m, uint64_t at)
{
	m->at = at;
	m->ahead.entries = 0;
	m->same.table = 0;
}
