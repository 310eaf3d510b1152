/* SPDX-License-Identifier: MIT */
/*
 * qcow2 bitmap export: writes the bits of a bitmap, least significant first. Unless --raw is given,
 * a header and a checksum stand around them, see qcow2/bitmap_file.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitmap/actions.h"
#include "common/descriptors.h"
#include "common/limits.h"
#include "common/report.h"

#include <qcow2/bitmap_file.h>
#include <qcow2/limits.h>

#define PIECE_BYTES ((size_t)256 * 1024)

/* One export under way. Pieces are filled in order and written whole. */
struct export
{
	const struct bitmap_run *run;
	int fd;
	uint8_t *piece;
	const struct qcow2_bitmap_dir_entry *entry;
	uint64_t at; /* byte of the bitmap that the piece begins with */
	uint64_t size;
	uint32_t checksum; /* of the bytes before the piece */
	bool begun;        /* the header is written */
	bool seekable;     /* zeros may be left out */
	int errnum;
	struct progress *progress;
};

static bool write_all(struct export *e, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t done = write(e->fd, bytes, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			e->errnum = errno;
			return false;
		}
		bytes += done;
		size -= (size_t)done;
	}
	return true;
}

/*
 * Whether bits may be missing: the bitmap cannot be relied on, or bits that cannot be read were
 * taken for clean. The header says so and comes first. So all bits are read once before.
 */
static bool is_stale(const struct export *e)
{
	struct qcow2_bitmap_dir_entry entry;
	struct qcow2_dirty_extents *extents;
	struct qcow2_dirty_extent extent;
	struct qcow2_error err;
	int more;

	if (bitmap_find_usable(e->run->image, e->run->names[0], false, &entry, &err) ||
	    qcow2_dirty_extents_open(e->run->image, e->entry, 0, &extents, &err))
		return true;
	do
		more = qcow2_dirty_extents_next(extents, &extent, &err);
	while (more > 0);
	qcow2_dirty_extents_close(extents);
	return more < 0;
}

/* Writes the header, when the first bits are there: if no bits can be read, nothing is written. */
static bool write_header(struct export *e)
{
	const struct qcow2_bitmap_file file = {
		.disk_size_bytes = qcow2_image_header(e->run->image)->size,
		.granularity_bits = e->entry->granularity_bits,
		.enabled = e->entry->flags & QCOW2_BITMAP_AUTO,
		.stale = e->run->force && is_stale(e),
	};
	uint8_t header[QCOW2_BITMAP_FILE_HEADER_BYTES];

	if (e->run->raw || e->begun)
		return true;
	e->begun = true;
	qcow2_bitmap_file_header(&file, header);
	return write_all(e, header, sizeof(header));
}

static size_t piece_size(const struct export *e)
{
	return e->size - e->at < PIECE_BYTES ? (size_t)(e->size - e->at) : PIECE_BYTES;
}

/* Writes the piece, and begins the next one. */
static bool flush_piece(struct export *e)
{
	size_t size = piece_size(e);
	bool zeros = e->piece[0] == 0 && memcmp(e->piece, e->piece + 1, size - 1) == 0;

	if (!write_header(e))
		return false;
	e->checksum = qcow2_bitmap_file_checksum(e->checksum, (struct qcow2_bytes){e->piece, size});
	if (zeros && e->seekable) {
		if (lseek(e->fd, (off_t)size, SEEK_CUR) < 0) {
			e->errnum = errno;
			return false;
		}
	} else if (!write_all(e, e->piece, size)) {
		return false;
	}
	memset(e->piece, 0, size);
	e->at += size;
	progress_share(e->progress, e->at, e->size);
	return true;
}

/* Sets the bits [first, end) of the bitmap, which rise from call to call. */
static bool set_bits(struct export *e, uint64_t first, uint64_t end)
{
	while (first < end) {
		while (first / 8 >= e->at + piece_size(e))
			if (!flush_piece(e))
				return false;
		if (first % 8 == 0 && end - first >= 8) {
			uint64_t bytes = (end - first) / 8, place = first / 8 - e->at;
			uint64_t room = piece_size(e) - place;

			memset(e->piece + place, 0xff, (size_t)(bytes < room ? bytes : room));
			first += 8 * (bytes < room ? bytes : room);
			continue;
		}
		e->piece[first / 8 - e->at] |= (uint8_t)(1U << first % 8);
		first++;
	}
	return true;
}

static int export_bits(struct export *e, struct qcow2_dirty_extents *extents, unsigned shift,
		       struct qcow2_error *err)
{
	uint64_t mask = (UINT64_C(1) << shift) - 1;
	struct qcow2_dirty_extent extent;
	int more;

