/* SPDX-License-Identifier: MIT */
/*
 * Reads L2 tables without counting, to find out whether the first cluster is the header's alone;
 * and refcount blocks, if there is a digest to make. This is for changes of the header, which can
 * harm nobody but who uses the same cluster. A full check of the same tables takes twice the time.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/crew.h"
#include "check/run.h"
#include "check/structures.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_AVX2 1
#endif

/* A word of the file, wherever it lies in memory. */
typedef uint64_t __attribute__((may_alias, aligned(1))) stored_word;

/* Words that are looked at together. */
#define GROUP ((size_t)64)

/* What L2 entries have to have in order to lead to the first cluster. */
struct near {
	uint64_t offset;     /* bits of an offset */
	uint64_t far;        /* those of offsets behind the first cluster */
	uint64_t compressed; /* the flag */
	uint64_t far_compressed;
};

static struct near make_near(const struct qcow2_geometry *geometry)
{
	const uint64_t inside = geometry->cluster_size_bytes - 1;
	const uint64_t offset = QCOW2_ENTRY_MASK(l2_entry, offset);
	const uint64_t compressed = (UINT64_C(1) << geometry->compressed_offset_bits) - 1;

	return (struct near){offset, offset & ~inside, QCOW2_ENTRY_MASK(l2_entry, compressed),
			     compressed & ~inside};
}

static bool is_near(const struct near *near, uint64_t entry)
{
	if (entry & near->compressed)
		return (entry & near->far_compressed) == 0;
	return (entry & near->offset) != 0 && (entry & near->far) == 0;
}

/*
 * Whether a group of words, in the byte order of the file, may have an entry that leads there: one
 * that is compressed, or whose offset is small. `near` is in that order, too.
 */
static inline bool may_be_near(const stored_word *words, const struct near *near)
{
	uint64_t found = 0;

	for (size_t i = 0; i < GROUP; i++) {
		uint64_t word = words[i];
		uint64_t is_small = (word & near->far) == 0, is_any = (word & near->offset) != 0;

		found |= (is_small & is_any) | (word & near->compressed);
	}
	return found != 0;
}

typedef bool (*look_function)(const stored_word *words, const struct near *near);

static bool look(const stored_word *words, const struct near *near)
{
	return may_be_near(words, near);
}

#ifdef HAVE_AVX2
__attribute__((target("avx2"))) static bool look_avx2(const stored_word *words,
						      const struct near *near)
{
	return may_be_near(words, near);
}
#endif

static uint64_t as_stored(uint64_t word)
{
	uint64_t stored;
	uint8_t bytes[8];

	q2_store_be64(bytes, word);
	memcpy(&stored, bytes, sizeof(stored));
	return stored;
}

static look_function choose_look(void)
{
#ifdef HAVE_AVX2
	if (__builtin_cpu_supports("avx2"))
		return look_avx2;
#endif
	return look;
}

/* Looks for entries that lead to the first cluster. */
struct search {
	struct near near, stored; /* the second one in the byte order of the file */
	look_function look;
	size_t entry_bytes;
};

static struct search make_search(const struct qcow2_geometry *geometry)
{
	struct search search = {
		.near = make_near(geometry),
		.look = choose_look(),
		.entry_bytes = geometry->l2_entry_bytes,
	};

	search.stored = (struct near){
		.offset = as_stored(search.near.offset),
		.far = as_stored(search.near.far),
		.compressed = as_stored(search.near.compressed),
	};
	return search;
}

static bool has_near(const struct search *search, const uint8_t *bytes, size_t size)
{
	const size_t most = GROUP * 8;

	for (size_t at = 0; at < size; at += most) {
		size_t there = size - at < most ? size - at : most;

		if (there == most &&
		    !search->look((const stored_word *)(const void *)(bytes + at), &search->stored))
			continue;
		/* Of an entry that the end of the file cuts, nobody knows where it leads. */
		if (there % 8 != 0)
			return true;
		for (size_t i = 0; i < there; i += search->entry_bytes)
			if (is_near(&search->near, q2_load_be64(bytes + at + i)))
				return true;
	}
	return false;
}

/* ---- reading ---- */

/* L2 tables or refcount blocks, in the order of the file; those that lie close are read at once. */
struct reading {
	struct q2_check *check;
	const struct q2_refcount_block *blocks; /* NULL: L2 tables */
	size_t count;
	size_t *batches; /* the first of each, and the end of the last */
	size_t batch_count;
	struct search search;
	_Atomic bool is_near;
};

static uint64_t offset_of(const struct reading *reading, size_t index)
{
	return reading->blocks ? reading->blocks[index].offset_bytes
			       : reading->check->metadata.tables[index].offset_bytes;
}

static size_t stored_of(const struct reading *reading, size_t index)
{
	return (size_t)q2_metadata_l2_stored(reading->check->geometry, offset_of(reading, index));
}

