/* SPDX-License-Identifier: MIT */
/*
 * The parts of the header's doctor. Each looks at one class of faults, opens the first cluster as it
 * is planned so far, and plans what it can mend:
 *
 *	head.c        what they share
 *	chain.c       where extensions begin and how long they are, by what the bytes say
 *	length.c      header_length, extensions that pass their area
 *	extensions.c  lengths, duplicates, feature name tables
 *	types.c       types of extensions that the header demands
 *	names.c       the name of the backing file
 *	features.c    feature bits that contradict what is there
 *	codec.c       the compression type and its bit, the encryption method
 *	luks.c        the pointer to the LUKS header, and the LUKS header
 *	guess.c       what all tables depend on: cluster_bits, refcount_order and bits
 */
#ifndef Q2_REPAIR_HEADER_H
#define Q2_REPAIR_HEADER_H

#include "edit/area.h"
#include "repair/repair.h"

#define Q2_HEADER_AT(field) offsetof(struct qcow2_header, field)

/* The image as it is planned so far. */
struct q2_head {
	struct qcow2_source *view;
	struct qcow2_image *image;
	const struct qcow2_header *header;
	struct qcow2_bytes first; /* the first cluster */
};

/* 0, or -1 with repair->err filled. Call q2_head_close() whatever comes of it. */
int q2_head_open(struct q2_repair *repair, struct q2_head *head);
void q2_head_close(struct q2_head *head);

/* Where the extension area ends: at the backing file's name, else with the first cluster. */
uint64_t q2_head_limit(const struct q2_head *head);

/* Whether the check of this round found such a problem. */
static inline bool q2_has(const struct q2_repair *repair, enum qcow2_problem_id id)
{
	return repair->found->by_kind[id] > 0;
}

/* Tells of a step that changes nothing that a guest reads. */
int q2_head_tell(struct q2_repair *repair, enum qcow2_problem_id id, const char *where,
		 const char *does, bool costs);

/* Tells of a step after which the active disk and all snapshots read what was written to them. */
int q2_head_tell_reads(struct q2_repair *repair, enum qcow2_problem_id id, const char *where,
		       const char *does, enum qcow2_reads before);

/*
 * Opens the area as it is planned so far, to be laid out again; its feature bits are planned last.
 * *usable: false if it cannot be taken apart or its backing file's name would be lost. 0, or -1
 * with repair->err filled. Call q2_area_close() whatever comes of it.
 */
int q2_head_area(struct q2_repair *repair, struct q2_area *area, bool *usable);

/* Notes that the extensions of a type go or change on purpose. 0, or -1 with repair->err filled. */
int q2_head_intend(struct q2_repair *repair, uint32_t magic);

/* ---- chain.c ---- */

/* What a chain of extensions that begins at some place would be. */
struct q2_chain {
	uint64_t at; /* where it ended: behind the end mark if it is whole */
	bool whole;  /* it ends with an end mark, or with the area */
	int score;   /* extensions of known types and fitting lengths count, others against it */
	unsigned known;
};

struct q2_chain q2_chain_follow(struct qcow2_bytes first, uint64_t at, uint64_t end);

/*
 * Finds the most likely start of the chain before `end`; claimed is one of the candidates. Without
 * any extension it is the length of the header that QEMU writes.
 */
uint64_t q2_chain_start(struct qcow2_bytes first, uint64_t claimed, uint64_t end);

/*
 * Finds the most likely length of the data of the extension whose type is at `at`. False if nothing
 * tells.
 */
bool q2_chain_length(struct qcow2_bytes first, uint64_t at, uint64_t end, uint32_t *length);

/* Returns how many bytes from `at` to before `end` are printable UTF-8 without NUL. */
uint64_t q2_text_run(struct qcow2_bytes first, uint64_t at, uint64_t end);

/* ---- the parts: 0, or -1 with repair->err filled ---- */

int q2_header_mend_length(struct q2_repair *repair);
int q2_header_mend_overrun(struct q2_repair *repair);
int q2_header_mend_extensions(struct q2_repair *repair);
int q2_header_mend_types(struct q2_repair *repair);
int q2_header_mend_backing(struct q2_repair *repair);
int q2_header_mend_data_file(struct q2_repair *repair);
int q2_header_mend_features(struct q2_repair *repair);
int q2_header_mend_codec(struct q2_repair *repair);
int q2_header_mend_crypt(struct q2_repair *repair);
int q2_header_mend_luks(struct q2_repair *repair);
int q2_header_mend_geometry(struct q2_repair *repair);
int q2_header_mend_refcount_order(struct q2_repair *repair);

#endif
