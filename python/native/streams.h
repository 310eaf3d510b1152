/* SPDX-License-Identifier: MIT */
/*
 * What the binding adds to the library, in C, as it has to happen without the interpreter: extents
 * in batches, a check that is heard step by step, a source over a file descriptor.
 */
#ifndef QCOW2_PYTHON_STREAMS_H
#define QCOW2_PYTHON_STREAMS_H

#include <qcow2/qcow2.h>

/* An extent of an image's mapping, as struct qcow2_mapping_extent has it. */
struct binding_extent {
	uint64_t start_bytes, length_bytes, host_bytes, host_length_bytes;
	int kind;
	int problem;
};

/*
 * Takes up to `most` extents, fewer once they took a twentieth of a second. Returns 1 with *count
 * set, 0 at the end, or -1 with *err filled. What was found before an error is told first.
 */
int binding_mapping_take(struct qcow2_mapping *mapping, struct binding_extent *out, size_t most,
			 size_t *count, struct qcow2_error *err);

/* An extent of a guest's disk, as struct qcow2_disk_extent has it. */
struct binding_disk_extent {
	uint64_t start_bytes, length_bytes, host_bytes;
	int kind;
	int problem;
	uint32_t depth;
	bool compressed, encrypted, has_source;
};

/* Likewise, of a disk. */
int binding_disk_take(struct qcow2_disk_extents *extents, struct binding_disk_extent *out,
		      size_t most, size_t *count, struct qcow2_error *err);

/* A check that runs in a thread of its own and waits while nobody takes what it finds. */
struct binding_check;

/* How to check, as in struct qcow2_check_options. */
struct binding_check_how {
	unsigned threads;
	uint64_t memory_limit_bytes, max_per_kind;
	const struct qcow2_problem_kind *only;
	bool deep, damage, lost_mappings;
	bool count_only; /* as binding_check_count_only(), from the beginning */
};

/*
 * Begins a check. image: open until binding_check_close(). Returns NULL with *err filled if the
 * thread cannot be started.
 *
 * In a process that was forked meanwhile there is no such thread: there, taking is an error, and
 * closing does nothing.
 */
struct binding_check *binding_check_open(const struct qcow2_image *image,
					 const struct binding_check_how *how,
					 struct qcow2_error *err);

/*
 * Takes up to `most` problems, each to be freed with qcow2_problem_free(). Waits a fifth of a second
 * at most, so that signals are heard: *count may be 0. Returns 1, 0 when the check has ended, or -1
 * with *err filled.
 */
int binding_check_take(struct binding_check *check, struct qcow2_problem **out, size_t most,
		       size_t *count, struct qcow2_error *err);

/* From now on problems are counted alone, and nobody has to take them. */
void binding_check_count_only(struct binding_check *check);

/* What the check found, once binding_check_take() has returned 0. It lives as long as the check. */
const struct qcow2_check_result *binding_check_result(const struct binding_check *check);

/* Stops the check if it runs, waits until it has ended, and frees it. */
void binding_check_close(struct binding_check *check);

/*
 * Makes a source over a descriptor of a regular file or a block device, which is duplicated. Its
 * position moves when holes are looked for. Returns 0, or -1 with *err filled.
 */
int binding_source_from_fd(int fd, struct qcow2_source **out, struct qcow2_error *err);

#endif
