/* SPDX-License-Identifier: MIT */
/* qcow2 explain: what a structure, field, value or problem means, from the tables that decode. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/options.h"
#include "common/report.h"
#include "explain/explain.h"
#include "out/json.h"

#include <qcow2/number.h>

/* The most messages that are explained at once, and problems with them. */
#define MESSAGES_MOST 4
#define PASTED_MOST   24
/* More problems than these are explained in a line each. */
#define IN_FULL_MOST 2
/* The most bytes of a line that was pasted. */
#define LINE_MOST 4096

enum { OPTION_JSON, OPTION_OUTPUT, OPTION_MAN };

static const struct option_row options[] = {
	{"json", 'j', NULL, "the same as --output=json", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"man", 0, NULL, "print the source of qcow2-format(5) for scdoc", NULL},
};

/* A name without the punctuation that people spell differently. */
static bool same_name(const char *a, const char *b)
{
	while (*a && *b) {
		char left = *a == '-' || *a == ' ' ? '_' : *a;
		char right = *b == '-' || *b == ' ' ? '_' : *b;

		if (left != right)
			return false;
		a++;
		b++;
	}
	return *a == *b;
}

static bool names_field(const struct qcow2_field *field, const char *name)
{
	return same_name(field->name, name) || (field->alias && same_name(field->alias, name));
}

/* A value is meant by its name, or by its number for those that are magic numbers. */
static bool names_value(const struct qcow2_names *names, const struct qcow2_name *value,
			const char *name)
{
	uint64_t number;

	if (same_name(value->name, name))
		return true;
	return !names->bits && value->value >= 256 &&
	       qcow2_number_parse(name, UINT64_MAX, &number, NULL) == 0 && number == value->value;
}

/* shown: a field of that name was, and with it what its values mean. */
static size_t explain_values(const struct explain_page *page, const char *name, bool shown)
{
	size_t count, found = 0;
	const struct qcow2_names *const *tables = qcow2_names_tables(&count);

	for (size_t t = 0; t < count; t++) {
		if (same_name(tables[t]->id, name)) {
			if (!shown)
				page->names(page->opaque, tables[t]);
			found++;
		}
		for (size_t i = 0; i < tables[t]->count; i++) {
			if (!names_value(tables[t], &tables[t]->list[i], name))
				continue;
			page->value(page->opaque, tables[t], &tables[t]->list[i]);
			found++;
		}
	}
	return found;
}

/* structure, or what it is asked for: all fields of that name in one or in any structure. */
static size_t explain_fields(const struct explain_page *page, const char *structure_name,
			     const char *name)
{
	size_t count, found = 0;
	const struct qcow2_structure *const *all = qcow2_structures(&count);

	for (size_t s = 0; s < count; s++) {
		if (structure_name && !same_name(all[s]->name, structure_name))
			continue;
		for (size_t f = 0; f < all[s]->field_count; f++) {
			if (!names_field(&all[s]->fields[f], name))
				continue;
			page->field(page->opaque, all[s], &all[s]->fields[f]);
			found++;
		}
	}
	return found;
}

static size_t explain_structure(const struct explain_page *page, const char *name)
{
	size_t count, found = 0;
	const struct qcow2_structure *const *all = qcow2_structures(&count);

	for (size_t s = 0; s < count; s++) {
		if (!same_name(all[s]->name, name))
			continue;
		page->structure(page->opaque, all[s]);
		found++;
	}
	return found;
}

static size_t explain_name(const struct explain_page *page, const char *name)
{
	const struct qcow2_problem_kind *problem = qcow2_problem_kind_find(name);
	const char *slash = strchr(name, '/');
	char structure[64];
	size_t found;

	if (problem) {
		page->problem(page->opaque, problem);
		return 1;
	}
	if (slash && (size_t)(slash - name) < sizeof(structure)) {
		memcpy(structure, name, (size_t)(slash - name));
		structure[slash - name] = '\0';
		return explain_fields(page, structure, slash + 1);
	}
	found = explain_structure(page, name);
	found += explain_fields(page, NULL, name);
	return found + explain_values(page, name, found > 0);
}

/* What was pasted from a log: the messages of QEMU in it, and each problem that they are, once. */
struct pasted {
	const struct explain_page *page;
	const struct qcow2_problem_kind *kinds[PASTED_MOST];
	size_t count;
};

static void hear_message(void *opaque, const struct explain_message *message)
{
	struct pasted *pasted = opaque;
	const struct qcow2_problem_kind *kind = NULL;

	pasted->page->message(pasted->page->opaque, message);
	while ((kind = qcow2_problem_kind_next(kind))) {
		bool known = !explain_is_of(message, kind);

		for (size_t i = 0; i < pasted->count; i++)
			known |= pasted->kinds[i] == kind;
		if (!known && pasted->count < PASTED_MOST)
			pasted->kinds[pasted->count++] = kind;
	}
}

