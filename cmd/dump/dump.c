/* SPDX-License-Identifier: MIT */
/* qcow2 dump: walks an image and shows it, as text or as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/options.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "out/emitter.h"
#include "out/rows.h"
#include "out/wrap.h"

#include <qcow2/image.h>
#include <qcow2/source.h>
#include <qcow2/walk.h>

enum { OPTION_JSON, OPTION_OUTPUT, OPTION_OFFSETS, OPTION_HEX };

static const struct option_row options[] = {
	{"json", 'j', NULL, "the same as --output=json", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"offsets", 0, NULL, "show where in the file each field is", NULL},
	{"hex", 0, NULL, "show the bytes of each field", NULL},
};

/* What was asked for, and how it went. */
struct dump {
	const struct command *command;
	const char *file;
	struct emitter_options show;
	bool json;
	bool in_rows;     /* large tables are shown many rows at a time */
	unsigned threads; /* that make text of them */
	struct qcow2_selection *selection;
	struct problem_log problems;
	struct spool out;
	struct progress progress;
};

static int fail_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

static int walk_text(struct dump *dump, const struct qcow2_image *image, struct qcow2_error *err)
{
	struct text_emitter *emitter = calloc(1, sizeof(*emitter));
	int result;

	if (!emitter)
		return fail_memory(err);
	emitter->options = dump->show;
	emitter->out = &dump->out;
	emitter->problems = &dump->problems;
	if (dump->in_rows)
		emitter->rows = rows_page_text(emitter, dump->threads);
	if (dump->in_rows && !emitter->rows)
		result = fail_memory(err);
	else
		result = qcow2_walk(image, dump->selection, 0,
				    emitter->rows ? &text_rows_visitor : &text_visitor, emitter,
				    err);
	if (result == 0)
		text_emitter_finish(emitter);
	rows_page_close(emitter->rows);
	free(emitter);
	return result;
}

static int walk_json(struct dump *dump, const struct qcow2_image *image, struct qcow2_error *err)
{
	struct json_emitter emitter = {.options = dump->show, .problems = &dump->problems};
	int result;

	json_init(&emitter.json, &dump->out, 2, false);
	if (dump->in_rows) {
		emitter.rows = rows_page_json(&emitter, dump->threads);
		if (!emitter.rows)
			return fail_memory(err);
	}
	result = qcow2_walk(image, dump->selection, 0,
			    emitter.rows ? &json_rows_visitor : &json_visitor, &emitter, err);
	rows_page_close(emitter.rows);
	spool_text(&dump->out, "\n");
	return result;
}

/* What no program that does not know the feature may do is to use the image: worth a line apart. */
static void warn_unknown(const struct dump *dump, const struct qcow2_image *image)
{
	uint64_t unknown =
		qcow2_image_header(image)->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN;
	struct qcow2_error message = {.offset_bytes =
					      offsetof(struct qcow2_header, incompatible_features)};
	size_t at;

	if (!unknown)
		return;
	at = (size_t)snprintf(message.text, sizeof(message.text),
			      "unknown incompatible feature bits:");
	for (; unknown != 0 && at + 8 < sizeof(message.text); unknown &= unknown - 1)
		at += (size_t)snprintf(message.text + at, sizeof(message.text) - at, " %d",
				       __builtin_ctzll(unknown));
	report_error(dump->command, dump->file, &message);
}

static int dump_image(struct dump *dump, const struct qcow2_image *image)
{
	struct qcow2_error err;
	int code, failed = (dump->json ? walk_json : walk_text)(dump, image, &err);

	progress_end(&dump->progress);
	if (failed) {
		if (dump->out.errnum)
			return finish_output(dump->command, &dump->out, EXIT_COULD_NOT);
		return report_error(dump->command, dump->file, &err);
	}
	if (dump->problems.short_of_memory) {
		err = (struct qcow2_error){.offset_bytes = QCOW2_NO_OFFSET,
					   .text = "out of memory"};
		return report_error(dump->command, dump->file, &err);
	}
	code = finish_output(dump->command, &dump->out,
			     dump->problems.corrupt ? EXIT_MALFORMED : EXIT_FINE);
	warn_unknown(dump, image);
	return code;
}

static int dump_file(struct dump *dump)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	int code;

	if (limits_open(dump->command->common, dump->file, &source, &err))
		return report_error(dump->command, dump->file, &err);
	code = sandbox_seal(dump->command);
	if (code == EXIT_FINE && qcow2_image_open(source, &image, &err)) {
		code = report_error(dump->command, dump->file, &err);
	} else if (code == EXIT_FINE) {
		warn_in_use(dump->command, dump->file, source);
		code = dump_image(dump, image);
	}
	qcow2_image_close(image);
	qcow2_source_close(source);
	return code;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct dump dump = {.command = command};
	struct qcow2_error err;
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0) {
		if (option == OPTION_JSON)
			dump.json = true;
		else if (option == OPTION_OFFSETS)
			dump.show.offsets = true;
		else if (option == OPTION_HEX)
			dump.show.hex = true;
		else if (!options_output(command, value, &dump.json))
			return EXIT_COULD_NOT;
	}
	if (option == OPTIONS_STOP)
		return code;
	if (optind == argc)
		return usage_error(command, "no image given");
	dump.file = argv[optind++];
	dump.show.file_name = dump.file;
	dump.show.colour = wants_colour(command);
	dump.show.columns = isatty(STDOUT_FILENO) ? terminal_columns() : 0;
	dump.in_rows = !dump.show.offsets && !dump.show.hex && (dump.json || !dump.show.columns);
	/* Without selectors, no large table is shown but those of large bitmaps. */
	dump.threads = dump.in_rows && optind < argc ? relay_threads(qcow2_processors()) : 1;
	if (qcow2_selection_new((const char *const *)argv + optind, (size_t)(argc - optind),
				&dump.selection, &err))
		return err.code == QCOW2_ERROR_ARGUMENT ? usage_error(command, "%s", err.text)
							: report_error(command, dump.file, &err);
	spool_init(&dump.out, STDOUT_FILENO);
	progress_init(&dump.progress);
	dump.show.progress = &dump.progress;
	code = dump_file(&dump);
	spool_release(&dump.out);
	problem_log_release(&dump.problems);
	qcow2_selection_free(dump.selection);
	return code;
}

const struct command dump_command = {
	.name = "dump",
	.operands = "IMAGE [SELECTOR...]",
	.summary = "Show the structures of an image: all but large tables, or some.",
	.notes = "Selectors are paths: header, header/size, features, extensions/bitmaps, "
		 "bitmaps/b0, bitmaps/*/table/0..3, bitmaps/b0/data, snapshots/0/l1, l1/0..15, "
		 "l2/5/17, refcount_table, refcounts/0, luks, all. Names may hold *; ** means all "
		 "below.\n"
		 "Output larger than 4 MiB streams.\n"
		 "Exit codes: 0 done, 1 failed, 2 done but the metadata is malformed.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run,
};
