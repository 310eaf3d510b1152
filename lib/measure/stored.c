/* SPDX-License-Identifier: MIT */
/* Counts what a mapping says is data, but for what lies in holes of the file. */
#include "base/bytes.h"
#include "base/error.h"
#include "image/mapping/mapping.h"
#include "image/mapping/shared.h"

#include <qcow2/measure.h>

/* What is read, and what the file has where that leads to: [start, end) is a hole, or is stored. */
struct counting {
	struct qcow2_measure_tally *tally;
	struct qcow2_mapping *m;
	const struct qcow2_source *source; /* NULL: all is stored */
	uint64_t start, end;
	bool hole;
	uint64_t invalid_bytes;
};

/* Behind the end of the file is a hole without end. */
static void ask(struct counting *c, uint64_t host)
{
	const uint64_t size = c->source ? qcow2_source_size_bytes(c->source) : 0;
	uint64_t end = c->source ? qcow2_source_hole_end(c->source, host) : 0;

	c->start = c->source ? host : 0;
	c->hole = c->source && (end > host || host >= size);
	if (c->source && !c->hole)
		end = qcow2_source_data_end(c->source, host);
	/* Someone may punch a hole between the questions; an answer has to cover the offset. */
	if (end <= host)
		end = host + 1;
	c->end = !c->source || (c->hole && end >= size) ? UINT64_MAX : end;
}

static void add_placed(struct counting *c, const struct qcow2_mapping_extent *run)
{
	uint64_t done = 0;

	while (done < run->length_bytes) {
		const uint64_t host = run->host.byte + done;
		uint64_t length = run->length_bytes - done;

		if (host < c->start || host >= c->end)
			ask(c, host);
		if (length > c->end - host)
			length = c->end - host;
		if (!c->hole)
			qcow2_measure_tally_add(c->tally, run->start.byte + done, length);
		done += length;
	}
}

static void add(struct counting *c, const struct qcow2_mapping_extent *run)
{
	if (run->kind == QCOW2_L2_DATA)
		add_placed(c, run);
	else if (run->kind == QCOW2_L2_COMPRESSED || run->kind == QCOW2_L2_INVALID)
		qcow2_measure_tally_add(c->tally, run->start.byte, run->length_bytes);
	if (run->kind == QCOW2_L2_INVALID)
		c->invalid_bytes += run->length_bytes;
}

/*
 * Counts the entries of the mapping that are in memory, as far as they are plain data in one stretch
 * of the file that is all hole or all stored. Returns whether there were any.
 */
static bool add_ahead(struct counting *c)
{
	struct qcow2_mapping *m = c->m;
	const unsigned bits = m->image->geometry.cluster_bits;
	const uint64_t step = UINT64_C(1) << bits, last = m->image->geometry.file_size_bytes - 1;
	const uint64_t odd = ~QCOW2_ENTRY_MASK(l2_entry, offset) | (step - 1);
	const uint64_t most = q2_mapping_most_ahead(m), start = m->at;
	const uint64_t from = c->start, to = c->end < last + 1 ? c->end : last + 1;
	uint64_t count = 0, run, next = 0;

	for (; count < most; count += run) {
		const uint8_t *at = m->ahead.bytes + count * sizeof(uint64_t);
		const uint64_t host = q2_load_be64(at) & ~QCOW2_ENTRY_MASK(l2_entry, copied);
		const uint64_t left = (to - host) >> bits; /* of the stretch, whole clusters */

		if ((host & odd) || host == 0 || host < from || host >= to || left == 0)
			break;
		run = 1;
		if (host == next)
			run = q2_mapping_count_rising(at, step,
						      left < most - count ? left : most - count);
		next = host + (run << bits);
	}
	if (count == 0)
		return false;
	if (!c->hole)
		qcow2_measure_tally_add(c->tally, start, count << bits);
	q2_mapping_pass(m, count, start + (count << bits));
	return true;
}

int qcow2_measure_tally_stored(struct qcow2_measure_tally *tally, struct qcow2_mapping *mapping,
			       const struct qcow2_source *source, uint64_t *invalid_bytes,
			       struct qcow2_error *err)
{
	struct counting c = {.tally = tally, .m = mapping, .source = source};
	const struct qcow2_mapping_extent *pending = &mapping->extents[mapping->pending];
	struct qcow2_mapping_extent run;
	int failed = 0;

	/* What the stream has found and not told is found again. */
	if (pending->length_bytes > 0)
		q2_mapping_move(mapping, pending->start.byte);
	mapping->extents[mapping->pending].length_bytes = 0;
	while (!failed && mapping->at < mapping->end) {
		if (add_ahead(&c))
			continue;
		failed = !q2_mapping_find_ahead(mapping, &run) &&
			 q2_mapping_find(mapping, &run, err);
		if (failed)
			break;
		mapping->at += run.length_bytes;
		add(&c, &run);
	}
	if (invalid_bytes)
		*invalid_bytes = c.invalid_bytes;
	return failed ? -1 : 0;
}

int qcow2_measure_tally_mapping(struct qcow2_measure_tally *tally, struct qcow2_mapping *mapping,
				struct qcow2_error *err)
{
	return qcow2_measure_tally_stored(tally, mapping, NULL, NULL, err);
}
