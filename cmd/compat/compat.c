/* SPDX-License-Identifier: MIT */
/*
 * `qcow2 compat`: the command line of QEMU's qcow2.py, also when called by that name. Its habits
 * are part of the interface: where messages go, and which mistakes exit with 0.
 */
#include "compat/compat.h"
#include "commands.h"
#include "common/help.h"
#include "common/limits.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "compat/edit.h"

#include <qcow2/source.h>
#include <qcow2/text.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Commands take two arguments at most; what is more is counted and never looked at. */
struct request {
	const struct command *command;
	const char *program;  /* as the usage text calls it */
	const char *words[4]; /* file, command, its arguments */
	struct undo_choice undo;
	size_t word_count;
	bool json;
	bool v7;
	bool help;
	const char *wrong_word; /* what of the line is wrong, if that is one word */
};

struct action {
	const char *name;
	size_t argument_count;
	const char *title;
	enum { DUMP_ALL, DUMP_EXTENSIONS, EDIT } kind;
};

static const struct action actions[] = {
	{"dump-header", 0, "Dump image header and header extensions", DUMP_ALL},
	{"dump-header-exts", 0, "Dump image header extensions", DUMP_EXTENSIONS},
	{"set-header", 2, "Set a field in the header", EDIT},
	{"add-header-ext", 2, "Add a header extension", EDIT},
	{"add-header-ext-stdio", 1, "Add a header extension, data from stdin", EDIT},
	{"del-header-ext", 1, "Delete a header extension", EDIT},
	{"set-feature-bit", 2, "Set a feature bit", EDIT},
};
#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

static void print_usage(struct spool *out, const char *program)
{
	spool_print(out,
		    "Usage: %s <file> <cmd> [<arg>, ...] [<key>, ...]\n\nSupported commands:\n",
		    program);
	for (size_t i = 0; i < ACTIONS; i++)
		spool_print(out, "    %-20s - %s\n", actions[i].name, actions[i].title);
	spool_print(out, "\nSupported keys:\n    %-20s - %s\n", "-j", "Dump in JSON format");
}

static bool set_layout(struct request *request, const char *layout)
{
	request->wrong_word = layout;
	if (strcmp(layout, "qemu") == 0)
		request->v7 = false;
	else if (strcmp(layout, "v7") == 0)
		request->v7 = true;
	else
		return false;
	return true;
}

/*
 * Takes an option for undo files, whose value may be the next word; *wrong is set if that is
 * missing. False if the word is something else.
 */
static bool take_undo(struct request *request, const char *word, const char *next,
		      const char **wrong)
{
	const struct {
		const char *name, *missing, **value;
	} rows[] = {
		{"--undo-file", "option '--undo-file' needs an argument", &request->undo.file},
		{"--undo-dir", "option '--undo-dir' needs an argument", &request->undo.dir},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t size = strlen(rows[i].name);

		if (strncmp(word, rows[i].name, size) != 0 || (word[size] && word[size] != '='))
			continue;
		*rows[i].value = word[size] ? word + size + 1 : next;
		*wrong = *rows[i].value ? NULL : rows[i].missing;
		return true;
	}
	return false;
}

/*
 * Takes the line apart. qcow2.py takes the first -j wherever it stands; options of ours come
 * before FILE, and --layout=… anywhere but under qcow2.py's name, whose arguments are its own.
 *
 * Returns NULL, or what is wrong; then wrong_word is the word that is, if the text ends in a blank.
 */
