/* SPDX-License-Identifier: MIT */
/*
 * The active L1 table: how many L2 tables it leads to, whether to any of them twice, and whether to
 * one that is another table.
 */
#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "rules/rules.h"
#include "vet/problems.h"
#include "vet/tables.h"

#include <qcow2/entry.h>
#include <qcow2/limits.h>

#define PIECE_ENTRIES 512

/* Entries that lead to a table: where, and which entry it is. */
struct used {
	uint64_t at;
	uint64_t index;
};

static int compare(const void *a, const void *b)
{
	const struct used *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Tells an L2 table that shares bytes with a table of the header. */
static void tell_overlap(struct q2_vet *vet, const struct q2_vet_tables *tables,
			 const struct q2_entry_place *place, uint64_t at)
{
	const struct q2_vet_table *table =
		q2_vet_find_table(tables, at, vet->geometry->cluster_size_bytes);

	if (table)
		q2_vet_tell(vet,
			    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_TABLE_OVERLAP,
						     .offset_bytes = place->offset_bytes,
						     .has_value = true,
						     .value = at,
						     .detail = table->name},
			    "l1/%llu", (unsigned long long)place->index);
}

/* Reads the table, as far as the file has it. */
static int read_entries(struct q2_vet *vet, struct used *used, uint64_t entries)
{
	uint64_t at = vet->header->l1_table_offset, offset;
	const struct q2_reporter reporter = q2_vet_reporter(vet);
	struct q2_entry_place place = {.owner = "l1"};
	struct q2_vet_tables tables;
	uint8_t piece[PIECE_ENTRIES * 8];
	uint64_t entry;
	size_t size;

	q2_vet_list_tables(vet, &tables);
	for (uint64_t i = 0; i < entries; i++) {
		if (i % PIECE_ENTRIES == 0) {
			size = entries - i < PIECE_ENTRIES ? (size_t)(entries - i) * 8
							   : sizeof(piece);
			if (qcow2_source_read(vet->source, at + i * 8, piece, size, vet->err))
				return -1;
		}
		entry = q2_load_be64(piece + i % PIECE_ENTRIES * 8);
		if (entry == 0)
			continue;
		place.index = i;
		place.offset_bytes = at + i * 8;
		q2_rules_l1_entry(vet->geometry, &place, entry, &reporter);
		offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);
		if (offset == 0)
			continue;
		tell_overlap(vet, &tables, &place, offset);
		used[vet->l2_tables++] = (struct used){offset, i};
	}
	return 0;
}

static void tell_shared(struct q2_vet *vet, const struct used *used)
{
	for (uint64_t i = 1; i < vet->l2_tables; i++)
		if (used[i].at == used[i - 1].at)
			q2_vet_tell(vet,
				    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_L2_SHARED,
							     .offset_bytes =
								     vet->header->l1_table_offset +
								     used[i].index * 8,
							     .has_value = true,
							     .value = used[i].at},
				    "l1/%llu", (unsigned long long)used[i].index);
}

int q2_vet_l1(struct q2_vet *vet)
{
	const struct qcow2_header *h = vet->header;
	uint64_t file_bytes = vet->result.file_size_bytes, entries = h->l1_size;
	struct used few[PIECE_ENTRIES], *used = few;
	int result;

	if (h->l1_table_offset >= file_bytes || entries > QCOW2_LIMIT_QEMU_L1_ENTRIES)
		return 0; /* the rules of the header say so */
	if (entries > (file_bytes - h->l1_table_offset) / 8)
		entries = (file_bytes - h->l1_table_offset) / 8;
	if (entries > PIECE_ENTRIES)
		used = q2_alloc_array((size_t)entries, sizeof(*used));
	if (!used)
		return q2_fail_memory(vet->err);
	result = read_entries(vet, used, entries);
	if (result == 0) {
		qsort(used, (size_t)vet->l2_tables, sizeof(*used), compare);
		tell_shared(vet, used);
	}
	if (used != few)
		q2_free(used);
	return result;
}