static size_t explain_line(const struct explain_page *page, const char *line)
{
	struct pasted pasted = {.page = page};
	size_t found = explain_match(line, MESSAGES_MOST, hear_message, &pasted);

	if (page->brief_begin && pasted.count > IN_FULL_MOST)
		page->brief_begin(page->opaque, pasted.count);
	for (size_t i = 0; i < pasted.count; i++)
		if (page->brief && pasted.count > IN_FULL_MOST)
			page->brief(page->opaque, pasted.kinds[i]);
		else
			page->problem(page->opaque, pasted.kinds[i]);
	return found;
}

/* with_names: also what values mean, for pages that do not say it with the fields. */
static void explain_all(const struct explain_page *page, bool with_names)
{
	size_t count;
	const struct qcow2_structure *const *structures = qcow2_structures(&count);
	const struct qcow2_names *const *tables;
	const struct qcow2_problem_kind *problem = NULL;
	const struct explain_message *messages;

	for (size_t i = 0; i < count; i++)
		page->structure(page->opaque, structures[i]);
	tables = qcow2_names_tables(&count);
	for (size_t i = 0; with_names && i < count; i++)
		page->names(page->opaque, tables[i]);
	while ((problem = qcow2_problem_kind_next(problem)))
		page->problem(page->opaque, problem);
	messages = explain_messages(&count);
	for (size_t i = 0; i < count; i++)
		page->message(page->opaque, &messages[i]);
}

static int not_found(const struct command *command, const char *name)
{
	const struct explain_message *message;
	char near[256];

	if (explain_near(name, near, sizeof(near)) > 0)
		return usage_error(command, "nothing is called '%.128s'; there is %s", name, near);
	message = strchr(name, ' ') ? explain_message_near(name) : NULL;
	if (message)
		return usage_error(
			command, "nothing is called '%.128s'; a message like it has the words '%s'",
			name, message->words);
	return usage_error(command,
			   "nothing is called '%.128s'; 'qcow2 explain' lists what there is", name);
}

static int print(const struct command *command, bool json, const char *name)
{
	struct spool out;
	struct json writer;
	struct explain_page page;
	size_t found = 1;
	int code;

	spool_init(&out, STDOUT_FILENO);
	json_init(&writer, &out, 2, false);
	if (json)
		explain_json_page(&page, &writer);
	else if (name)
		explain_text_page(&page, &out);
	else
		explain_list_page(&page, &out);
	if (json)
		json_begin_array(&writer);
	if (name)
		found = explain_name(&page, name);
	if (name && found == 0)
		found = explain_line(&page, name);
	if (!name)
		explain_all(&page, true);
	if (json) {
		json_end_array(&writer);
		spool_text(&out, "\n");
	}
	code = found > 0 ? finish_output(command, &out, EXIT_FINE) : not_found(command, name);
	spool_release(&out);
	return code;
}

static int print_man(const struct command *command)
{
	struct spool out;
	struct explain_page page;
	int code;

	spool_init(&out, STDOUT_FILENO);
	explain_man_begin(&out);
	explain_man_page(&page, &out);
	explain_all(&page, false);
	explain_man_end(&out);
	code = finish_output(command, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}

/* The operands as one line: what is pasted may be quoted or not. NULL if it is too long. */
static const char *join(char *line, int count, char **words)
{
	size_t used = 0;

	line[0] = '\0';
	for (int i = 0; i < count; i++) {
		size_t length = strlen(words[i]);

		if (used + length + 2 > LINE_MOST)
			return NULL;
		if (i > 0)
			line[used++] = ' ';
		memcpy(line + used, words[i], length + 1);
		used += length;
	}
	return line;
}

static int run(const struct command *command, int argc, char **argv)
{
	char line[LINE_MOST];
	bool json = false, man = false;
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0) {
		if (option == OPTION_JSON)
			json = true;
		else if (option == OPTION_MAN)
			man = true;
		else if (!options_output(command, value, &json))
			return EXIT_COULD_NOT;
	}
	if (option == OPTIONS_STOP)
		return code;
	if (man && (json || optind < argc))
		return usage_error(command, "--man takes no NAME and no JSON");
	if (man)
		return print_man(command);
	if (argc - optind <= 1)
		return print(command, json, optind < argc ? argv[optind] : NULL);
	if (!join(line, argc - optind, argv + optind))
		return usage_error(command, "a message of over %d bytes", LINE_MOST);
	return print(command, json, line);
}

const struct command explain_command = {
	.name = "explain",
	.operands = "[NAME | MESSAGE]",
	.summary = "Explain a structure, field, value, problem or message of QEMU.",
	.notes = "NAME is a structure (header), a field (l1_size, header/size), a value (dirty, "
		 "0x23852875) or the id of a problem (bitmap-in-use). MESSAGE is what QEMU said, "
		 "as it is in a log, or a few words of it. Without one, it lists them all.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run,
};