static const char *parse(struct request *request, int argc, char **argv, bool is_qcow2_py)
{
	const char *wrong = NULL;
	bool options = true;

	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		bool leading = options && request->word_count == 0;

		if (options && !request->json &&
		    (strcmp(word, "-j") == 0 || (leading && strcmp(word, "--json") == 0))) {
			request->json = true;
		} else if (leading && strcmp(word, "--") == 0) {
			options = false;
		} else if (leading && (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)) {
			request->help = true;
			return NULL;
		} else if (options && (leading || !is_qcow2_py) &&
			   strncmp(word, "--layout=", 9) == 0) {
			if (!set_layout(request, word + 9))
				return "--layout is qemu or v7, not ";
		} else if (leading && strcmp(word, "--layout") == 0) {
			if (i + 1 == argc)
				return "option '--layout' needs an argument";
			if (!set_layout(request, argv[++i]))
				return "--layout is qemu or v7, not ";
		} else if (leading && take_undo(request, word, argv[i + 1], &wrong)) {
			if (wrong)
				return wrong;
			i += strchr(word, '=') == NULL;
		} else if (leading && !is_qcow2_py && word[0] == '-' && word[1]) {
			request->wrong_word = word;
			return "unknown option ";
		} else {
			if (request->word_count < 4)
				request->words[request->word_count] = word;
			request->word_count++;
		}
	}
	if (request->json && request->v7)
		return "--layout=v7 has no JSON";
	return undo_choice_error(&request->undo);
}

/* A line on stderr that begins with the name of the file, made safe for a terminal. */
static void complain(const char *file, const char *text)
{
	char name[1024];

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)file, strlen(file)}, name,
			  sizeof(name));
	fprintf(stderr, "qcow2: %s: %s\n", name, text);
}

/* Flaws of one image: the first few are told, all are counted. */
struct flaws {
	const char *file;
	unsigned count;
};

#define FLAWS_TOLD 10

static void tell_flaw(void *opaque, const char *text)
{
	struct flaws *flaws = opaque;

	flaws->count++;
	if (flaws->count <= FLAWS_TOLD)
		complain(flaws->file, text);
	else if (flaws->count == FLAWS_TOLD + 1)
		complain(flaws->file, "more of this kind, not told");
}

static int show(const struct request *request, const struct qcow2_image *image, bool with_header,
		struct spool *out)
{
	struct flaws flaws = {request->words[0], 0};
	struct compat_flaws hear = {&flaws, tell_flaw};
	struct compat_text text = {.out = out, .v7 = request->v7};
	struct compat_json json = {.out = out};
	struct compat_page page;
	struct qcow2_error err;

	if (request->json)
		compat_json_page(&json, &page);
	else
		compat_text_page(&text, &page);
	if (compat_walk(image, with_header, &page, &hear, &err))
		return report_error(request->command, request->words[0], &err);
	return finish_output(request->command, out, flaws.count > 0 ? EXIT_MALFORMED : EXIT_FINE);
}

static int show_file(const struct request *request, bool with_header, struct spool *out)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	int code;

	if (limits_open(request->command->common, request->words[0], &source, &err))
		return report_error(request->command, request->words[0], &err);
	code = sandbox_seal(request->command);
	if (code == EXIT_FINE && qcow2_image_open(source, &image, &err))
		code = report_error(request->command, request->words[0], &err);
	else if (code == EXIT_FINE)
		code = show(request, image, with_header, out);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return code;
}

/* The command's name is an argument: what a terminal must not get is escaped in the message. */
static int unknown_command(const struct request *request, struct spool *out)
{
	char name[1024];

	qcow2_text_escape(
		(struct qcow2_bytes){(const uint8_t *)request->words[1], strlen(request->words[1])},
		name, sizeof(name));
	spool_print(out, "Unknown command '%s'\n", name);
	return finish_output(request->command, out, EXIT_FINE);
}

