/* SPDX-License-Identifier: MIT */
/*
 * "Header", raw external data: the data file alone has to read like the image, so that every guest
 * cluster must be mapped, or read as zeros, which QEMU then writes to the data file, too. Runs of
 * clusters that are neither are reported as one.
 *
 * Subclusters of a mapped cluster need not be allocated: QEMU makes a new image so, and the data
 * file with zeros in it, which is what the guest reads.
 */
#include "check/stages.h"
#include "format/l2_table.h"

/* The run of unmapped clusters that goes on where it ended, across tables. */
struct run {
	struct q2_check *check;
	uint64_t start, end; /* guest bytes; empty if equal */
};

static void report_run(struct run *run)
{
	const uint64_t per_table = run->check->geometry->l2_entries
				   << run->check->geometry->cluster_bits;

	if (run->start < run->end)
		q2_report(&run->check->reporter,
			  &(struct q2_finding){
				  .id = QCOW2_PROBLEM_DATA_FILE_RAW_UNMAPPED,
				  .offset_bytes = QCOW2_NO_OFFSET,
				  .has_guest = true,
				  .guest_byte = run->start,
				  .guest_length_bytes = run->end - run->start,
			  },
			  "l1/%llu", (unsigned long long)(run->start / per_table));
}

/* Notes that [start, end) is not mapped. */
static void unmapped(struct run *run, uint64_t start, uint64_t end)
{
	uint64_t size = run->check->geometry->virtual_size_bytes;

	if (end > size)
		end = size;
	if (start >= end)
		return;
	if (start != run->end) {
		report_run(run);
		run->start = start;
	}
	run->end = end;
}

/* Whether an entry says of its cluster that it is in the data file, or that all reads as zeros. */
static bool is_promised(const struct qcow2_geometry *geometry, const uint8_t *bytes)
{
	uint64_t entry = q2_l2_entry_at(bytes, 0, geometry->l2_entry_bytes), subclusters;

	if (qcow2_l2_has_offset(entry, true))
		return true;
	if (!geometry->extended_l2)
		return (entry & QCOW2_ENTRY_MASK(l2_entry, zero)) != 0;
	subclusters = q2_l2_subclusters_at(bytes, 0, geometry->l2_entry_bytes);
	return qcow2_l2_subclusters_decode(subclusters).zeroes == UINT32_MAX;
}

static int visit_table(struct run *run, uint64_t index, uint64_t offset)
{
	struct q2_check *check = run->check;
	const struct qcow2_geometry *geometry = check->geometry;
	uint64_t size = 0;

	/* A hostile image may lead to one table again and again; so much is looked at. */
	if (check->claims_left < geometry->cluster_size_bytes)
		return 0;
	check->claims_left -= geometry->cluster_size_bytes;
	if (offset < geometry->file_size_bytes &&
	    q2_metadata_read_l2(&check->metadata, offset, &size))
		return -1;
	for (uint64_t i = 0; i < geometry->l2_entries; i++) {
		uint64_t guest = (index * geometry->l2_entries + i) << geometry->cluster_bits;

		if (i * geometry->l2_entry_bytes >= size ||
		    !is_promised(geometry, check->workers[0].buffer + i * geometry->l2_entry_bytes))
			unmapped(run, guest, guest + geometry->cluster_size_bytes);
	}
	return 0;
}

int q2_check_raw(struct q2_check *check)
{
	const struct qcow2_geometry *geometry = check->geometry;
	uint64_t per_table = geometry->l2_entries << geometry->cluster_bits, entries;
	struct run run = {.check = check};
	struct qcow2_table *table;
	int result = 0;

	if (!geometry->data_file ||
	    !(check->header->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
		return 0;
	if (qcow2_table_new(check->image, &table, check->err))
		return -1;
	entries = qcow2_table_begin(table, check->header->l1_table_offset, check->header->l1_size);
	for (uint64_t i = 0; i < entries && i < geometry->l1_entries_needed && result == 0; i++) {
		uint64_t entry;

		result = qcow2_table_entry(table, i, &entry, check->err);
		if (result)
			break;
		entry &= QCOW2_ENTRY_MASK(l1_entry, offset);
		if (entry)
			result = visit_table(&run, i, entry);
		else
			unmapped(&run, i * per_table, (i + 1) * per_table);
	}
	report_run(&run);
	qcow2_table_free(table);
	return result;
}
