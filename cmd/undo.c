/* SPDX-License-Identifier: MIT */
/* qcow2 undo: puts back what an edit changed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "edit.h"
#include "out/human.h"

#include <qcow2/text.h>
#include <qcow2/undo.h>

enum { OPTION_LIST, OPTION_EXACT, OPTION_FORCE, OPTION_OUTPUT, OPTION_JSON };

static const struct option_row options[] = {
	{"list", 'l', NULL, "show what would be put back, and change nothing", NULL},
	{"exact", 0, NULL, "the saved bytes, even where they may not be true any more", NULL},
	{"force", 'f', NULL, "even if the image is read-only", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

struct run {
	const struct command *command;
	const char *file, *image;
	struct qcow2_undo *undo;
	struct qcow2_undo_info info;
	struct spool out;
	struct json json;
	char path[8193]; /* of the image, as the undo file has it */
	struct qcow2_undo_result result;
	bool list, exact, force, as_json;
};

static const char *state_name(enum qcow2_undo_state state)
{
	switch (state) {
	case QCOW2_UNDO_APPLYING:
		return "interrupted";
	case QCOW2_UNDO_APPLIED:
		return "applied";
	case QCOW2_UNDO_UNDOING:
		return "undo interrupted";
	case QCOW2_UNDO_UNDONE:
		return "undone";
	}
	return "unknown";
}

static void show_text(struct spool *out, const char *label, struct qcow2_bytes text)
{
	char safe[4096];

	qcow2_text_escape(text, safe, sizeof(safe));
	spool_print(out, "%s%s\n", label, safe);
}

static int show_pieces(struct run *run)
{
	struct qcow2_undo_piece piece;
	struct qcow2_error err;

	for (uint64_t i = 0; i < run->info.pieces; i++) {
		if (qcow2_undo_at(run->undo, i, &piece, &err))
			return report_error(run->command, run->file, &err);
		if (run->as_json) {
			json_begin_object(&run->json);
			json_key(&run->json, "offset");
			json_number(&run->json, piece.offset_bytes);
			json_key(&run->json, "old");
			json_hex(&run->json, piece.old_bytes);
			json_key(&run->json, "new");
			json_hex(&run->json, piece.new_bytes);
			json_end_object(&run->json);
		} else {
			/* Turned round: what is there, and what comes back. */
			plan_show_hex(&run->out, piece.offset_bytes, piece.new_bytes,
				      piece.old_bytes, wants_colour());
		}
	}
	return EXIT_FINE;
}

static int list_human(struct run *run)
{
	char text[HUMAN_MAX];

	show_text(&run->out, "image    ", run->info.image_path);
	show_text(&run->out, "edit     ", run->info.command);
	spool_print(&run->out, "made     %s\n", human_time(run->info.time_seconds, text));
	spool_print(&run->out, "state    %s\n", state_name(run->info.state));
	spool_print(&run->out, "size     %" PRIu64 " bytes, before the edit %" PRIu64 "\n",
		    run->info.new_size_bytes, run->info.old_size_bytes);
	spool_print(&run->out, "puts back %" PRIu64 " bytes in %" PRIu64 " places\n",
		    run->info.bytes, run->info.pieces);
	return show_pieces(run);
}

static int list_json(struct run *run)
{
	struct json *json = &run->json;
	int code;

	json_begin_object(json);
	json_text_member(json, "image", run->info.image_path);
	json_text_member(json, "edit", run->info.command);
	json_key(json, "time");
	json_number(json, run->info.time_seconds);
	json_key(json, "state");
	json_text(json, state_name(run->info.state));
	json_key(json, "size-before");
	json_number(json, run->info.old_size_bytes);
	json_key(json, "size-after");
	json_number(json, run->info.new_size_bytes);
	json_key(json, "pieces");
	json_begin_array(json);
	code = show_pieces(run);
	json_end_array(json);
	json_end_object(json);
	spool_text(&run->out, "\n");
	return code;
}

static int say_done(struct run *run, const char *image, bool was_undone)
{
	struct qcow2_bytes name = {(const uint8_t *)image, strlen(image)};

	if (run->as_json) {
		json_begin_object(&run->json);
		json_text_member(&run->json, "image", name);
		json_key(&run->json, "bytes");
		json_number(&run->json, was_undone ? 0 : run->info.bytes);
		json_end_object(&run->json);
		spool_text(&run->out, "\n");
		return EXIT_FINE;
	}
	show_text(&run->out, was_undone ? "undone before: " : "undone: ", name);
	return EXIT_FINE;
}

static int undo_image(struct run *run)
{
	const char *image = run->image ? run->image : run->path;
	const struct qcow2_undo_options how = {
		.flags = (run->image ? QCOW2_UNDO_ELSEWHERE : 0) |
			 (run->exact ? QCOW2_UNDO_EXACT : 0),
	};
	struct qcow2_source *source;
	struct qcow2_error err;
	int failed;

	if (run->info.image_path.size == 0 && !run->image)
		return usage_error(run->command, "the undo file names no image: give it");
	memcpy(run->path, run->info.image_path.data, run->info.image_path.size);
	if (qcow2_source_open_for_edit(image, run->force ? QCOW2_EDIT_READ_ONLY_TOO : 0, &source,
				       &err))
		return report_error(run->command, image, &err);
	failed = qcow2_undo_apply(run->undo, source, &how, &run->result, &err);
	qcow2_source_close(source);
	return failed ? report_error(run->command, image, &err)
		      : say_done(run, image, run->result.is_undone);
}

static int undo_file(struct run *run)
{
	struct qcow2_error err;
	int code;

	if (qcow2_undo_open(run->file, &run->undo, &err))
		return report_error(run->command, run->file, &err);
	qcow2_undo_describe(run->undo, &run->info);
	if (run->list)
		code = run->as_json ? list_json(run) : list_human(run);
	else
		code = undo_image(run);
	qcow2_undo_close(run->undo);
	if (code != EXIT_FINE)
		return code;
	code = finish_output(run->command, &run->out, EXIT_FINE);
	if (code != EXIT_FINE && !run->list)
		fprintf(stderr, "qcow2 undo: the image was put back\n");
	return code;
}

static int run_undo(const struct command *command, int argc, char **argv)
{
	struct run run = {.command = command};
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0) {
		if (option == OPTION_LIST)
			run.list = true;
		else if (option == OPTION_EXACT)
			run.exact = true;
		else if (option == OPTION_FORCE)
			run.force = true;
		else if (option == OPTION_JSON)
			run.as_json = true;
		else if (!options_output(command, value, &run.as_json))
			return EXIT_COULD_NOT;
	}
	if (option == OPTIONS_STOP)
		return code;
	if (optind == argc)
		return usage_error(command, "no undo file given");
	run.file = argv[optind++];
	if (optind < argc)
		run.image = argv[optind++];
	if (optind < argc || (run.list && run.image))
		return usage_error(command, "too many operands");
	spool_init(&run.out, STDOUT_FILENO);
	json_init(&run.json, &run.out, 2, false);
	code = undo_file(&run);
	spool_release(&run.out);
	return code;
}

const struct command undo_command = {
	.name = "undo",
	.operands = "UNDO-FILE [IMAGE]",
	.summary = "Put back what an edit changed, byte for byte.",
	.notes = "Give IMAGE if it has moved since. An image that has changed since is refused: "
		 "undo later\n"
		 "edits first. May be interrupted and repeated.\n"
		 "Exit codes: 0 done, 1 could not or would not.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_undo,
};
