/* SPDX-License-Identifier: MIT */
/* See l2_users.h. */
#include "repair/mapping/l2_users.h"

#include <stdlib.h>

#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/search.h"

/* Entries that are read at once. */
#define PIECE ((size_t)8192)
/*
 * The most entries that are read, and that are kept: tables of snapshots may be one another's, so
 * that a small file has any number of them.
 */
#define READ_MOST (UINT64_C(1) << 28)
#define USES_MOST ((size_t)1 << 20)

static int grow(struct q2_l2_users *users, void **array, size_t *capacity, size_t size)
{
	size_t more = *capacity ? *capacity * 2 : 64;
	void *larger = q2_realloc_array(*array, more, size);

	if (!larger)
		return q2_fail_memory(users->teller->repair->err);
	*array = larger;
	*capacity = more;
	return 0;
}

int q2_l2_users_ask(struct q2_l2_users *users, uint64_t table)
{
	if (users->table_count == users->table_capacity &&
	    grow(users, (void **)&users->tables, &users->table_capacity, sizeof(*users->tables)))
		return -1;
	users->tables[users->table_count++] = table;
	return 0;
}

static int by_number(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

static int by_table(const void *left, const void *right)
{
	const struct q2_l2_use *a = left, *b = right;

	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	if (a->user.list != b->user.list)
		return a->user.list < b->user.list ? -1 : 1;
	return a->user.l1_index < b->user.l1_index ? -1 : a->user.l1_index > b->user.l1_index;
}

static int note(struct q2_l2_users *users, const struct q2_l2_use *use)
{
	if (use->table == 0 ||
	    !bsearch(&use->table, users->tables, users->table_count, sizeof(use->table), by_number))
		return 0;
	if (users->use_count == USES_MOST) {
		users->stopped = true;
		return 0;
	}
	if (users->use_count == users->use_capacity &&
	    grow(users, (void **)&users->uses, &users->use_capacity, sizeof(*users->uses)))
		return -1;
	users->uses[users->use_count++] = *use;
	return 0;
}

/* Reads the L1 table of a disk, as far as the file has it; holes lead nowhere. */
static int read_disk(struct q2_l2_users *users, uint32_t list, uint8_t *bytes, uint64_t *read)
{
	const struct q2_teller_disk *disk = &users->teller->disks[list];
	struct q2_repair *repair = users->teller->repair;
	uint64_t size = repair->geometry->file_size_bytes, first = 0, end;

	if (disk->l1_offset >= size)
		return 0;
	end = q2_div_ceil_u64(size - disk->l1_offset, 8);
	end = end < disk->l1_entries ? end : disk->l1_entries;
	while (first < end && !users->stopped) {
		uint64_t at = disk->l1_offset + first * 8;
		uint64_t hole = (qcow2_source_hole_end(repair->view, at) - at) / 8;
		size_t count = end - first < PIECE ? (size_t)(end - first) : PIECE;

		if (hole > 0) {
			first += hole;
			continue;
		}
		if (q2_plan_read(repair->plan, at, bytes, count * 8, repair->err))
			return -1;
		for (size_t i = 0; i < count; i++)
			if (note(users,
				 &(struct q2_l2_use){q2_load_be64(bytes + i * 8) &
							     QCOW2_ENTRY_MASK(l1_entry, offset),
						     {list, (uint32_t)(first + i)}}))
				return -1;
		first += count;
		*read += count;
		users->stopped |= *read > READ_MOST;
	}
	return 0;
}

int q2_l2_users_find(struct q2_l2_users *users)
{
	uint8_t *bytes;
	uint64_t read = 0;
	int failed = 0;

	if (users->table_count == 0)
		return 0;
	bytes = q2_alloc_buffer(PIECE * 8);
	if (!bytes)
		return q2_fail_memory(users->teller->repair->err);
	qsort(users->tables, users->table_count, sizeof(*users->tables), by_number);
	for (size_t i = 0; i < users->teller->disk_count && !failed; i++)
		failed = read_disk(users, (uint32_t)i, bytes, &read);
	q2_free(bytes);
	if (users->use_count > 1)
		qsort(users->uses, users->use_count, sizeof(*users->uses), by_table);
	return failed;
}

const struct q2_l2_use *q2_l2_users_of(const struct q2_l2_users *users, uint64_t table,
				       size_t *count)
{
	size_t low = q2_rising_lower(
		Q2_RISING(users->uses, users->use_count, struct q2_l2_use, table), table);

	*count = 0;
	while (low + *count < users->use_count && users->uses[low + *count].table == table)
		++*count;
	return users->stopped || *count == 0 ? NULL : &users->uses[low];
}

void q2_l2_users_release(struct q2_l2_users *users)
{
	q2_free(users->tables);
	q2_free(users->uses);
	*users = (struct q2_l2_users){.teller = users->teller};
}
