/* SPDX-License-Identifier: MIT */
/*
 * qcow2 __complete SHELL WORD...: what may stand where the last of the words is. The scripts of the
 * shells ask it at each press of the tab key. It is silent about errors, and opens nothing but the
 * image that the line names, if that is a file or a block device.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "common/option_rows.h"
#include "common/sandbox.h"
#include "completion/line.h"
#include "completion/offer.h"
#include "completion/words.h"

#include <qcow2/source.h>

/* One question. */
struct question {
	const struct command_list *list;
	struct line line;
	struct offer offer;
};

/* ---- images ---- */

static bool can_be_opened(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
}

/* Calls a function with an image, or with NULL if it cannot be opened. */
static void with_image(struct question *question, const char *path,
		       void (*give)(struct question *question, const struct qcow2_image *image))
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	char home[4096];

	if (path && path[0] == '~' && path[1] == '/' && getenv("HOME")) {
		snprintf(home, sizeof(home), "%s%s", getenv("HOME"), path + 1);
		path = home;
	}
	if (path && can_be_opened(path) && qcow2_source_open(path, &source, &err) == 0 &&
	    sandbox_seal(&complete_command) == EXIT_FINE)
		(void)qcow2_image_open(source, &image, &err);
	give(question, image);
	qcow2_image_close(image);
	qcow2_source_close(source);
}

static void give_bitmaps(struct question *question, const struct qcow2_image *image)
{
	words_bitmaps(&question->offer, image);
}

static void give_selectors(struct question *question, const struct qcow2_image *image)
{
	words_paths(&question->offer, image, false);
}

static void give_numbers(struct question *question, const struct qcow2_image *image)
{
	words_paths(&question->offer, image, true);
}

static void give_snapshots(struct question *question, const struct qcow2_image *image)
{
	words_snapshots(&question->offer, image);
}

/* ---- operands, by the words that the tables have for them ---- */

static void offer_bitmaps(struct question *question)
{
	with_image(question, line_image(&question->line), give_bitmaps);
}

/* The sources of a merge, which may be in another image. */
static void offer_sources(struct question *question)
{
	const char *other = question->line.other;

	with_image(question, other ? other : line_image(&question->line), give_bitmaps);
	if (other)
		offer_bitmaps(question);
}

static void offer_selectors(struct question *question)
{
	with_image(question, line_image(&question->line), give_selectors);
}

static void offer_numbers(struct question *question)
{
	with_image(question, line_image(&question->line), give_numbers);
}

static void offer_snapshots(struct question *question)
{
	with_image(question, line_image(&question->line), give_snapshots);
}

static void offer_any_file(struct question *question)
{
	offer_files(&question->offer, false);
}

static void offer_folders(struct question *question)
{
	offer_files(&question->offer, true);
}

static void offer_explainable(struct question *question)
{
	words_explainable(&question->offer);
}

static void offer_groups(struct question *question)
{
	offer_words(&question->offer, "incompatible compatible autoclear");
}

static void offer_features(struct question *question)
{
	const struct line *line = &question->line;

	words_features(&question->offer, line->operand_count > 2 ? line->operands[2] : "");
}

static void offer_extensions(struct question *question)
{
	words_extensions(&question->offer);
}

static void offer_fields(struct question *question)
{
	words_fields(&question->offer);
}

static void offer_formats(struct question *question)
{
	offer_words(&question->offer, "raw qcow2 qcow qed vdi vhdx vmdk vpc luks");
}

static void offer_commands(struct question *question)
{
	for (size_t i = 0; i < question->list->listed; i++)
		offer_word(&question->offer, question->list->all[i]->name,
			   question->list->all[i]->summary);
}

static void offer_actions(struct question *question, const struct command *command)
{
	for (size_t i = 0; command && i < command->action_count; i++)
		offer_word(&question->offer, command->actions[i].name, command->actions[i].summary);
}

/* The actions of the command that help is asked about. */
static void offer_topics(struct question *question)
{
	if (question->line.operand_count > 0)
		offer_actions(question, commands_find(question->list, question->line.operands[0]));
}

