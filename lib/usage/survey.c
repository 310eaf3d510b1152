/* SPDX-License-Identifier: MIT */
/* Reads the mapping of the active disk in pieces, each by any of the threads. See survey.h. */
#include "usage/survey.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/crew.h"
#include "base/error.h"
#include "image/mapping/mapping.h"

/* A piece has at least so many bytes of L2 tables, and a disk at most so many pieces. */
#define PIECE_BYTES ((uint64_t)1 << 20)
#define PIECES_MOST 1024
/* A stream takes 220 KiB. */
#define THREADS_MOST 16
/*
 * What a thread takes of the limit on L2 entries at a time, and when it takes more: what is decoded
 * at once fits the window of a stream.
 */
#define SLICE_BYTES ((uint64_t)1 << 20)
#define LEAST_BYTES ((uint64_t)1 << 18)

struct reading {
	const struct qcow2_image *image;
	uint64_t piece_bytes; /* of the disk */
	uint64_t pieces;
	struct q2_survey *found; /* of each piece */
	struct qcow2_mapping *mappings[THREADS_MOST];
	uint64_t limit_bytes;        /* on L2 entries that are decoded */
	_Atomic uint64_t left_bytes; /* of the limit, of which streams have parts */
	struct qcow2_error error;    /* of the calling thread */
};

/* Gives a stream more of the limit, if it has little. All streams have one limit. */
static void refill(struct reading *reading, struct qcow2_mapping *m)
{
	uint64_t left, taken;

	if (m->limit_bytes >= LEAST_BYTES)
		return;
	left = atomic_load(&reading->left_bytes);
	do {
		taken = left < SLICE_BYTES ? left : SLICE_BYTES;
	} while (!atomic_compare_exchange_weak(&reading->left_bytes, &left, left - taken));
	m->limit_bytes += taken;
}

static bool read_piece(void *opaque, unsigned worker, uint64_t piece)
{
	struct reading *reading = opaque;
	struct qcow2_mapping *m = reading->mappings[worker];
	struct q2_survey *survey = &reading->found[piece];
	struct qcow2_mapping_extent run;
	struct qcow2_error other, *err = worker == 0 ? &reading->error : &other;
	int failed = 0;

	q2_survey_begin(survey, reading->image);
	qcow2_mapping_seek(m, (struct qcow2_guest){piece * reading->piece_bytes},
			   reading->piece_bytes);
	m->limit_bytes = 0;
	while (!failed && m->at < m->end) {
		refill(reading, m);
		if (q2_survey_add_ahead(survey, m))
			continue;
		failed = !q2_mapping_find_ahead(m, &run) && q2_mapping_find(m, &run, err);
		if (failed)
			break;
		m->at += run.length_bytes;
		q2_survey_add(survey, &run);
	}
	atomic_fetch_add(&reading->left_bytes, m->limit_bytes);
	return !failed;
}

/* Cuts the disk into pieces of whole L2 tables. */
static void cut(struct reading *reading, uint64_t size_bytes)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(reading->image);
	const uint64_t cluster = geometry->cluster_size_bytes;
	const uint64_t table = cluster * geometry->l2_entries; /* at most 2^57 */
	const uint64_t all = q2_div_ceil_u64(size_bytes, table);
	uint64_t tables = cluster < PIECE_BYTES ? PIECE_BYTES / cluster : 1;

	if (q2_div_ceil_u64(all, tables) > PIECES_MOST)
		tables = q2_div_ceil_u64(all, PIECES_MOST);
	reading->pieces = q2_div_ceil_u64(all, tables);
	if (q2_mul_u64(tables, table, &reading->piece_bytes))
		reading->piece_bytes = UINT64_MAX;
}

static bool run(struct reading *reading, unsigned threads)
{
	atomic_store(&reading->left_bytes, reading->limit_bytes);
	return q2_crew_run(&(struct q2_crew_work){
		.pieces = reading->pieces,
		.threads = threads,
		.work = read_piece,
		.opaque = reading,
	});
}

/* A further stream is a help, no need. Returns how many there are. */
static unsigned open_streams(struct reading *reading, unsigned threads)
{
	struct qcow2_error ignored;
	unsigned count = 1;

	if (threads == 0)
		threads = qcow2_processors();
	if (threads > THREADS_MOST)
		threads = THREADS_MOST;
	while (count < threads && count < reading->pieces &&
	       qcow2_mapping_open(reading->image, &reading->mappings[count], &ignored) == 0)
		count++;
	return count;
}

/*
 * What fails with several threads is read again by one. So it fails at the same place whatever the
 * number of threads, also where parts of the limit were left with others.
 */
static int read_all(struct reading *reading, unsigned threads, struct qcow2_error *err)
{
	const unsigned streams = open_streams(reading, threads);

	if (run(reading, streams) || (streams > 1 && run(reading, 1)))
		return 0;
	if (err)
		*err = reading->error;
	return -1;
}

int q2_survey_disk(const struct qcow2_image *image, unsigned threads, struct q2_survey *out,
		   struct qcow2_error *err)
{
	struct reading reading = {.image = image};
	int failed;

	if (qcow2_mapping_open(image, &reading.mappings[0], err))
		return -1;
	reading.limit_bytes = reading.mappings[0]->limit_bytes;
	cut(&reading, qcow2_mapping_size_bytes(reading.mappings[0]));
	reading.found =
		q2_alloc_array(reading.pieces > 0 ? (size_t)reading.pieces : 1, sizeof(*out));
	failed = reading.found ? read_all(&reading, threads, err) : q2_fail_memory(err);
	q2_survey_begin(out, image);
	for (uint64_t i = 0; !failed && i < reading.pieces; i++)
		q2_survey_join(out, &reading.found[i]);
	q2_survey_end(out);
	q2_free(reading.found);
	for (unsigned i = 0; i < THREADS_MOST; i++)
		qcow2_mapping_close(reading.mappings[i]);
	return failed;
}
