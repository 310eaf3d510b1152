/* SPDX-License-Identifier: MIT */
/*
 * Goes through the extents of both disks at once. What both say is zeros, and what both keep at the
 * same place of the same file, is equal without being read; all else goes to threads.
 */
#include <assert.h>

#include "common/crew.h"
#include "compare/pieces.h"

struct side {
	struct qcow2_disk_extents *stream;
	/* Where the walk is; NULL before the first one. It lives until the next one is found. */
	const struct qcow2_disk_extent *now;
	uint64_t end_bytes; /* of it */
	uint64_t size_bytes;
};

struct walk {
	struct compare_run *run;
	struct crew *crew;
	struct side sides[2];
	uint64_t at_bytes, end_bytes;
	/* The piece that is being filled, or NULL. */
	struct compare_piece *piece;
	/* The last answer of is_same_file(). */
	const struct qcow2_source *sources[2];
	bool same_file;
};

/* ---- extents ---- */

/* Makes `now` the extent at the place of the walk. Returns 0, or -1 with *err filled. */
static int find(struct walk *walk, unsigned i, struct qcow2_error *err)
{
	struct side *side = &walk->sides[i];
	int more;

	while (walk->at_bytes < side->size_bytes && side->end_bytes <= walk->at_bytes) {
		more = qcow2_disk_extents_next(side->stream, &side->now, err);
		if (more < 0) {
			walk->run->blamed = i;
			walk->run->code = COMPARE_NO_EXTENTS;
			return -1;
		}
		assert(more > 0); /* extents reach to the end of the disk */
		side->end_bytes = side->now->start.byte + side->now->length_bytes;
	}
	return 0;
}

static unsigned kind_of(const struct walk *walk, unsigned i)
{
	const struct side *side = &walk->sides[i];

	return walk->at_bytes < side->size_bytes ? (unsigned)side->now->kind : COMPARE_NONE;
}

/* Where what a disk says ends. */
static uint64_t end_of(const struct walk *walk, unsigned i)
{
	const struct side *side = &walk->sides[i];

	return walk->at_bytes < side->size_bytes ? side->end_bytes : walk->end_bytes;
}

static bool may_hold_data(unsigned kind)
{
	return kind == QCOW2_DISK_DATA || kind == QCOW2_DISK_UNREADABLE;
}

/* ---- places ---- */

/* Whether both extents are in one file, through whatever name it was opened. */
static bool is_same_file(struct walk *walk, const struct qcow2_disk_extent *a,
			 const struct qcow2_disk_extent *b)
{
	const struct disk_file *files[2];

	if (walk->sources[0] == a->source && walk->sources[1] == b->source)
		return walk->same_file;
	files[0] = disk_file_of(&walk->run->disks[0], a->source);
	files[1] = disk_file_of(&walk->run->disks[1], b->source);
	walk->sources[0] = a->source;
	walk->sources[1] = b->source;
	walk->same_file = files[0] && files[1] && files[0]->has_identity &&
			  files[1]->has_identity && files[0]->device == files[1]->device &&
			  files[0]->inode == files[1]->inode && files[0]->role == files[1]->role;
	return walk->same_file;
}

/*
 * Whether both disks keep what is here at the same place, as it is. Encrypted data is what the keys make
 * of it, and of compressed data a place says neither how much it is nor whether it can be read.
 */
static bool is_same_place(struct walk *walk)
{
	const struct qcow2_disk_extent *a = walk->sides[0].now, *b = walk->sides[1].now;

	if (a->kind != QCOW2_DISK_DATA || b->kind != QCOW2_DISK_DATA || !a->source || !b->source ||
	    a->compressed || b->compressed || a->encrypted || b->encrypted ||
	    !is_same_file(walk, a, b))
		return false;
	return a->host.byte + (walk->at_bytes - a->start.byte) ==
	       b->host.byte + (walk->at_bytes - b->start.byte);
}

/* ---- pieces ---- */

static int push_piece(struct walk *walk, struct qcow2_error *err)
{
	struct compare_piece *piece = walk->piece;

	walk->piece = NULL;
	return piece ? crew_push(walk->crew, err) : 0;
}

