/* SPDX-License-Identifier: MIT */
/*
 * See crew.h. The disk is cut into pieces. A worker makes the text of all extents of a piece but the
 * first and the last, which may go on in the neighbours. The main thread takes the pieces in order,
 * joins where they meet, and writes. What a worker does not like (errors, extents that cannot be
 * read, text that gets too long) it leaves to the main thread, which goes through it by itself.
 */
#include "map/crew.h"

#include <pthread.h>
#include <stdlib.h>

#include <qcow2/geometry.h>
#include <qcow2/source.h>

#define PIECE_CLUSTERS UINT64_C(16384)
#define THREADS_MOST   8
/* Pieces that are made or wait, for each thread. */
#define SLOTS 2
/* The text of a piece; the spool would write it if it got longer. */
#define TEXT_MOST (SPOOL_KEPT - 2 * SPOOL_PIECE)
/* Less metadata is read before a thread has started. */
#define STORED_LEAST (UINT64_C(4) << 20)
#define STORED_SLACK (UINT64_C(64) << 20)

struct piece {
	bool made;
	uint64_t end_bytes;   /* of the piece */
	uint64_t found_bytes; /* [start, found) is in first, text and last */
	size_t count;         /* of extents in these: 0, 1, or first and last and what is between */
	struct map_extent first, last;
	struct spool text;
};

struct crew {
	struct map_run *run;
	pthread_mutex_t lock;
	pthread_cond_t made;  /* the piece that the main thread waits for */
	pthread_cond_t freed; /* a slot, or stop */
	uint64_t taken, used; /* pieces that workers, and the main thread, have taken */
	bool stop;
	uint64_t start_bytes, end_bytes; /* of the range */
	uint64_t piece_count, piece_bytes;
	size_t slots;
	struct piece pieces[SLOTS * THREADS_MOST];
	struct map_extent pending; /* of the main thread: may still grow */
};

/* A thread, with a stream of its own. */
struct worker {
	struct crew *crew;
	pthread_t thread;
	struct map_layer layer;
	struct map_stack stack;
	struct map_text text;
};

static size_t choose_threads(const struct map_run *run)
{
	return run->processors > THREADS_MOST ? THREADS_MOST : run->processors;
}

bool map_crew_pays(const struct map_run *run)
{
	const struct map_layer *layer = &run->stack.layers[0];
	const struct qcow2_geometry *geometry;
	uint64_t stored, tables;

	if (run->chain || !layer->image)
		return false;
	geometry = qcow2_image_geometry(layer->image);
	stored = qcow2_source_allocated_bytes(layer->source);
	tables = layer->size_bytes / geometry->cluster_size_bytes / geometry->l2_entries + 1;
	return stored >= STORED_LEAST &&
	       tables <= (stored + STORED_SLACK) / geometry->cluster_size_bytes &&
	       choose_threads(run) > 1;
}

/* ---- workers ---- */

/* Adds an extent that is inside the piece, or keeps it as the first one, or the last one so far. */
static void add_to_piece(struct worker *worker, struct piece *piece,
			 const struct map_extent *extent)
{
	if (piece->count >= 2)
		map_text_add(&worker->text, &piece->text, &piece->last, NULL);
	if (piece->count == 0)
		piece->first = *extent;
	else
		piece->last = *extent;
	piece->count++;
	piece->found_bytes = extent->start_bytes + extent->length_bytes;
}

static void make_piece(struct worker *worker, uint64_t number)
{
	const struct crew *crew = worker->crew;
	const uint64_t start = crew->start_bytes + number * crew->piece_bytes;
	const uint64_t left = crew->end_bytes - start;
	struct piece *piece = &worker->crew->pieces[number % crew->slots];
	const struct map_extent *extent;
	struct qcow2_error ignored;

	piece->text.size = 0;
	piece->count = 0;
	piece->found_bytes = start;
	piece->end_bytes = start + (left < crew->piece_bytes ? left : crew->piece_bytes);
	map_stack_seek(&worker->stack, start, piece->end_bytes - start);
	while (piece->text.size < TEXT_MOST && piece->text.errnum == 0 &&
	       map_stack_next(&worker->stack, &extent, &ignored) > 0 &&
	       !(extent->flags & MAP_INVALID))
		add_to_piece(worker, piece, extent);
}

