/* SPDX-License-Identifier: MIT */
/* See sandbox.h. */
#include "common/sandbox.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/report.h"
#include "common/sandbox_system.h"
#include "common/sanitized.h"
#include "common/served.h"

#define ENVIRONMENT "QCOW2_SANDBOX"

enum choice { CHOICE_OFF, CHOICE_TRY, CHOICE_REQUIRE, CHOICE_WRONG };

static enum choice choose(void)
{
	static const char *const words[] = {"off", "try", "require"};
	const char *value = getenv(ENVIRONMENT);

	if (!value || value[0] == '\0')
		return CHOICE_TRY;
	for (int i = 0; i < CHOICE_WRONG; i++)
		if (strcmp(value, words[i]) == 0)
			return (enum choice)i;
	return CHOICE_WRONG;
}

/* Says which part is missing. Returns the exit code. */
static int tell(const struct command *command, enum choice choice, const char *part, int errnum)
{
	if (choice == CHOICE_REQUIRE)
		fprintf(stderr, "qcow2 %s: " ENVIRONMENT "=require, but no %s: %s\n", command->name,
			part, strerror(errnum));
	else if (wants_all(command))
		fprintf(stderr, "qcow2 %s: the sandbox has no %s: %s\n", command->name, part,
			strerror(errnum));
	return choice == CHOICE_REQUIRE ? EXIT_COULD_NOT : EXIT_FINE;
}

static int enter(const struct command *command, enum choice choice, enum sandbox_kind kind,
		 const struct sandbox_files *files)
{
	struct sandbox_missing missing;
	int errnum = sandbox_system_enter(kind, files, &missing);
	int code = EXIT_FINE;

	if (errnum)
		return tell(command, choice, "way to give up new privileges", errnum);
	if (missing.landlock)
		code = tell(command, choice, "Landlock", missing.landlock);
	if (missing.filter && code == EXIT_FINE)
		code = tell(command, choice, "filter of system calls", missing.filter);
	return code;
}

static int enter_as_chosen(const struct command *command, enum sandbox_kind kind,
			   const struct sandbox_files *files)
{
	const enum choice choice = choose();
	int code = EXIT_FINE;

	if (kind == READ_FILES)
		code = served_connect(command, files->names, files->count);
	else
		served_seal(command);
	if (code != EXIT_FINE)
		return code;
	if (choice == CHOICE_WRONG) {
		fprintf(stderr, "qcow2 %s: " ENVIRONMENT " is none of off, try and require\n",
			command->name);
		return EXIT_COULD_NOT;
	}
	if (choice == CHOICE_OFF)
		return EXIT_FINE;
	if (!SANITIZED)
		return enter(command, choice, kind, files);
	return choice == CHOICE_TRY
		       ? EXIT_FINE
		       : tell(command, choice, "sandbox in a build with sanitizers", ENOTSUP);
}

int sandbox_seal(const struct command *command)
{
	return enter_as_chosen(command, SEALED, NULL);
}

int sandbox_read_files(const struct command *command, const struct sandbox_files *files)
{
	return enter_as_chosen(command, READ_FILES, files);
}

int sandbox_read_any(const struct command *command)
{
	return enter_as_chosen(command, READ_ANY, NULL);
}

int sandbox_write_new(const struct command *command, const char *path)
{
	char *const names[] = {(char *)(uintptr_t)path};

	return enter_as_chosen(command, WRITE_NEW,
			       &(struct sandbox_files){.names = names, .count = 1});
}

int sandbox_seal_naming(const struct command *command, const struct sandbox_files *files)
{
	return enter_as_chosen(command, SEALED_NAMING, files);
}

int sandbox_read_any_naming(const struct command *command, const struct sandbox_files *files)
{
	return enter_as_chosen(command, READ_ANY_NAMING, files);
}
