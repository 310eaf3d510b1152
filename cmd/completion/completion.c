/* SPDX-License-Identifier: MIT */
/*
 * qcow2 completion: prints the script of a shell. The scripts know nothing of commands: they ask
 * "qcow2 __complete", add names of files if told to, and never evaluate an answer.
 */
#include "completion/completion.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/option_rows.h"
#include "common/options.h"
#include "common/report.h"
#include "out/spool.h"
#include "out/suggest.h"

/* bash parts words at = and :, so they are put together again, and their beginning is taken off. */
static const char bash[] =
	"# SPDX-License-Identifier: MIT\n"
	"# bash completion for qcow2, printed by qcow2 completion bash\n"
	"_qcow2_words()\n"
	"{\n"
	"\tlocal line prefix=$1 mode=\"\"\n\n"
	"\tshift\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tif [[ -z $mode ]]; then\n"
	"\t\t\tmode=$line\n"
	"\t\telif [[ $line == \"$prefix\"* ]]; then\n"
	"\t\t\tCOMPREPLY+=(\"${line#\"$prefix\"}\")\n"
	"\t\tfi\n"
	"\tdone < <(@ __complete bash \"$@\" 2>/dev/null)\n"
	"\t[[ ${COMPREPLY[0]-} == *[=/] ]] && compopt -o nospace 2>/dev/null\n"
	"\t[[ $mode == words ]]\n"
	"}\n\n"
	"_qcow2_files()\n"
	"{\n"
	"\tmapfile -t COMPREPLY < <(compgen -f -- \"$1\")\n"
	"\tcompopt -o filenames 2>/dev/null\n"
	"\treturn 0\n"
	"}\n\n"
	"_qcow2()\n"
	"{\n"
	"\tlocal words=() word last=0 glue=\"\" cur=${COMP_WORDS[COMP_CWORD]-} i\n\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 1; i <= COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]-}\n"
	"\t\tif ((i > 1)) && [[ -n $glue || (-n $word && -z ${word//[=:]/}) ]]; then\n"
	"\t\t\twords[last]+=$word\n"
	"\t\telse\n"
	"\t\t\tlast=${#words[@]}\n"
	"\t\t\twords+=(\"$word\")\n"
	"\t\tfi\n"
	"\t\tglue=\"\"\n"
	"\t\t[[ -n $word && -z ${word//[=:]/} ]] && glue=1\n"
	"\tdone\n"
	"\t[[ -z ${cur//[=:]/} ]] && cur=\"\"\n"
	"\t_qcow2_words \"${words[last]%\"$cur\"}\" \"${words[@]}\" || _qcow2_files \"$cur\"\n"
	"}\n\n"
	"complete -F _qcow2 qcow2\n";

static const char zsh[] = "#compdef qcow2\n"
			  "# SPDX-License-Identifier: MIT\n"
			  "# zsh completion for qcow2, printed by qcow2 completion zsh\n"
			  "_qcow2()\n"
			  "{\n"
			  "\tlocal -a lines values shown open open_shown\n"
			  "\tlocal mode line value what tab=$'\\t'\n\n"
			  "\tlines=(\"${(@f)$(@ __complete zsh \"${(@Q)words[2,CURRENT-1]}\" \\\n"
			  "\t\t\"${(Q)PREFIX}\" 2>/dev/null)}\")\n"
			  "\tmode=${lines[1]}\n"
			  "\tshift lines\n"
			  "\tfor line in \"${lines[@]}\"; do\n"
			  "\t\tvalue=${line%%$tab*}\n"
			  "\t\twhat=$value\n"
			  "\t\t[[ $line == *$tab* ]] && what=\"$value  -- ${line#*$tab}\"\n"
			  "\t\tif [[ $value == *[=/] ]]; then\n"
			  "\t\t\topen+=(\"$value\")\n"
			  "\t\t\topen_shown+=(\"$what\")\n"
			  "\t\telse\n"
			  "\t\t\tvalues+=(\"$value\")\n"
			  "\t\t\tshown+=(\"$what\")\n"
			  "\t\tfi\n"
			  "\tdone\n"
			  "\t(( $#values )) && compadd -l -d shown -a values\n"
			  "\t(( $#open )) && compadd -S '' -l -d open_shown -a open\n"
			  "\t[[ $mode == words ]] && return\n"
			  "\t[[ $PREFIX == --*=* ]] && compset -P '--[a-z-]##='\n"
			  "\tif [[ $mode == folders ]]; then\n"
			  "\t\t_files -/\n"
			  "\telse\n"
			  "\t\t_files\n"
			  "\tfi\n"
			  "}\n\n"
			  "if [[ ${funcstack[1]-} == _qcow2 ]]; then\n"
			  "\t_qcow2 \"$@\"\n"
			  "else\n"
			  "\tcompdef _qcow2 qcow2\n"
			  "fi\n";

