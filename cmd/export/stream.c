/* SPDX-License-Identifier: MIT */
/* See stream.h. */
#include "export/stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "export/piece.h"

#include <qcow2/bitmap_file.h>

#define MAGIC   "\x89QST\r\n\x1a\n"
#define VERSION 1
/* The heads of the stream and of a record: two numbers of 64 bits and one of 32, and a checksum. */
#define CHECKED_BYTES (2 * sizeof(uint64_t) + sizeof(uint32_t))
#define HEADER_BYTES  (CHECKED_BYTES + sizeof(uint32_t))
#define RECORD_BYTES  HEADER_BYTES

enum record_type { RECORD_END, RECORD_DATA, RECORD_ZEROS };

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t done = write(fd, bytes, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno;
		bytes += done;
		size -= (size_t)done;
	}
	return 0;
}

static void put(uint8_t *to, uint64_t number, unsigned size)
{
	while (size-- > 0) {
		to[size] = (uint8_t)number;
		number >>= 8;
	}
}

int export_stream_begin(struct export_stream *stream, uint64_t disk_size_bytes)
{
	uint8_t header[HEADER_BYTES];

	if (!stream->has_records)
		return 0;
	memcpy(header, MAGIC, 8);
	put(header + 8, disk_size_bytes, 8);
	put(header + 16, VERSION, 4);
	put(header + 20,
	    qcow2_bitmap_file_checksum(0, (struct qcow2_bytes){header, HEADER_BYTES - 4}), 4);
	return write_all(stream->fd, header, sizeof(header));
}

/* A record: where, how long, what, and a checksum of that and of the data, if there are any. */
static int write_record(struct export_stream *stream, enum record_type type,
			const struct export_piece *piece)
{
	const bool has_data = type == RECORD_DATA;
	const struct qcow2_bytes data = {piece->bytes, has_data ? (size_t)piece->length_bytes : 0};
	uint8_t head[RECORD_BYTES];
	uint32_t checksum;
	int errnum;

	put(head, piece->start_bytes, 8);
	put(head + 8, piece->length_bytes, 8);
	put(head + 16, type, 4);
	checksum = qcow2_bitmap_file_checksum(0, (struct qcow2_bytes){head, CHECKED_BYTES});
	put(head + CHECKED_BYTES, qcow2_bitmap_file_checksum(checksum, data), 4);
	stream->records++;
	errnum = write_all(stream->fd, head, sizeof(head));
	return errnum ? errnum : write_all(stream->fd, data.data, data.size);
}

static int write_zeros(const struct export_stream *stream, uint64_t length_bytes)
{
	static const uint8_t zeros[64 << 10];
	int errnum = 0;

	while (length_bytes > 0 && errnum == 0) {
		const size_t size =
			length_bytes < sizeof(zeros) ? (size_t)length_bytes : sizeof(zeros);

		errnum = write_all(stream->fd, zeros, size);
		length_bytes -= size;
	}
	return errnum;
}

int export_stream_piece(struct export_stream *stream, const struct export_piece *piece)
{
	if (stream->has_records)
		return write_record(stream, piece->is_zero ? RECORD_ZEROS : RECORD_DATA, piece);
	if (piece->is_zero)
		return write_zeros(stream, piece->length_bytes);
	return write_all(stream->fd, piece->bytes, (size_t)piece->length_bytes);
}

int export_stream_end(struct export_stream *stream, uint64_t disk_size_bytes)
{
	uint8_t head[RECORD_BYTES];

	if (!stream->has_records)
		return 0;
	put(head, disk_size_bytes, 8);
	put(head + 8, stream->records, 8);
	put(head + 16, RECORD_END, 4);
	put(head + CHECKED_BYTES,
	    qcow2_bitmap_file_checksum(0, (struct qcow2_bytes){head, CHECKED_BYTES}), 4);
	return write_all(stream->fd, head, sizeof(head));
}
