/* SPDX-License-Identifier: MIT */
/*
 * Disks over images that are put together in memory: clusters of 512 bytes, the L1 table at 0x400, one
 * L2 table at 0x600, which maps 32 KiB, and data behind it. What a byte of data is follows from its
 * place, so that a wrong place is a wrong byte.
 */
#ifndef TESTS_UNIT_GUEST_FIXTURE_H
#define TESTS_UNIT_GUEST_FIXTURE_H

#include "image_bytes.h"

#include <qcow2/guest.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define FILE_BYTES 0x10000
#define L1_AT      0x400
#define L2_AT      0x600
#define DATA_AT    0x1000
#define PACKED     (UINT64_C(1) << 62)
#define FILES      4

/* A file, as a source of its own. Reads that touch [bad, bad_end) fail with the errno. */
struct file {
	uint8_t bytes[FILE_BYTES];
	size_t size;
	struct qcow2_source *source;
	uint64_t bad, bad_end;
	int error;
};

/* What the gate gives, by its turn, and what it was asked. */
struct turn {
	int answer;
	struct file *file; /* NULL: no source is set */
};

struct chain {
	struct file files[FILES];
	struct turn turns[FILES];
	unsigned asked;
	struct qcow2_disk_options options;
	struct qcow2_image *image;
	struct qcow2_disk *disk;
	struct qcow2_error err;
};

static inline int file_read(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	const struct file *file = opaque;

	if (file->bad < offset + size && offset < file->bad_end)
		return file->error;
	memcpy(buffer, file->bytes + offset, size);
	return 0;
}

static inline void open_file(struct file *file)
{
	static const struct qcow2_source_ops ops = {.size = sizeof(ops), .read = file_read};

	if (!file->source)
		assert_int_equal(qcow2_source_from_ops(&ops, file, file->size, &file->source, NULL),
				 0);
}

static inline int give(void *opaque, const struct qcow2_disk_wanted *wanted,
		       struct qcow2_source **source, struct qcow2_error *err)
{
	struct chain *c = opaque;
	const struct turn *turn = &c->turns[c->asked < FILES ? c->asked : FILES - 1];

	(void)err;
	assert_true(wanted->size == sizeof(*wanted));
	c->asked++;
	if (turn->file) {
		open_file(turn->file);
		*source = turn->file->source;
	}
	return turn->answer;
}

static inline struct chain *new_chain(void)
{
	struct chain *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->options.size = sizeof(c->options);
	c->options.gate = give;
	c->options.opaque = c;
	return c;
}

static inline void close_chain(struct chain *c)
{
	qcow2_disk_close(c->disk);
	qcow2_image_close(c->image);
	for (unsigned i = 0; i < FILES; i++)
		qcow2_source_close(c->files[i].source);
	free(c);
}

/* The byte of data at a host offset of a file. */
static inline uint8_t byte_at(unsigned file, uint64_t host)
{
	return (uint8_t)(1 + (host * 7 + (host >> 9) * 13 + file * 101) % 255);
}

static inline void fill_data(struct chain *c, unsigned index, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		c->files[index].bytes[i] = byte_at(index, i);
}

/* An image of a disk of so many bytes, of which all is unallocated. */
static inline void make_image(struct chain *c, unsigned index, uint64_t virtual_size)
{
	struct file *file = &c->files[index];

	file->size = FILE_BYTES;
	put_header(file->bytes, virtual_size);
	put_be(file->bytes + 36, 4, 1);
	put_be(file->bytes + 40, 8, L1_AT);
	put_be(file->bytes + L1_AT, 8, L2_AT);
	fill_data(c, index, DATA_AT, FILE_BYTES);
}

static inline void make_raw(struct chain *c, unsigned index, size_t size)
{
	c->files[index].size = size;
	fill_data(c, index, 0, size);
}

static inline void put_entry(struct chain *c, unsigned index, unsigned cluster, uint64_t entry)
{
	put_be(c->files[index].bytes + L2_AT + (size_t)cluster * 8, 8, entry);
}

/* The name and the format of a backing file. */
static inline void put_backing(struct chain *c, unsigned index, const char *name)
{
	put_be(c->files[index].bytes + 8, 8, 0x180);
	put_be(c->files[index].bytes + 16, 4, strlen(name));
	memcpy(c->files[index].bytes + 0x180, name, strlen(name));
}

static inline int try_open(struct chain *c)
{
	open_file(&c->files[0]);
	if (!c->image)
		assert_int_equal(qcow2_image_open(c->files[0].source, &c->image, &c->err), 0);
	return qcow2_disk_open(c->image, &c->options, &c->disk, &c->err);
}

static inline void open_chain(struct chain *c)
{
	if (try_open(c))
		fail_msg("%s", c->err.text);
}

static inline void expect_refusal(struct chain *c, enum qcow2_error_code code)
{
	assert_int_equal(try_open(c), -1);
	assert_null(c->disk);
	assert_int_equal(c->err.code, code);
	assert_true(strlen(c->err.text) > 0);
}

static inline int read_disk(struct chain *c, uint64_t at, uint8_t *buffer, size_t size)
{
	return qcow2_disk_read(c->disk, (struct qcow2_guest){at}, buffer, size, &c->err);
}

/* Demands that a range of the disk reads as the bytes of a file from `host` on. */
static inline void assert_bytes(struct chain *c, uint64_t at, size_t size, unsigned file,
				uint64_t host)
{
	uint8_t *buffer = malloc(size);

	assert_non_null(buffer);
	if (read_disk(c, at, buffer, size))
		fail_msg("%s", c->err.text);
	for (size_t i = 0; i < size; i++)
		if (buffer[i] != byte_at(file, host + i))
			fail_msg("byte 0x%llx is not that of file %u at 0x%llx",
				 (unsigned long long)(at + i), file,
				 (unsigned long long)(host + i));
	free(buffer);
}

static inline void assert_zeros(struct chain *c, uint64_t at, size_t size)
{
	uint8_t *buffer = malloc(size);

	assert_non_null(buffer);
	memset(buffer, 1, size);
	if (read_disk(c, at, buffer, size))
		fail_msg("%s", c->err.text);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(buffer[i], 0);
	free(buffer);
}

static inline void expect_failure(struct chain *c, uint64_t at, size_t size,
				  enum qcow2_error_code code)
{
	uint8_t *buffer = malloc(size + 1);

	assert_non_null(buffer);
	assert_int_equal(read_disk(c, at, buffer, size), -1);
	assert_int_equal(c->err.code, code);
	free(buffer);
}

/*
 * Puts data that decompress to a cluster: a stored block of deflate, or a raw block of zstd whose window
 * is 2^(10 + window) bytes. Returns the L2 entry of clusters of 512 bytes.
 */
static inline uint64_t put_deflated(uint8_t *file, uint64_t at, unsigned bytes)
{
	file[at] = 1;
	file[at + 1] = (uint8_t)bytes;
	file[at + 2] = (uint8_t)(bytes >> 8);
	file[at + 3] = (uint8_t)~bytes;
	file[at + 4] = (uint8_t)(~bytes >> 8);
	return PACKED | ((at + 5 + bytes - 1) / 512 - at / 512) << 61 | at;
}

static inline uint64_t put_zstd(uint8_t *file, uint64_t at, unsigned window)
{
	const uint8_t head[] = {0x28, 0xb5, 0x2f, 0xfd, 0, (uint8_t)(window << 3), 0x01, 0x10, 0};

	memcpy(file + at, head, sizeof(head));
	return PACKED | ((at + sizeof(head) + 511) / 512 - at / 512) << 61 | at;
}

#endif
