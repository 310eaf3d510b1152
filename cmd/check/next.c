/* SPDX-License-Identifier: MIT */
/* What to do next, for people and for programs. */
#include "check/next.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check/steps.h"
#include "out/wrap.h"

/* Steps of a page, and kinds that a step names: the end of a page fits a small screen. */
#define STEPS_SHOWN 5
#define KINDS_SHOWN 3

/*
 * An image that another program writes to may look damaged, and nobody may mend it. Its bitmaps are
 * in use, and will be stored.
 */
void check_next_steps(struct check_steps *steps, const struct check_report *report)
{
	const struct qcow2_source *source = qcow2_image_source(report->image);

	check_steps_make(steps, report);
	if (steps->count == 0 || qcow2_source_in_use(source) != QCOW2_IN_USE_YES)
		return;
	check_steps_release(steps);
	steps->count = 1;
	steps->list[0] = (struct check_step){
		.by_hand = true,
		.does = "Wait for the program that has the image open for writing, and check "
			"again. What was found may be a write under way; bitmaps in use are stored "
			"when it is done."};
}

/* ---- for people ---- */

const char *check_remedy_text(const struct qcow2_problem_kind *kind)
{
	if (kind->repairable)
		return "Repairable.";
	return kind->remedy->effect == QCOW2_REMEDY_NOT_NEEDED ? "It can stay as it is."
							       : "Not repairable without loss.";
}

struct sentence {
	char *text;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void say(struct sentence *sentence, const char *format,
						      ...)
{
	size_t room = CHECK_STEP_TEXT_MAX - sentence->used;
	va_list list;
	int length;

	va_start(list, format);
	length = vsnprintf(sentence->text + sentence->used, room, format, list);
	va_end(list);
	sentence->used += (size_t)length < room ? (size_t)length : room - 1;
}

static void say_mends(struct sentence *sentence, const struct check_step *step)
{
	size_t shown = step->mend_count <= KINDS_SHOWN ? step->mend_count : KINDS_SHOWN - 1;

	if (shown == 0)
		return;
	say(sentence, step->mends_image ? "Mends " : "For ");
	for (size_t i = 0; i < shown; i++)
		say(sentence, "%s%s", i ? ", " : "", step->mends[i]->id);
	if (step->mend_count > shown)
		say(sentence, " and %zu other kinds", step->mend_count - shown);
	say(sentence, " (%" PRIu64 " problem%s). ", step->problems, step->problems == 1 ? "" : "s");
}

void check_step_text(char text[CHECK_STEP_TEXT_MAX], const struct check_step *step)
{
	struct sentence sentence = {.text = text};

	text[0] = '\0';
	if (step->says_itself)
		return;
	if (step->command)
		say_mends(&sentence, step);
	if (step->by_hand || step->cost_count > 0 || step->mend_count == 0)
		say(&sentence, "%s ", step->does);
	else if (!step->frees_content)
		say(&sentence, "Nothing is lost. ");
	if (step->frees_content)
		say(&sentence, "What the leaked clusters hold is lost. ");
	if (!step->command)
		say_mends(&sentence, step);
	if (step->detail[0])
		say(&sentence, "%s ", step->detail);
	for (size_t i = 0; i < step->cost_count; i++)
		say(&sentence, "%s%s ", i ? "" : "Cost: ", step->costs[i]);
	if (step->qemu && strcmp(step->qemu, "mends it") != 0)
		say(&sentence, "qemu-img check -r all %s.", step->qemu);
}

static void show_step(struct spool *out, const struct check_step *step)
{
	char text[CHECK_STEP_TEXT_MAX];

	if (step->command)
		spool_print(out, "next: %s\n", step->command);
	check_step_text(text, step);
	if (step->says_itself)
		return;
	if (step->command) {
		wrap_text(out, text, 6, 6, terminal_columns());
	} else {
		spool_text(out, "next: ");
		wrap_rest(out, text, 6, 6, terminal_columns());
	}
}

void check_next_human(struct spool *out, const struct check_report *report)
{
	struct check_steps steps;
	size_t shown;

	check_next_steps(&steps, report);
	if (steps.short_of_memory)
		out->errnum = ENOMEM;
	shown = steps.count <= STEPS_SHOWN || report->tell_all ? steps.count : STEPS_SHOWN - 1;
	if (shown > 0)
		spool_text(out, "\n");
	for (size_t i = 0; i < shown; i++)
		show_step(out, &steps.list[i]);
	if (steps.count > shown)
		spool_print(out, "… %zu more (--all shows them)\n", steps.count - shown);
	check_steps_release(&steps);
}

/* ---- for programs ---- */

static void member(struct json *json, const char *key, const char *text)
{
	json_key(json, key);
	if (text)
		json_text(json, text);
	else
		json_null(json);
}

static void write_step(struct json *json, const struct check_step *step)
{
	char cost[1024] = "";
	size_t used = 0;

	for (size_t i = 0; i < step->cost_count && used < sizeof(cost); i++)
		used += (size_t)snprintf(cost + used, sizeof(cost) - used, "%s%s", i ? " " : "",
					 step->costs[i]);
	if (step->frees_content && used < sizeof(cost))
		used += (size_t)snprintf(cost + used, sizeof(cost) - used, "%s%s", used ? " " : "",
					 "What the leaked clusters hold.");
	json_begin_object(json);
	member(json, "command", step->command);
	json_key(json, "by-hand");
	json_bool(json, step->by_hand);
	member(json, "does", step->does);
	if (step->detail[0])
		member(json, "detail", step->detail);
	json_key(json, "mends");
	json_begin_array(json);
	for (size_t i = 0; i < step->mend_count; i++)
		json_text(json, step->mends[i]->id);
	json_end_array(json);
	member(json, "cost", used > 0 ? cost : NULL);
	member(json, "qemu-img", step->qemu);
	json_end_object(json);
}

void check_next_json(struct json *json, const struct check_report *report)
{
	struct check_steps steps;

	check_next_steps(&steps, report);
	if (steps.short_of_memory)
		json->out->errnum = ENOMEM;
	json_key(json, "next");
	json_begin_array(json);
	for (size_t i = 0; i < steps.count; i++)
		write_step(json, &steps.list[i]);
	json_end_array(json);
	check_steps_release(&steps);
}
