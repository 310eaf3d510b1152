/* SPDX-License-Identifier: MIT */
/* See repair.h. */
#include "check/repair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "common/option_rows.h"
#include "common/options.h"
#include "common/report.h"

/* The shortest beginning of "--repair" that means no other option of either command. */
#define LEAST_LENGTH strlen("--rep")

/* Room for "--all" or "--leaks". */
#define EXTENT_MOST 16

/* Where --repair was found in a line. */
struct found {
	int at;
	const char *how;  /* its value; NULL: none */
	size_t letters;   /* of a word such as -jr: how many bytes of it are other options */
	bool next_is_how; /* the value is a word of its own */
};

/* Finds "r" in a word of letters: those in front of it must have no values. */
static bool find_letter(const struct command *command, char **words, int at, int count,
			struct found *found)
{
	const char *word = words[at];
	const struct option_row *row;
	size_t i = 1;

	while (word[i] && word[i] != 'r') {
		row = options_find(command, NULL, word[i++]);
		if (row && row->argument)
			return false;
	}
	if (!word[i])
		return false;
	*found = (struct found){.at = at, .letters = i};
	found->how = word[i + 1] ? word + i + 1 : at + 1 < count ? words[at + 1] : "";
	found->next_is_how = !word[i + 1] && at + 1 < count;
	return true;
}

/*
 * Whether a word behind "--repair" is its value: not if it is the only one that can be the image.
 */
static bool is_how(char **words, int at, int count)
{
	if (at >= count || (strcmp(words[at], "all") != 0 && strcmp(words[at], "leaks") != 0))
		return false;
	while (++at < count)
		if (words[at][0] != '-')
			return true;
	return false;
}

static bool find_word(char **words, int at, int count, struct found *found)
{
	const char *word = words[at];
	size_t length = strcspn(word, "=");

	if (length < LEAST_LENGTH || strncmp(word, "--repair", length) != 0)
		return false;
	*found = (struct found){.at = at, .how = word[length] ? word + length + 1 : NULL};
	if (!found->how && is_how(words, at + 1, count)) {
		found->how = words[at + 1];
		found->next_is_how = true;
	}
	return true;
}

static bool find(const struct command *command, int argc, char **argv, struct found *found)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (argv[i][0] == '-' &&
		    (argv[i][1] == '-' ? find_word(argv, i, argc, found)
				       : find_letter(command, argv, i, argc, found)))
			return true;
	return false;
}

bool check_repair_asked(const struct command *command, int argc, char **argv)
{
	struct found found;

	return find(command, argc, argv, &found);
}

/*
 * Makes the line of qcow2 repair. words has room for one word more than argv, and NULL; extent for
 * an option, and letters for those of the word.
 */
static int make_line(const struct found *found, int argc, char **argv, char **words, char *extent)
{
	char *letters = extent + EXTENT_MOST;
	int count = 0;

	words[count++] = argv[0];
	if (found->how) {
		snprintf(extent, EXTENT_MOST, "--%s", found->how);
		words[count++] = extent;
	}
	for (int i = 1; i < argc; i++) {
		if (i == found->at && found->letters > 1) {
			memcpy(letters, argv[i], found->letters);
			letters[found->letters] = '\0';
			words[count++] = letters;
		} else if (i != found->at && !(i == found->at + 1 && found->next_is_how)) {
			words[count++] = argv[i];
		}
	}
	words[count] = NULL;
	return count;
}

int check_repair(const struct command *command, int argc, char **argv)
{
	struct command call = repair_command;
	struct found found;
	char **words, *own;
	int code;

	if (!find(command, argc, argv, &found) ||
	    (found.how && options_word(command, options_find(command, "repair", 0), found.how) < 0))
		return EXIT_COULD_NOT;
	words = calloc((size_t)argc + 2, sizeof(*words));
	own = malloc(EXTENT_MOST + found.letters + 1);
	call.common = command->common;
	if (words && own)
		code = call.run(&call, make_line(&found, argc, argv, words, own), words);
	else
		code = report_text(command, "", "out of memory");
	free(words);
	free(own);
	return code;
}