	while ((more = qcow2_dirty_extents_next(extents, &extent, err)) > 0) {
		uint64_t end = extent.start_bytes + extent.length_bytes;

		if (extent.dirty &&
		    !set_bits(e, extent.start_bytes >> shift, (end >> shift) + ((end & mask) != 0)))
			break;
	}
	while (more == 0 && e->errnum == 0 && e->at < e->size)
		flush_piece(e);
	return more < 0 ? -1 : 0;
}

/* Writes the checksum, or the hole at the end. */
static void write_end(struct export *e)
{
	uint8_t trailer[QCOW2_BITMAP_FILE_TRAILER_BYTES];

	for (unsigned i = 0; i < sizeof(trailer); i++)
		trailer[i] = (uint8_t)(e->checksum >> (24 - 8 * i));
	if (!e->run->raw)
		(void)(write_header(e) && write_all(e, trailer, sizeof(trailer)));
	else if (e->seekable && ftruncate(e->fd, (off_t)e->size) < 0)
		e->errnum = errno;
}

static int fail_file(const struct bitmap_run *run, int errnum)
{
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET};

	snprintf(err.text, sizeof(err.text), "%s", strerror(errnum));
	return report_error(run->command, strcmp(run->to, "-") == 0 ? "standard output" : run->to,
			    &err);
}

static int export_to(struct export *e, const struct qcow2_bitmap_dir_entry *entry)
{
	const struct bitmap_run *run = e->run;
	struct qcow2_dirty_extents *extents;
	struct qcow2_error err;
	int failed;

	if (qcow2_dirty_extents_open(run->image, entry,
				     run->force ? QCOW2_DIRTY_EXTENTS_LENIENT : 0, &extents, &err))
		return bitmap_fail_name(run, run->image, run->names[0], &err);
	e->entry = entry;
	failed = export_bits(e, extents, entry->granularity_bits, &err);
	qcow2_dirty_extents_close(extents);
	if (!failed && e->errnum == 0)
		write_end(e);
	if (failed)
		return bitmap_fail_name(run, run->image, run->names[0], &err);
	return e->errnum ? fail_file(run, e->errnum) : EXIT_FINE;
}

static int open_target(struct export *e)
{
	const struct bitmap_run *run = e->run;

	e->fd = STDOUT_FILENO;
	if (strcmp(run->to, "-") == 0 && run->sparse)
		return usage_error(run->command, "--sparse needs --to=FILE");
	if (strcmp(run->to, "-") == 0 && isatty(STDOUT_FILENO))
		return usage_error(run->command,
				   "bits are not for a terminal: use --to=FILE or a pipe");
	if (strcmp(run->to, "-") == 0)
		return EXIT_FINE;
	/* Never write over an existing file: it may be the only copy of it. */
	e->fd = descriptors_open(run->to, O_WRONLY | O_CREAT | O_EXCL, 0666);
	e->seekable = run->sparse;
	if (e->fd < 0)
		return fail_file(run, errno);
	limits_making(run->command, run->to);
	return EXIT_FINE;
}

static int export_bitmap(struct export *e)
{
	struct bitmap_run *run = (struct bitmap_run *)(uintptr_t)e->run;
	struct qcow2_bitmap_dir_entry entry;
	struct qcow2_error err;
	uint64_t bits;
	int code;

	if (bitmap_find_usable(run->image, run->names[0], run->force, &entry, &err))
		return bitmap_fail_name(run, run->image, run->names[0], &err);
	bits = entry.granularity_bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX
		       ? 0
		       : qcow2_bitmap_file_bits(qcow2_image_header(run->image)->size,
						entry.granularity_bits);
	e->size = bits / 8 + (bits % 8 != 0);
	code = open_target(e);
	if (code != EXIT_FINE)
		return code;
	code = export_to(e, &entry);
	if (e->fd == STDOUT_FILENO)
		return code;
	limits_making(run->command, NULL);
	if (close(e->fd) < 0 && code == EXIT_FINE)
		code = fail_file(run, errno);
	if (code != EXIT_FINE)
		(void)unlink(run->to);
	return code;
}

int bitmap_export(struct bitmap_run *run)
{
	struct export e = {.run = run, .piece = calloc(1, PIECE_BYTES), .progress = &run->progress};
	int code;

	if (!e.piece)
		return fail_file(run, ENOMEM);
	code = export_bitmap(&e);
	free(e.piece);
	return code;
}
