/* SPDX-License-Identifier: MIT */
/* Sums up what a disk has, extent by extent and piece by piece. See survey.h. */
#include "base/bytes.h"
#include "base/checked.h"
#include "image/mapping/mapping.h"
#include "usage/survey.h"

/* A compressed cluster may begin in the last sector of the one before. */
#define SECTOR_BYTES 512

static void begin_tally(struct qcow2_measure_tally *tally, const struct qcow2_geometry *geometry)
{
	*tally = (struct qcow2_measure_tally){
		.size = sizeof(*tally),
		.cluster_bits = geometry->cluster_bits,
		.l2_bits = geometry->cluster_bits - (geometry->extended_l2 ? 4 : 3),
	};
}

void q2_survey_begin(struct q2_survey *survey, const struct qcow2_image *image)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);

	*survey = (struct q2_survey){.sums.size = sizeof(survey->sums)};
	begin_tally(&survey->data, geometry);
	begin_tally(&survey->plain, geometry);
	begin_tally(&survey->said, geometry);
}

/* ---- runs and seeks ---- */

/* Whether reading goes on at a host byte without going anywhere else. */
static bool follows(const struct q2_survey *survey, uint64_t to, bool is_compressed)
{
	if (survey->after_compressed && is_compressed)
		return to <= survey->host && survey->host - to < SECTOR_BYTES;
	return to == survey->host;
}

__attribute__((always_inline)) static inline void end_run(struct q2_survey *survey)
{
	if (survey->sums.runs == 1)
		survey->first_run_bytes = survey->run_bytes;
	if (survey->run_bytes > survey->sums.longest_bytes)
		survey->sums.longest_bytes = survey->run_bytes;
	survey->run_bytes = 0;
}

__attribute__((always_inline)) static inline void add_seek_bytes(struct q2_survey *survey,
								 uint64_t bytes)
{
	if (q2_add_u64(survey->sums.seek_bytes, bytes, &survey->sums.seek_bytes))
		survey->sums.seek_bytes = UINT64_MAX;
}

__attribute__((always_inline)) static inline void seek(struct q2_survey *survey, uint64_t to)
{
	const uint64_t from = survey->host;

	survey->sums.seeks++;
	add_seek_bytes(survey, to > from ? to - from : from - to);
}

/* Begins a run elsewhere. */
__attribute__((always_inline)) static inline void begin_run(struct q2_survey *survey, uint64_t host)
{
	seek(survey, host);
	end_run(survey);
	survey->sums.runs++;
}

/* Ends the run before, unless data at those bytes goes on with it. Returns whether it does. */
static bool move(struct q2_survey *survey, uint64_t guest, uint64_t host, bool is_compressed)
{
	const bool is_first = survey->sums.runs == 0;
	const bool near = !is_first && follows(survey, host, is_compressed);

	if (!is_first && !near)
		seek(survey, host);
	if (near && guest == survey->guest)
		return true;
	end_run(survey);
	return false;
}

static void read_data(struct q2_survey *survey, const struct qcow2_mapping_extent *extent)
{
	const bool is_compressed = extent->kind == QCOW2_L2_COMPRESSED;

	if (survey->sums.runs == 0) {
		survey->first_guest = extent->start.byte;
		survey->first_host = extent->host.byte;
		survey->first_is_compressed = is_compressed;
	}
	if (!move(survey, extent->start.byte, extent->host.byte, is_compressed))
		survey->sums.runs++;
	survey->sums.compressed_clusters += is_compressed;
	survey->sums.data_bytes += extent->length_bytes;
	survey->run_bytes += extent->length_bytes;
	survey->guest = extent->start.byte + extent->length_bytes;
	survey->host = extent->host.byte + extent->host_bytes;
	survey->after_compressed = is_compressed;
}

/* ---- sizes ---- */

/*
 * A descriptor claims whole sectors, in the last of which the next cluster may start. Where that is
 * so, only the distance between them counts.
 */
static void pack(struct q2_survey *survey, uint64_t host)
{
	const uint64_t distance = host - survey->packed_last;

	if (host > survey->packed_last && distance < survey->packed_last_bytes)
		survey->compressed_bytes -= survey->packed_last_bytes - distance;
}

/* Before read_data(), which counts the cluster. */
static void add_compressed(struct q2_survey *survey, const struct qcow2_mapping_extent *extent)
{
	if (survey->sums.compressed_clusters == 0)
		survey->packed_first = extent->host.byte;
	pack(survey, extent->host.byte);
	survey->packed_last = extent->host.byte;
	survey->packed_last_bytes = extent->host_bytes;
	survey->compressed_bytes += extent->host_bytes;
}

/* ---- all ---- */

void q2_survey_add(struct q2_survey *survey, const struct qcow2_mapping_extent *extent)
{
	const uint64_t start = extent->start.byte, length = extent->length_bytes;

	if (extent->kind == QCOW2_L2_UNALLOCATED)
		return;
	qcow2_measure_tally_add(&survey->said, start, length);
	if (extent->kind == QCOW2_L2_ZERO || extent->kind == QCOW2_L2_ZERO_ALLOCATED)
		return;
	qcow2_measure_tally_add(&survey->data, start, length);
	if (extent->kind == QCOW2_L2_COMPRESSED)
		add_compressed(survey, extent);
	else
		qcow2_measure_tally_add(&survey->plain, start, length);
	if (extent->kind != QCOW2_L2_INVALID)
		read_data(survey, extent);
}

