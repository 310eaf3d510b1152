/* SPDX-License-Identifier: MIT */
/*
 * Reads JSON documents that this command has written, or that are as simple: a value after the other,
 * without copies. Strings are given as they stand, and numbers are whole ones. A document may come
 * from anybody: whatever is wrong sets `bad`, and then nothing more is found.
 */
#ifndef CMD_COMMON_JSON_READ_H
#define CMD_COMMON_JSON_READ_H

#include <stdbool.h>

#include <qcow2/base.h>

/* What is left to read. Set at and end before the first call. */
struct json_reader {
	const uint8_t *at, *end;
	bool bad;
};

void json_skip_blanks(struct json_reader *reader);

/* Takes a character if it is the next one, with blanks in front. */
bool json_take(struct json_reader *reader, char wanted);

/* The same, and it is bad if it is another one. */
void json_need(struct json_reader *reader, char wanted);

/* The bytes of a string between its quotes, escapes as they stand. */
struct qcow2_bytes json_take_string(struct json_reader *reader);

/* A number without sign, fraction and exponent. */
uint64_t json_take_number(struct json_reader *reader);

/* Takes true or false. */
bool json_take_bool(struct json_reader *reader);

/* Skips a value of any kind. */
void json_skip_value(struct json_reader *reader);

/* Whether a string that was taken is this word. */
bool json_is(struct qcow2_bytes text, const char *word);

/* Reads a text of 2 * size small hexadecimal digits. False: it is something else. */
bool json_take_hex(struct qcow2_bytes text, uint8_t *bytes, size_t size);

#endif
