/* SPDX-License-Identifier: MIT */
/*
 * Plans a number of small writes in disorder, saves and applies them, and undoes them, each timed;
 * and, as the least that all of that can take, writes the same bytes at the same places and syncs.
 * The image grows sparse behind its end, where nothing refers to what is written. Prints one line:
 * writes, and the seconds of planning, of saving and applying, of undoing, and of merely writing.
 *
 *   plan_writes COUNT IMAGE UNDO
 */
#include <qcow2/edit.h>
#include <qcow2/undo.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STRIDE ((uint64_t)4096)
#define BYTES  8

static struct qcow2_error err;
static uint64_t count, first;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "plan_writes: %s: %s\n", what, err.text);
	exit(1);
}

/* A place of its own for each number, in no order. */
static uint64_t place(uint64_t number)
{
	return first + number * UINT64_C(2654435761) % count * STRIDE;
}

static void plan_all(struct qcow2_plan *plan)
{
	uint8_t bytes[BYTES];

	for (uint64_t i = 0; i < count; i++) {
		memset(bytes, (int)(i % 255 + 1), sizeof(bytes));
		if (qcow2_plan_write(plan, (enum qcow2_phase)(i % 5), place(i),
				     (struct qcow2_bytes){bytes, sizeof(bytes)}, "a small write",
				     &err))
			die("plan");
	}
}

/* Seconds of planning, and of saving and applying. */
static void edit(const char *path, const char *undo, double seconds[2])
{
	const struct qcow2_apply_options how = {
		.size = sizeof(how),
		.undo_path = undo,
		.image_path = path,
		.command = "plan_writes",
	};
	struct qcow2_source *source;
	struct qcow2_plan *plan;
	double start = now();

	if (qcow2_source_open_for_edit(path, 0, &source, &err) ||
	    qcow2_plan_open(source, &plan, &err) || qcow2_plan_spill_beside(plan, undo, &err))
		die("open");
	first = (qcow2_plan_size_bytes(plan) + STRIDE) & ~(STRIDE - 1);
	plan_all(plan);
	seconds[0] = now() - start;
	start = now();
	if (qcow2_plan_apply(plan, &how, &err))
		die("apply");
	seconds[1] = now() - start;
	qcow2_plan_close(plan);
	qcow2_source_close(source);
}

static double undo_all(const char *path, const char *undo)
{
	struct qcow2_source *source;
	struct qcow2_undo *file;
	double start = now();

	if (qcow2_source_open_for_edit(path, 0, &source, &err) ||
	    qcow2_undo_open(undo, &file, &err) || qcow2_undo_apply(file, source, NULL, NULL, &err))
		die("undo");
	qcow2_undo_close(file);
	qcow2_source_close(source);
	return now() - start;
}

static double write_alone(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	double start = now();

	for (uint64_t i = 0; i < count; i++)
		if (pwrite(fd, "12345678", BYTES, (off_t)place(i)) != BYTES)
			die("write");
	if (fsync(fd) || close(fd))
		die("sync");
	return now() - start;
}

int main(int argc, char **argv)
{
	double seconds[2], undone;

	if (argc != 4)
		return 2;
	count = strtoull(argv[1], NULL, 10);
	edit(argv[2], argv[3], seconds);
	undone = undo_all(argv[2], argv[3]);
	printf("%llu %.4f %.4f %.4f %.4f\n", (unsigned long long)count, seconds[0], seconds[1],
	       undone, write_alone(argv[2]));
	return 0;
}
