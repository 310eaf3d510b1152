/* SPDX-License-Identifier: MIT */
/* Snapshots and bitmaps: how many, what they hold, what they are called. */
#include <qcow2/limits.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/system.h"
#include "rules/rules.h"
#include "vet/problems.h"
#include "vet/vet.h"

/* Names, and tables of bitmaps, among which duplicates are found. */
#define SEEN_MAX 100000

static void seen_begin(struct q2_names_seen *seen)
{
	*seen = (struct q2_names_seen){.short_of_memory = false};
	q2_hash_key_make(&seen->key);
	q2_name_set_init(&seen->set, SEEN_MAX);
	q2_name_set_init(&seen->tables, SEEN_MAX);
}

/* Fails if duplicates may have been missed for lack of memory. */
static int seen_end(const struct q2_vet *vet, struct q2_names_seen *seen)
{
	q2_name_set_release(&seen->set);
	q2_name_set_release(&seen->tables);
	return seen->short_of_memory ? q2_fail_memory(vet->err) : 0;
}

/* A table that cannot be found is told by the rules; else the call has failed. */
static int judge_open(const struct q2_vet *vet)
{
	return vet->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
}

/* What a stream has passed reads as zeros behind what was kept. */
static bool is_kept(const struct q2_vet *vet, uint64_t at, uint64_t size)
{
	if (!vet->kept || at >= vet->result.file_size_bytes)
		return true;
	if (size > vet->result.file_size_bytes - at)
		size = vet->result.file_size_bytes - at;
	return q2_kept_has(vet->kept, at, size);
}

static int fail_passed(const struct q2_vet *vet)
{
	return q2_fail_errno(vet->err, Q2_ENODATA, QCOW2_NO_OFFSET, "the stream has passed it");
}

static void tell_snapshot(struct q2_vet *vet, const struct qcow2_snapshot *snapshot)
{
	uint64_t names_at = snapshot->offset_bytes + sizeof(snapshot->header) +
			    snapshot->header.extra_data_size;
	char field[64];

	q2_vet_tell(vet,
		    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_VIRTUAL_SIZE,
					     .offset_bytes = snapshot->offset_bytes,
					     .value = snapshot->disk_size_bytes,
					     .name = snapshot->name},
		    "snapshots/%llu/disk_size", (unsigned long long)snapshot->index);
	if (snapshot->vm_state_size_bytes != 0)
		q2_vet_tell(vet,
			    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_VM_STATE,
						     .offset_bytes = snapshot->offset_bytes,
						     .has_value = true,
						     .value = snapshot->vm_state_size_bytes,
						     .name = snapshot->name},
			    "snapshots/%llu/vm_state_size", (unsigned long long)snapshot->index);
	snprintf(field, sizeof(field), "snapshots/%llu/id", (unsigned long long)snapshot->index);
	q2_vet_tell_name(vet, snapshot->id, names_at, field);
	snprintf(field, sizeof(field), "snapshots/%llu/name", (unsigned long long)snapshot->index);
	q2_vet_tell_name(vet, snapshot->name, names_at + snapshot->header.id_str_size, field);
}

int q2_vet_snapshots(struct q2_vet *vet)
{
	const struct q2_reporter reporter = q2_vet_reporter(vet);
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	struct q2_names_seen seen;
	uint64_t left = QCOW2_LIMIT_QEMU_SNAPSHOTS;
	int more = 0;

	if (vet->header->nb_snapshots == 0)
		return 0;
	if (qcow2_snapshots_open(vet->image, &snapshots, vet->err))
		return judge_open(vet);
	seen_begin(&seen);
	while (left-- > 0 && (more = qcow2_snapshots_next(snapshots, &snapshot, vet->err)) > 0) {
		q2_rules_snapshot(vet->image, snapshot, &seen, &reporter);
		tell_snapshot(vet, snapshot);
		vet->snapshot_l1_entries += snapshot->header.l1_size;
		vet->snapshot_bytes += snapshot->size_bytes;
	}
	qcow2_snapshots_close(snapshots);
	if (seen_end(vet, &seen))
		return -1;
	if (more >= 0 && !is_kept(vet, vet->header->snapshot_offset, vet->snapshot_bytes))
		more = fail_passed(vet);
	return more < 0 ? -1 : 0;
}

