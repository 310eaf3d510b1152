/* SPDX-License-Identifier: MIT */
/* Drives a comparison: records both images, matches what they have, and tells what differs. */
#include "base/alloc.h"
#include "base/sized.h"
#include "diff/internal.h"

/* Paths below elements: rows of the feature name table are most of them. */
#define PATHS_MAX    ((size_t)1 << 20)
#define COMPARED_MAX ((size_t)1 << 20)

static bool open_half(struct q2_diff_half *half, const struct qcow2_image *image)
{
	uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(image));

	half->image = image;
	half->geometry = qcow2_image_geometry(image);
	half->left_bytes = stored >> 50 ? UINT64_MAX : 16 * stored + (UINT64_C(64) << 20);
	for (size_t i = 0; i < Q2_DIFF_LISTS; i++) {
		q2_vector_init(&half->lists[i].elements, sizeof(struct q2_diff_element),
			       Q2_DIFF_RECORDS_MAX);
		q2_vector_init(&half->lists[i].records, sizeof(struct q2_diff_record),
			       Q2_DIFF_RECORDS_MAX);
	}
	q2_vector_init(&half->text, 1, Q2_DIFF_TEXT_MAX);
	half->buffer = q2_alloc_buffer(Q2_DIFF_PIECE_BYTES);
	half->piece = q2_alloc_buffer(Q2_DIFF_PIECE_BYTES);
	half->outer = q2_alloc_buffer(Q2_DIFF_PIECE_BYTES);
	return half->buffer && half->piece && half->outer;
}

static void close_half(struct q2_diff_half *half)
{
	for (size_t i = 0; i < Q2_DIFF_LISTS; i++) {
		q2_vector_release(&half->lists[i].elements);
		q2_vector_release(&half->lists[i].records);
	}
	q2_vector_release(&half->text);
	q2_free(half->buffer);
	q2_free(half->piece);
	q2_free(half->outer);
}

static void forget_compared(struct q2_diff *d)
{
	q2_name_set_release(&d->compared);
	q2_name_set_init(&d->compared, COMPARED_MAX);
}

/* Tells why no tables are compared. If nothing but the header differs, that tells it already. */
static void tell_no_tables(struct q2_diff *d, const char *reason)
{
	static const char *const paths[] = {
		"bitmaps/*/table", "bitmaps/*/data", "l1",       "l2", "snapshots/*/l1",
		"snapshots/*/l2",  "refcount_table", "refcounts"};
	bool may_differ = d->halves[0].geometry || d->halves[1].geometry;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		enum q2_diff_list list = i < 2 ? Q2_DIFF_BITMAPS : Q2_DIFF_SNAPSHOTS;
		bool of_list = i < 2 || i == 4 || i == 5;

		if (!of_list || (d->halves[0].lists[list].elements.count > 0 &&
				 d->halves[1].lists[list].elements.count > 0))
			q2_diff_tell_gap(d, paths[i], may_differ, reason);
	}
}

static void compare_active(struct q2_diff *d)
{
	struct q2_diff_disk disk = {.prefix = ""};

	for (enum qcow2_diff_side side = QCOW2_DIFF_A; side <= QCOW2_DIFF_B; side++) {
		const struct qcow2_header *header = qcow2_image_header(d->halves[side].image);

		disk.l1[side] = q2_diff_table(d, side, header->l1_table_offset,
					      (uint64_t)header->l1_size * 8);
	}
	q2_diff_disk(d, &disk);
}

static void compare(struct q2_diff *d)
{
	char text[128];
	const char *reason = q2_diff_no_tables(d, text);

	for (enum qcow2_diff_side side = QCOW2_DIFF_A; side <= QCOW2_DIFF_B; side++)
		q2_diff_record(d, side);
	for (enum q2_diff_list list = Q2_DIFF_EXTENSIONS; list < Q2_DIFF_LISTS; list++)
		q2_diff_match(d, list);
	q2_diff_tell_fixed(d, "header");
	q2_diff_tell_list(d, Q2_DIFF_EXTENSIONS);
	q2_diff_tell_list(d, Q2_DIFF_BITMAPS);
	q2_diff_tell_fixed(d, "backing_file");
	q2_diff_tell_fixed(d, "luks");
	if (!reason)
		compare_active(d);
	q2_diff_tell_list(d, Q2_DIFF_SNAPSHOTS);
	forget_compared(d);
	if (!reason && !d->failed)
		q2_diff_refcounts(d);
	if (reason)
		tell_no_tables(d, reason);
	if (d->short_of_reads)
		q2_diff_tell_gap(d, "tables", true,
				 "they claim much more than the files store, and were compared "
				 "only in part");
}

int qcow2_diff(const struct qcow2_image *const images[2], const struct qcow2_diff_visitor *visitor,
	       void *opaque, struct qcow2_diff_result *result, struct qcow2_error *err)
{
	struct qcow2_diff_visitor mine;
	struct qcow2_diff_result found = {.size = sizeof(found), .failed = QCOW2_DIFF_NEITHER};
	struct qcow2_error ignored;
	struct q2_diff d = {
		.visitor = &mine, .opaque = opaque, .result = &found, .err = err ? err : &ignored};
	bool room;

	if (q2_sized_check(result, err) || q2_sized_take(&mine, sizeof(mine), visitor, err))
		return -1;
	q2_hash_key_make(&d.hash_key);
	q2_vector_init(&d.paths, sizeof(struct q2_diff_path), PATHS_MAX);
	q2_vector_init(&d.path_text, 1, Q2_DIFF_TEXT_MAX);
	q2_name_set_init(&d.path_numbers, PATHS_MAX);
	q2_name_set_init(&d.compared, COMPARED_MAX);
	room = open_half(&d.halves[0], images[0]);
	room = open_half(&d.halves[1], images[1]) && room;
	if (room)
		compare(&d);
	else
		q2_diff_fail_memory(&d);
	for (size_t side = 0; side < 2; side++)
		close_half(&d.halves[side]);
	q2_vector_release(&d.paths);
	q2_vector_release(&d.path_text);
	q2_name_set_release(&d.path_numbers);
	q2_name_set_release(&d.compared);
	q2_sized_give(result, &found, sizeof(found));
	return d.failed ? -1 : 0;
}