static const struct {
	const char *word;
	const char *command, *action; /* of which it means this; NULL: of any */
	void (*offer)(struct question *question);
} kinds[] = {
	{"IMAGE", NULL, NULL, offer_any_file},        {"FILE", NULL, NULL, offer_any_file},
	{"UNDO-FILE", NULL, NULL, offer_any_file},    {"PATH", NULL, NULL, offer_any_file},
	{"DIR", "undo", NULL, offer_any_file},        {"DIR", NULL, NULL, offer_folders},
	{"NAME", "bitmap", "compare", offer_sources}, {"NAME", "bitmap", NULL, offer_bitmaps},
	{"SOURCE", NULL, NULL, offer_sources},        {"NAME", "explain", NULL, offer_explainable},
	{"NAME", "edit", "feature", offer_features},  {"NAME", "edit", NULL, offer_any_file},
	{"SELECTOR", NULL, NULL, offer_selectors},    {"PATH=VALUE", NULL, NULL, offer_numbers},
	{"GROUP", NULL, NULL, offer_groups},          {"MAGIC", NULL, NULL, offer_extensions},
	{"FIELD", NULL, NULL, offer_fields},          {"FORMAT", NULL, NULL, offer_formats},
	{"SNAPSHOT", NULL, NULL, offer_snapshots},    {"COMMAND", "help", NULL, offer_commands},
	{"ACTION", "help", NULL, offer_topics},       {"CAPTURE", NULL, NULL, offer_any_file},
};

static void offer_kind(struct question *question, const char *word)
{
	const struct line *line = &question->line;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].word, word) != 0 ||
		    (kinds[i].command && strcmp(kinds[i].command, line->command->name) != 0) ||
		    (kinds[i].action &&
		     (!line->action || strcmp(kinds[i].action, line->action->name) != 0)))
			continue;
		kinds[i].offer(question);
		return;
	}
}

/* Offers what one operand may be: "on|off", "NAME|BIT", "[NAME...]". Small words are themselves. */
static void offer_operand(struct question *question, const char *operand, size_t length)
{
	char word[64];

	while (length > 0) {
		size_t part = 0, skipped = strspn(operand, "[|");

		if (skipped >= length)
			return;
		operand += skipped;
		length -= skipped;
		while (part < length && !strchr("|].", operand[part]))
			part++;
		snprintf(word, sizeof(word), "%.*s", (int)part, operand);
		if (word[0] >= 'a' && word[0] <= 'z')
			offer_word(&question->offer, word, NULL);
		else
			offer_kind(question, word);
		/* Dots and brackets say how often. */
		while (part < length && operand[part] != '|')
			part++;
		operand += part;
		length -= part;
	}
}

/* Whether an operand of a form can be the word that stands there: small words are themselves. */
static bool fits(const char *operand, size_t length, const char *word)
{
	size_t size = strlen(word), at = 0;

	if (operand[0] < 'a' || operand[0] > 'z')
		return true;
	while (at < length) {
		size_t part = 0;

		while (at + part < length && operand[at + part] != '|')
			part++;
		if (part == size && memcmp(operand + at, word, size) == 0)
			return true;
		at += part + 1;
	}
	return false;
}

/*
 * Offers what may stand at a place of a form, such as "SOURCE... NAME". `given` are the operands in
 * front of it, of which `place` is the number. What repeats, or stands behind that, may be there.
 */
static void offer_at(struct question *question, const char *form, const char *const *given,
		     size_t place)
{
	bool repeats = false;

	for (size_t i = 0; *form && strncmp(form, "| ", 2) != 0; i++) {
		size_t length = strcspn(form, " ");

		if (i < place && !repeats && given && !fits(form, length, given[i]))
			return;
		repeats |= memmem(form, length, "...", 3) != NULL;
		if (i == place || (repeats && i <= place))
			offer_operand(question, form, length);
		form += length;
		form += strspn(form, " ");
	}
}

/* The same for forms with " | " between them. */
static void offer_at_all(struct question *question, const char *forms, size_t skipped)
{
	const struct line *line = &question->line;
	size_t place = line->operand_count - skipped;
	bool kept = line->operand_count <= OPERANDS_KEPT;

	for (const char *form = forms; form; form = strstr(form, "| ")) {
		form += strncmp(form, "| ", 2) == 0 ? 2 : 0;
		offer_at(question, form, kept ? line->operands + skipped : NULL, place);
	}
}