static void tell_bitmap(struct q2_vet *vet, const struct qcow2_bitmap *bitmap)
{
	uint64_t name_at =
		bitmap->offset_bytes + sizeof(bitmap->entry) + bitmap->entry.extra_data_size;
	char field[64];

	snprintf(field, sizeof(field), "bitmaps/%llu/name", (unsigned long long)bitmap->index);
	q2_vet_tell_name(vet, bitmap->name, name_at, field);
}

/* What QEMU keeps of a bitmap: its bits, and levels above them of which each is a 64th. */
static void add_bitmap(struct q2_vet *vet, const struct qcow2_bitmap *bitmap)
{
	unsigned bits = bitmap->entry.granularity_bits;
	uint64_t bytes = bits < 64 ? (vet->header->size >> bits) / 8 + 1 : 1;

	vet->bitmaps++;
	bytes += bytes / 63;
	if (q2_add_u64(vet->bitmap_bytes, bytes, &vet->bitmap_bytes))
		vet->bitmap_bytes = UINT64_MAX;
	bytes = (uint64_t)bitmap->entry.bitmap_table_size << vet->geometry->cluster_bits;
	if (q2_add_u64(vet->bitmap_table_bytes, bytes, &vet->bitmap_table_bytes))
		vet->bitmap_table_bytes = UINT64_MAX;
}

/* The rules hold for bitmaps that somebody may use: without the autoclear bit nobody does. */
static int visit_bitmaps(struct q2_vet *vet, struct qcow2_bitmaps *bitmaps)
{
	const struct q2_reporter reporter = q2_vet_reporter(vet);
	bool used = (vet->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) != 0;
	struct q2_directory_read read = {.extension = qcow2_bitmaps_header(bitmaps)};
	uint64_t left = QCOW2_LIMIT_QEMU_BITMAPS;
	const struct qcow2_bitmap *bitmap;
	struct q2_names_seen seen;
	int more = 0;

	seen_begin(&seen);
	while (left-- > 0 && (more = qcow2_bitmaps_next(bitmaps, &bitmap, vet->err)) > 0) {
		if (used) {
			q2_rules_bitmap(vet->image, bitmap, &seen, &reporter);
			add_bitmap(vet, bitmap);
		}
		tell_bitmap(vet, bitmap);
		read.entries++;
		read.cut |= bitmap->cut;
	}
	if (seen_end(vet, &seen))
		return -1;
	read.used_bytes = qcow2_bitmaps_used_bytes(bitmaps);
	if (more == 0 && used)
		q2_rules_bitmap_directory(vet->image, &read, &reporter);
	return more < 0 ? -1 : 0;
}

int q2_vet_bitmaps(struct q2_vet *vet)
{
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_bytes data;
	int result;

	if (!qcow2_image_find_extension(vet->image, QCOW2_EXTENSION_BITMAPS, &data))
		return 0;
	if (qcow2_bitmaps_open(vet->image, &bitmaps, vet->err))
		return judge_open(vet);
	q2_vet_tell(vet,
		    &(struct q2_vet_finding){
			    .rule = QCOW2_VET_RULE_BITMAPS,
			    .offset_bytes = (uint64_t)(data.data -
						       qcow2_image_first_cluster(vet->image).data),
			    .value = qcow2_bitmaps_header(bitmaps)->nb_bitmaps},
		    "extensions/bitmaps/data/nb_bitmaps");
	result = visit_bitmaps(vet, bitmaps);
	if (result == 0 && !is_kept(vet, qcow2_bitmaps_header(bitmaps)->bitmap_directory_offset,
				    qcow2_bitmaps_used_bytes(bitmaps)))
		result = fail_passed(vet);
	qcow2_bitmaps_close(bitmaps);
	return result;
}
