/* SPDX-License-Identifier: MIT */
/* See suggest.h. */
#include "out/suggest.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "out/human.h"

#define DISTANCE_MOST 3
/* Bytes of a name in a list, and what the end of a list needs at most. */
#define NAME_SHOWN 48
#define END_SIZE   30

static int letter(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 'a';
	return c == '_' ? '-' : c;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned suggest_distance(const char *a, const char *b, unsigned most)
{
	unsigned rows[3][SUGGEST_WORD_MOST + 1] = {{0}}, *above = rows[0], *row = rows[1],
					     *before = rows[2];
	size_t height = strlen(a), width = strlen(b);

	if (height > SUGGEST_WORD_MOST || width > SUGGEST_WORD_MOST)
		return most + 1;
	for (unsigned j = 0; j <= width; j++)
		above[j] = j;
	for (unsigned i = 1; i <= height; i++) {
		unsigned *old = before;

		row[0] = i;
		for (size_t j = 1; j <= width; j++) {
			bool same = letter(a[i - 1]) == letter(b[j - 1]);
			bool swapped = i > 1 && j > 1 && letter(a[i - 1]) == letter(b[j - 2]) &&
				       letter(a[i - 2]) == letter(b[j - 1]);

			row[j] = least(above[j - 1] + !same, least(above[j], row[j - 1]) + 1);
			if (swapped)
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = old;
	}
	return least(above[width], most + 1);
}

void suggest_begin(struct suggestion *suggestion, const char *word)
{
	size_t length = strlen(word);

	*suggestion = (struct suggestion){.word = word};
	/* A short word is near to anything: a slip leaves most of a word as it is. */
	suggestion->most = length < 2 ? 0 : least((unsigned)(length + 2) / 3, DISTANCE_MOST);
	suggestion->distance = suggestion->most + 1;
}

void suggest_offer(struct suggestion *suggestion, const char *candidate)
{
	size_t length = strlen(suggestion->word);
	unsigned distance;

	if (strlen(candidate) > SUGGEST_WORD_MOST)
		return;
	distance = suggest_distance(suggestion->word, candidate, suggestion->most);
	/* The beginning of a word is as near as a slip. */
	if (distance > 1 && length > 1 && strncmp(suggestion->word, candidate, length) == 0)
		distance = 1;
	if (distance >= suggestion->distance)
		return;
	suggestion->distance = distance;
	snprintf(suggestion->best, sizeof(suggestion->best), "%s", candidate);
}

const char *suggest_text(const struct suggestion *suggestion, const char *before, char *buffer,
			 size_t size)
{
	buffer[0] = '\0';
	if (suggestion->best[0])
		snprintf(buffer, size, ": did you mean %s%s?", before, suggestion->best);
	return buffer;
}

const char *suggest_of_words(const char *word, const char *words, char *buffer, size_t size)
{
	struct suggestion suggestion;
	char one[SUGGEST_WORD_MOST + 1];

	suggest_begin(&suggestion, word);
	for (size_t length; *words; words += length) {
		words += strspn(words, " ");
		length = strcspn(words, " ");
		if (length > 0 && length < sizeof(one)) {
			memcpy(one, words, length);
			one[length] = '\0';
			suggest_offer(&suggestion, one);
		}
	}
	return suggest_text(&suggestion, "", buffer, size);
}

void name_list_begin(struct name_list *list, char *buffer, size_t size)
{
	*list = (struct name_list){.text = buffer, .size = size};
	buffer[0] = '\0';
}

void name_list_add(struct name_list *list, struct qcow2_bytes name)
{
	char safe[6 * NAME_SHOWN + 8];
	struct qcow2_bytes cut = human_cut(name, NAME_SHOWN);
	size_t length;

	qcow2_text_escape(cut, safe, sizeof(safe));
	if (cut.size < name.size)
		snprintf(safe + strlen(safe), 4, "…");
	length = strlen(safe) + (list->shown ? 2 : 0);
	if (list->shown == list->total && list->used + length + END_SIZE < list->size) {
		snprintf(list->text + list->used, list->size - list->used, "%s%s",
			 list->shown ? ", " : "", safe);
		list->used += length;
		list->shown++;
	}
	list->total++;
}

const char *name_list_end(struct name_list *list)
{
	uint64_t more = list->total - list->shown;

	if (list->shown == 0)
		snprintf(list->text, list->size, "%" PRIu64 " of them", more);
	else if (more > 0)
		snprintf(list->text + list->used, list->size - list->used, " and %" PRIu64 " more",
			 more);
	return list->text;
}