static void *work(void *opaque)
{
	struct worker *worker = opaque;
	struct crew *crew = worker->crew;
	uint64_t number;

	pthread_mutex_lock(&crew->lock);
	for (;;) {
		while (!crew->stop && crew->taken < crew->piece_count &&
		       crew->taken - crew->used >= crew->slots)
			pthread_cond_wait(&crew->freed, &crew->lock);
		if (crew->stop || crew->taken == crew->piece_count)
			break;
		number = crew->taken++;
		pthread_mutex_unlock(&crew->lock);
		make_piece(worker, number);
		pthread_mutex_lock(&crew->lock);
		crew->pieces[number % crew->slots].made = true;
		if (number == crew->used)
			pthread_cond_signal(&crew->made);
	}
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

/* ---- the main thread ---- */

static void add(struct crew *crew)
{
	struct map_run *run = crew->run;

	if (crew->pending.length_bytes == 0)
		return;
	map_text_add(&run->text, &run->out, &crew->pending, NULL);
	map_text_go_on(&run->text);
}

static void push(struct crew *crew, const struct map_extent *extent)
{
	if (crew->pending.length_bytes > 0 && map_extents_join(&crew->pending, extent)) {
		crew->pending.length_bytes += extent->length_bytes;
		return;
	}
	add(crew);
	crew->pending = *extent;
}

/* Adds what a worker made, and goes through what it left. Returns 0, or -1 with *err filled. */
static int use_piece(struct crew *crew, const struct piece *piece, struct qcow2_error *err)
{
	struct map_run *run = crew->run;
	const struct map_extent *extent;
	int more = 0;

	if (piece->count > 0)
		push(crew, &piece->first);
	if (piece->count > 1) {
		add(crew);
		spool_add(&run->out, &piece->text);
		crew->pending = piece->last;
	}
	if (piece->found_bytes == piece->end_bytes)
		return 0;
	map_stack_seek(&run->stack, piece->found_bytes, piece->end_bytes - piece->found_bytes);
	while ((more = map_next(run, &extent, err)) > 0)
		push(crew, extent);
	return more;
}

/* Waits for a piece, uses it, and gives its slot back. Returns 0, or -1 with *err filled. */
static int use_next(struct crew *crew, uint64_t number, struct qcow2_error *err)
{
	struct piece *piece = &crew->pieces[number % crew->slots];
	int failed;

	pthread_mutex_lock(&crew->lock);
	while (!piece->made)
		pthread_cond_wait(&crew->made, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
	failed = use_piece(crew, piece, err);
	progress_share(&crew->run->progress, piece->end_bytes, crew->end_bytes);
	pthread_mutex_lock(&crew->lock);
	piece->made = false;
	crew->used++;
	pthread_cond_signal(&crew->freed);
	pthread_mutex_unlock(&crew->lock);
	return failed;
}

/* ---- both ---- */

/* Starts workers, as many as can be had. Returns how many. */
static size_t start(struct crew *crew, struct worker *workers, size_t most)
{
	struct qcow2_error ignored;
	size_t count = 0;

	for (; count < most; count++) {
		struct worker *worker = &workers[count];

		worker->crew = crew;
		worker->stack = (struct map_stack){.layers = &worker->layer, .count = 1};
		map_text_begin(&worker->text, crew->run->format);
		map_text_go_on(&worker->text);
		if (map_layer_copy(&crew->run->stack.layers[0], &worker->layer, &ignored))
			break;
		if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
			map_layer_close_copy(&worker->layer);
			break;
		}
	}
	return count;
}

static void stop(struct crew *crew, struct worker *workers, size_t count)
{
	pthread_mutex_lock(&crew->lock);
	crew->stop = true;
	pthread_cond_broadcast(&crew->freed);
	pthread_mutex_unlock(&crew->lock);
	for (size_t i = 0; i < count; i++) {
		pthread_join(workers[i].thread, NULL);
		map_layer_close_copy(&workers[i].layer);
	}
	for (size_t i = 0; i < crew->slots; i++)
		spool_release(&crew->pieces[i].text);
}

static void prepare(struct crew *crew, struct map_run *run, size_t threads)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(run->stack.layers[0].image);

	crew->run = run;
	crew->start_bytes = run->stack.at_bytes;
	crew->end_bytes = run->stack.end_bytes;
	crew->piece_bytes = PIECE_CLUSTERS * geometry->cluster_size_bytes;
	crew->piece_count = (crew->end_bytes - crew->start_bytes) / crew->piece_bytes + 1;
	if ((crew->end_bytes - crew->start_bytes) % crew->piece_bytes == 0)
		crew->piece_count--;
	crew->slots = SLOTS * threads;
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->made, NULL);
	pthread_cond_init(&crew->freed, NULL);
	for (size_t i = 0; i < crew->slots; i++)
		spool_init(&crew->pieces[i].text, -1);
}

static int show(struct crew *crew, struct worker *workers, size_t most, struct qcow2_error *err)
{
	struct map_run *run = crew->run;
	const struct map_extent *extent;
	const size_t count = start(crew, workers, most);
	int failed = 0;

	/* Without a thread, the main one does all, as with a piece that nobody has made. */
	while (count == 0 && (failed = map_next(run, &extent, err)) > 0)
		push(crew, extent);
	for (uint64_t number = 0;
	     count > 0 && number < crew->piece_count && !failed && run->out.errnum == 0; number++)
		failed = use_next(crew, number, err);
	add(crew);
	stop(crew, workers, count);
	return failed;
}

int map_crew_show(struct map_run *run, struct qcow2_error *err)
{
	const size_t threads = choose_threads(run);
	struct worker *workers = calloc(threads, sizeof(*workers));
	struct crew *crew = calloc(1, sizeof(*crew));
	int failed = -1;

	if (workers && crew) {
		prepare(crew, run, threads);
		failed = show(crew, workers, threads, err);
		pthread_cond_destroy(&crew->made);
		pthread_cond_destroy(&crew->freed);
		pthread_mutex_destroy(&crew->lock);
	} else {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
	}
	free(workers);
	free(crew);
	return failed;
}
