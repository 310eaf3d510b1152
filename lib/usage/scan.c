/* SPDX-License-Identifier: MIT */
/* Goes through the file from its start to its end, and joins labels, refcounts and holes to runs. */
#include "usage/usage.h"

void q2_scan_begin(struct q2_scan *scan, const struct qcow2_usage *usage)
{
	*scan = (struct q2_scan){.usage = usage};
}

/* Finds out whether there is a hole at a byte of the file, and where the hole or the data ends. */
static void look_at(struct q2_scan *scan, uint64_t at)
{
	const struct qcow2_source *source = qcow2_image_source(scan->usage->image);
	uint64_t end;

	if (at < scan->extent_end)
		return;
	end = qcow2_source_hole_end(source, at);
	scan->is_hole = end > at;
	if (!scan->is_hole)
		end = qcow2_source_data_end(source, at);
	scan->extent_end = end > at ? end : scan->usage->geometry->file_size_bytes;
}

/* The bytes of [at, end) that are in holes. */
static uint64_t count_holes(struct q2_scan *scan, uint64_t at, uint64_t end)
{
	uint64_t bytes = 0;

	while (at < end) {
		uint64_t stop;

		look_at(scan, at);
		stop = scan->extent_end < end ? scan->extent_end : end;
		if (scan->is_hole)
			bytes += stop - at;
		at = stop;
	}
	return bytes;
}

/*
 * Whether free clusters are holes, and how many of them. A cluster that stores a byte is no hole.
 */
static void judge_free(struct q2_scan *scan, struct q2_segment *segment)
{
	const struct qcow2_usage *usage = scan->usage;
	const unsigned bits = usage->geometry->cluster_bits;
	const uint64_t start = q2_usage_byte(usage, segment->first);
	uint64_t end;

	look_at(scan, start);
	/* The number of the cluster where the hole or the data ends. */
	end = scan->extent_end >= usage->geometry->file_size_bytes ? usage->file_clusters
								   : scan->extent_end >> bits;
	segment->kind = scan->is_hole && end > segment->first ? QCOW2_USAGE_HOLE : QCOW2_USAGE_FREE;
	if (segment->kind == QCOW2_USAGE_FREE && end < usage->file_clusters &&
	    (end == segment->first || scan->extent_end != end << bits))
		end++;
	if (end - segment->first < segment->count)
		segment->count = end - segment->first;
}

static void judge_unclaimed(struct q2_scan *scan, struct q2_segment *segment)
{
	bool is_counted;

	segment->count =
		q2_counted_run(&scan->usage->counted, segment->first, segment->count, &is_counted);
	if (is_counted)
		segment->kind = QCOW2_USAGE_LEAKED;
	else
		judge_free(scan, segment);
}

bool q2_scan_next(struct q2_scan *scan, struct q2_segment *segment)
{
	const struct qcow2_usage *usage = scan->usage;

	if (scan->cluster >= usage->file_clusters)
		return false;
	segment->first = scan->cluster;
	segment->count = q2_labels_run(&usage->markers[0].labels, scan->cluster, &segment->label);
	if (segment->label == Q2_NOTHING)
		judge_unclaimed(scan, segment);
	else
		segment->kind = (enum qcow2_usage_kind)usage->kinds[segment->label];
	scan->cluster += segment->count;
	segment->hole_bytes = count_holes(scan, q2_usage_byte(usage, segment->first),
					  q2_usage_byte(usage, scan->cluster));
	return true;
}

bool q2_usage_next_run(struct qcow2_usage *usage, struct qcow2_usage_run *run)
{
	struct q2_segment *ahead = &usage->ahead;
	uint64_t end;

	if (!usage->has_ahead && !q2_scan_next(&usage->scan, ahead)) {
		q2_scan_begin(&usage->scan, usage);
		return false;
	}
	*run = (struct qcow2_usage_run){
		.size = sizeof(*run),
		.start.byte = q2_usage_byte(usage, ahead->first),
		.kind = ahead->kind,
	};
	do {
		run->hole_bytes += ahead->hole_bytes;
		end = q2_usage_byte(usage, ahead->first + ahead->count);
		usage->has_ahead = q2_scan_next(&usage->scan, ahead);
	} while (usage->has_ahead && ahead->kind == run->kind);
	run->length_bytes = end - run->start.byte;
	return true;
}

