/* SPDX-License-Identifier: MIT */
/*
 * What reading the active disk from start to end comes to: how scattered its data is, and how much
 * there is. The mapping is read once for both, in pieces of the disk, by several threads; what is
 * found of pieces can be joined to what is found of the whole.
 */
#ifndef Q2_USAGE_SURVEY_H
#define Q2_USAGE_SURVEY_H

#include <qcow2/measure.h>
#include <qcow2/usage.h>

/* What one piece comes to, which is the disk from a place on, in whole L2 tables. */
struct q2_survey {
	struct qcow2_fragmentation sums; /* longest_bytes counts the last run only in the end */
	/* In the shape of the image: */
	struct qcow2_measure_tally data;  /* all that is stored */
	struct qcow2_measure_tally plain; /* of these, what is not compressed */
	struct qcow2_measure_tally said;  /* all that is not left to the backing file */
	uint64_t compressed_bytes;        /* side by side */
	/* The first bytes with data, if sums.runs is not 0, and their run, once it has ended. */
	uint64_t first_guest, first_host, first_run_bytes;
	bool first_is_compressed;
	/* The bytes behind the last ones with data, and the length of their run so far. */
	uint64_t guest, host, run_bytes;
	bool after_compressed;
	/* Where the first and the last compressed cluster lie, if sums.compressed_clusters is not 0. */
	uint64_t packed_first, packed_last, packed_last_bytes;
};

/*
 * Surveys the active disk. threads: at most so many; 0: as many as may run at once. The answer does
 * not depend on it. Returns 0, or -1 with *err filled as qcow2_mapping_open() and
 * qcow2_mapping_next() do.
 */
int q2_survey_disk(const struct qcow2_image *image, unsigned threads, struct q2_survey *out,
		   struct qcow2_error *err);

/* The same of an open usage, which may have surveyed the disk already. */
int q2_usage_survey(const struct qcow2_usage *usage, struct q2_survey *out,
		    struct qcow2_error *err);

/* ---- the parts: survey.c reads, survey_sums.c sums up ---- */

struct qcow2_mapping;
struct qcow2_mapping_extent;

/* Begins with nothing, in the shape of an image. */
void q2_survey_begin(struct q2_survey *survey, const struct qcow2_image *image);

/* Takes what a mapping found next. An extent may come in parts. */
void q2_survey_add(struct q2_survey *survey, const struct qcow2_mapping_extent *extent);

/*
 * Takes the entries that the mapping has in memory and has not looked at, as far as they are plain
 * data, and moves the mapping behind them. Returns whether there were any.
 */
bool q2_survey_add_ahead(struct q2_survey *survey, struct qcow2_mapping *mapping);

/* Adds what was found of the piece that follows. */
void q2_survey_join(struct q2_survey *survey, const struct q2_survey *next);

/* Ends the last run. */
void q2_survey_end(struct q2_survey *survey);

#endif
