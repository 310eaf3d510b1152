/* SPDX-License-Identifier: MIT */
/*
 * The area at the beginning of the file: header, header extensions and the backing file's name.
 * Verbs change it in memory; then it is laid out again as a whole and planned as one write.
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
	bool backing_lost; /* the header names one, but its name lies where it cannot be kept */
	uint32_t header_length; /* where the extensions begin */
	uint64_t incompatible_features, compatible_features, autoclear_features;
	uint64_t old_end_bytes; /* of what the area holds now */
	enum qcow2_phase phase; /* of the write: QCOW2_PHASE_POINT, unless the caller changes it */
	/* Plan the feature bits of a header of version 3 apart, in QCOW2_PHASE_CLEAN. */
	bool features_last;
};

/*
 * Opens the image as planned so far and takes its first cluster apart. The list of extensions has
 * room for one more. Call q2_area_close() whatever comes of it. Errors: those of
 * qcow2_image_open(), and QCOW2_ERROR_BROKEN if the extensions cannot be told apart.
 */
int q2_area_open(struct q2_area *area, struct qcow2_plan *plan, struct qcow2_error *err);
void q2_area_close(struct q2_area *area);

/* Returns the first extension of a type, or NULL. */
struct q2_area_extension *q2_area_find(struct q2_area *area, uint32_t magic);
/* Inserts an extension at an index. There is room for one; call it once. */
void q2_area_insert(struct q2_area *area, size_t index, uint32_t magic, struct qcow2_bytes data);
/* Removes all extensions of a type, and returns how many there were. */
size_t q2_area_remove(struct q2_area *area, uint32_t magic);

/*
 * Whether the area can be laid out: the first cluster has room for it, and the backing file's name
 * is known.
 */
bool q2_area_fits(const struct q2_area *area);

/*
 * Lays the area out again and plans the bytes that change. Errors: QCOW2_ERROR_LIMIT if the first
 * cluster has no room, QCOW2_ERROR_BROKEN if the backing file's name would be lost, those of
 * qcow2_plan_write().
 */
int q2_area_plan(const struct q2_area *area, struct qcow2_plan *plan, const char *why,
		 struct qcow2_error *err);

#endif
