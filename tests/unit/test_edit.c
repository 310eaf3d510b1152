/* SPDX-License-Identifier: MIT */
/*
 * Plans and undo files from inside: what a plan trims, orders, shows and refuses, files that grow
 * and shrink, places that are written twice, and images that are no files.
 */
#include <qcow2/edit.h>
#include <qcow2/undo.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan/places.h"
#include "source/source.h"
#include "source/write.h"

#include <cmocka.h>

#define FILE_BYTES 4096
#define MIB        ((uint64_t)1 << 20)

struct scene {
	char folder[64], image[80], undo[80];
	struct qcow2_source *source;
	struct qcow2_plan *plan;
};

static struct qcow2_error err;

static int setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	uint8_t bytes[FILE_BYTES];
	int fd;

	if (!scene)
		return -1;
	snprintf(scene->folder, sizeof(scene->folder), "/tmp/edit-XXXXXX");
	if (!mkdtemp(scene->folder))
		return -1;
	snprintf(scene->image, sizeof(scene->image), "%s/image", scene->folder);
	snprintf(scene->undo, sizeof(scene->undo), "%s/undo", scene->folder);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	fd = open(scene->image, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) || close(fd) < 0)
		return -1;
	if (qcow2_source_open_for_edit(scene->image, 0, &scene->source, &err) ||
	    qcow2_plan_open(scene->source, &scene->plan, &err))
		return -1;
	*state = scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	qcow2_plan_close(scene->plan);
	qcow2_source_close(scene->source);
	(void)unlink(scene->image);
	(void)unlink(scene->undo);
	(void)rmdir(scene->folder);
	free(scene);
	return 0;
}

static struct qcow2_bytes text(const char *bytes)
{
	return (struct qcow2_bytes){(const uint8_t *)bytes, strlen(bytes)};
}

static uint8_t original(uint64_t at)
{
	return (uint8_t)(at * 7 + at / 256);
}

static void plan_text(struct scene *scene, enum qcow2_phase phase, uint64_t offset,
		      const char *bytes)
{
	assert_int_equal(qcow2_plan_write(scene->plan, phase, offset, text(bytes), "a test", &err),
			 0);
}

/* The file as it is on disk. */
static size_t file_size(const struct scene *scene)
{
	struct stat st;

	assert_int_equal(stat(scene->image, &st), 0);
	return (size_t)st.st_size;
}

static void assert_original(const struct scene *scene)
{
	uint8_t bytes[FILE_BYTES];
	int fd = open(scene->image, O_RDONLY | O_CLOEXEC);

	assert_int_equal(file_size(scene), FILE_BYTES);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], original(i));
	close(fd);
}

static void apply(struct scene *scene)
{
	const struct qcow2_apply_options how = {sizeof(how), scene->undo, scene->image, "a test",
						NULL};

	assert_int_equal(qcow2_plan_apply(scene->plan, &how, &err), 0);
}

/* Closes the plan, and opens the image once more. */
static void reopen(struct scene *scene)
{
	qcow2_plan_close(scene->plan);
	scene->plan = NULL;
	qcow2_source_close(scene->source);
	scene->source = NULL;
	assert_int_equal(qcow2_source_open_for_edit(scene->image, 0, &scene->source, &err), 0);
}

static void undo_all(struct scene *scene)
{
	struct qcow2_undo *undo;

	reopen(scene);
	assert_int_equal(qcow2_undo_open(scene->undo, &undo, &err), 0);
	assert_int_equal(qcow2_undo_apply(undo, scene->source, NULL, NULL, &err), 0);
	qcow2_undo_close(undo);
	assert_original(scene);
}

static void trims(void **state)
{
	struct scene *scene = *state;
	uint8_t bytes[16];
	const struct qcow2_write *write;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = original(32 + i);
	assert_int_equal(qcow2_plan_write(scene->plan, QCOW2_PHASE_POINT, 32,
					  (struct qcow2_bytes){NULL, 0}, "nothing", &err),
			 0);
	assert_int_equal(qcow2_plan_count(scene->plan), 0);
	assert_int_equal(qcow2_plan_write(scene->plan, QCOW2_PHASE_POINT, 32,
					  (struct qcow2_bytes){bytes, sizeof(bytes)}, "same", &err),
			 0);
	assert_int_equal(qcow2_plan_count(scene->plan), 0);
	bytes[3] ^= 1;
	bytes[7] ^= 1;
	assert_int_equal(qcow2_plan_write(scene->plan, QCOW2_PHASE_POINT, 32,
					  (struct qcow2_bytes){bytes, sizeof(bytes)}, "two", &err),
			 0);
	assert_int_equal(qcow2_plan_count(scene->plan), 1);
	assert_int_equal(qcow2_plan_at(scene->plan, 0, &write, &err), 0);
	assert_int_equal(write->offset_bytes, 35);
	assert_int_equal(write->new_bytes.size, 5);
	assert_int_equal(write->old_bytes.size, 5);
	assert_int_equal(write->old_bytes.data[0], original(35));
	assert_string_equal(write->why, "two");
}

