/* SPDX-License-Identifier: MIT */
/* qcow2-format(5), in scdoc's language, from the tables: no word about a field is written twice. */
#include <inttypes.h>
#include <stdio.h>

#include "explain/explain.h"

/* scdoc takes underscores and some other characters for markup. */
static void write_text(struct spool *out, const char *text)
{
	for (; *text; text++) {
		bool markup = *text == '_' || *text == '*' || *text == '\\' || *text == '#' ||
			      *text == '<' || *text == '+' || *text == '~';

		if (markup)
			spool_write(out, "\\", 1);
		spool_write(out, text, 1);
	}
}

static void write_line(struct spool *out, const char *before, const char *text, const char *after)
{
	spool_text(out, before);
	write_text(out, text);
	spool_text(out, after);
}

void explain_man_begin(struct spool *out)
{
	spool_text(out,
		   "qcow2-format(5) \"qcow2-utils\"\n; SPDX-License-Identifier: MIT\n\n# NAME\n\n"
		   "qcow2-format - structures and fields of QCOW2 disk images\n\n"
		   "# DESCRIPTION\n\nEvery on-disk structure that *qcow2*(1) decodes, with each "
		   "field's place, meaning and legal values, made from the tables that decode "
		   "them. Numbers are big-endian; offsets are in bytes from the start of the "
		   "structure.\n\nThe problems that *qcow2*(1) reports and the messages of QEMU "
		   "that it knows are at the end.\n\n");
}

void explain_man_end(struct spool *out)
{
	spool_text(out, "# SEE ALSO\n\n*qcow2*(1), *qcow2-explain*(1), *libqcow2*(3)\n");
}

static void write_values(struct spool *out, const struct qcow2_names *names)
{
	for (size_t i = 0; names && i < names->count; i++) {
		spool_print(out, names->bits ? "\t- bit %" PRIu64 ", " : "\t- %" PRIu64 ", ",
			    names->list[i].value);
		write_line(out, "", names->list[i].name, ": ");
		write_line(out, "", names->list[i].meaning, "\n");
	}
	if (names)
		spool_text(out, "\n");
}

static void show_field(void *opaque, const struct qcow2_structure *structure,
		       const struct qcow2_field *field)
{
	struct spool *out = opaque;
	char place[80];

	(void)structure;
	write_line(out, "*", field->name, "* (");
	write_line(out, "", explain_place(field, place, sizeof(place)), ")\n");
	write_line(out, "\t", field->meaning, "\n\n");
	write_line(out, "\tLegal values: ", field->legal, ".");
	if (field->qemu)
		write_line(out, " QEMU: ", field->qemu, ".");
	spool_text(out, "\n\n");
	write_values(out, field->names);
}

static void show_structure(void *opaque, const struct qcow2_structure *structure)
{
	struct spool *out = opaque;

	/* scdoc takes no escapes in headings. */
	spool_print(out, "# %s\n\n", structure->title);
	write_line(out, "", structure->meaning, " ");
	write_line(out, "Section \"", structure->section, "\" of the specification. ");
	write_line(out, "Called *", structure->name, "* by *qcow2 explain*.\n\n");
	for (size_t i = 0; i < structure->field_count; i++)
		show_field(opaque, structure, &structure->fields[i]);
}

static void write_remedy(struct spool *out, const struct qcow2_remedy *remedy)
{
	char command[256];

	if (qcow2_remedy_command(remedy, NULL, NULL, 0, command, sizeof(command)) > 0)
		write_line(out, "\t*", command, "*: ");
	else
		spool_text(out, "\t");
	write_line(out, "", remedy->does, "");
	if (remedy->cost[0])
		write_line(out, " Cost: ", remedy->cost, "");
	spool_text(out, "\n\n");
}

static void show_problem(void *opaque, const struct qcow2_problem_kind *problem)
{
	struct spool *out = opaque;

	if (problem == qcow2_problem_kind_next(NULL))
		spool_text(out, "# PROBLEMS\n\n");
	write_line(out, "*", problem->id, "* (");
	spool_print(out, "%s%s)\n", qcow2_severity_name(problem->severity),
		    problem->repairable ? ", repairable" : "");
	write_line(out, "\t", problem->text, " ");
	write_line(out, "", problem->consequence, "\n\n");
	write_remedy(out, problem->remedy);
}

static void show_message(void *opaque, const struct explain_message *message)
{
	struct spool *out = opaque;
	size_t count;

	if (message == explain_messages(&count))
		spool_text(out, "# MESSAGES OF QEMU\n\n");
	write_line(out, "*", message->words, "*\n");
	write_line(out, "\t", message->meaning, "");
	write_line(out, message->advice[0] ? " " : "", message->advice, "");
	if (message->problems[0])
		write_line(out, " Problems: ", message->problems, ".");
	spool_text(out, "\n\n");
}

void explain_man_page(struct explain_page *page, struct spool *out)
{
	*page = (struct explain_page){.opaque = out,
				      .structure = show_structure,
				      .field = show_field,
				      .problem = show_problem,
				      .message = show_message};
}
