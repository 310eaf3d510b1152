/* SPDX-License-Identifier: MIT */
/* Answers --host: the pieces of the range, the first one as the JSON object itself. */
#include "common/limits.h"
#include "locate/run.h"

static int show(struct locate_run *run, const struct qcow2_piece *piece, struct qcow2_error *err)
{
	return run->as_json ? locate_piece_json(run, piece, err)
			    : locate_piece_text(run, piece, err);
}

/* Shows the pieces behind the first one. Returns 1 with *rest set if there are too many. */
static int show_further(struct locate_run *run, struct qcow2_pieces *pieces, uint64_t *rest,
			struct qcow2_error *err)
{
	const struct qcow2_piece *piece;
	int more;

	while ((more = qcow2_pieces_next(pieces, &piece, err)) > 0 && run->out.errnum == 0) {
		*rest = piece->start.byte;
		if (run->parts_left == 0 || run->owners_left == 0)
			return 1;
		run->parts_left--;
		if (run->as_json)
			json_begin_object(&run->json);
		if (show(run, piece, err))
			return -1;
		if (run->as_json)
			json_end_object(&run->json);
	}
	return more < 0 ? -1 : 0;
}

static int show_all(struct locate_run *run, struct qcow2_pieces *pieces, struct qcow2_error *err)
{
	const bool list = run->as_json && run->range.has_length;
	const struct qcow2_piece *piece;
	uint64_t rest = 0;
	int more;

	qcow2_pieces_seek(pieces, (struct qcow2_host){run->range.start}, run->range.length);
	if (qcow2_pieces_next(pieces, &piece, err) < 0 || show(run, piece, err))
		return -1;
	if (list) {
		json_key(&run->json, "more");
		json_begin_array(&run->json);
	}
	more = show_further(run, pieces, &rest, err);
	if (more < 0)
		return -1;
	if (list)
		json_end_array(&run->json);
	if (more > 0)
		locate_rest(run, "host", rest, run->range.start + run->range.length);
	return 0;
}

/*
 * An image in which nothing can be followed still has a header. Shows its bytes; others are the
 * error that *err has.
 */
static int show_header(struct locate_run *run, struct qcow2_error *err)
{
	const size_t size = qcow2_header_structure.size_bytes;
	const struct qcow2_claim header = {.size = sizeof(header),
					   .length_bytes =
						   qcow2_image_first_cluster(run->image).size,
					   .weight = 1,
					   .use = QCOW2_USE_METADATA,
					   .part = QCOW2_CLAIM_HEADER};
	const struct qcow2_claim *const owners[] = {&header};
	const struct qcow2_refcount_path refcount = {.size = sizeof(refcount),
						     .table_entry_at.byte = QCOW2_NO_OFFSET,
						     .refcount_at.byte = QCOW2_NO_OFFSET};
	const struct qcow2_piece piece = {.size = sizeof(piece),
					  .start.byte = run->range.start,
					  .length_bytes = run->range.length,
					  .state = QCOW2_PIECE_USED,
					  .owner_count = 1,
					  .owners = owners,
					  .owners_total = 1,
					  .refcount = &refcount};

	if ((err->code != QCOW2_ERROR_BROKEN && err->code != QCOW2_ERROR_UNSUPPORTED) ||
	    run->range.start >= size || run->range.length > size - run->range.start)
		return -1;
	if (run->as_json)
		json_begin_object(&run->json);
	if (show(run, &piece, err))
		return -1;
	if (run->as_json && run->range.has_length) {
		json_key(&run->json, "more");
		json_begin_array(&run->json);
		json_end_array(&run->json);
	}
	if (run->as_json)
		json_end_object(&run->json);
	return 0;
}

int locate_host(struct locate_run *run, struct qcow2_error *err)
{
	const struct qcow2_pieces_options how = {.size = sizeof(how),
						 .memory_limit_bytes = limits_memory(run->command)};
	struct qcow2_pieces *pieces;
	int result;

	if (qcow2_pieces_open(run->image, &how, &pieces, err))
		return show_header(run, err);
	if (run->as_json)
		json_begin_object(&run->json);
	result = show_all(run, pieces, err);
	if (run->as_json)
		json_end_object(&run->json);
	qcow2_pieces_close(pieces);
	return result;
}
