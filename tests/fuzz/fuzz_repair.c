/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes repairs: of an image that is all of the input but its last byte, which says how. The plan
 * must show what applying it leaves; the planned image must have the problems that the repair says;
 * what could be read before must read the same; a second repair of a sound image plans nothing; and
 * undoing brings every byte back.
 */
#include <stdio.h>
#include <unistd.h>

#include "memory.h"
#include "mutator/mutator.h"

#define IMAGE_MOST   ((size_t)1 << 18)
#define EXTENTS_MOST 2000
#define PIECE_MOST   4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const size_t fuzz_command_bytes = 1;

static void demand(bool truth)
{
	if (!truth)
		abort();
}

/* Ranges that a repair says read otherwise afterwards. */
struct told {
	struct range {
		uint64_t start, end;
	} ranges[512];
	size_t count;
	bool all;
};

static int hear_step(void *opaque, const struct qcow2_repair_step *step)
{
	struct told *told = opaque;

	demand(step->kind && step->does && step->count > 0);
	if (!step->has_guest || step->guest_of != QCOW2_PART_OF_IMAGE ||
	    step->before == QCOW2_READS_SAME)
		return 0;
	if (told->count == sizeof(told->ranges) / sizeof(told->ranges[0])) {
		told->all = true;
		return 0;
	}
	told->ranges[told->count++] =
		(struct range){step->guest_byte, step->guest_byte + step->guest_length_bytes};
	return 0;
}

static bool is_told(const struct told *told, uint64_t byte)
{
	for (size_t i = 0; i < told->count; i++)
		if (byte >= told->ranges[i].start && byte < told->ranges[i].end)
			return true;
	return told->all;
}

/* What one byte of the disk is: its value, or what kind of extent it lies in. */
static int byte_at(const struct qcow2_image *image, const struct qcow2_mapping_extent *extent)
{
	uint8_t byte = 0;

	if (extent->kind != QCOW2_L2_DATA)
		return 256 + (int)extent->kind;
	if (qcow2_source_read(qcow2_image_source(image), extent->host.byte, &byte, 1, NULL))
		return 256 + (int)QCOW2_L2_ZERO;
	return byte;
}

/* Data that could be read at the start of an extent is there afterwards, or was told to change. */
static void judge_extent(const struct qcow2_image *before, const struct qcow2_image *after,
			 struct qcow2_mapping *mapping, const struct qcow2_mapping_extent *extent,
			 const struct told *told)
{
	const struct qcow2_mapping_extent *now;

	if (extent->kind != QCOW2_L2_DATA || is_told(told, extent->start.byte))
		return;
	qcow2_mapping_seek(mapping, extent->start, 1);
	demand(qcow2_mapping_next(mapping, &now, NULL) == 1);
	demand(byte_at(before, extent) == byte_at(after, now));
}

static void judge_disk(const struct qcow2_image *before, const struct qcow2_image *after,
		       const struct told *told)
{
	struct qcow2_mapping *old, *new;
	const struct qcow2_mapping_extent *extent;

	if (qcow2_image_geometry(before)->data_file || qcow2_mapping_open(before, &old, NULL))
		return;
	demand(qcow2_mapping_open(after, &new, NULL) == 0);
	for (unsigned i = 0; i < EXTENTS_MOST && qcow2_mapping_next(old, &extent, NULL) == 1; i++)
		judge_extent(before, after, new, extent, told);
	qcow2_mapping_close(old);
	qcow2_mapping_close(new);
}

/* A repair that says that all is well has nothing left to do. */
static void judge_again(struct qcow2_source *view, const struct qcow2_repair_options *how)
{
	struct qcow2_repair_options again = *how;
	struct qcow2_repair_result *result;
	struct qcow2_plan *plan;

	again.tell = NULL;
	again.drop_count = 0;
	demand(qcow2_plan_open(view, &plan, NULL) == 0);
	demand(qcow2_repair(plan, &again, &result, NULL) == 0);
	demand(result->after->corruptions == 0);
	qcow2_repair_result_free(result);
	qcow2_plan_close(plan);
}

static void judge(struct qcow2_plan *plan, struct qcow2_source *source,
		  const struct qcow2_repair_result *result, const struct qcow2_repair_options *how)
{
	struct qcow2_check_result *check;
	struct qcow2_source *view;
	struct qcow2_image *before, *after;

	demand(qcow2_plan_view(plan, &view, NULL) == 0);
	demand(qcow2_image_open(view, &after, NULL) == 0);
	demand(qcow2_image_open(source, &before, NULL) == 0);
	demand(qcow2_check(after, NULL, &check, NULL) == 0);
	demand(check->corruptions == result->after->corruptions);
	demand(check->leaks == result->after->leaks);
	if (result->before->corruptions == 0)
		demand(check->corruptions == 0);
	qcow2_check_result_free(check);
	if (qcow2_image_geometry(before) && qcow2_image_geometry(after))
		judge_disk(before, after, how->opaque);
	qcow2_image_close(before);
	qcow2_image_close(after);
	if (result->after->corruptions == 0)
		judge_again(view, how);
	qcow2_source_close(view);
}

static void apply_and_undo(struct qcow2_plan *plan, struct memory *now, const struct memory *before)
{
	static char path[64];
	const struct qcow2_apply_options how = {sizeof(how), path, "image", "fuzz", NULL};
	const struct qcow2_undo_options exactly = {.size = sizeof(exactly),
						   .flags = QCOW2_UNDO_EXACT};
	struct memory shown = expect(plan);
	struct qcow2_source *source;
	struct qcow2_undo *undo;

	snprintf(path, sizeof(path), "/dev/shm/fuzz-repair-%d", (int)getpid());
	(void)unlink(path);
	demand(qcow2_plan_apply(plan, &how, NULL) == 0 && same(now, &shown));
	if (access(path, F_OK) == 0) {
		source = open_memory(now);
		demand(qcow2_undo_open(path, &undo, NULL) == 0);
		demand(qcow2_undo_apply(undo, source, &exactly, NULL, NULL) == 0);
		demand(same(now, before));
		qcow2_undo_close(undo);
		qcow2_source_close(source);
		(void)unlink(path);
	}
	free(shown.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory now = {.capacity = 4 * IMAGE_MOST}, before;
	const char *const drop[] = {"#0"};
	struct told told = {.count = 0};
	struct qcow2_repair_options how = {
		.size = sizeof(how), .tell = hear_step, .opaque = &told, .threads = 1};
	struct qcow2_repair_result *result;
	struct qcow2_source *source;
	struct qcow2_plan *plan;

	if (size < 1 || size > IMAGE_MOST)
		return 0;
	how.extent = (enum qcow2_repair_extent)(data[size - 1] % 3);
	how.free_lost = data[size - 1] & 4;
	how.drop_bad_bitmaps = data[size - 1] & 8;
	how.drop_snapshots = drop;
	how.drop_count = (data[size - 1] & 48) == 48;
	now.size = size - 1;
	now.bytes = malloc(now.capacity);
	demand(now.bytes != NULL);
	memcpy(now.bytes, data, now.size);
	before = (struct memory){(uint8_t *)(uintptr_t)data, now.size, now.size};
	source = open_memory(&now);
	demand(qcow2_plan_open(source, &plan, NULL) == 0);
	if (qcow2_repair(plan, &how, &result, NULL) == 0) {
		judge(plan, source, result, &how);
		qcow2_repair_result_free(result);
		if (qcow2_plan_count(plan) > 0 && qcow2_plan_size_bytes(plan) <= now.capacity)
			apply_and_undo(plan, &now, &before);
	}
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	free(now.bytes);
	return 0;
}