static void offer_operands(struct question *question)
{
	const struct line *line = &question->line;
	const struct command *command = line->command;
	bool has_place = command->action_count > 0 && command->action_place != ACTION_IS_OPTION;
	size_t place = command->action_place == ACTION_AFTER_IMAGE ? 1 : 0;

	if (!has_place) {
		offer_at_all(question, line->action ? line->action->operands : command->operands,
			     0);
	} else if (line->operand_count == place) {
		offer_actions(question, command);
	} else if (command->action_place == ACTION_ALONE) {
		return;
	} else if (line->operand_count < 2) {
		offer_any_file(question);
	} else if (line->action) {
		offer_at_all(question, line->action->operands, 2);
	}
}

/* ---- options ---- */

static void offer_options(struct question *question)
{
	const struct line *line = &question->line;
	const struct option_row *row;
	char word[64];

	for (size_t i = 0; (row = options_row(line->command, i)) != NULL; i++) {
		bool own = i < line->command->option_count;

		if (own && line->action && !(line->action->options & UINT32_C(1) << i))
			continue;
		snprintf(word, sizeof(word), "--%s%s", row->name,
			 options_takes_word(row) ? "=" : "");
		offer_word(&question->offer, word, row->help);
	}
}

/* Offers the values of an option. */
static void offer_value(struct question *question, const struct option_row *row)
{
	if (row->values)
		offer_words(&question->offer, row->values);
	else if (row->argument)
		offer_operand(question, row->argument, strlen(row->argument));
}

/* Offers values behind "--name=", which is a part of the word. */
static void offer_value_behind(struct question *question, char *word)
{
	char *equals = strchr(word, '='), before[96];
	const struct option_row *row;

	*equals = '\0';
	row = options_find(question->line.command, word + 2, 0);
	snprintf(before, sizeof(before), "%s=", word);
	question->offer.before = before;
	question->offer.typed = equals + 1;
	if (row)
		offer_value(question, row);
	question->offer.before = "";
}

/* ---- the line ---- */

static void offer_first(struct question *question)
{
	const char *const more[] = {"help", "--help", "--version", "--completion"};

	offer_commands(question);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		offer_word(&question->offer, more[i], NULL);
}

static void answer(struct question *question, char **words, size_t count)
{
	char *current = words[count - 1];
	const struct command *command = count > 1 ? commands_find(question->list, words[0]) : NULL;

	question->offer.typed = current;
	if (count == 1)
		offer_first(question);
	if (!command || command->name[0] == '_')
		return;
	line_read(&question->line, command, words + 1, count - 2);
	question->offer.after_options = question->line.ended;
	if (question->line.option)
		offer_value(question, question->line.option);
	else if (question->line.ended || current[0] != '-')
		offer_operands(question);
	else if (strncmp(current, "--", 2) == 0 && strchr(current, '='))
		offer_value_behind(question, current);
	else
		offer_options(question);
}

static int run_complete(const struct command *command, int argc, char **argv)
{
	static const char *const names[] = {
		[SHELL_BASH] = "bash", [SHELL_ZSH] = "zsh", [SHELL_FISH] = "fish"};
	struct question question = {.list = command->common->list};
	enum shell shell = SHELL_BASH;

	if (argc < 3)
		return EXIT_FINE;
	while (shell < SHELL_FISH && strcmp(names[shell], argv[1]) != 0)
		shell++;
	offer_begin(&question.offer, shell);
	/* bash gives words as they were typed, the others without their quotes. */
	for (int i = 2; i < argc && shell == SHELL_BASH; i++)
		question.offer.quote = argv[i][0] == '\'' || argv[i][0] == '"'
					       ? line_unquote(argv[i])
					       : (line_unquote(argv[i]) ? '?' : 0);
	if (question.offer.quote != '?')
		answer(&question, argv + 2, (size_t)argc - 2);
	offer_end(&question.offer);
	return EXIT_FINE;
}

const struct command complete_command = {
	.name = "__complete",
	.operands = "SHELL WORD...",
	.summary = "Print what may stand at the end of a line, for the scripts of shells.",
	.is_plain = true,
	.run = run_complete,
};
