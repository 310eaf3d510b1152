/* SPDX-License-Identifier: MIT */
/* Collects the candidates for the word at the cursor, and prints them as a shell wants them. */
#ifndef CMD_COMPLETION_OFFER_H
#define CMD_COMPLETION_OFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "out/spool.h"

#include <qcow2/text.h>

enum shell { SHELL_BASH, SHELL_ZSH, SHELL_FISH };

struct offer {
	enum shell shell;
	const char *typed;  /* what candidates begin with, without quotes */
	const char *before; /* the part of the word before that, as "--from=" */
	char quote;         /* that the word at the cursor begins with, or 0; only bash says so */
	bool after_options; /* "--" stands before it: a word may begin with - */
	const char *files;  /* "words", "files" or "folders": what the shell adds */
	size_t count;
	struct spool words;
};

void offer_begin(struct offer *offer, enum shell shell);

/* Offers a word of ours, if it begins with what is typed. what: describes it; may be NULL. */
void offer_word(struct offer *offer, const char *word, const char *what);

/* Offers each of the words of a text, which blanks part. */
void offer_words(struct offer *offer, const char *words);

/*
 * Offers a name that an image has, with words of ours around it. A name that cannot be typed is
 * left out: one with control characters or what is no text, an empty one, one like an option.
 */
void offer_name(struct offer *offer, const char *before, struct qcow2_bytes name,
		const char *behind, const char *what);

/* Lets the shell complete names of files, or of folders alone. */
void offer_files(struct offer *offer, bool folders);

/* Prints what was offered on standard output: a line of what the shell adds, then the words. */
void offer_end(struct offer *offer);

#endif