static const char fish[] =
	"# SPDX-License-Identifier: MIT\n"
	"# fish completion for qcow2, printed by qcow2 completion fish\n"
	"function __qcow2_complete\n"
	"\tset -l words (commandline -opc)\n"
	"\tset -l cur (commandline -ct)\n"
	"\tset -l plain (string unescape -- \"$cur\"; or printf '%s\\n' \"$cur\")\n"
	"\tset -l lines (@ __complete fish $words[2..-1] \"$plain\" 2>/dev/null)\n"
	"\tset -q lines[2]; and printf '%s\\n' $lines[2..-1]\n"
	"\ttest \"$lines[1]\" = words -o (count $lines) -eq 0; and return\n"
	"\tset -l before (string match -r -- '^--[a-z-]+=' \"$cur\")\n"
	"\tset -l path (string replace -r -- '^--[a-z-]+=' '' \"$cur\")\n"
	"\tif test \"$lines[1]\" = folders\n"
	"\t\tprintf \"$before%s\\n\" (__fish_complete_directories \"$path\" '')\n"
	"\telse\n"
	"\t\tprintf \"$before%s\\n\" (__fish_complete_path \"$path\" '')\n"
	"\tend\n"
	"end\n\n"
	"complete -c qcow2 -e\n"
	"complete -c qcow2 -f -a '(__qcow2_complete)'\n";

static const struct action_row shells[] = {
	{"bash", "", 0, 0, OPTIONS_EVERY, "for bash: in ~/.bashrc: source <(qcow2 completion bash)",
	 .group = "Shells"},
	{"zsh", "", 0, 0, OPTIONS_EVERY,
	 "for zsh: in ~/.zshrc, behind compinit: source <(qcow2 completion zsh)", .group = NULL},
	{"fish", "", 0, 0, OPTIONS_EVERY,
	 "for fish: in ~/.config/fish/config.fish: qcow2 completion fish | source", .group = NULL},
};

static const char *const scripts[] = {bash, zsh, fish};

/* Writes the program's name or path, quoted for any of the shells. */
static void write_program(struct spool *out, const char *program, bool is_fish)
{
	spool_text(out, "'");
	for (; *program; program++) {
		if (*program == '\'')
			spool_text(out, "'\\''");
		else if (*program == '\\' && is_fish)
			spool_text(out, "\\\\");
		else
			spool_write(out, program, 1);
	}
	spool_text(out, "'");
}

/* A program that was called by a path is asked by it, as others may not find it. */
static void write_script(struct spool *out, const char *script, const char *program)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "./_-+";
	char *path = strchr(program, '/') ? realpath(program, NULL) : NULL;
	const char *at = script, *mark;

	program = path ? path : program;
	while ((mark = strstr(at, "@ __complete")) != NULL) {
		spool_write(out, at, (size_t)(mark - at));
		if (strspn(program, plain) == strlen(program))
			spool_text(out, program);
		else
			write_program(out, program, script == fish);
		at = mark + 1;
	}
	spool_text(out, at);
	free(path);
}

int print_completion(const char *shell, const char *program)
{
	struct spool out;
	int code;

	spool_init(&out, STDOUT_FILENO);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		if (strcmp(shells[i].name, shell) == 0)
			write_script(&out, scripts[i], program);
	code = finish_output(NULL, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}

static int run_completion(const struct command *command, int argc, char **argv)
{
	const char *value, *program = command->common->program;
	char text[SUGGEST_TEXT_MAX];
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		program = value;
	if (option == OPTIONS_STOP)
		return code;
	if (optind == argc)
		return usage_error(command, "no shell given: bash, zsh or fish");
	if (argc - optind > 1)
		return usage_error(command, "one shell at a time");
	if (!command_action(command, argv[optind]))
		return usage_error(command, "there is no completion for '%s'%s", argv[optind],
				   actions_suggest(command, argv[optind], text));
	return print_completion(argv[optind], program);
}

static const struct option_row options[] = {
	{"program", 0, "PATH", "what the script asks; default: as qcow2 was called", NULL},
};

const struct command completion_command = {
	.name = "completion",
	.operands = "bash|zsh|fish",
	.summary = "Print a script that completes lines of qcow2 in a shell.",
	.notes = "It completes commands, actions, options and their values, files, and what the "
		 "image on the line has: names of bitmaps, paths of fields and snapshots. It only "
		 "reads, and never evaluates a name.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.actions = shells,
	.action_count = sizeof(shells) / sizeof(shells[0]),
	.action_place = ACTION_ALONE,
	.action_word = "shell",
	.is_plain = true,
	.run = run_completion,
};
