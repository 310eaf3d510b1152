/* SPDX-License-Identifier: MIT */
/* Finds what somebody meant who mistyped a word, and lists the names that there are. */
#ifndef CMD_OUT_SUGGEST_H
#define CMD_OUT_SUGGEST_H

#include <stddef.h>
#include <stdint.h>

#include <qcow2/text.h>

/* Longer words are never suggested, and nothing is suggested for them. */
#define SUGGEST_WORD_MOST 63

/*
 * Counts the letters to add, drop, change or swap with their neighbour that make `b` of `a`. Case
 * does not count, and - and _ are one letter. Returns most + 1 if they are more than `most`, or if
 * a word is longer than SUGGEST_WORD_MOST bytes.
 */
unsigned suggest_distance(const char *a, const char *b, unsigned most);

/* The candidate that is nearest to a word so far. */
struct suggestion {
	const char *word;
	unsigned most; /* the distance that still makes a slip */
	unsigned distance;
	char best[SUGGEST_WORD_MOST + 1]; /* empty: none is near */
};

void suggest_begin(struct suggestion *suggestion, const char *word);

/* Of candidates that are equally near, the first one is kept. */
void suggest_offer(struct suggestion *suggestion, const char *candidate);

/*
 * Writes ": did you mean BEFOREbest?", or an empty text if no candidate is near. Returns buffer.
 */
const char *suggest_text(const struct suggestion *suggestion, const char *before, char *buffer,
			 size_t size);

/* Room for the text of suggest_text(), with `before` up to 8 bytes. */
#define SUGGEST_TEXT_MAX (SUGGEST_WORD_MOST + 32)

/* Suggests one of the words of a text, which blanks part. Returns buffer as above. */
const char *suggest_of_words(const char *word, const char *words, char *buffer, size_t size);

/* Names in a row: "a, b and 3 more". */
struct name_list {
	char *text;  /* the caller's */
	size_t size; /* of it */
	size_t used; /* of it, without the NUL */
	uint64_t shown, total;
};

/* Begins an empty list in a buffer of at least 32 bytes. */
void name_list_begin(struct name_list *list, char *buffer, size_t size);

/* Adds a name, escaped, if it fits; else it is counted. No name is added behind one that did not. */
void name_list_add(struct name_list *list, struct qcow2_bytes name);

/* Adds what is missing: " and 3 more", or "3 of them" if none was shown. Returns the text. */
const char *name_list_end(struct name_list *list);

#endif
