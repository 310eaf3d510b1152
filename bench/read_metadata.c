/* SPDX-License-Identifier: MIT */
/*
 * Reads the tables of an image that a check reads (L2 tables, refcount blocks, the bitmap directory,
 * bitmap tables) and does nothing with them, in sorted reads of up to a MiB, with as many threads as
 * one says: the least that any check can take. For sound images only; it believes what they say.
 *
 *   read_metadata THREADS IMAGE
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE       ((uint64_t)1 << 20)
#define HEADER      4096 /* with all extensions */
#define THREADS_MAX 64
#define BITMAPS     0x23852875
#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)

struct piece {
	uint64_t offset, size;
};

static struct piece *wanted, *pieces;
static size_t wanted_count, count;
static _Atomic size_t next;
static int fd;

static uint64_t be(const uint8_t *bytes, unsigned width)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < width; i++)
		value = value << 8 | bytes[i];
	return value;
}

static uint8_t *load(uint64_t offset, uint64_t size)
{
	uint8_t *bytes = malloc(size + 1);

	if (!bytes || pread(fd, bytes, size, (off_t)offset) != (ssize_t)size) {
		perror("read_metadata");
		exit(1);
	}
	return bytes;
}

static void want(uint64_t offset, uint64_t size)
{
	static size_t room;

	if (wanted_count == room) {
		room = room ? room * 2 : 4096;
		wanted = realloc(wanted, room * sizeof(*wanted));
		if (!wanted)
			exit(1);
	}
	if (offset != 0)
		wanted[wanted_count++] = (struct piece){offset, size};
}

/* The clusters that the entries of a table lead to. */
static void want_table(uint64_t offset, uint64_t entries, uint64_t size)
{
	uint8_t *table = load(offset, entries * 8);

	for (uint64_t i = 0; i < entries; i++)
		want(be(table + i * 8, 8) & OFFSET_MASK, size);
	free(table);
}

static void want_snapshots(uint64_t offset, uint64_t number, uint64_t cluster)
{
	while (number-- > 0) {
		uint8_t *row = load(offset, 40);

		want_table(be(row, 8), be(row + 8, 4), cluster);
		offset += (40 + be(row + 36, 4) + be(row + 12, 2) + be(row + 14, 2) + 7) / 8 * 8;
		free(row);
	}
}

/* The directory, and the tables of all bitmaps. */
static void want_bitmaps(const uint8_t *extension)
{
	uint64_t size = be(extension + 8, 8), offset = be(extension + 16, 8), at = 0;
	uint8_t *directory = load(offset, size);

	for (uint64_t number = be(extension, 4); number > 0; number--) {
		const uint8_t *row = directory + at;

		want(be(row, 8), be(row + 8, 4) * 8);
		at += (24 + be(row + 20, 4) + be(row + 18, 2) + 7) / 8 * 8;
	}
	free(directory);
}

static int by_offset(const void *left, const void *right)
{
	const struct piece *a = left, *b = right;

	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* What the tables lead to, sorted and joined. What several lead to is read once. */
static void plan(const uint8_t *header)
{
	uint64_t cluster = UINT64_C(1) << be(header + 20, 4), at = be(header + 100, 4);

	want_table(be(header + 40, 8), be(header + 36, 4), cluster);
	want_table(be(header + 48, 8), be(header + 56, 4) * cluster / 8, cluster);
	want_snapshots(be(header + 64, 8), be(header + 60, 4), cluster);
	for (; at + 32 <= HEADER && be(header + at, 4) != 0;
	     at += 8 + (be(header + at + 4, 4) + 7) / 8 * 8)
		if (be(header + at, 4) == BITMAPS)
			want_bitmaps(header + at + 8);
	qsort(wanted, wanted_count, sizeof(*wanted), by_offset);
	pieces = calloc(wanted_count + 1, sizeof(*pieces));
	for (size_t i = 0; i < wanted_count; i++) {
		struct piece *last = count ? &pieces[count - 1] : NULL;

		if (i > 0 && wanted[i].offset == wanted[i - 1].offset)
			continue;
		if (last && last->offset + last->size == wanted[i].offset && last->size < PIECE)
			last->size += wanted[i].size;
		else
			pieces[count++] = wanted[i];
	}
	free(wanted);
}

static void *read_pieces(void *buffer)
{
	size_t i;

	while ((i = atomic_fetch_add(&next, 1)) < count)
		if (pread(fd, buffer, pieces[i].size, (off_t)pieces[i].offset) < 0)
			exit(1);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS_MAX];
	int crew = argc == 3 ? atoi(argv[1]) : 0;
	uint8_t *header;

	if (crew < 1 || crew > THREADS_MAX || (fd = open(argv[2], O_RDONLY)) < 0) {
		fprintf(stderr, "Usage: read_metadata THREADS IMAGE\n");
		return 1;
	}
	header = load(0, HEADER);
	plan(header);
	for (int i = 1; i < crew; i++)
		pthread_create(&threads[i], NULL, read_pieces, malloc(2 * PIECE + (2 << 20)));
	read_pieces(malloc(2 * PIECE + (2 << 20)));
	for (int i = 1; i < crew; i++)
		pthread_join(threads[i], NULL);
	free(pieces);
	free(header);
	return 0;
}
