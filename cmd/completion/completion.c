/* SPDX-License-Identifier: MIT */
/* The completion script for bash, from the descriptions of commands, options and the format. */
#include "completion/completion.h"

#include <unistd.h>

#include "commands.h"
#include "common/options.h"
#include "common/report.h"
#include "out/spool.h"

#include <qcow2/format.h>
#include <qcow2/problem.h>

/* Words that begin like what is typed; files by their own way, as names may hold blanks. */
static const char functions[] =
	"# SPDX-License-Identifier: MIT\n"
	"# bash completion for qcow2, printed by qcow2 --completion\n"
	"_qcow2_words()\n"
	"{\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$2\" -- \"$1\")\n"
	"\t[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null\n"
	"\treturn 0\n"
	"}\n\n"
	"_qcow2_files()\n"
	"{\n"
	"\tmapfile -t COMPREPLY < <(compgen -f -- \"$1\")\n"
	"\tcompopt -o filenames 2>/dev/null\n"
	"\treturn 0\n"
	"}\n\n"
	"_qcow2()\n"
	"{\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tlocal command=${COMP_WORDS[1]} options=\"\" operands=0 i\n\n"
	"\tCOMPREPLY=()\n";

/* bash makes a word of the = in --option=value; the value may also be a word after the option. */
static const char find_option[] = "\tif [[ $cur == = ]]; then\n"
				  "\t\tcur=\"\"\n"
				  "\telif [[ $prev == = ]]; then\n"
				  "\t\tprev=${COMP_WORDS[COMP_CWORD - 2]}\n"
				  "\tfi\n"
				  "\tcase $command:$prev in\n";

static void write_commands(struct spool *out, const struct command *const *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		spool_print(out, "%s%s", i ? " " : "", all[i]->name);
}

/* The words after "--name=". */
static void write_values(struct spool *out, const struct command *command)
{
	for (size_t i = 0; i < command->option_count; i++) {
		const struct option_row *row = &command->options[i];

		if (row->values)
			spool_print(out, "\t%s:--%s) _qcow2_words \"$cur\" \"%s\"; return ;;\n",
				    command->name, row->name, row->values);
	}
}

static void write_options(struct spool *out, const struct command *command)
{
	spool_print(out, "\t%s) options=\"--help", command->name);
	for (size_t i = 0; i < command->option_count; i++)
		spool_print(out, " --%s%s", command->options[i].name,
			    command->options[i].argument ? "=" : "");
	spool_text(out, "\" ;;\n");
}

/* Counts what is no option and no option's value, up to the word that is completed. */
static void write_counting(struct spool *out, const struct command *const *all, size_t count)
{
	const char *between = "";

	spool_text(out, "\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
			"\t\tcase $command:${COMP_WORDS[i]} in\n\t\t");
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < all[i]->option_count; j++) {
			if (!all[i]->options[j].argument)
				continue;
			spool_print(out, "%s%s:--%s", between, all[i]->name,
				    all[i]->options[j].name);
			between = " | ";
		}
	}
	spool_text(out, ")\n"
			"\t\t\ti=$((i + 1))\n"
			"\t\t\t[[ ${COMP_WORDS[i]} == = ]] && i=$((i + 1)) ;;\n"
			"\t\t*:-*) ;;\n"
			"\t\t*) operands=$((operands + 1)) ;;\n"
			"\t\tesac\n\tdone\n");
}

/* What explain knows by a name without blanks: structures, their fields, problems. */
static void write_explainable(struct spool *out)
{
	size_t count;
	const struct qcow2_structure *const *structures = qcow2_structures(&count);
	const struct qcow2_problem_kind *problem = NULL;

	for (size_t s = 0; s < count; s++) {
		const struct qcow2_structure *structure = structures[s];

		spool_print(out, "%s%s", s ? " " : "", structure->name);
		for (size_t i = 0; i < structure->field_count; i++)
			spool_print(out, " %s/%s", structure->name, structure->fields[i].name);
	}
	for (size_t i = 0; i < qcow2_header_structure.field_count; i++)
		spool_print(out, " %s", qcow2_header_structure.fields[i].name);
	while ((problem = qcow2_problem_kind_next(problem)))
		spool_print(out, " %s", problem->id);
}

static void write_selectors(struct spool *out)
{
	spool_text(out, "header features extensions backing_file bitmaps snapshots luks l1 l2 "
			"refcount_table refcounts all");
	for (size_t i = 0; i < qcow2_header_structure.field_count; i++)
		spool_print(out, " header/%s", qcow2_header_structure.fields[i].name);
}

/* What may stand where an operand does, by how many stand before it. */
static void write_operands(struct spool *out, const struct command *const *all, size_t count)
{
	spool_text(out, "\tcase $command:$operands in\n"
			"\thelp:0) _qcow2_words \"$cur\" \"");
	write_commands(out, all, count);
	spool_text(out, "\" ;;\n\texplain:0) _qcow2_words \"$cur\" \"");
	write_explainable(out);
	spool_text(out, "\" ;;\n"
			"\tinfo:* | undo:* | dump:0 | check:0 | edit:0 | compat:0) _qcow2_files "
			"\"$cur\" ;;\n"
			"\tdump:*) _qcow2_words \"$cur\" \"");
	write_selectors(out);
	spool_text(out,
		   "\" ;;\n"
		   "\tedit:1) _qcow2_words \"$cur\" \"set feature extension backing data-file "
		   "feature-names\" ;;\n"
		   "\tcompat:1) _qcow2_words \"$cur\" \"dump-header dump-header-exts set-header "
		   "add-header-ext add-header-ext-stdio del-header-ext set-feature-bit\" ;;\n"
		   "\tesac\n");
}

int print_completion(const struct command_list *list, const char *shell, const char *program)
{
	size_t count = list->listed;
	const struct command *const *all = list->all;
	struct spool out;
	int code;

	(void)shell;
	(void)program;
	spool_init(&out, STDOUT_FILENO);
	spool_text(&out, functions);
	spool_text(&out, "\tif ((COMP_CWORD == 1)); then\n\t\t_qcow2_words \"$cur\" \"");
	write_commands(&out, all, count);
	spool_text(&out, " help --help --version --completion\"\n\t\treturn\n\tfi\n");
	spool_text(&out, find_option);
	for (size_t i = 0; i < count; i++)
		write_values(&out, all[i]);
	spool_text(&out, "\tesac\n\tcase $command in\n");
	for (size_t i = 0; i < count; i++)
		write_options(&out, all[i]);
	spool_text(&out, "\tesac\n\tif [[ $cur == -* ]]; then\n"
			 "\t\t_qcow2_words \"$cur\" \"$options\"\n\t\treturn\n\tfi\n");
	write_counting(&out, all, count);
	write_operands(&out, all, count);
	spool_text(&out, "}\n\ncomplete -F _qcow2 qcow2\n");
	code = finish_output(NULL, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}

const struct command completion_command = {.name = "completion", .operands = "", .summary = ""};
const struct command complete_command = {.name = "__complete", .operands = "", .summary = ""};