/*
 * The hot loop: how many entries from the first on are plain data. All that changes is in local
 * variables meanwhile, as it is for each entry of a disk in disorder.
 */
static uint64_t take_ahead(struct q2_survey *survey, const struct qcow2_mapping *m, uint64_t most)
{
	const unsigned bits = m->image->geometry.cluster_bits;
	const uint64_t step = UINT64_C(1) << bits, last = m->image->geometry.file_size_bytes - 1;
	const uint64_t odd = ~QCOW2_ENTRY_MASK(l2_entry, offset) | (step - 1);
	const uint8_t *bytes = m->ahead.bytes;
	struct q2_survey now = *survey;
	uint64_t count = 0, run;

	for (; count < most; count += run) {
		const uint8_t *at = bytes + count * sizeof(uint64_t);
		const uint64_t host = q2_load_be64(at) & ~QCOW2_ENTRY_MASK(l2_entry, copied);
		const uint64_t left = ((last - host) >> bits) + 1; /* of the file */

		/* host - 1 is huge for no offset at all */
		if ((host & odd) || host - 1 >= last)
			break;
		run = 1;
		if (host == now.host)
			run = q2_mapping_count_rising(at, step,
						      left < most - count ? left : most - count);
		else
			begin_run(&now, host);
		now.run_bytes += run << bits;
		now.host = host + (run << bits);
	}
	*survey = now;
	return count;
}

bool q2_survey_add_ahead(struct q2_survey *survey, struct qcow2_mapping *mapping)
{
	const uint64_t start = mapping->at, most = q2_mapping_most_ahead(mapping);
	uint64_t count, length;

	/* The first data, and data behind bytes without, take the long way. */
	if (survey->sums.runs == 0 || survey->guest != start)
		return false;
	count = take_ahead(survey, mapping, most);
	if (count == 0)
		return false;
	length = count << mapping->image->geometry.cluster_bits;
	survey->sums.data_bytes += length;
	survey->guest = start + length;
	survey->after_compressed = false;
	qcow2_measure_tally_add(&survey->said, start, length);
	qcow2_measure_tally_add(&survey->data, start, length);
	qcow2_measure_tally_add(&survey->plain, start, length);
	q2_mapping_pass(mapping, count, start + length);
	return true;
}

/* ---- joining ---- */

/* Pieces are whole L2 tables: no cluster and no table is counted in two of them. */
static void join_tally(struct qcow2_measure_tally *tally, const struct qcow2_measure_tally *next)
{
	tally->data_clusters += next->data_clusters;
	tally->l2_tables += next->l2_tables;
	if (next->next_cluster > 0)
		tally->next_cluster = next->next_cluster;
}

static void join_compressed(struct q2_survey *survey, const struct q2_survey *next)
{
	if (next->sums.compressed_clusters == 0)
		return;
	if (survey->sums.compressed_clusters == 0)
		survey->packed_first = next->packed_first;
	else
		pack(survey, next->packed_first);
	survey->compressed_bytes += next->compressed_bytes;
	survey->packed_last = next->packed_last;
	survey->packed_last_bytes = next->packed_last_bytes;
}

static void join_runs(struct q2_survey *survey, const struct q2_survey *next)
{
	const bool goes_on =
		move(survey, next->first_guest, next->first_host, next->first_is_compressed);

	survey->sums.runs += next->sums.runs - goes_on;
	if (next->sums.runs == 1) {
		survey->run_bytes += next->run_bytes;
		return;
	}
	/* The first run of the next piece has ended, and with it what it goes on. */
	survey->run_bytes += next->first_run_bytes;
	if (survey->run_bytes > survey->sums.longest_bytes)
		survey->sums.longest_bytes = survey->run_bytes;
	if (survey->sums.longest_bytes < next->sums.longest_bytes)
		survey->sums.longest_bytes = next->sums.longest_bytes;
	survey->run_bytes = next->run_bytes;
}

void q2_survey_join(struct q2_survey *survey, const struct q2_survey *next)
{
	join_tally(&survey->data, &next->data);
	join_tally(&survey->plain, &next->plain);
	join_tally(&survey->said, &next->said);
	join_compressed(survey, next);
	if (next->sums.runs == 0)
		return;
	join_runs(survey, next);
	survey->sums.data_bytes += next->sums.data_bytes;
	survey->sums.compressed_clusters += next->sums.compressed_clusters;
	survey->sums.seeks += next->sums.seeks;
	add_seek_bytes(survey, next->sums.seek_bytes);
	survey->guest = next->guest;
	survey->host = next->host;
	survey->after_compressed = next->after_compressed;
}

void q2_survey_end(struct q2_survey *survey)
{
	end_run(survey);
}