static int answer(const struct request *request, struct spool *out)
{
	const struct action *action = NULL;
	struct qcow2_source *source = NULL;
	struct qcow2_error err;

	if (request->word_count < 2) {
		print_usage(out, request->program);
		return finish_output(request->command, out, EXIT_COULD_NOT);
	}
	for (size_t i = 0; i < ACTIONS; i++)
		if (strcmp(actions[i].name, request->words[1]) == 0)
			action = &actions[i];
	/* qcow2.py opens the file before it looks at the command. */
	if (limits_open(request->command->common, request->words[0], &source, &err))
		return report_error(request->command, request->words[0], &err);
	qcow2_source_close(source);
	if (!action)
		return unknown_command(request, out);
	if (request->word_count - 2 != action->argument_count) {
		print_usage(out, request->program);
		return finish_output(request->command, out, EXIT_FINE);
	}
	if (action->kind == EDIT)
		limits_end_time(request->command, NULL);
	if (action->kind == EDIT)
		return compat_edit(&(struct compat_edit){.file = request->words[0],
							 .command = action->name,
							 .self = request->command,
							 .arguments = &request->words[2],
							 .undo = request->undo},
				   out);
	return show_file(request, action->kind == DUMP_ALL, out);
}

static int run(const struct command *command, int argc, char **argv)
{
	bool is_qcow2_py = argc == 0 || strcmp(argv[0], command->name) != 0;
	struct request request = {.command = command,
				  .program = is_qcow2_py && argc > 0 ? argv[0] : "qcow2 compat"};
	const char *wrong = parse(&request, argc, argv, is_qcow2_py);
	struct spool out;
	int code;

	if (wrong && wrong[strlen(wrong) - 1] == ' ')
		return usage_error(command, "%s'%s'", wrong, request.wrong_word);
	if (wrong)
		return usage_error(command, "%s", wrong);
	if (request.help)
		return print_help(command);
	code = limits_begin(command);
	if (code != EXIT_FINE)
		return code;
	spool_init(&out, STDOUT_FILENO);
	code = answer(&request, &out);
	spool_release(&out);
	return code;
}

static const struct option_row options[] = {
	{"json", 'j', NULL, "JSON; -j may stand anywhere on the line", NULL},
	{"layout", 0, "LAYOUT", "qemu (5.2 and later, default) or v7 (of 2020)", "qemu v7"},
	{"undo-file", 0, "PATH", "where to keep what undoes a change", NULL},
	{"undo-dir", 0, "DIR", "keep it in folder DIR, under a name of its own", NULL},
};

/* For help and completion: qcow2.py's own usage text has other words. */
static const struct action_row commands[ACTIONS] = {
	{"dump-header", "", 0, 0, OPTIONS_EVERY, "show the header and all header extensions",
	 .group = "Commands", .changes_image = false},
	{"dump-header-exts", "", 0, 0, OPTIONS_EVERY, "show the header extensions",
	 .changes_image = false},
	{"set-header", "FIELD VALUE", 2, 2, OPTIONS_EVERY, "set a field of the header",
	 .changes_image = true},
	{"add-header-ext", "MAGIC DATA", 2, 2, OPTIONS_EVERY, "add a header extension",
	 .changes_image = true},
	{"add-header-ext-stdio", "MAGIC", 1, 1, OPTIONS_EVERY,
	 "add one, with data from standard input", .changes_image = true},
	{"del-header-ext", "MAGIC", 1, 1, OPTIONS_EVERY, "remove a header extension",
	 .changes_image = true},
	{"set-feature-bit", "GROUP BIT", 2, 2, OPTIONS_EVERY, "set a feature bit",
	 .changes_image = true},
};

const struct command compat_command = {
	.name = "compat",
	.operands = "FILE COMMAND [ARG...] [-j]",
	.summary = "Show or change an image as QEMU's qcow2.py does, byte for byte.",
	.notes = "Nothing is checked, and images may end up broken: 'qcow2 edit' is for all else.\n"
		 "Exit codes: 0 done (also after an unknown command, as qcow2.py), 1 failed, 2 "
		 "done, but structures are cut or missing.\n",
	.actions = commands,
	.action_count = ACTIONS,
	.action_place = ACTION_AFTER_IMAGE,
	.action_word = "command",
	.is_plain = true,
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run,
};