static void orders_phases(void **state)
{
	struct scene *scene = *state;
	const struct qcow2_write *write;

	plan_text(scene, QCOW2_PHASE_CLEAN, 10, "clean");
	plan_text(scene, QCOW2_PHASE_WITHDRAW, 10, "away");
	plan_text(scene, QCOW2_PHASE_POINT, 100, "point");
	plan_text(scene, QCOW2_PHASE_POINT, 102, "POINT");
	assert_int_equal(qcow2_plan_count(scene->plan), 4);
	assert_int_equal(qcow2_plan_at(scene->plan, 0, &write, &err), 0);
	assert_int_equal(write->phase, QCOW2_PHASE_WITHDRAW);
	/* What a later write replaces is what the earlier one has left. */
	assert_int_equal(qcow2_plan_at(scene->plan, 2, &write, &err), 0);
	assert_memory_equal(write->old_bytes.data, "int", 3);
	assert_int_equal(qcow2_plan_at(scene->plan, 3, &write, &err), 0);
	assert_int_equal(write->phase, QCOW2_PHASE_CLEAN);
	assert_memory_equal(write->old_bytes.data, "away", 4);
	apply(scene);
	undo_all(scene);
}

static void views(void **state)
{
	struct scene *scene = *state;
	struct qcow2_source *view;
	uint8_t bytes[8];

	plan_text(scene, QCOW2_PHASE_NEW, FILE_BYTES + 2 * MIB, "far");
	assert_int_equal(qcow2_plan_size_bytes(scene->plan), FILE_BYTES + 2 * MIB + 3);
	assert_int_equal(qcow2_plan_view(scene->plan, &view, &err), 0);
	assert_int_equal(qcow2_source_size_bytes(view), FILE_BYTES + 2 * MIB + 3);
	assert_int_equal(qcow2_source_read(view, FILE_BYTES - 2, bytes, 4, &err), 0);
	assert_int_equal(bytes[0], original(FILE_BYTES - 2));
	assert_int_equal(bytes[2], 0);
	assert_int_equal(qcow2_source_read(view, FILE_BYTES + 2 * MIB, bytes, 3, &err), 0);
	assert_memory_equal(bytes, "far", 3);
	/* What the file gets between is a hole that ends where something is written. */
	assert_int_equal(qcow2_source_hole_end(view, FILE_BYTES), FILE_BYTES + 2 * MIB);
	assert_int_equal(qcow2_source_hole_end(view, FILE_BYTES + 2 * MIB), FILE_BYTES + 2 * MIB);
	assert_int_equal(qcow2_source_hole_end(view, 0), 0);
	qcow2_source_close(view);
	assert_original(scene);
	apply(scene);
	assert_int_equal(file_size(scene), FILE_BYTES + 2 * MIB + 3);
	undo_all(scene);
}

