/* SPDX-License-Identifier: MIT */
/* Writes a capture. What the image stores is stored, zeros as well; its holes stay holes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/redact.h"
#include "capture/run.h"
#include "common/report.h"

#define PIECE_BYTES ((size_t)256 << 10)

static int fail_write(const struct capture_run *run, int errnum)
{
	char text[128];

	snprintf(text, sizeof(text), "cannot write it: %s", strerror(errnum));
	return report_text(run->command, run->to, text);
}

/* ---- bytes ---- */

/* Writes all. 0, or an errno value. */
static int put(int fd, uint64_t at, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		const ssize_t done = pwrite(fd, bytes, size, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? errno : ENOSPC;
		bytes += done;
		at += (uint64_t)done;
		size -= (size_t)done;
	}
	return 0;
}

static int copy_range(const struct capture_run *run, const struct capture_range *range,
		      uint8_t *piece)
{
	uint64_t at = range->start_bytes;
	struct qcow2_error err;

	while (at < range->end_bytes) {
		uint64_t data = qcow2_source_hole_end(run->source, at);
		size_t size = PIECE_BYTES;
		int errnum;

		if (data > at) {
			at = data;
			continue;
		}
		if (range->end_bytes - at < size)
			size = (size_t)(range->end_bytes - at);
		data = qcow2_source_data_end(run->source, at);
		if (data > at && data - at < size)
			size = (size_t)(data - at);
		if (qcow2_source_read(run->source, at, piece, size, &err))
			return report_error(run->command, run->file, &err);
		errnum = put(run->target.fd, at, piece, size);
		if (errnum)
			return fail_write(run, errnum);
		at += size;
	}
	return EXIT_FINE;
}

static int copy_ranges(const struct capture_run *run, const struct capture_ranges *ranges,
		       uint8_t *piece)
{
	int code = EXIT_FINE;

	for (size_t i = 0; i < ranges->count && code == EXIT_FINE; i++)
		code = copy_range(run, &ranges->list[i], piece);
	return code;
}

/* ---- what is not in the image as it stands ---- */

static int write_changed(void *opaque, uint64_t offset_bytes, const uint8_t *bytes, size_t size,
			 struct qcow2_error *err)
{
	const struct capture_run *run = opaque;
	const int errnum = put(run->target.fd, offset_bytes, bytes, size);

	if (errnum == 0)
		return 0;
	capture_fail(err, QCOW2_ERROR_IO, strerror(errnum));
	return -1;
}

static int write_extras(struct capture_run *run)
{
	const struct capture_content *content = &run->content;
	const struct capture_writer writer = {write_changed, run};
	uint8_t mark[CAPTURE_MARK_BYTES];
	struct qcow2_error err;
	int errnum = put(run->target.fd, content->luks_at_bytes, content->luks, content->luks_size);

	memset(mark, CAPTURE_MARK, sizeof(mark));
	for (size_t i = 0; i < content->marks.count && errnum == 0; i++) {
		const struct capture_range *range = &content->marks.list[i];

		errnum = put(run->target.fd, range->start_bytes, mark,
			     (size_t)(range->end_bytes - range->start_bytes));
	}
	if (errnum)
		return fail_write(run, errnum);
	if (run->redact && capture_redact(run->image, content, &writer, &run->facts.names, &err))
		return report_error(run->command, run->file, &err);
	return EXIT_FINE;
}

static int digest_part(struct capture_run *run)
{
	struct qcow2_error err;

	if (capture_digest(run->written, run->facts.digest, &err))
		return report_error(run->command, run->to, &err);
	return EXIT_FINE;
}

/* ---- all ---- */

/* What is copied, and what is not. */
static void sum_up(struct capture_run *run)
{
	const struct capture_content *content = &run->content;
	const uint64_t stored = qcow2_source_allocated_bytes(run->source);
	struct capture_facts *facts = &run->facts;
	uint64_t copied;

	facts->whole = !content->header_alone;
	facts->redacted = run->redact;
	facts->compressed = run->compressed;
	facts->leaks = !run->no_leaks;
	facts->metadata_bytes = capture_ranges_total(&content->metadata);
	facts->compressed_bytes = capture_ranges_total(&content->compressed);
	facts->keys_bytes = capture_ranges_total(&content->keys);
	copied = facts->metadata_bytes + facts->compressed_bytes;
	facts->left_out_bytes = stored > copied ? stored - copied : 0;
	facts->orphan_tables = content->orphan_tables;
	facts->marked = content->marks.count;
	facts->has_problems = content->has_problems;
	facts->corruptions = content->corruptions;
	facts->leak_count = content->leaks;
	facts->warnings = content->warnings;
}

int capture_write(struct capture_run *run)
{
	uint8_t *piece = malloc(PIECE_BYTES);
	struct stat st;
	int code;

	run->facts.size_bytes = qcow2_source_size_bytes(run->source);
	sum_up(run);
	if (!piece)
		return report_text(run->command, run->to, "out of memory");
	code = copy_ranges(run, &run->content.metadata, piece);
	if (code == EXIT_FINE)
		code = copy_ranges(run, &run->content.compressed, piece);
	free(piece);
	if (code == EXIT_FINE)
		code = write_extras(run);
	if (code == EXIT_FINE)
		code = digest_part(run);
	/* What a file system has not written yet it does not count right. */
	if (code == EXIT_FINE && fsync(run->target.fd))
		return fail_write(run, errno);
	if (code == EXIT_FINE && fstat(run->target.fd, &st) == 0)
		run->stored_bytes = (uint64_t)st.st_blocks * 512;
	return code;
}
