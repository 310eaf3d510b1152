/* SPDX-License-Identifier: MIT */
/*
 * A candidate: the header that a guess comes to, with the evidence.
 *
 *	decide.c     the numbers of the header
 *	size.c       the size of the virtual disk
 *	area.c       extensions and names, and the bytes of the first cluster
 *	make.c       one after the other
 *	candidate.c  storage, evidence and plan
 */
#ifndef Q2_RESCUE_CANDIDATE_H
#define Q2_RESCUE_CANDIDATE_H

#include "rescue/guess.h"
#include "rescue/lost/lost.h"
#include "rescue/remains.h"

#include <qcow2/edit.h>

#define Q2_EVIDENCE_MOST ((size_t)64)

struct q2_candidate {
	struct qcow2_rescue_candidate public;
	struct qcow2_header header;
	struct q2_vector evidence; /* of struct qcow2_rescue_evidence */
	const struct qcow2_rescue_evidence **evidence_pointers;
	uint64_t cluster_size_bytes;
	uint8_t *area; /* the first bytes of the file, as planned; zeros follow in its cluster */
	size_t area_bytes;
	bool feature_names; /* the feature name table is to be added */
	uint64_t
		new_zeros_bytes; /* offset of clusters of zeros that are added for tables; 0: none */
	uint64_t new_zeros_end_bytes;
	struct qcow2_check_result *check;
	uint64_t mapped_bytes;
	bool has_refcounts;
	bool is_unlikely;              /* L2 entries of the other size are more likely */
	unsigned structure_confidence; /* in what tables say */
	struct q2_lost lost;           /* L2 tables that get their places back */
	const struct qcow2_rescue_table **table_pointers;
};

/* What a candidate is decided from. */
struct q2_deciding {
	struct q2_guess *guess;
	struct q2_remains remains;
	const struct qcow2_rescue_options *options;
	struct q2_candidate *candidate;
	struct qcow2_error *err;    /* not NULL */
	struct qcow2_bytes backing; /* the name of the backing file, by q2_decide_backing() */
	bool failed;                /* a read of the guest's disk, and err says why */
};

/*
 * Fills a candidate of zeros from a finished guess. q2_candidate_release() in any case. 0, or -1
 * with *err filled.
 */
int q2_candidate_make(struct q2_candidate *candidate, struct q2_guess *guess,
		      struct qcow2_error *err);
void q2_candidate_release(struct q2_candidate *candidate);

/* Plans the first cluster, and what is new. 0, or -1 with *err filled. */
int q2_candidate_plan(const struct q2_candidate *candidate, struct qcow2_plan *plan,
		      struct qcow2_error *err);

/* The steps of q2_candidate_make(). 0, or -1 with deciding->err filled. */
int q2_decide_numbers(struct q2_deciding *deciding);
int q2_decide_backing(struct q2_deciding *deciding);
int q2_decide_size(struct q2_deciding *deciding);
int q2_decide_area(struct q2_deciding *deciding);

/* How a piece of evidence is said. */
struct q2_evidence_head {
	enum qcow2_rescue_topic topic;
	unsigned confidence;
	bool wants_option;
};

/* Adds evidence: a line without a full stop. What comes from the file is escaped. 0, or -1. */
int q2_evidence_add(struct q2_candidate *candidate, struct q2_evidence_head head,
		    struct qcow2_error *err, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