/* What a cluster is, of which something is known. */
static enum qcow2_usage_kind kind_of(const struct qcow2_usage *usage, const struct q2_state *state)
{
	static const uint8_t kinds[] = {
		[QCOW2_CLAIM_HEADER] = QCOW2_USAGE_HEADER,
		[QCOW2_CLAIM_L1_TABLE] = QCOW2_USAGE_L1_TABLE,
		[QCOW2_CLAIM_REFCOUNT_TABLE] = QCOW2_USAGE_REFCOUNT_TABLE,
		[QCOW2_CLAIM_REFCOUNT_BLOCK] = QCOW2_USAGE_REFCOUNT_BLOCK,
		[QCOW2_CLAIM_SNAPSHOT_TABLE] = QCOW2_USAGE_SNAPSHOT_TABLE,
		[QCOW2_CLAIM_BITMAP_DIRECTORY] = QCOW2_USAGE_BITMAP_DIRECTORY,
		[QCOW2_CLAIM_BITMAP_TABLE] = QCOW2_USAGE_BITMAP_TABLE,
		[QCOW2_CLAIM_BITMAP_DATA] = QCOW2_USAGE_BITMAP_DATA,
		[QCOW2_CLAIM_LUKS] = QCOW2_USAGE_CRYPTO,
		[QCOW2_CLAIM_L2_TABLE] = QCOW2_USAGE_L2_TABLE,
		[QCOW2_CLAIM_DATA] = QCOW2_USAGE_DATA,
	};
	const struct q2_user_span *spans;
	uint32_t count;

	if (state->what == Q2_WHAT_CONFLICT)
		return QCOW2_USAGE_CONFLICT;
	if (state->what != Q2_WHAT_COMPRESSED && state->what != QCOW2_CLAIM_DATA)
		return (enum qcow2_usage_kind)kinds[state->what];
	spans = q2_sets_spans(&usage->states.sets, state->set, &count);
	if (count == 0 || spans[0].first > Q2_USER_ACTIVE)
		return QCOW2_USAGE_SNAPSHOT_ONLY;
	if (count > 1 || spans[0].last > Q2_USER_ACTIVE)
		return QCOW2_USAGE_SHARED;
	return state->what == Q2_WHAT_COMPRESSED ? QCOW2_USAGE_COMPRESSED : QCOW2_USAGE_DATA;
}

static int name_kinds(struct qcow2_usage *usage)
{
	usage->label_count = usage->states.count;
	usage->kinds = q2_memory_get(&usage->memory, usage->label_count, sizeof(*usage->kinds));
	usage->clusters =
		q2_memory_get(&usage->memory, usage->label_count, sizeof(*usage->clusters));
	if (!usage->kinds || !usage->clusters)
		return q2_memory_fail(&usage->memory, usage->metadata.err);
	for (size_t i = 1; i < usage->label_count; i++)
		usage->kinds[i] = (uint8_t)kind_of(usage, &usage->states.states[i]);
	return 0;
}

int q2_usage_sum_up(struct qcow2_usage *usage)
{
	const unsigned bits = usage->geometry->cluster_bits;
	struct q2_segment segment;
	int before = -1;

	if (name_kinds(usage))
		return -1;
	for (unsigned i = 0; i < QCOW2_USAGE_KINDS; i++)
		usage->totals[i].size = sizeof(usage->totals[i]);
	usage->end_bytes = usage->geometry->cluster_size_bytes;
	q2_scan_begin(&usage->scan, usage);
	while (q2_scan_next(&usage->scan, &segment)) {
		struct qcow2_usage_total *total = &usage->totals[segment.kind];
		const uint64_t end = segment.first + segment.count;

		total->bytes += q2_usage_byte(usage, end) - q2_usage_byte(usage, segment.first);
		total->hole_bytes += segment.hole_bytes;
		total->runs += before != (int)segment.kind;
		before = (int)segment.kind;
		usage->clusters[segment.label] += segment.count;
		if (segment.kind != QCOW2_USAGE_FREE && segment.kind != QCOW2_USAGE_HOLE)
			usage->end_bytes = end > UINT64_MAX >> bits ? UINT64_MAX : end << bits;
	}
	q2_scan_begin(&usage->scan, usage);
	return 0;
}