static bool read_batch(void *opaque, unsigned number, uint64_t piece)
{
	struct reading *reading = opaque;
	struct q2_check *check = reading->check;
	struct q2_worker *worker = &check->workers[number];
	size_t first = reading->batches[piece], end = reading->batches[piece + 1];
	uint64_t start = offset_of(reading, first);
	size_t size = (size_t)(offset_of(reading, end - 1) - start) + stored_of(reading, end - 1);
	struct qcow2_source *source = qcow2_image_source(check->image);

	if (qcow2_source_hole_end(source, start) - start >= size)
		return true;
	if (qcow2_source_read(source, start, worker->buffer, size, &worker->err)) {
		worker->failed = true;
		return false;
	}
	for (size_t i = first; i < end; i++) {
		const uint8_t *bytes = worker->buffer + (offset_of(reading, i) - start);

		q2_worker_digest(worker, offset_of(reading, i), bytes, stored_of(reading, i));
		if (!reading->blocks && has_near(&reading->search, bytes, stored_of(reading, i)))
			reading->is_near = true;
	}
	return number != 0 || q2_check_progress(check) == 0;
}

static void make_batches(struct reading *reading)
{
	const uint64_t cluster = reading->check->geometry->cluster_size_bytes;
	const uint64_t most = cluster > Q2_PIECE_BYTES ? cluster : Q2_PIECE_BYTES;

	for (size_t i = 0; i < reading->count; i++) {
		size_t first =
			reading->batch_count ? reading->batches[reading->batch_count - 1] : 0;

		if (i == 0 || offset_of(reading, i) - offset_of(reading, i - 1) > cluster ||
		    offset_of(reading, i) + cluster - offset_of(reading, first) > most)
			reading->batches[reading->batch_count++] = i;
	}
	reading->batches[reading->batch_count] = reading->count;
}

static int read_all(struct reading *reading)
{
	struct q2_check *check = reading->check;
	bool done;

	if (reading->count == 0)
		return 0;
	reading->batches =
		q2_memory_get(&check->memory, reading->count + 1, sizeof(*reading->batches));
	if (!reading->batches)
		return q2_memory_fail(&check->memory, check->err);
	make_batches(reading);
	done = q2_crew_run(&(struct q2_crew_work){
		.pieces = reading->batch_count,
		.threads = reading->batch_count > 1 ? check->threads : 1,
		.work = read_batch,
		.opaque = reading,
	});
	q2_memory_put(&check->memory, reading->batches, reading->count + 1,
		      sizeof(*reading->batches));
	return done ? 0 : q2_check_worker_failed(check);
}

static int by_offset(const void *left, const void *right)
{
	const struct q2_refcount_block *a = left, *b = right;

	return a->offset_bytes < b->offset_bytes ? -1 : a->offset_bytes > b->offset_bytes;
}

/* Reads each place with a block once, for the digest. */
static int read_blocks(struct q2_check *check)
{
	struct q2_refcount_block *blocks =
		q2_memory_get(&check->memory, check->block_count, sizeof(*blocks));
	struct reading reading = {.check = check, .blocks = blocks};
	int failed;

	if (!blocks)
		return q2_memory_fail(&check->memory, check->err);
	for (size_t i = 0; i < check->block_count; i++)
		if (!check->blocks[i].hole)
			blocks[reading.count++] = check->blocks[i];
	if (reading.count > 0)
		qsort(blocks, reading.count, sizeof(*blocks), by_offset);
	for (size_t i = 0, all = reading.count, kept = 0; i < all; i++) {
		if (i == 0 || blocks[i].offset_bytes != blocks[kept - 1].offset_bytes)
			blocks[kept++] = blocks[i];
		reading.count = kept;
	}
	failed = read_all(&reading);
	q2_memory_put(&check->memory, blocks, check->block_count, sizeof(*blocks));
	return failed;
}

int q2_check_read_rest(struct q2_check *check)
{
	struct q2_header_alone *out = check->header_alone;
	struct reading reading = {.check = check,
				  .count = check->metadata.table_count,
				  .search = make_search(check->geometry)};

	/* Structures have been counted: the header itself is one reference. */
	out->is_alone = q2_clusters_get(&check->workers[0].clusters, 0).count <= 1;
	for (unsigned i = 0; i < check->threads; i++)
		check->workers[i].digest = (struct q2_digest){{0, 0}};
	if (read_all(&reading))
		return -1;
	if (reading.is_near && !check->geometry->data_file)
		out->is_alone = false;
	if (check->options->digest && check->block_count > 0 && read_blocks(check))
		return -1;
	for (unsigned i = 0; i < check->threads; i++)
		q2_digest_join(&out->rest, &check->workers[i].digest);
	return 0;
}
