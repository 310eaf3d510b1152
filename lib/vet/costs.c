/* SPDX-License-Identifier: MIT */
/*
 * What QEMU needs to open and check an image: estimates from numbers that were measured with
 * qemu-img 7.2 on one core of 2020 (docs/vet.md). They are made to tell images that take minutes
 * from those that take as long as honest ones of their size. So the work that the bytes of the file
 * may cause is taken off, and tables are read only if the numbers of the header are not enough.
 */
#include "vet/costs.h"

#include <stddef.h>

#include "base/bytes.h"

#include <qcow2/check.h>
#include <qcow2/entry.h>
#include <qcow2/problem.h>

/* Nanoseconds for an entry of an L2 table that is checked, and for the table itself. */
#define CHECK_ENTRY_NS UINT64_C(20)
#define CHECK_TABLE_NS UINT64_C(30000)
/* For a fault, of which qemu-img check prints one or two lines. */
#define FAULT_NS UINT64_C(2500)
/* For two names of bitmaps that are compared, and for a cluster and a byte of one that is loaded. */
#define NAMES_NS          UINT64_C(45)
#define BITMAP_CLUSTER_NS UINT64_C(30000)
#define BYTES_A_NS        UINT64_C(2)
#define PIECE_ENTRIES     512
/* L1 tables of snapshots are read up to this; beyond that, all of their entries count. */
#define SNAPSHOT_L1_BYTES (UINT64_C(256) << 20)

void q2_tell_cost(struct q2_vet *vet, enum qcow2_vet_rule_number rule, uint64_t value,
		  const char *field)
{
	q2_vet_tell(vet,
		    &(struct q2_vet_finding){
			    .rule = rule, .offset_bytes = QCOW2_NO_OFFSET, .value = value},
		    "%s", field);
}

/* Tells what opening takes: tables that QEMU keeps in memory, and bitmaps, which it loads. */
static uint64_t tell_open(struct q2_vet *vet)
{
	const struct qcow2_header *h = vet->header;
	uint64_t tables = h->l1_size * UINT64_C(8) +
			  q2_times(h->refcount_table_clusters, vet->geometry->cluster_size_bytes);
	uint64_t memory = q2_plus(q2_plus(tables, vet->snapshot_bytes), vet->bitmap_bytes);
	uint64_t pairs = q2_times(vet->bitmaps, vet->bitmaps) / 2;
	uint64_t clusters = vet->bitmap_table_bytes >> vet->geometry->cluster_bits;
	uint64_t ns = q2_plus(q2_times(pairs, NAMES_NS), vet->bitmap_table_bytes / BYTES_A_NS);

	ns = q2_plus(ns, q2_times(clusters, BITMAP_CLUSTER_NS));
	q2_tell_cost(vet, QCOW2_VET_RULE_OPEN_MEMORY, memory,
		     vet->bitmap_bytes > tables ? "bitmaps" : "header");
	q2_tell_cost(vet, QCOW2_VET_RULE_OPEN_TIME, q2_ms_beyond(ns, q2_stored_ns(vet)), "bitmaps");
	return memory;
}

/* Counts the entries of an L1 table that lead anywhere. */
static int count_l1(struct q2_vet *vet, uint64_t at, uint64_t entries, uint64_t *count)
{
	uint64_t end = vet->result.file_size_bytes;
	uint8_t piece[PIECE_ENTRIES * 8];
	size_t size = 0;

	if (at > end)
		return 0;
	entries = entries < (end - at) / 8 ? entries : (end - at) / 8;
	for (uint64_t i = 0; i < entries; i++) {
		if (i % PIECE_ENTRIES == 0) {
			size = entries - i < PIECE_ENTRIES ? (size_t)(entries - i) * 8
							   : sizeof(piece);
			if (qcow2_source_read(vet->source, at + i * 8, piece, size, vet->err))
				return -1;
		}
		*count += q2_load_be64(piece + i % PIECE_ENTRIES * 8) != 0;
	}
	return 0;
}

