/* SPDX-License-Identifier: MIT */
/*
 * One vetting as the files of this room see it. vet.c drives the stages, each of which looks at one
 * part of the image and tells reasons; none of them stops at the first. A stage returns 0, or -1
 * with vet->err filled.
 */
#ifndef Q2_VET_VET_H
#define Q2_VET_VET_H

#include "vet/kept.h"
#include "vet/policy.h"

#include <qcow2/image.h>

/* How much of the start and of the end of a file other formats are told by. */
#define Q2_VET_HEAD_BYTES ((size_t)68 << 10)
#define Q2_VET_TAIL_BYTES ((size_t)66 << 10)

struct q2_vet {
	struct qcow2_vet_options options;
	struct qcow2_vet_result result;
	struct qcow2_source *source;
	struct qcow2_image *image; /* NULL if it cannot be opened */
	const struct qcow2_header *header;
	const struct qcow2_geometry *geometry; /* NULL if its numbers are insane */
	struct qcow2_bytes head, tail; /* the file's first and last bytes, which may overlap */
	/* Of a stream what was kept of it, of which a part may be missing; else NULL. */
	struct q2_kept *kept;
	bool size_unknown;             /* the stream has not ended */
	uint64_t told[Q2_VET_NUMBERS]; /* reasons by rule, those that were only counted as well */
	/* What the stages learn for the estimates. */
	uint64_t l2_tables;           /* entries of the active L1 table that lead to one */
	uint64_t snapshot_l1_entries; /* of all snapshots */
	uint64_t snapshot_bytes;      /* of their table */
	uint64_t bitmaps;             /* that QEMU loads */
	uint64_t bitmap_bytes;        /* that their bits take in memory */
	uint64_t bitmap_table_bytes;  /* that their tables lead to */
	struct qcow2_error *err;
};

/* What is wrong, without its place's name. Members left out mean: there is none. */
struct q2_vet_finding {
	enum qcow2_vet_rule_number rule;
	uint64_t offset_bytes;
	bool has_value;
	uint64_t value;
	struct qcow2_bytes name; /* text of the image */
	const char *detail;      /* text of ours, which follows that of the rule */
	const struct qcow2_problem_kind *problem;
};

/* Whether the policy denies what a switch is about. */
bool q2_vet_denies(const struct q2_vet *vet, enum qcow2_vet_rule_number rule);

/* Whether a number passes the limit of a rule. */
bool q2_vet_passes(const struct q2_vet *vet, enum qcow2_vet_rule_number rule, uint64_t value);

/*
 * Tells a reason, if the policy denies what it is about, or if its value passes the limit. field is
 * a printf format for the path.
 */
void q2_vet_tell(struct q2_vet *vet, const struct q2_vet_finding *finding, const char *field, ...)
	__attribute__((format(printf, 3, 4)));

/* Tells a name that is not plain text. */
void q2_vet_tell_name(struct q2_vet *vet, struct qcow2_bytes name, uint64_t offset_bytes,
		      const char *field);

/* Looks at all of the source, whose size is known. Returns 0, or -1 with vet->err filled. */
int q2_vet_look(struct q2_vet *vet);

/*
 * Looks at what vet->head has: the whole of the first cluster and of the places of other formats.
 * Leaves the image open.
 */
int q2_vet_look_at_head(struct q2_vet *vet);

/* The stages. */
void q2_vet_header(struct q2_vet *vet);     /* features, encryption, sizes */
void q2_vet_extensions(struct q2_vet *vet); /* header extensions, and what lies behind them */
void q2_vet_backing(struct q2_vet *vet);    /* the name of the backing file */
void q2_vet_file_name(struct q2_vet *vet);  /* that of the image, if it is known */
void q2_vet_rules(struct q2_vet *vet);      /* the format's own rules of the header */
void q2_vet_overlaps(struct q2_vet *vet);   /* tables that the header names */
void q2_vet_polyglots(struct q2_vet *vet);  /* other formats */
int q2_vet_snapshots(struct q2_vet *vet);
int q2_vet_bitmaps(struct q2_vet *vet);
int q2_vet_trailing(struct q2_vet *vet); /* data behind the last cluster in use */
int q2_vet_l1(struct q2_vet *vet);       /* the active L1 table */
int q2_vet_costs(struct q2_vet *vet);    /* what QEMU needs to open and check it, see costs.h */
int q2_vet_deep(struct q2_vet *vet);     /* compressed bombs, if options ask for it */
int q2_vet_check(struct q2_vet *vet);    /* if the policy wants it to be clean */

#endif
