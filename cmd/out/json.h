/* SPDX-License-Identifier: MIT */
/*
 * A streaming JSON writer: commas, indentation and escapes are its business, never a caller's. What
 * it writes is valid UTF-8 whatever bytes it is given, with control and invisible characters
 * escaped, so that it is safe on a terminal, too.
 */
#ifndef CMD_OUT_JSON_H
#define CMD_OUT_JSON_H

#include "out/spool.h"

#include <qcow2/base.h>

#define JSON_DEPTH_MAX 32

/* The largest number up to which a floating point number, as some readers have, is exact. */
#define JSON_EXACT_MOST (UINT64_C(1) << 53)

struct json {
	struct spool *out;
	unsigned indent; /* columns per level */
	bool ascii;      /* everything beyond ASCII as \uXXXX */
	unsigned depth;
	bool filled[JSON_DEPTH_MAX]; /* the value at that depth has a member already */
	bool after_key;
	unsigned line_depth; /* from this depth on all is on one line; 0: nothing is */
};

void json_init(struct json *json, struct spool *out, unsigned indent, bool ascii);

void json_begin_object(struct json *json);
void json_end_object(struct json *json);
/* An object that is one line, with all in it; ended like others. */
void json_begin_line_object(struct json *json);
void json_begin_array(struct json *json);
void json_end_array(struct json *json);

/* The name of the next value; key is ASCII of ours. */
void json_key(struct json *json, const char *key);

void json_number(struct json *json, uint64_t number);
void json_bool(struct json *json, bool truth);
void json_null(struct json *json);
/* Text of ours. */
void json_text(struct json *json, const char *text);
/* Bytes that should be text: those that are not become U+FFFD. */
void json_bytes_as_text(struct json *json, struct qcow2_bytes bytes);
/* The same, between single quotes. */
void json_bytes_as_quoted_text(struct json *json, struct qcow2_bytes bytes);
/* Bytes as a string of hexadecimal digits. */
void json_hex(struct json *json, struct qcow2_bytes bytes);
/* A member with a number. */
void json_number_member(struct json *json, const char *key, uint64_t number);
/* A member with a number as a string: "0x1f". */
void json_hex_member(struct json *json, const char *key, uint64_t number);
/* A member that should be text; where it is not UTF-8, KEY-hex beside it has its bytes. */
void json_text_member(struct json *json, const char *key, struct qcow2_bytes bytes);

#endif
