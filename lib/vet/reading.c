/* SPDX-License-Identifier: MIT */
/*
 * What qemu-img needs to map and to convert an image: see costs.c. The numbers of the header and of
 * the L1 table bound it; only if that is too much, the extents of the disk are counted.
 */
#include "vet/costs.h"

#include <qcow2/mapping.h>

/* QEMU reads L2 tables in slices, and asks for each extent once. */
#define SLICE_BYTES 4096
#define SLICE_NS    UINT64_C(15000)
/* For an L2 table, besides its slices. */
#define TABLE_NS UINT64_C(45000)
/* To convert, tables are read twice, and an extent takes longer. */
#define CONVERT_READS     2
#define CONVERT_EXTENT_NS UINT64_C(20000)
#define EXTENT_NS         UINT64_C(2000)
/* An L1 entry that leads nowhere is an extent that is not printed. */
#define L1_ENTRY_NS UINT64_C(500)
/*
 * A byte of a hole that is read as data. There is as much of it as the file is long, if space was
 * preallocated; QEMU finds that out by the refcounts, and reads nothing.
 */
#define HOLE_BYTES_A_NS UINT64_C(2)
/* For a byte that is copied, and for one that is inflated, or read to be inflated. */
#define DATA_BYTE_NS       UINT64_C(1)
#define COMPRESSED_BYTE_NS UINT64_C(3)
/* For a compressed cluster, however small. */
#define COMPRESSED_NS UINT64_C(30000)
/* As much as honest data may shrink: what the rule compression-ratio allows. */
#define HONEST_RATIO UINT64_C(200)
/* How many extents are counted before it is asked whether they are enough. */
#define EXTENTS_AT_ONCE 4096
/* Of a cluster with an extended L2 entry. */
#define SUBCLUSTERS 32

struct reading {
	uint64_t fixed_ns; /* whatever the tables hold */
	uint64_t extents;
	uint64_t data_bytes, compressed_bytes, compressed;
};

static uint64_t map_ms(const struct q2_vet *vet, const struct reading *reading)
{
	return q2_ms_beyond(q2_plus(reading->fixed_ns, q2_times(reading->extents, EXTENT_NS)),
			    q2_stored_ns(vet));
}

/* is_sound: what a file holds once, it may have preallocated. */
static uint64_t convert_ms(const struct q2_vet *vet, const struct reading *reading, bool is_sound)
{
	uint64_t size = vet->result.file_size_bytes, data = reading->data_bytes;
	uint64_t once = data < size ? data : size;
	uint64_t credit = q2_times(qcow2_source_allocated_bytes(vet->source), HONEST_RATIO);
	uint64_t ns = q2_plus(q2_times(data - once, DATA_BYTE_NS),
			      q2_times(reading->compressed_bytes, COMPRESSED_BYTE_NS));

	if (!is_sound)
		ns = q2_plus(ns, once / HOLE_BYTES_A_NS);
	ns = q2_plus(ns, q2_times(reading->compressed, COMPRESSED_NS));
	ns = q2_plus(ns, q2_times(reading->fixed_ns, CONVERT_READS));
	ns = q2_plus(ns, q2_times(reading->extents, CONVERT_EXTENT_NS));
	return q2_ms_beyond(ns, q2_times(credit, DATA_BYTE_NS));
}

static bool is_too_long(const struct q2_vet *vet, const struct reading *reading)
{
	return q2_vet_passes(vet, QCOW2_VET_RULE_MAP_TIME, map_ms(vet, reading)) ||
	       q2_vet_passes(vet, QCOW2_VET_RULE_CONVERT_TIME, convert_ms(vet, reading, true));
}

/* What takes time however the L2 tables are filled. */
static uint64_t fixed_ns(const struct q2_vet *vet)
{
	uint64_t slices = q2_div_ceil_u64(vet->geometry->cluster_size_bytes, SLICE_BYTES);
	uint64_t ns = q2_times(vet->l2_tables, slices * SLICE_NS + TABLE_NS);

	ns = q2_plus(ns, q2_times(q2_file_clusters(vet), Q2_FILE_CLUSTER_NS));
	return q2_plus(ns, q2_times(vet->header->l1_size, L1_ENTRY_NS));
}

/* The most that the L2 tables can come to. */
static struct reading most_of(const struct q2_vet *vet)
{
	uint64_t entries = q2_times(vet->l2_tables, vet->geometry->l2_entries);

	return (struct reading){
		.fixed_ns = fixed_ns(vet),
		.compressed = entries,
		.extents = q2_times(entries, vet->geometry->extended_l2 ? SUBCLUSTERS : 1),
		.compressed_bytes =
			q2_times(q2_times(entries, 2), vet->geometry->cluster_size_bytes)};
}

static void add(struct reading *reading, const struct qcow2_mapping_extent *extent)
{
	reading->extents++;
	if (extent->kind == QCOW2_L2_COMPRESSED) {
		reading->compressed++;
		reading->compressed_bytes = q2_plus(reading->compressed_bytes,
						    extent->length_bytes + extent->host_bytes);
	}
	/* What lies behind the end of the file is read as zeros. */
	if (extent->kind == QCOW2_L2_DATA || extent->kind == QCOW2_L2_INVALID)
		reading->data_bytes = q2_plus(reading->data_bytes, extent->length_bytes);
}

/* Sums up extents until there are enough. */
static int sum_up(struct q2_vet *vet, struct qcow2_mapping *mapping, struct reading *reading)
{
	const struct qcow2_mapping_extent *extent;
	int more;

	while ((more = qcow2_mapping_next(mapping, &extent, vet->err)) > 0) {
		add(reading, extent);
		if (reading->extents % EXTENTS_AT_ONCE == 0 && is_too_long(vet, reading))
			return 0;
	}
	if (more < 0 && vet->err->code == QCOW2_ERROR_LIMIT)
		*reading = most_of(vet); /* tables are used again and again */
	else if (more < 0)
		return -1;
	return 0;
}

/* Tells what convert needs. Refcounts are looked at only if it depends on them. */
static int tell_convert(struct q2_vet *vet, const struct reading *reading)
{
	uint64_t ms = convert_ms(vet, reading, true), more = convert_ms(vet, reading, false);
	uint64_t faults = 0;

	if (vet->result.reasons == 0 && !q2_vet_passes(vet, QCOW2_VET_RULE_CONVERT_TIME, ms) &&
	    q2_vet_passes(vet, QCOW2_VET_RULE_CONVERT_TIME, more) && q2_count_faults(vet, &faults))
		return -1;
	q2_tell_cost(vet, QCOW2_VET_RULE_CONVERT_TIME, faults > 0 ? more : ms, "l2");
	return 0;
}

int q2_vet_reading_costs(struct q2_vet *vet)
{
	struct reading most = most_of(vet), reading = {.fixed_ns = most.fixed_ns};
	struct qcow2_mapping *mapping;
	int result = 0;

	if (!is_too_long(vet, &most))
		return 0;
	if (!is_too_long(vet, &reading)) {
		if (qcow2_mapping_open(vet->image, &mapping, vet->err))
			return vet->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
		result = sum_up(vet, mapping, &reading);
		qcow2_mapping_close(mapping);
	}
	if (result)
		return -1;
	q2_tell_cost(vet, QCOW2_VET_RULE_MAP_TIME, map_ms(vet, &reading), "l2");
	return tell_convert(vet, &reading);
}