/* Begins a piece at the place of the walk, if there is none that a part can be added to. */
static int need_piece(struct walk *walk, const bool *reads, struct qcow2_error *err)
{
	struct compare_piece *piece = walk->piece;
	unsigned i;

	/* Beyond the end of a disk nothing is read of it. */
	if (piece &&
	    (piece->end_bytes != walk->at_bytes ||
	     piece->end_bytes - piece->start_bytes >= COMPARE_PIECE_BYTES ||
	     piece->segment_count == COMPARE_SEGMENTS_MOST ||
	     walk->at_bytes == walk->sides[0].size_bytes ||
	     walk->at_bytes == walk->sides[1].size_bytes) &&
	    push_piece(walk, err))
		return -1;
	if (!walk->piece) {
		piece = walk->piece = crew_piece(walk->crew, err);
		if (!piece)
			return -1;
		piece->start_bytes = piece->end_bytes = walk->at_bytes;
		piece->segment_count = 0;
		piece->reads[0] = piece->reads[1] = false;
	}
	for (i = 0; i < 2; i++)
		walk->piece->reads[i] |= reads[i];
	return 0;
}

/* Has [at, end) compared by reading. Returns 0, or -1 with *err filled. */
static int push_part(struct walk *walk, uint64_t end, const unsigned *kinds,
		     struct qcow2_error *err)
{
	const bool reads[2] = {may_hold_data(kinds[0]), may_hold_data(kinds[1])};
	struct compare_segment *segment;
	uint64_t room;

	while (walk->at_bytes < end && !compare_is_done(walk->run)) {
		if (need_piece(walk, reads, err))
			return -1;
		/* Pieces end at multiples of their size, and so with clusters. */
		room = COMPARE_PIECE_BYTES - walk->at_bytes % COMPARE_PIECE_BYTES;
		walk->at_bytes += end - walk->at_bytes < room ? end - walk->at_bytes : room;
		segment = &walk->piece->segments[walk->piece->segment_count++];
		*segment = (struct compare_segment){walk->at_bytes, {kinds[0], kinds[1]}};
		walk->piece->end_bytes = walk->at_bytes;
		if (walk->at_bytes % COMPARE_PIECE_BYTES == 0 && push_piece(walk, err))
			return -1;
	}
	return 0;
}

/* Passes [at, end), which reads the same. Returns 0, or -1 with *err filled. */
static int pass_part(struct walk *walk, uint64_t end, const unsigned *kinds,
		     struct qcow2_error *err)
{
	const struct compare_range range = {
		.start_bytes = walk->at_bytes,
		.length_bytes = end - walk->at_bytes,
		.kinds = {kinds[0], kinds[1]},
		.reads_same = true,
	};

	if (walk->run->strict && kinds[0] != kinds[1]) {
		/* Ranges are told in order. */
		if (push_piece(walk, err) || crew_wait(walk->crew, err))
			return -1;
		compare_add(walk->run, &range);
	}
	walk->at_bytes = end;
	return 0;
}

static int step(struct walk *walk, struct qcow2_error *err)
{
	unsigned kinds[2];
	uint64_t end;

	if (find(walk, 0, err) || find(walk, 1, err))
		return -1;
	for (unsigned i = 0; i < 2; i++)
		kinds[i] = kind_of(walk, i);
	end = end_of(walk, 0) < end_of(walk, 1) ? end_of(walk, 0) : end_of(walk, 1);
	if ((!may_hold_data(kinds[0]) && !may_hold_data(kinds[1])) ||
	    (kinds[0] == kinds[1] && is_same_place(walk)))
		return pass_part(walk, end, kinds, err);
	return push_part(walk, end, kinds, err);
}

static int walk_all(struct walk *walk, struct qcow2_error *err)
{
	while (walk->at_bytes < walk->end_bytes && !compare_is_done(walk->run))
		if (step(walk, err))
			return -1;
	return push_piece(walk, err) || crew_wait(walk->crew, err) ? -1 : 0;
}

int compare_walk(struct compare_run *run, struct qcow2_error *err)
{
	const struct crew_work work = {
		.make = compare_make,
		.use = compare_use,
		.opaque = run,
		.piece_bytes = sizeof(struct compare_piece),
		.threads = run->threads,
	};
	struct walk walk = {.run = run};
	int failed = 0;

	run->code = COMPARE_COULD_NOT;
	for (unsigned i = 0; i < 2 && !failed; i++) {
		walk.sides[i].size_bytes = run->sizes[i];
		if (run->sizes[i] > walk.end_bytes)
			walk.end_bytes = run->sizes[i];
		run->blamed = i;
		failed = qcow2_disk_extents_open(run->disks[i].disk, &walk.sides[i].stream, err);
	}
	if (!failed) {
		walk.crew = crew_open(&work, err);
		failed = walk.crew ? walk_all(&walk, err) : -1;
	}
	crew_close(walk.crew);
	for (unsigned i = 0; i < 2; i++)
		qcow2_disk_extents_close(walk.sides[i].stream);
	return failed;
}
