/* SPDX-License-Identifier: MIT */
/*
 * See offer.h. Names of an image come from whoever made it. They are printed as text, a line each,
 * and the scripts never evaluate them: bash gets them quoted, zsh and fish quote by themselves.
 */
#include "completion/offer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The most that is offered: more helps nobody. */
#define OFFERS_MOST 2000
#define WORD_MOST   1200

void offer_begin(struct offer *offer, enum shell shell)
{
	*offer = (struct offer){.shell = shell, .typed = "", .before = "", .files = "words"};
	spool_init(&offer->words, STDOUT_FILENO);
}

/* Whether bash takes a byte as it is in a word without quotes. */
static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (unsigned char)c >= 0x80 || (c != '\0' && strchr("_-./,:@%+=^", c) != NULL);
}

/* Whether a word can be written behind the quote that is open. */
static bool fits_quote(const struct offer *offer, const char *word)
{
	if (offer->quote == '\'')
		return strchr(word, '\'') == NULL;
	/* A ! stands for the history there, and nothing takes that away. */
	return offer->quote != '"' || strchr(word, '!') == NULL;
}

static void write_for_bash(struct offer *offer, const char *word)
{
	for (; *word; word++) {
		bool escaped = offer->quote == '\''  ? false
			       : offer->quote == '"' ? strchr("\\\"$`", *word) != NULL
						     : !is_plain(*word);

		if (escaped)
			spool_text(&offer->words, "\\");
		spool_write(&offer->words, word, 1);
	}
}

static void write_word(struct offer *offer, const char *word, const char *what)
{
	struct spool *out = &offer->words;

	if (offer->shell == SHELL_BASH) {
		spool_text(out, offer->before);
		write_for_bash(offer, word);
	} else {
		spool_print(out, "%s%s", offer->before, word);
		if (what)
			spool_print(out, "\t%s", what);
	}
	spool_text(out, "\n");
	offer->count++;
}

void offer_word(struct offer *offer, const char *word, const char *what)
{
	if (offer->count < OFFERS_MOST && strncmp(word, offer->typed, strlen(offer->typed)) == 0 &&
	    fits_quote(offer, word))
		write_word(offer, word, what);
}

void offer_words(struct offer *offer, const char *words)
{
	char word[64];

	for (size_t length; *words; words += length) {
		words += strspn(words, " ");
		length = strcspn(words, " ");
		snprintf(word, sizeof(word), "%.*s", (int)length, words);
		if (word[0])
			offer_word(offer, word, NULL);
	}
}

/* Whether a name is text that can be shown, and typed. */
static bool is_text(struct qcow2_bytes name)
{
	uint32_t codepoint;
	bool valid;

	for (size_t at = 0, used; at < name.size; at += used) {
		struct qcow2_bytes rest = {name.data + at, name.size - at};

		used = qcow2_text_next(rest, &codepoint, &valid);
		if (!valid || !qcow2_text_is_printable(codepoint))
			return false;
	}
	return name.size > 0;
}

void offer_name(struct offer *offer, const char *before, struct qcow2_bytes name,
		const char *behind, const char *what)
{
	char word[WORD_MOST];

	if (!is_text(name) || name.size > WORD_MOST - 128)
		return;
	if (name.data[0] == '-' && !before[0] && !offer->after_options && !offer->before[0])
		return;
	snprintf(word, sizeof(word), "%s%.*s%s", before, (int)name.size, (const char *)name.data,
		 behind);
	offer_word(offer, word, what);
}

void offer_files(struct offer *offer, bool folders)
{
	offer->files = folders ? "folders" : "files";
}

void offer_end(struct offer *offer)
{
	struct spool out;

	spool_init(&out, STDOUT_FILENO);
	spool_print(&out, "%s\n", offer->files);
	spool_write(&out, offer->words.kept, offer->words.size);
	(void)spool_finish(&out);
	spool_release(&out);
	spool_release(&offer->words);
}
