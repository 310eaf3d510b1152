/* SPDX-License-Identifier: MIT */
/*
 * The names of other files. A name is never given up: where the header's numbers do not lead to it,
 * it is searched where programs put it, behind the end mark of the extensions ("Header").
 */
#include "repair/header/header.h"

#include <string.h>

#include "base/utf8.h"
#include "image/extensions.h"
#include "rules/rules.h"

#include <qcow2/limits.h>

/* A name in the first cluster. */
struct name {
	uint64_t at, size;
};

static bool is_byte(const struct q2_head *head, uint64_t at, uint8_t byte)
{
	return at < head->first.size && head->first.data[at] == byte;
}

/* The text at a place, if it is as long as a name may be and ends with a NUL or the cluster. */
static struct name name_at(const struct q2_head *head, uint64_t at)
{
	struct name name = {at, q2_text_run(head->first, at, head->first.size)};

	if (name.size > QCOW2_LIMIT_BACKING_NAME_BYTES ||
	    (at + name.size < head->first.size && !is_byte(head, at + name.size, 0)))
		name.size = 0;
	return name;
}

static bool has_format(const struct q2_head *head)
{
	struct qcow2_bytes data;

	return qcow2_image_find_extension(head->image, QCOW2_EXTENSION_BACKING_FORMAT, &data);
}

/* The name behind the end mark of the extensions, whatever the header says of it. */
static struct name find_name(const struct q2_head *head)
{
	const struct q2_chain chain =
		q2_chain_follow(head->first, head->header->header_length, head->first.size);
	uint64_t at = chain.at;
	struct name name;

	if (!chain.whole)
		return (struct name){0, 0};
	/* Some programs leave a gap. What is behind it may be anything, unless the header says more. */
	while (is_byte(head, at, 0))
		at++;
	name = name_at(head, at);
	if (at > chain.at && name.size != head->header->backing_file_size && !has_format(head))
		name.size = 0;
	return name;
}

static int intend_backing(struct q2_repair *repair, struct qcow2_bytes name)
{
	static const uint8_t none;

	if (name.size == 0)
		name.data = &none;
	return qcow2_plan_intend(repair->plan, QCOW2_INTENT_BACKING, name, repair->err);
}

/*
 * Where the name seemed to begin, the extensions seemed to end. Programs that opened the image saw
 * no bitmaps, and recorded nothing: those that come back are not to be believed.
 */
static int withdraw_bitmaps(struct q2_repair *repair, const struct q2_head *head)
{
	const struct qcow2_header *header = head->header;
	const uint64_t bits = header->autoclear_features;

	/* In later rounds, it is what this repair wrote that is put right. */
	if (repair->round > 0 || header->version < 3 || !(bits & QCOW2_AUTOCLEAR_BITMAPS) ||
	    header->backing_file_offset >=
		    q2_chain_follow(head->first, header->header_length, head->first.size).at)
		return 0;
	return q2_repair_write_number(repair, QCOW2_PHASE_WITHDRAW,
				      Q2_HEADER_AT(autoclear_features),
				      bits & ~QCOW2_AUTOCLEAR_BITMAPS, 8,
				      "bitmaps that were not seen are not to be believed");
}

/* Plans that the backing file's name is at a place, or nowhere. */
static int point_at(struct q2_repair *repair, const struct q2_head *head, struct name name)
{
	const struct qcow2_bytes bytes = {name.size > 0 ? head->first.data + name.at : NULL,
					  (size_t)name.size};

	return q2_repair_write_number(repair, QCOW2_PHASE_POINT, Q2_HEADER_AT(backing_file_offset),
				      name.size > 0 ? name.at : 0, 8,
				      "where the backing file's name is") ||
			       q2_repair_write_number(repair, QCOW2_PHASE_POINT,
						      Q2_HEADER_AT(backing_file_size), name.size, 4,
						      "how long the backing file's name is") ||
			       intend_backing(repair, bytes) || withdraw_bitmaps(repair, head)
		       ? -1
		       : 0;
}

/* As point_at(), and tells what a guest reads where the image itself says nothing. */
static int point_and_tell(struct q2_repair *repair, const struct q2_head *head, struct name name,
			  enum qcow2_problem_id id, const char *does, enum qcow2_reads before)
{
	struct qcow2_repair_step step = {
		.kind = qcow2_problem_kind_get(id),
		.where = "header/backing_file_offset",
		.does = does,
		.has_guest = before != QCOW2_READS_SAME && head->header->size > 0,
		.guest_length_bytes = head->header->size,
		.before = before,
		.after = QCOW2_READS_BACKING,
	};

	return point_at(repair, head, name) || q2_repair_tell(repair, &step) ? -1 : 0;
}

#define LOST_NAME                                                                                  \
	"the name is not found in the first cluster: 'qcow2 edit IMAGE backing set NAME FORMAT' "  \
	"sets it, 'backing clear' gives it up"

/* The offset leads nowhere, or the size cannot be: the name is where it reads like one. */
static int mend_place(struct q2_repair *repair, const struct q2_head *head,
		      enum qcow2_problem_id id)
{
	const uint64_t claimed = head->header->backing_file_offset;
	struct name name = {0, 0};

	if (!q2_repair_may(repair, id, false))
		return 0;
	if (id == QCOW2_PROBLEM_BACKING_SIZE)
		name = name_at(head, claimed);
	if (name.size == 0)
		name = find_name(head);
	if (name.size > 0)
		return point_and_tell(repair, head, name, id,
				      "points to the backing file's name, which is there",
				      QCOW2_READS_ERROR);
	/* An image without a backing file, whose offset is damaged. */
	if (head->header->backing_file_size == 0 && !has_format(head))
		return point_and_tell(
			repair, head, name, id,
			"clears the offset of a backing file's name that has no bytes",
			QCOW2_READS_SAME);
	q2_repair_leave(repair, id, LOST_NAME);
	return 0;
}

