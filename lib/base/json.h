/* SPDX-License-Identifier: MIT */
/*
 * Reads JSON that somebody else wrote (RFC 8259), without copies: a value is the text that it has in
 * the document. Strict: what is no JSON is refused as a whole. Nothing is allocated, and objects and
 * arrays nest at most Q2_JSON_DEPTH deep, so that a hostile document costs no more than its length.
 *
 * Values come from q2_json_check(). All other functions take such values, and say no to anything else.
 */
#ifndef Q2_BASE_JSON_H
#define Q2_BASE_JSON_H

#include <qcow2/base.h>

#define Q2_JSON_DEPTH 32

enum q2_json_kind {
	Q2_JSON_NOTHING, /* there is no value */
	Q2_JSON_OBJECT,
	Q2_JSON_ARRAY,
	Q2_JSON_STRING,
	Q2_JSON_NUMBER,
	Q2_JSON_WORD, /* true, false or null */
};

/* Whether all of the text is one JSON value in UTF-8, with blanks around it. *value: without them. */
bool q2_json_check(struct qcow2_bytes text, struct qcow2_bytes *value);

/* What a value is. */
enum q2_json_kind q2_json_kind(struct qcow2_bytes value);

/* The members of an object, or the elements of an array, that are left. */
struct q2_json_items {
	const uint8_t *at, *end;
	bool has_keys;
};

/* Begins with the first item. Of a value that is no object and no array, there is none. */
struct q2_json_items q2_json_items(struct qcow2_bytes value);

/*
 * Takes the next item; false if there is none. *key: a string, of a member; of an element, nothing.
 */
bool q2_json_next(struct q2_json_items *items, struct qcow2_bytes *key, struct qcow2_bytes *value);

/*
 * Finds a member of an object. Returns how many have that name: with 1, *value is set. Two of one name
 * mean what the reader likes, so that they mean nothing here.
 */
size_t q2_json_member(struct qcow2_bytes object, const char *name, struct qcow2_bytes *value);

/* Whether a value is a string that says this, which is ASCII. */
bool q2_json_is(struct qcow2_bytes value, const char *text);

/*
 * Decodes a string of ASCII characters other than NUL. buffer: room for size bytes, one of them for
 * the NUL that ends it. False if it is another value, or longer.
 */
bool q2_json_text(struct qcow2_bytes value, char *buffer, size_t size);

/* Reads a number without sign, fraction and exponent; false if it is another value or too large. */
bool q2_json_number(struct qcow2_bytes value, uint64_t *number);

/* Reads a string of decimal digits, as LUKS2 writes numbers of 64 bits; no leading zeros. */
bool q2_json_decimal(struct qcow2_bytes value, uint64_t *number);

#endif
