/* SPDX-License-Identifier: MIT */
/*
 * The actions of qcow2 bitmap that change an image. One action, or a script of them, is one plan.
 */
#include <stdio.h>
#include <string.h>

#include "bitmap/act.h"
#include "bitmap/actions.h"
#include "common/option_rows.h"
#include "common/report.h"
#include "common/script.h"
#include "out/suggest.h"

/* ---- scripts ---- */

struct script_run {
	struct qcow2_bitmap_editor *editor;
	const struct bitmap_run *run;
	struct told_list *told;
};

/*
 * Returns the value of an option if the word at *i is that option: from the same word or the next
 * one. NULL if it is not.
 */
static const char *value_of(char **words, size_t count, size_t *i, const char *name, char letter)
{
	const char *word = words[*i];
	size_t size = strlen(name);
	bool is_short = word[1] == letter;

	if (!is_short && strncmp(word + 1, name, size) != 0)
		return NULL;
	word += is_short ? 2 : 1 + size;
	if (*word)
		return is_short ? word : *word == '=' ? word + 1 : NULL;
	return *i + 1 < count ? words[++*i] : NULL;
}

/* Takes one option of a line. */
static int take_word(struct act *act, char **words, size_t count, size_t *i,
		     struct qcow2_error *err)
{
	const char *value;

	if (strcmp(words[*i], "--disabled") == 0) {
		act->disabled = true;
		return 0;
	}
	if (strcmp(words[*i], "--raw") == 0) {
		act->raw = true;
		return 0;
	}
	if (strcmp(words[*i], "--chain") == 0) {
		act->chain = true;
		return 0;
	}
	value = value_of(words, count, i, "-granularity", 'g');
	if (value)
		return bitmap_granularity(value, &act->granularity, err);
	act->from = value_of(words, count, i, "-from", 'b');
	return act->from ? 0
			 : act_fail(err, "an unknown option, or one without its value (there are "
					 "--granularity=SIZE, --disabled, --raw, --chain and "
					 "--from=IMAGE)");
}

/* Takes the options of a line out of its words. */
static int take_words(struct act *act, char **words, size_t count, struct qcow2_error *err)
{
	bool ended = false;

	for (size_t i = 0; i < count; i++) {
		if (ended || words[i][0] != '-' || strcmp(words[i], "-") == 0)
			words[act->count++] = words[i];
		else if (strcmp(words[i], "--") == 0)
			ended = true;
		else if (take_word(act, words, count, &i, err))
			return -1;
	}
	return 0;
}

/* Finds the action of a line: one that changes bitmaps by their names. NULL, with *err filled. */
static const struct action_row *find_action(const struct command *command, const char *word,
					    struct qcow2_error *err)
{
	const struct action_row *action = command_action(command, word);
	char text[SUGGEST_TEXT_MAX], said[SUGGEST_TEXT_MAX + 96];

	if (action && action->changes_image && strcmp(word, "script") != 0 &&
	    strcmp(word, "repair") != 0)
		return action;
	snprintf(said, sizeof(said), "no such action%s",
		 action ? "" : actions_suggest(command, word, text));
	(void)act_fail(err, said);
	return NULL;
}

static bool takes(const struct command *command, const struct action_row *action,
		  const char *option)
{
	for (size_t i = 0; i < command->option_count; i++)
		if (strcmp(command->options[i].name, option) == 0)
			return action->options & UINT32_C(1) << i;
	return false;
}

static int run_line(void *opaque, char **words, size_t count, struct qcow2_error *err)
{
	const struct script_run *script = opaque;
	const struct command *command = script->run->command;
	const struct action_row *action;
	struct act act = {.words = words + 1,
			  .force = script->run->force,
			  .file = script->run->file,
			  .command = command,
			  .told = script->told};

	if (take_words(&act, words + 1, count - 1, err))
		return -1;
	action = find_action(command, words[0], err);
	if (!action)
		return -1;
	act.verb = action->name;
	if (act.count < action->least || act.count > action->most)
		return act_fail(err, "too few or too many names");
	if ((act.granularity && !takes(command, action, "granularity")) ||
	    (act.disabled && !takes(command, action, "disabled")) ||
	    (act.from && !takes(command, action, "from")) ||
	    (act.raw && !takes(command, action, "raw")) ||
	    (act.chain && !takes(command, action, "chain")))
		return act_fail(err, "that action does not take that option");
	if (act.chain && act.from)
		return act_fail(err, "--chain and --from exclude each other");
	return act_run(script->editor, &act, err);
}

/* ---- the plan ---- */

static int plan_change(struct change *change)
{
	const struct bitmap_run *run = change->opaque;
	struct told_list told = {.count = 0};
	const struct act act = {
		.verb = run->action->name,
		.words = run->names,
		.count = run->name_count,
		.granularity = run->granularity,
		.disabled = run->disabled,
		.raw = run->raw,
		.force = run->force,
		.from = run->from,
		.chain = run->chain,
		.file = run->file,
		.command = run->command,
		.told = &told,
	};
	struct script_run script = {.run = run, .told = &told};
	struct qcow2_error err;
	int failed;

	if (qcow2_bitmap_editor_open(change->report.plan, &script.editor, &err))
		return change_fail(change, &err);
	failed = strcmp(act.verb, "script") == 0
			 ? script_run(run->names[0], run_line, &script, &err)
			 : act_run(script.editor, &act, &err);
	if (!failed)
		failed = qcow2_bitmap_editor_finish(script.editor, &err);
	qcow2_bitmap_editor_close(script.editor);
	if (!failed && !change->as_json && !wants_silence(change->command))
		told_explain(&told, change);
	told_release(&told);
	return failed ? bitmap_fail_change(change, &err) : EXIT_FINE;
}

int bitmap_change(struct bitmap_run *run)
{
	run->change.plan = plan_change;
	return change_run(&run->change);
}
