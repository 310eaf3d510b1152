/* SPDX-License-Identifier: MIT */
/*
 * Reads the L2 tables and refcount blocks of an image and does nothing with them, in sorted reads
 * of up to a MiB, with as many threads as one says: the least that any check can take. For sound
 * images only; it believes what they say.
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
#define THREADS_MAX 64
#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)

struct piece {
	uint64_t offset, size;
};

static struct piece *pieces;
static size_t count;
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

static int by_offset(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

/* The clusters that two tables lead to, sorted and joined. */
static void plan(const uint8_t *header)
{
	uint64_t cluster = UINT64_C(1) << be(header + 20, 4);
	uint64_t l1_size = be(header + 36, 4) * 8, table_size = be(header + 56, 4) * cluster;
	uint8_t *l1 = load(be(header + 40, 8), l1_size);
	uint8_t *table = load(be(header + 48, 8), table_size);
	uint64_t *offsets = calloc((l1_size + table_size) / 8 + 1, 8);
	size_t used = 0;

	for (uint64_t i = 0; i < l1_size; i += 8)
		if (be(l1 + i, 8) & OFFSET_MASK)
			offsets[used++] = be(l1 + i, 8) & OFFSET_MASK;
	for (uint64_t i = 0; i < table_size; i += 8)
		if (be(table + i, 8))
			offsets[used++] = be(table + i, 8);
	qsort(offsets, used, 8, by_offset);
	pieces = calloc(used + 1, sizeof(*pieces));
	for (size_t i = 0; i < used; i++) {
		struct piece *last = count ? &pieces[count - 1] : NULL;

		if (last && last->offset + last->size == offsets[i] && last->size < PIECE)
			last->size += cluster;
		else
			pieces[count++] = (struct piece){offsets[i], cluster};
	}
	free(offsets);
	free(l1);
	free(table);
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
	int wanted = argc == 3 ? atoi(argv[1]) : 0;
	uint8_t *header;

	if (wanted < 1 || wanted > THREADS_MAX || (fd = open(argv[2], O_RDONLY)) < 0) {
		fprintf(stderr, "Usage: read_metadata THREADS IMAGE\n");
		return 1;
	}
	header = load(0, 104);
	plan(header);
	for (int i = 1; i < wanted; i++)
		pthread_create(&threads[i], NULL, read_pieces, malloc(2 * PIECE + (2 << 20)));
	read_pieces(malloc(2 * PIECE + (2 << 20)));
	for (int i = 1; i < wanted; i++)
		pthread_join(threads[i], NULL);
	free(pieces);
	free(header);
	return 0;
}
