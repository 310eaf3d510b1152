/* SPDX-License-Identifier: MIT */
/* Answers --host: the pieces of the range, the first one as the JSON object itself. */
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

int locate_host(struct locate_run *run, struct qcow2_error *err)
{
	struct qcow2_pieces *pieces;
	int result;

	if (qcow2_pieces_open(run->image, NULL, &pieces, err))
		return -1;
	if (run->as_json)
		json_begin_object(&run->json);
	result = show_all(run, pieces, err);
	if (run->as_json)
		json_end_object(&run->json);
	qcow2_pieces_close(pieces);
	return result;
}