/* Counts the L2 tables that snapshots lead to, each as often as one of them does. */
static int count_snapshots(struct q2_vet *vet, uint64_t *count)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more, result = 0;

	if (vet->snapshot_l1_entries == 0)
		return 0;
	if (vet->snapshot_l1_entries > SNAPSHOT_L1_BYTES / 8) {
		*count += vet->snapshot_l1_entries;
		return 0;
	}
	if (qcow2_snapshots_open(vet->image, &snapshots, vet->err))
		return -1;
	while (result == 0 && (more = qcow2_snapshots_next(snapshots, &snapshot, vet->err)) != 0)
		result = more < 0 ? -1
				  : count_l1(vet, snapshot->header.l1_table_offset,
					     snapshot->header.l1_size, count);
	qcow2_snapshots_close(snapshots);
	return result;
}

/* For a check that finds so many faults. */
static uint64_t check_ms(const struct q2_vet *vet, uint64_t l2_tables, uint64_t faults)
{
	uint64_t table_ns = vet->geometry->l2_entries * CHECK_ENTRY_NS + CHECK_TABLE_NS;
	uint64_t ns = q2_plus(q2_times(l2_tables, table_ns),
			      q2_times(q2_file_clusters(vet), Q2_FILE_CLUSTER_NS));

	return q2_ms_beyond(q2_plus(ns, q2_times(faults, FAULT_NS)), q2_stored_ns(vet));
}

/* The most faults that a check can find: every entry, and every cluster of the file. */
static uint64_t most_faults(const struct q2_vet *vet, uint64_t l2_tables)
{
	uint64_t refcounts = q2_times(vet->header->refcount_table_clusters,
				      vet->geometry->cluster_size_bytes / 8);

	return q2_plus(q2_plus(q2_times(l2_tables, vet->geometry->l2_entries), refcounts),
		       q2_file_clusters(vet));
}

/* A cluster with more users than its refcount can say is a fault for each of them. */
static int add_overflow(void *opaque, const struct qcow2_problem *problem)
{
	uint64_t *users = opaque;

	*users = q2_plus(*users, problem->expected);
	return 0;
}

int q2_count_faults(struct q2_vet *vet, uint64_t *faults)
{
	uint64_t users = 0;
	const struct qcow2_check_options options = {
		.size = sizeof(options),
		.threads = vet->options.threads,
		.memory_limit_bytes = vet->options.memory_limit_bytes,
		.only = qcow2_problem_kind_get(QCOW2_PROBLEM_REFCOUNT_OVERFLOW),
		.problem = add_overflow,
		.opaque = &users};
	struct qcow2_check_result *result;

	if (qcow2_check(vet->image, &options, &result, vet->err))
		return -1;
	*faults = q2_times(q2_plus(result->corruptions, result->leaks),
			   UINT64_C(1) + vet->header->nb_snapshots);
	*faults = q2_plus(*faults, users);
	qcow2_check_result_free(result);
	return 0;
}

static bool is_too_long(const struct q2_vet *vet, uint64_t l2_tables, uint64_t faults)
{
	return q2_vet_passes(vet, QCOW2_VET_RULE_CHECK_TIME, check_ms(vet, l2_tables, faults));
}

static int tell_check(struct q2_vet *vet, uint64_t open_memory)
{
	uint64_t bits = q2_times(q2_file_clusters(vet), vet->geometry->refcount_bits);
	uint64_t most = q2_plus(vet->l2_tables, vet->snapshot_l1_entries);
	uint64_t count = vet->l2_tables, faults = 0;

	q2_tell_cost(vet, QCOW2_VET_RULE_CHECK_MEMORY, q2_plus(open_memory, bits / 8), "file");
	if (!is_too_long(vet, most, most_faults(vet, most)))
		return 0;
	if (count_snapshots(vet, &count))
		return -1;
	/* What is refused already needs no count. */
	if (vet->result.reasons == 0 && !is_too_long(vet, count, 0) &&
	    is_too_long(vet, count, most_faults(vet, count)) && q2_count_faults(vet, &faults))
		return -1;
	q2_tell_cost(vet, QCOW2_VET_RULE_CHECK_TIME, check_ms(vet, count, faults),
		     faults > 0                     ? "check"
		     : vet->snapshot_l1_entries > 0 ? "snapshots"
						    : "l1");
	return 0;
}

int q2_vet_costs(struct q2_vet *vet)
{
	return tell_check(vet, tell_open(vet));
}
