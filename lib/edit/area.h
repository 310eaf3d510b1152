/* SPDX-License-Identifier: MIT */
/*
 * The first cluster taken apart: the header, its extensions, the backing file's name; changed in
 * memory, laid out again and planned as one write.
 */
#ifndef Q2_EDIT_AREA_H
#define Q2_EDIT_AREA_H

#include "plan/plan.h"

struct q2_area_extension {
	uint32_t magic;
	struct qcow2_bytes data;
	struct qcow2_bytes padding; /* kept as it is; missing bytes are zeros */
};

struct q2_area {
	struct qcow2_source *view;
	struct qcow2_image *image; /* as planned so far */
	const struct qcow2_header *header;
	struct q2_area_extension *extensions;
	size_t count;
	struct qcow2_bytes backing; /* empty: none */
	bool backing_lost;          /* there is one, but not where it can be laid out from */
	uint32_t header_length;     /* where the extensions begin */
	uint64_t incompatible_features, compatible_features, autoclear_features;
	uint64_t old_end_bytes; /* of what the area holds now */
	enum qcow2_phase phase; /* of the write: QCOW2_PHASE_POINT, unless the caller changes it */
};

/*
 * Opens the image as it is planned so far, and takes its first cluster apart; there is room for one
 * extension more. Close it in any case. Errors: those of qcow2_image_open(), and
 * QCOW2_ERROR_BROKEN if the extensions cannot be told apart.
 */
int q2_area_open(struct q2_area *area, struct qcow2_plan *plan, struct qcow2_error *err);
void q2_area_close(struct q2_area *area);

/* The first extension of a type, or NULL. */
struct q2_area_extension *q2_area_find(struct q2_area *area, uint32_t magic);
/* Adds one at an index, which there is only room for once. */
void q2_area_insert(struct q2_area *area, size_t index, uint32_t magic, struct qcow2_bytes data);
/* Takes all of a type away; how many there were. */
size_t q2_area_remove(struct q2_area *area, uint32_t magic);

/* Whether it can be laid out: it has room, and nothing of it is lost. */
bool q2_area_fits(const struct q2_area *area);

/*
 * Lays the cluster out again and plans what has changed. Errors: QCOW2_ERROR_LIMIT if it does not
 * fit, those of qcow2_plan_write().
 */
int q2_area_plan(const struct q2_area *area, struct qcow2_plan *plan, const char *why,
		 struct qcow2_error *err);

#endif
