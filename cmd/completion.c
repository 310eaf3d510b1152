/* SPDX-License-Identifier: MIT */
/* The completion script for bash, from the descriptions of commands, options and the format. */
#include <unistd.h>

#include "command.h"
#include "out/spool.h"

#include <qcow2/format.h>
#include <qcow2/problem.h>

static void write_commands(struct spool *out)
{
	size_t count;
	const struct command *const *all = commands_all(&count);

	for (size_t i = 0; i < count; i++)
		spool_print(out, "%s ", all[i]->name);
	spool_text(out, "help");
}

/* The words after "--name=". */
static void write_values(struct spool *out, const struct command *command)
{
	for (size_t i = 0; i < command->option_count; i++) {
		const struct option_row *row = &command->options[i];

		if (row->values)
			spool_print(out,
				    "\t%s:--%s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); "
				    "return ;;\n",
				    command->name, row->name, row->values);
	}
}

static void write_options(struct spool *out, const struct command *command)
{
	spool_print(out, "\t%s) words=\"--help", command->name);
	for (size_t i = 0; i < command->option_count; i++)
		spool_print(out, " --%s%s", command->options[i].name,
			    command->options[i].argument ? "=" : "");
	spool_text(out, "\" ;;\n");
}

static void write_explainable(struct spool *out)
{
	size_t count;
	const struct qcow2_structure *const *structures = qcow2_structures(&count);
	const struct qcow2_problem_kind *problems;

	for (size_t i = 0; i < count; i++)
		spool_print(out, "%s ", structures[i]->name);
	for (size_t i = 0; i < qcow2_header_structure.field_count; i++)
		spool_print(out, "%s ", qcow2_header_structure.fields[i].name);
	problems = qcow2_problem_kinds(&count);
	for (size_t i = 0; i < count; i++)
		spool_print(out, "%s ", problems[i].id);
}

static void write_selectors(struct spool *out)
{
	spool_text(out, "header features extensions backing_file bitmaps snapshots luks l1 l2 "
			"refcount_table refcounts all");
	for (size_t i = 0; i < qcow2_header_structure.field_count; i++)
		spool_print(out, " header/%s", qcow2_header_structure.fields[i].name);
}

int print_completion(void)
{
	size_t count;
	const struct command *const *all = commands_all(&count);
	struct spool out;
	int code;

	spool_init(&out, STDOUT_FILENO);
	spool_text(&out,
		   "# SPDX-License-Identifier: MIT\n# bash completion for qcow2\n_qcow2()\n{\n"
		   "\tlocal cur prev command words=\"\" selectors names\n"
		   "\tcur=${COMP_WORDS[COMP_CWORD]}\n\tprev=${COMP_WORDS[COMP_CWORD-1]}\n"
		   "\tcommand=${COMP_WORDS[1]}\n"
		   "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n\t\tCOMPREPLY=($(compgen -W \"");
	write_commands(&out);
	spool_text(&out, " --help --version\" -- \"$cur\"))\n\t\treturn\n\tfi\n"
			 "\t[ \"$cur\" = \"=\" ] && cur=\"\"\n"
			 "\t[ \"$prev\" = \"=\" ] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
			 "\tcase \"$command:$prev\" in\n");
	for (size_t i = 0; i < count; i++)
		write_values(&out, all[i]);
	spool_text(&out, "\tesac\n\tcase \"$command\" in\n");
	for (size_t i = 0; i < count; i++)
		write_options(&out, all[i]);
	spool_text(&out, "\thelp) words=\"");
	write_commands(&out);
	spool_text(&out, "\" ;;\n\tesac\n\tselectors=\"");
	write_selectors(&out);
	spool_text(&out, "\"\n\tnames=\"");
	write_explainable(&out);
	spool_text(&out,
		   "\"\n\tcase \"$command:$cur\" in\n"
		   "\t*:-*|help:*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
		   "\t\t[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace ;;\n"
		   "\texplain:*) COMPREPLY=($(compgen -W \"$names\" -- \"$cur\")) ;;\n"
		   "\tdump:*) if [ \"$COMP_CWORD\" -gt 2 ] && [ -e \"${COMP_WORDS[2]}\" ]; then\n"
		   "\t\tCOMPREPLY=($(compgen -W \"$selectors\" -- \"$cur\"))\n"
		   "\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi ;;\n"
		   "\tcompat:*) COMPREPLY=($(compgen -f -W \"dump-header dump-header-exts\" -- "
		   "\"$cur\")) ;;\n"
		   "\t*) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n\tesac\n}\n"
		   "complete -F _qcow2 qcow2\n");
	code = finish_output(NULL, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}
