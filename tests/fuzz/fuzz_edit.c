/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes edits: up to six commands from the last bytes, on an image that is the rest. What a plan
 * shows must be what applying it leaves, and undoing it must bring every byte back. The undo file
 * itself is then damaged, and must be refused or do no harm.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcow2/qcow2.h>

#include "memory.h"
#include "mutator/mutator.h"

#define COMMAND_BYTES 16
#define COMMANDS      6
#define IMAGE_MOST    ((size_t)1 << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const size_t fuzz_command_bytes = COMMANDS * COMMAND_BYTES;

static const char *const paths[] = {
	"header/size",
	"header/cluster_bits",
	"header/l1_size",
	"header/magic",
	"header/header_length",
	"header/backing_file_offset",
	"snapshots/0/flags",
	"bitmaps/0/flags",
	"l1/0",
	"l2/0/1",
	"refcounts/0/1",
	"refcount_table/0",
	"snapshots/0/l1/0",
	"bitmaps/0/table/0",
	"extensions/0/length",
	"luks/version",
};
static const char *const groups[] = {"incompatible", "compatible", "autoclear"};
static const uint32_t magics[] = {
#define QCOW2_EXTENSION(id, magic, key, name, shape, structure, meaning) magic,
#include <qcow2/def/extensions.def>
	5};

static uint64_t number_of(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return value >> (bytes[7] & 63);
}

/* One command; failing is fine. */
static void run_command(struct qcow2_plan *plan, const uint8_t *c)
{
	uint64_t number = number_of(c + 8);
	struct qcow2_bytes bytes = {c, c[1] % COMMAND_BYTES};
	struct qcow2_error err;
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)(c[0] & 8 ? number % 64 : number));
	switch (c[0] % 8) {
	case 0:
	case 1:
		(void)qcow2_edit_set(plan, paths[c[1] % (sizeof(paths) / sizeof(paths[0]))], text,
				     NULL, &err);
		break;
	case 2:
		(void)qcow2_edit_feature(plan, groups[c[1] % 3], text, c[2] & 1, &err);
		break;
	case 3:
		(void)qcow2_edit_extension(plan, (enum qcow2_extension_change)(c[2] % 3),
					   magics[c[3] % (sizeof(magics) / sizeof(magics[0]))],
					   bytes, &err);
		break;
	case 4:
		(void)qcow2_edit_backing(plan, bytes, c[2] & 1 ? "raw" : NULL, &err);
		break;
	case 5:
		(void)qcow2_edit_feature_names(plan, &err);
		(void)qcow2_edit_data_file(plan, bytes, &err);
		break;
	case 6:
		(void)qcow2_plan_write(plan, (enum qcow2_phase)(c[2] % 4), number % IMAGE_MOST,
				       bytes, "fuzz", &err);
		break;
	default:
		(void)qcow2_plan_resize(plan, number % IMAGE_MOST, &err);
	}
}

/* Undoes from a file; the exit that a damaged one takes must leave the image alone. */
static void undo(const char *path, struct memory *now, const struct memory *before, bool damaged)
{
	struct qcow2_source *source = open_memory(now);
	struct qcow2_undo *file = NULL;
	/* Memory has no modification time: only who insists gets every byte back. */
	const struct qcow2_undo_options how = {.size = sizeof(how), .flags = QCOW2_UNDO_EXACT};
	struct qcow2_error err;
	bool undone = qcow2_undo_open(path, &file, &err) == 0 &&
		      qcow2_undo_apply(file, source, &how, NULL, &err) == 0;

	if (undone ? !same(now, before) : !damaged)
		abort();
	qcow2_undo_close(file);
	qcow2_source_close(source);
}

/* Changes one byte of a file. */
static void damage(const char *path, uint64_t number)
{
	int fd = open(path, O_RDWR);
	off_t size = lseek(fd, 0, SEEK_END), at = (off_t)(number % (uint64_t)size);
	uint8_t byte = 0;

	(void)!pread(fd, &byte, 1, at);
	byte ^= 0x40;
	(void)!pwrite(fd, &byte, 1, at);
	close(fd);
}

static void apply_and_undo(struct qcow2_plan *plan, struct memory *now, const struct memory *before,
			   uint64_t number)
{
	static char path[64];
	const struct qcow2_apply_options how = {sizeof(how), path, "image", "fuzz", NULL};
	struct memory shown = expect(plan), changed;
	struct qcow2_error err;

	snprintf(path, sizeof(path), "/dev/shm/fuzz-edit-%d", (int)getpid());
	(void)unlink(path);
	if (qcow2_plan_apply(plan, &how, &err) || !same(now, &shown))
		abort();
	if (access(path, F_OK) == 0) {
		changed = (struct memory){malloc(now->capacity), now->size, now->capacity};
		memcpy(changed.bytes, now->bytes, now->size);
		undo(path, now, before, false);
		undo(path, now, before, false);
		damage(path, number);
		undo(path, &changed, before, true);
		free(changed.bytes);
		(void)unlink(path);
	}
	free(shown.bytes);
}

/* Judges a plan, for who needs all and for who needs little: both get the same verdict. */
static void judge_plan(struct qcow2_plan *plan)
{
	const struct qcow2_judge_options how = {
		.size = sizeof(how), .without_totals = true, .without_digests = true};
	struct qcow2_plan_verdict *verdict = NULL, *shorter = NULL;
	struct qcow2_error err;

	if (qcow2_plan_judge(plan, NULL, &verdict, &err) == 0 &&
	    (qcow2_plan_judge(plan, &how, &shorter, &err) ||
	     verdict->adds_problems != shorter->adds_problems ||
	     verdict->refusals_total != shorter->refusals_total))
		abort();
	qcow2_plan_verdict_free(shorter);
	qcow2_plan_verdict_free(verdict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory now = {.capacity = 2 * IMAGE_MOST + 4096}, before;
	struct qcow2_source *source;
	struct qcow2_plan *plan;
	struct qcow2_error err;

	const uint8_t *commands;

	if (size < (size_t)COMMANDS * COMMAND_BYTES || size > IMAGE_MOST)
		return 0;
	now.size = size - (size_t)COMMANDS * COMMAND_BYTES;
	now.bytes = malloc(now.capacity);
	commands = data + now.size;
	memcpy(now.bytes, data, now.size);
	before = (struct memory){(uint8_t *)(uintptr_t)data, now.size, now.size};
	source = open_memory(&now);
	if (qcow2_plan_open(source, &plan, &err))
		abort();
	(void)qcow2_edit_begin(plan, &err);
	for (unsigned i = 0; i < COMMANDS; i++)
		run_command(plan, commands + (size_t)i * COMMAND_BYTES);
	judge_plan(plan);
	apply_and_undo(plan, &now, &before, number_of(commands + 4));
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	free(now.bytes);
	return 0;
}