/*
 * QEMU opens the image without a backing file, and the guest reads zeros where nothing is allocated.
 * A name would change that, and the file that it names may be gone: so somebody has to ask for it.
 */
static bool may_name(struct q2_repair *repair, enum qcow2_problem_id id)
{
	return repair->options->only_count > 0 && q2_repair_may(repair, id, false);
}

static int mend_empty(struct q2_repair *repair, const struct q2_head *head)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_BACKING_NAME_EMPTY;
	struct name name = name_at(head, head->header->backing_file_offset);
	bool is_name = name.size > 0 && has_format(head);

	if (name.size > 0)
		q2_repair_leave(repair, id,
				"QEMU opens the image without a backing file, and something reads "
				"like its name: 'qcow2 edit IMAGE backing set NAME FORMAT' sets "
				"it, 'backing clear' clears it");
	if (is_name ? !may_name(repair, id) : !q2_repair_may(repair, id, name.size > 0))
		return 0;
	if (is_name)
		return point_and_tell(repair, head, name, id,
				      "gives the backing file's name, which is there with its "
				      "format, its length",
				      QCOW2_READS_ZEROS);
	return point_and_tell(repair, head, (struct name){0, 0}, id,
			      "clears what is left of the backing file's name", QCOW2_READS_SAME);
}

/* A size without an offset, and a name of that size: the offset is what is damaged. */
static int mend_format_alone(struct q2_repair *repair, const struct q2_head *head)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_BACKING_FORMAT_WITHOUT_BACKING;
	struct name name = find_name(head);

	if (head->header->backing_file_offset != 0)
		return 0;
	if (name.size > 0 && name.size == head->header->backing_file_size)
		return !q2_repair_may(repair, id, false)
			       ? 0
			       : point_and_tell(repair, head, name, id,
						"points to the backing file's name, which is there "
						"with its length and its format",
						QCOW2_READS_ZEROS);
	q2_repair_leave(repair, id, "a format without a file does no harm");
	if (!q2_repair_may(repair, id, true))
		return 0;
	return qcow2_edit_backing(repair->plan, (struct qcow2_bytes){NULL, 0}, NULL, repair->err) ||
			       q2_head_tell(repair, id, "extensions",
					    "removes the format of a backing file that is not "
					    "there",
					    true)
		       ? -1
		       : 0;
}

/*
 * Text of the same length where the name should be is the name. One that ends with NULs QEMU reads up
 * to the first.
 */
static int mend_text(struct q2_repair *repair, const struct q2_head *head)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_BACKING_NAME_TEXT;
	const struct qcow2_bytes stored = qcow2_image_backing_name(head->image);
	struct name name = {head->header->backing_file_offset, 0};
	const struct name elsewhere = find_name(head);
	bool costs = false;

	q2_repair_leave(repair, id,
			"nothing tells what the name was: 'qcow2 edit IMAGE backing set NAME "
			"FORMAT' sets it");
	if (elsewhere.size == stored.size && elsewhere.at != name.at &&
	    q2_repair_may(repair, id, false))
		return point_and_tell(repair, head, elsewhere, id,
				      "points to the backing file's name, which is there",
				      QCOW2_READS_ERROR);
	while (name.size < stored.size && stored.data[name.size] != 0)
		name.size++;
	for (uint64_t i = name.size; i < stored.size; i++)
		costs |= stored.data[i] != 0;
	if (name.size == 0 || name.size == stored.size ||
	    !q2_utf8_printable((struct qcow2_bytes){stored.data, (size_t)name.size}) ||
	    !q2_repair_may(repair, id, costs))
		return 0;
	return point_and_tell(repair, head, name, id,
			      "ends the backing file's name at its first NUL, as QEMU does",
			      QCOW2_READS_SAME);
}

int q2_header_mend_backing(struct q2_repair *repair)
{
	struct q2_head head;
	int failed = 0;

	if (!q2_has(repair, QCOW2_PROBLEM_BACKING_OFFSET) &&
	    !q2_has(repair, QCOW2_PROBLEM_BACKING_SIZE) &&
	    !q2_has(repair, QCOW2_PROBLEM_BACKING_NAME_EMPTY) &&
	    !q2_has(repair, QCOW2_PROBLEM_BACKING_NAME_TEXT) &&
	    !q2_has(repair, QCOW2_PROBLEM_BACKING_FORMAT_WITHOUT_BACKING))
		return 0;
	failed = q2_head_open(repair, &head);
	if (failed)
		;
	else if (q2_has(repair, QCOW2_PROBLEM_BACKING_OFFSET))
		failed = mend_place(repair, &head, QCOW2_PROBLEM_BACKING_OFFSET);
	else if (q2_has(repair, QCOW2_PROBLEM_BACKING_SIZE))
		failed = mend_place(repair, &head, QCOW2_PROBLEM_BACKING_SIZE);
	else if (q2_has(repair, QCOW2_PROBLEM_BACKING_NAME_EMPTY))
		failed = mend_empty(repair, &head);
	else if (q2_has(repair, QCOW2_PROBLEM_BACKING_NAME_TEXT))
		failed = mend_text(repair, &head);
	else
		failed = mend_format_alone(repair, &head);
	q2_head_close(&head);
	return failed;
}
