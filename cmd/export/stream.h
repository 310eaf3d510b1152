/* SPDX-License-Identifier: MIT */
/*
 * Standard output: all bytes of the disk in order, or a stream of records that says where its end is
 * (docs/export.md, "The stream").
 */
#ifndef CMD_EXPORT_STREAM_H
#define CMD_EXPORT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

struct export_piece;

struct export_stream {
	int fd;
	bool has_records; /* --format=stream */
	uint64_t records; /* written so far */
};

/* All return 0 or an errno value. */
int export_stream_begin(struct export_stream *stream, uint64_t disk_size_bytes);
int export_stream_piece(struct export_stream *stream, const struct export_piece *piece);
int export_stream_end(struct export_stream *stream, uint64_t disk_size_bytes);

#endif
