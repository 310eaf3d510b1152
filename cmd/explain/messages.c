/* SPDX-License-Identifier: MIT */
/* See messages.h. A line is taken apart into words, and those that are numbers are left out. */
#include "explain/messages.h"

#include <ctype.h>
#include <string.h>

/* A line is cut after so many words, of which so many letters count. */
#define WORDS_MOST   128
#define LETTERS_MOST 24
/* A single word that is not a name of ours has to be as long as this. */
#define LONG_WORD 8

static const struct explain_message messages[] = {
#define EXPLAIN_MESSAGE(words, problems, meaning, advice) {words, problems, meaning, advice, false},
#define EXPLAIN_LESS(words, problems, meaning, advice)    {words, problems, meaning, advice, true},
#include "explain/messages.def"
#undef EXPLAIN_MESSAGE
#undef EXPLAIN_LESS
};

#define MESSAGES (sizeof(messages) / sizeof(messages[0]))

const struct explain_message *explain_messages(size_t *count)
{
	*count = MESSAGES;
	return messages;
}

bool explain_is_of(const struct explain_message *message, const struct qcow2_problem_kind *kind)
{
	size_t length = strlen(kind->id);

	for (const char *at = message->problems; (at = strstr(at, kind->id)); at += length)
		if ((at == message->problems || at[-1] == ' ') &&
		    (at[length] == ' ' || at[length] == '\0'))
			return true;
	return false;
}

struct words {
	char list[WORDS_MOST][LETTERS_MOST + 1];
	size_t count;
};

static bool is_letter(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* 65536, 0x8000, 8000000000050000, fe00: hexadecimal digits with a decimal one among them. */
static bool is_number(const char *word)
{
	bool digit = false;

	if (word[0] == '0' && word[1] == 'x')
		return true;
	for (const char *at = word; *at; at++) {
		if (!isxdigit((unsigned char)*at))
			return isdigit((unsigned char)word[0]) != 0;
		digit |= isdigit((unsigned char)*at) != 0;
	}
	return digit;
}

/* stars: an asterisk is a word, as in messages.def; else it is none. */
static void take_apart(struct words *words, const char *line, bool stars)
{
	words->count = 0;
	while (*line && words->count < WORDS_MOST) {
		char *word = words->list[words->count];
		size_t length = 0;

		if (!is_letter(*line)) {
			/* A word that no line has. */
			if (*line++ == '*' && stars)
				strcpy(words->list[words->count++], "*");
			continue;
		}
		/* "doesn't" is one word. */
		while (is_letter(*line) || (*line == '\'' && length > 0 && is_letter(line[1]))) {
			if (length < LETTERS_MOST)
				word[length++] = (char)tolower((unsigned char)*line);
			line++;
		}
		word[length] = '\0';
		if (!is_number(word))
			words->count++;
	}
}

/* Whether the words of a message begin at a place of the line. */
static bool begins(const struct words *line, size_t at, const struct words *message)
{
	size_t i = 0, star = 0, resume = 0;
	bool starred = false;

	/* A star takes as few words as it can, and more if what follows does not fit. */
	while (i < message->count) {
		if (strcmp(message->list[i], "*") == 0) {
			starred = true;
			star = ++i;
			resume = at;
		} else if (at < line->count && strcmp(line->list[at], message->list[i]) == 0) {
			at++;
			i++;
		} else if (starred && resume < line->count) {
			at = ++resume;
			i = star;
		} else {
			return false;
		}
	}
	return true;
}

static bool holds(const struct words *line, const struct words *message)
{
	for (size_t at = 0; at < line->count; at++)
		if (begins(line, at, message))
			return true;
	return false;
}

/* Whether a few words are enough to be looked for in messages. */
static bool says_enough(const struct words *words)
{
	return words->count > 1 || (words->count == 1 && strlen(words->list[0]) >= LONG_WORD);
}

struct hearing {
	void (*hear)(void *opaque, const struct explain_message *message);
	void *opaque;
	size_t most;
};

/* Messages that the line holds, or, turned round, that hold the line. */
static size_t match(const struct words *line, bool turned, const struct hearing *hearing)
{
	struct words known;
	size_t found = 0;

	for (size_t i = 0; i < MESSAGES; i++) {
		if (found > 0 && messages[i].less)
			continue;
		take_apart(&known, messages[i].words, true);
		if (!(turned ? holds(&known, line) : holds(line, &known)))
			continue;
		if (++found <= hearing->most)
			hearing->hear(hearing->opaque, &messages[i]);
	}
	return found;
}

size_t explain_match(const char *line, size_t most,
		     void (*hear)(void *opaque, const struct explain_message *message),
		     void *opaque)
{
	const struct hearing hearing = {hear, opaque, most};
	struct words words;
	size_t found;

	take_apart(&words, line, false);
	found = match(&words, false, &hearing);
	return found > 0 || !says_enough(&words) ? found : match(&words, true, &hearing);
}

static bool has_word(const struct words *words, const char *word)
{
	for (size_t i = 0; i < words->count; i++)
		if (strcmp(words->list[i], word) == 0)
			return true;
	return false;
}

/* Short words are in any message. */
static size_t common_words(const struct words *line, const struct words *message)
{
	size_t count = 0;

	for (size_t i = 0; i < message->count; i++)
		count += strlen(message->list[i]) > 3 && has_word(line, message->list[i]);
	return count;
}

const struct explain_message *explain_message_near(const char *line)
{
	const struct explain_message *best = NULL;
	struct words words, known;
	size_t most = 1, length = 0;

	take_apart(&words, line, false);
	for (size_t i = 0; i < MESSAGES; i++) {
		size_t common;

		take_apart(&known, messages[i].words, true);
		common = common_words(&words, &known);
		if (common > most || (best && common == most && known.count < length)) {
			best = &messages[i];
			most = common;
			length = known.count;
		}
	}
	return best;
}
