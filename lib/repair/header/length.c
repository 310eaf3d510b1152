/* SPDX-License-Identifier: MIT */
/* header_length, and extensions whose lengths pass the end of their area. */
#include "repair/header/header.h"

#include <stdio.h>

#include "base/bytes.h"
#include "format/extension_kind.h"
#include "image/extensions.h"

#define HEAD_BYTES sizeof(struct qcow2_extension_header)
#define LENGTH_AT  offsetof(struct qcow2_extension_header, length)

/*
 * Kinds of problems that a wrong header_length shows as. The first three say that it is wrong; the
 * others do if extensions of known types lie elsewhere.
 */
static const enum qcow2_problem_id kinds[] = {
	QCOW2_PROBLEM_HEADER_LENGTH,          QCOW2_PROBLEM_HEADER_LENGTH_UNALIGNED,
	QCOW2_PROBLEM_HEADER_TRUNCATED,       QCOW2_PROBLEM_EXTENSION_OVERRUN,
	QCOW2_PROBLEM_EXTENSION_UNTERMINATED, QCOW2_PROBLEM_CRYPTO_MISSING,
	QCOW2_PROBLEM_DATA_FILE_NAME_MISSING, QCOW2_PROBLEM_FEATURE_BITMAPS_WITHOUT_EXTENSION,
};
#define SURE_KINDS 3

/* The first of these kinds that was found, or QCOW2_PROBLEM_NONE; *sure: one of the first three. */
static enum qcow2_problem_id find_kind(const struct q2_repair *repair, bool *sure)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		*sure = i < SURE_KINDS;
		if (q2_has(repair, kinds[i]))
			return kinds[i];
	}
	return QCOW2_PROBLEM_NONE;
}

/* Moves extensions that begin between two multiples of 8 to the next one. */
static int move_extensions(struct q2_repair *repair, uint64_t to)
{
	struct q2_area area;
	bool usable;
	int failed = q2_head_area(repair, &area, &usable);

	if (!failed && usable) {
		area.header_length = (uint32_t)to;
		usable = q2_area_fits(&area);
	}
	if (!failed && !usable)
		q2_repair_leave(repair, QCOW2_PROBLEM_HEADER_LENGTH_UNALIGNED,
				"the first cluster has no room to move the extensions");
	if (!failed && usable)
		failed = q2_area_plan(&area, repair->plan, "align the header's end", repair->err) ||
			 q2_head_tell(repair, QCOW2_PROBLEM_HEADER_LENGTH_UNALIGNED,
				      "header/header_length",
				      "moves the header's end, and the extensions with it, to a "
				      "multiple of 8",
				      false);
	q2_area_close(&area);
	return failed ? -1 : 0;
}

static bool is_type(const struct q2_head *head, uint64_t at)
{
	return at + HEAD_BYTES <= head->first.size &&
	       q2_extension_kind(q2_load_be32(head->first.data + at));
}

/* Sets header_length to where extensions begin. */
static int set_length(struct q2_repair *repair, const struct q2_head *head,
		      enum qcow2_problem_id id, bool sure)
{
	const uint64_t claimed = head->header->header_length, limit = q2_head_limit(head);
	uint64_t start = q2_chain_start(head->first, claimed, limit);

	/* A known type where extensions should begin says that they do. */
	if (!sure &&
	    (is_type(head, claimed) || q2_chain_follow(head->first, start, limit).known <=
					       q2_chain_follow(head->first, claimed, limit).known))
		return 0;
	if (start == claimed && start % 8 != 0)
		return move_extensions(repair, (start + 7) & ~UINT64_C(7));
	if (start == claimed)
		return 0;
	return q2_repair_write_number(repair, QCOW2_PHASE_POINT, Q2_HEADER_AT(header_length), start,
				      4, "the header ends where its extensions begin") ||
			       q2_head_intend(repair, QCOW2_EXTENSION_BITMAPS) ||
			       q2_head_tell(repair, id, "header/header_length",
					    "sets the length of the header to where its "
					    "extensions begin",
					    false)
		       ? -1
		       : 0;
}

int q2_header_mend_length(struct q2_repair *repair)
{
	bool sure;
	enum qcow2_problem_id id = find_kind(repair, &sure);
	struct q2_head head;
	int failed;

	if (id == QCOW2_PROBLEM_NONE || repair->header->version < 3 ||
	    !q2_repair_may(repair, id, false))
		return 0;
	failed = q2_head_open(repair, &head) || set_length(repair, &head, id, sure);
	q2_head_close(&head);
	return failed ? -1 : 0;
}

/* The end mark needs no length. */
static int mend_end_mark(struct q2_repair *repair, const struct q2_head *head, uint64_t at)
{
	if (at + HEAD_BYTES > head->first.size || q2_load_be32(head->first.data + at + LENGTH_AT) <=
							  q2_head_limit(head) - at - HEAD_BYTES)
		return 0;
	return q2_repair_write_number(repair, QCOW2_PHASE_POINT, at + LENGTH_AT, 0, 4,
				      "the end mark has no data") ||
			       q2_head_tell(repair, QCOW2_PROBLEM_EXTENSION_OVERRUN, "extensions",
					    "sets the length of the end mark to 0", false)
		       ? -1
		       : 0;
}

static int mend_cut(struct q2_repair *repair, const struct q2_head *head,
		    const struct qcow2_extension *cut)
{
	char where[QCOW2_PROBLEM_WHERE_MAX];
	uint32_t length;

	if (!q2_chain_length(head->first, cut->offset_bytes, q2_head_limit(head), &length)) {
		q2_repair_leave(repair, QCOW2_PROBLEM_EXTENSION_OVERRUN,
				"nothing tells where the extension ends; 'qcow2 dump IMAGE "
				"extensions' shows it");
		return 0;
	}
	snprintf(where, sizeof(where), "extensions/%llu/length", (unsigned long long)cut->index);
	return q2_repair_write_number(repair, QCOW2_PHASE_POINT, cut->offset_bytes + LENGTH_AT,
				      length, 4, "the extension ends inside the area") ||
			       q2_head_intend(repair, cut->header.magic) ||
			       q2_head_tell(repair, QCOW2_PROBLEM_EXTENSION_OVERRUN, where,
					    "sets the length of the extension to what its data "
					    "take",
					    false)
		       ? -1
		       : 0;
}

int q2_header_mend_overrun(struct q2_repair *repair)
{
	struct qcow2_extension extension = {.cut = false};
	struct q2_extensions it;
	struct q2_head head;
	int failed;

	if (!q2_has(repair, QCOW2_PROBLEM_EXTENSION_OVERRUN) ||
	    !q2_repair_may(repair, QCOW2_PROBLEM_EXTENSION_OVERRUN, false))
		return 0;
	failed = q2_head_open(repair, &head);
	if (!failed) {
		q2_extensions_begin(head.image, &it);
		while (q2_extensions_next(&it, &extension) && !extension.cut)
			;
		if (it.terminated)
			failed = mend_end_mark(repair, &head, it.at_bytes);
		else if (extension.cut)
			failed = mend_cut(repair, &head, &extension);
	}
	q2_head_close(&head);
	return failed;
}