static void shrinks(void **state)
{
	struct scene *scene = *state;

	plan_text(scene, QCOW2_PHASE_POINT, 90, "edge");
	assert_int_equal(qcow2_plan_resize(scene->plan, 93, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_plan_resize(scene->plan, 1000, &err), 0);
	apply(scene);
	assert_int_equal(file_size(scene), 1000);
	undo_all(scene);
}

static void grows_by_nothing(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(qcow2_plan_resize(scene->plan, 9000, &err), 0);
	apply(scene);
	assert_int_equal(file_size(scene), 9000);
	undo_all(scene);
}

static void large_places(void **state)
{
	struct scene *scene = *state;
	size_t size = (size_t)(5 * MIB / 2);
	uint8_t *bytes = malloc(size);
	struct q2_places places;

	assert_non_null(bytes);
	memset(bytes, 0xa5, size);
	assert_int_equal(qcow2_plan_write(scene->plan, QCOW2_PHASE_NEW, 8,
					  (struct qcow2_bytes){bytes, size}, "large", &err),
			 0);
	memset(bytes, 0x5a, size);
	assert_int_equal(qcow2_plan_write(scene->plan, QCOW2_PHASE_POINT, 4,
					  (struct qcow2_bytes){bytes, size}, "larger", &err),
			 0);
	free(bytes);
	assert_int_equal(q2_plan_places(scene->plan, &places, &err), 0);
	/* The last four bytes are of the earlier phase. */
	assert_int_equal(places.count, 4);
	assert_int_equal(places.items[0].offset_bytes, 4);
	assert_int_equal(places.items[0].size_bytes, MIB);
	assert_int_equal(places.items[3].offset_bytes + places.items[3].size_bytes, size + 8);
	q2_places_release(&places);
	apply(scene);
	undo_all(scene);
}

static void limits(void **state)
{
	struct scene *scene = *state;
	struct qcow2_source *reader;
	struct qcow2_plan *plan;
	uint8_t byte = 1;

	assert_int_equal(qcow2_plan_write(scene->plan, QCOW2_PHASE_NEW, INT64_MAX,
					  (struct qcow2_bytes){&byte, 1}, "far", &err),
			 -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_plan_write(scene->plan, QCOW2_PHASE_NEW, UINT64_MAX,
					  (struct qcow2_bytes){&byte, 1}, "farther", &err),
			 -1);
	scene->plan->store.memory_most = 0;
	assert_int_equal(qcow2_plan_write(scene->plan, QCOW2_PHASE_NEW, 1,
					  (struct qcow2_bytes){&byte, 1}, "full", &err),
			 -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	qcow2_plan_close(scene->plan);
	assert_int_equal(qcow2_plan_open(scene->source, &scene->plan, &err), 0);
	assert_int_equal(qcow2_source_open(scene->image, &reader, &err), 0);
	assert_int_equal(qcow2_plan_open(reader, &plan, &err), 0);
	assert_int_equal(qcow2_plan_apply(plan, NULL, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(q2_source_write(reader, 0, &byte, 1, &err), -1);
	assert_int_equal(q2_source_resize(reader, 0, &err), -1);
	assert_int_equal(q2_source_sync(reader, &err), -1);
	qcow2_plan_close(plan);
	qcow2_source_close(reader);
	assert_int_equal(qcow2_plan_apply(scene->plan, NULL, &err), 0); /* nothing to do */
}

/* The only lock that a second edit can get is none. */
static void one_at_a_time(void **state)
{
	struct scene *scene = *state;
	struct qcow2_source *second, *reader;

	assert_int_equal(qcow2_source_open_for_edit(scene->image, 0, &second, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_IN_USE);
	assert_int_equal(qcow2_source_open(scene->image, &reader, &err), 0);
	assert_true(qcow2_source_in_use(reader));
	assert_false(qcow2_source_in_use(scene->source));
	qcow2_source_close(scene->source);
	scene->source = NULL;
	assert_false(qcow2_source_in_use(reader));
	qcow2_source_close(reader);
}

/* What a program that knows no locks appends is not cut off by whoever takes a growth back. */
static void somebody_appends(void **state)
{
	struct scene *scene = *state;
	int fd = open(scene->image, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_int_equal(q2_source_resize(scene->source, FILE_BYTES + 512, &err), 0);
	assert_int_equal(q2_source_resize(scene->source, FILE_BYTES, &err), 0);
	assert_int_equal(q2_source_write(scene->source, FILE_BYTES, "ours", 4, &err), 0);
	assert_int_equal(q2_source_resize(scene->source, FILE_BYTES, &err), 0);
	assert_int_equal(file_size(scene), FILE_BYTES);
	assert_int_equal(write(fd, "theirs", 6), 6);
	assert_int_equal(q2_source_resize(scene->source, FILE_BYTES - 1, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_IN_USE);
	assert_int_equal(q2_source_resize(scene->source, FILE_BYTES + 2, &err), -1);
	assert_int_equal(file_size(scene), FILE_BYTES + 6);
	assert_int_equal(close(fd), 0);
}

static void wrong_image(void **state)
{
	struct scene *scene = *state;
	struct qcow2_undo *undo;
	struct qcow2_source *reader;

	plan_text(scene, QCOW2_PHASE_POINT, 40, "x");
	apply(scene);
	reopen(scene);
	assert_int_equal(qcow2_undo_open(scene->undo, &undo, &err), 0);
	assert_int_equal(qcow2_source_open(scene->image, &reader, &err), 0);
	assert_int_equal(qcow2_undo_apply(undo, reader, NULL, NULL, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	qcow2_source_close(reader);
	assert_int_equal(q2_source_write(scene->source, 41, "y", 1, &err), 0);
	assert_int_equal(qcow2_undo_apply(undo, scene->source, NULL, NULL, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_MISMATCH);
	qcow2_undo_close(undo);
}

/* A device cannot grow, and an edit of it does not try. */
static void device(void **state)
{
	struct scene *scene = *state;
	static struct q2_source_backend backend; /* in use until teardown */
	struct qcow2_undo *undo;

	backend = *scene->source->backend;
	backend.fixed_size = true;
	backend.resize = NULL;
	scene->source->backend = &backend;
	assert_int_equal(qcow2_plan_resize(scene->plan, FILE_BYTES + 1, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_plan_write(scene->plan, QCOW2_PHASE_NEW, FILE_BYTES - 1, text("xy"),
					  "past the end", &err),
			 -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(q2_source_write(scene->source, FILE_BYTES, "x", 1, &err), -1);
	plan_text(scene, QCOW2_PHASE_POINT, FILE_BYTES - 2, "xy");
	apply(scene);
	assert_int_equal(qcow2_undo_open(scene->undo, &undo, &err), 0);
	assert_int_equal(qcow2_undo_apply(undo, scene->source, NULL, NULL, &err), 0);
	qcow2_undo_close(undo);
	assert_original(scene);
}

/* ---- a caller's own backend ---- */

struct memory {
	uint8_t bytes[64];
	uint64_t size;
	int fails; /* errno of each write, or 0 */
	unsigned synced;
};

static int memory_read(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	memcpy(buffer, ((struct memory *)opaque)->bytes + offset, size);
	return 0;
}

static int memory_write(void *opaque, uint64_t offset, const void *bytes, size_t size)
{
	struct memory *memory = opaque;

	if (memory->fails || offset + size > sizeof(memory->bytes))
		return memory->fails ? memory->fails : ENOSPC;
	memcpy(memory->bytes + offset, bytes, size);
	if (offset + size > memory->size)
		memory->size = offset + size;
	return 0;
}

static int memory_resize(void *opaque, uint64_t size)
{
	struct memory *memory = opaque;

	if (size > sizeof(memory->bytes))
		return EFBIG;
	if (size > memory->size)
		memset(memory->bytes + memory->size, 0, (size_t)(size - memory->size));
	memory->size = size;
	return 0;
}

static int memory_sync(void *opaque)
{
	((struct memory *)opaque)->synced++;
	return 0;
}

static void own_backend(void **state)
{
	struct qcow2_source_ops ops = {.size = sizeof(ops),
				       .read = memory_read,
				       .write = memory_write,
				       .resize = memory_resize};
	struct memory memory = {.size = 32};
	struct qcow2_source *source;
	struct qcow2_plan *plan;

	(void)state;
	assert_int_equal(qcow2_source_from_ops(&ops, &memory, 32, &source, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	ops.sync = memory_sync;
	assert_int_equal(qcow2_source_from_ops(&ops, &memory, 32, &source, &err), 0);
	assert_false(qcow2_source_in_use(source));
	assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
	assert_int_equal(qcow2_plan_write(plan, QCOW2_PHASE_NEW, 40, text("new"), "w", &err), 0);
	assert_int_equal(qcow2_plan_write(plan, QCOW2_PHASE_POINT, 2, text("old"), "w", &err), 0);
	memory.fails = EIO;
	assert_int_equal(qcow2_plan_apply(plan, NULL, &err), -1);
	assert_int_equal(err.errnum, EIO);
	memory.fails = 0;
	assert_int_equal(q2_source_resize(source, 32, &err), 0);
	assert_int_equal(qcow2_plan_apply(plan, NULL, &err), 0);
	assert_int_equal(memory.size, 43);
	assert_memory_equal(memory.bytes + 40, "new", 3);
	assert_memory_equal(memory.bytes + 2, "old", 3);
	assert_true(memory.synced >= 2);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(trims, setup, teardown),
		cmocka_unit_test_setup_teardown(orders_phases, setup, teardown),
		cmocka_unit_test_setup_teardown(views, setup, teardown),
		cmocka_unit_test_setup_teardown(shrinks, setup, teardown),
		cmocka_unit_test_setup_teardown(grows_by_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(large_places, setup, teardown),
		cmocka_unit_test_setup_teardown(limits, setup, teardown),
		cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(somebody_appends, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_image, setup, teardown),
		cmocka_unit_test_setup_teardown(device, setup, teardown),
		cmocka_unit_test(own_backend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
