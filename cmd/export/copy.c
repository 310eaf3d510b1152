/* SPDX-License-Identifier: MIT */
/* Copies what is asked for, with all processors, and counts it in the order of the disk. */
#include "common/crew.h"
#include "common/report.h"
#include "export/manifest.h"
#include "export/piece.h"
#include "export/run.h"
#include "export/stream.h"

/* What fails is noted in the piece: the image or the target may be at fault. */
static int make(void *opaque, unsigned worker, void *piece, struct qcow2_error *err)
{
	(void)worker;
	(void)err;
	export_piece_work(opaque, piece);
	return 0;
}

static void count(struct export_run *run, const struct export_piece *piece)
{
	if (piece->is_zero)
		run->zero_bytes += piece->length_bytes;
	else
		run->data_bytes += piece->length_bytes;
	progress_share(&run->progress, piece->start_bytes + piece->length_bytes, run->size_bytes);
}

/* Writes and counts a piece. EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
static int take(struct export_run *run, struct export_piece *piece)
{
	int errnum = piece->errnum;

	if (piece->failed)
		return export_fail(run, &piece->err);
	if (errnum == 0 && run->target.kind == EXPORT_TO_OUTPUT)
		errnum = export_stream_piece(&run->output, piece);
	else if (errnum == 0 && export_target_grows(&run->target, piece->start_bytes))
		errnum = export_piece_append(&run->target, piece);
	if (errnum != 0)
		return export_fail_target(run, errnum);
	if (export_faults_move(&run->faults, &piece->faults))
		return report_text(run->command, run->file, "out of memory");
	if (run->records)
		errnum = export_manifest_add(run->records, piece);
	if (errnum != 0)
		return export_fail_manifest(run, errnum);
	count(run, piece);
	return EXIT_FINE;
}

static int use(void *opaque, void *piece, struct qcow2_error *err)
{
	const int code = take(opaque, piece);

	export_faults_release(&((struct export_piece *)piece)->faults);
	/* It has been said. */
	err->code = QCOW2_ERROR_STOPPED;
	return code == EXIT_FINE ? 0 : -1;
}

/*
 * Hands out all pieces and waits for them. Returns EXIT_FINE, or EXIT_COULD_NOT when the error has
 * been said: the first one on the disk.
 */
static int hand_out(struct export_run *run, struct export_pieces *pieces, struct crew *crew)
{
	struct qcow2_error err, late;
	struct export_piece *piece;
	int more = 1;

	while (more > 0 && (piece = crew_piece(crew, &late)) != NULL) {
		more = export_pieces_next(pieces, piece, &err);
		if (more > 0 && crew_push(crew, &late))
			break;
	}
	if (crew_wait(crew, &late))
		return late.code == QCOW2_ERROR_STOPPED ? EXIT_COULD_NOT : export_fail(run, &late);
	return more < 0 ? export_fail(run, &err) : EXIT_FINE;
}

int export_copy(struct export_run *run)
{
	const struct crew_work work = {
		.make = make,
		.use = use,
		.opaque = run,
		.piece_bytes = sizeof(struct export_piece),
		.threads = run->threads,
	};
	struct export_pieces pieces;
	struct qcow2_error err;
	struct crew *crew;
	int code;

	if (export_pieces_open(&pieces, run, &err))
		return export_fail(run, &err);
	crew = crew_open(&work, &err);
	code = crew ? hand_out(run, &pieces, crew) : export_fail(run, &err);
	crew_close(crew);
	export_pieces_close(&pieces);
	return code;
}
