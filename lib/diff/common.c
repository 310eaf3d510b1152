/* SPDX-License-Identifier: MIT */
/* What the parts of a comparison call: failures, gaps, and why tables cannot be compared. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "diff/internal.h"

void q2_diff_fail(struct q2_diff *d, enum qcow2_diff_side side)
{
	enum qcow2_error_code code = d->err->code;

	if (code == QCOW2_ERROR_MEMORY || code == QCOW2_ERROR_STOPPED)
		side = QCOW2_DIFF_NEITHER;
	if (!d->failed)
		d->result->failed = side;
	d->failed = true;
}

void q2_diff_fail_memory(struct q2_diff *d)
{
	q2_fail_memory(d->err);
	q2_diff_fail(d, QCOW2_DIFF_NEITHER);
}

const char *q2_diff_no_tables(const struct q2_diff *d, char text[128])
{
	const struct qcow2_geometry *a = d->halves[0].geometry, *b = d->halves[1].geometry;

	if (!a && !b)
		return "both headers make no sense, so that no table can be found";
	if (!a || !b) {
		snprintf(text, 128,
			 "the header of the %s image makes no sense, so that no table can be found",
			 a ? "second" : "first");
		return text;
	}
	if (a->cluster_bits != b->cluster_bits) {
		snprintf(text, 128, "clusters have %" PRIu64 " bytes and %" PRIu64 " bytes",
			 a->cluster_size_bytes, b->cluster_size_bytes);
		return text;
	}
	if (a->l2_entry_bytes != b->l2_entry_bytes) {
		snprintf(text, 128, "L2 entries have %u bytes and %u bytes", a->l2_entry_bytes,
			 b->l2_entry_bytes);
		return text;
	}
	return NULL;
}

void q2_diff_answer(struct q2_diff *d, int result)
{
	if (result == 0 || d->failed)
		return;
	q2_fail(d->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
	q2_diff_fail(d, QCOW2_DIFF_NEITHER);
}

void q2_diff_tell_gap(struct q2_diff *d, const char *path, bool may_differ, const char *reason)
{
	const struct qcow2_diff_gap gap = {
		.size = sizeof(gap), .path = path, .reason = reason, .may_differ = may_differ};

	if (d->failed)
		return;
	d->result->gaps++;
	d->result->may_differ |= may_differ;
	if (d->visitor->gap)
		q2_diff_answer(d, d->visitor->gap(d->opaque, &gap));
}

const char *q2_diff_path(const struct q2_diff *d, const struct q2_diff_record *record)
{
	const struct q2_diff_path *path = q2_vector_at(&d->paths, record->path);

	return (const char *)d->path_text.data + path->text.at;
}

bool q2_diff_number(const struct q2_diff *d, const struct q2_diff_list_of *list,
		    const struct q2_diff_element *element, const char *path, uint64_t *number)
{
	for (size_t i = 0; i < element->count; i++) {
		const struct q2_diff_record *record =
			q2_vector_at(&list->records, element->first + i);

		if (strcmp(q2_diff_path(d, record), path) == 0) {
			*number = record->number;
			return true;
		}
	}
	return false;
}
