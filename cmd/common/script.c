/* SPDX-License-Identifier: MIT */
/* See script.h. */
#include "common/script.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/read_file.h"

#define SCRIPT_MOST ((size_t)16 << 20)
#define WORDS_MOST  256

/* One line, taken apart in place. */
struct script {
	char *at;
	char *words[WORDS_MOST];
	size_t count;
};

/* Takes one word and removes its quotes, in place. False if a quote is not closed. */
static bool take_word(struct script *script, char **word)
{
	char *to = script->at, quote = 0, c;

	*word = to;
	while ((c = *script->at) != '\0' && (quote || !strchr(" \t\r", c))) {
		script->at++;
		if (quote ? c == quote : c == '\'' || c == '"')
			quote = quote ? 0 : c;
		else if (c == '\\' && quote != '\'' && *script->at)
			*to++ = *script->at++;
		else
			*to++ = c;
	}
	if (*script->at)
		script->at++;
	*to = '\0';
	return quote == 0;
}

/* Takes all words of a line. Returns NULL, or what is wrong with the line. */
static const char *take_words(struct script *script)
{
	script->count = 0;
	for (;;) {
		script->at += strspn(script->at, " \t\r");
		if (*script->at == '\0' || *script->at == '#')
			return NULL;
		if (script->count == WORDS_MOST)
			return "too many words";
		if (!take_word(script, &script->words[script->count++]))
			return "a quote is not closed";
	}
}

static int run_line(struct script *script, size_t number, script_line line, void *opaque,
		    struct qcow2_error *err)
{
	const char *wrong = take_words(script);
	char text[sizeof(err->text)];
	int failed;

	if (wrong) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT,
					    .offset_bytes = QCOW2_NO_OFFSET};
		snprintf(err->text, sizeof(err->text), "line %zu: %s", number, wrong);
		return -1;
	}
	if (script->count == 0)
		return 0;
	failed = line(opaque, script->words, script->count, err);
	if (failed) {
		memcpy(text, err->text, sizeof(text));
		snprintf(err->text, sizeof(err->text), "line %zu: %.200s", number, text);
	}
	return failed;
}

static int run_lines(char *text, size_t size, script_line line, void *opaque,
		     struct qcow2_error *err)
{
	char *at = text, *end = text + size;
	size_t number = 1;

	for (; at < end; number++) {
		char *newline = memchr(at, '\n', (size_t)(end - at));
		char *line_end = newline ? newline : end;
		struct script script = {.at = at};

		*line_end = '\0'; /* the buffer has room for one behind its end */
		if (run_line(&script, number, line, opaque, err))
			return -1;
		at = line_end + 1;
	}
	return 0;
}

int script_run(const char *path, script_line line, void *opaque, struct qcow2_error *err)
{
	uint8_t *text;
	size_t size;
	int failed;

	if (read_whole_file(path, SCRIPT_MOST, &text, &size, err))
		return -1;
	failed = run_lines((char *)text, size, line, opaque, err);
	free(text);
	return failed;
}
