/* SPDX-License-Identifier: MIT */
/* The pages of qcow2 explain: each shows structures, fields, values and problems in its own way. */
#ifndef CMD_EXPLAIN_EXPLAIN_H
#define CMD_EXPLAIN_EXPLAIN_H

#include <stddef.h>

#include "explain/messages.h"
#include "out/json.h"
#include "out/spool.h"

#include <qcow2/format.h>
#include <qcow2/problem.h>
#include <qcow2/remedy.h>

struct explain_page {
	void *opaque;
	void (*structure)(void *opaque, const struct qcow2_structure *structure);
	void (*field)(void *opaque, const struct qcow2_structure *structure,
		      const struct qcow2_field *field);
	void (*names)(void *opaque, const struct qcow2_names *names);
	void (*value)(void *opaque, const struct qcow2_names *names,
		      const struct qcow2_name *value);
	void (*problem)(void *opaque, const struct qcow2_problem_kind *problem);
	/* The same in a line, after a line that says how many follow; both NULL: in full. */
	void (*brief_begin)(void *opaque, size_t count);
	void (*brief)(void *opaque, const struct qcow2_problem_kind *problem);
	void (*message)(void *opaque, const struct explain_message *message);
};

/* Explanations in full. */
void explain_text_page(struct explain_page *page, struct spool *out);
/* A line for each thing. */
void explain_list_page(struct explain_page *page, struct spool *out);
/* Objects, inside an array that the caller begins and ends. */
void explain_json_page(struct explain_page *page, struct json *json);
/* Sections of qcow2-format(5), in scdoc's language, between its begin and its end. */
void explain_man_page(struct explain_page *page, struct spool *out);
void explain_man_begin(struct spool *out);
void explain_man_end(struct spool *out);

/* "4 bytes at 8", "bits 9 to 55": where a field is in its structure. Returns buffer. */
const char *explain_place(const struct qcow2_field *field, char *buffer, size_t size);

/*
 * Names that are like wanted, or hold it, with commas between, as many as list has room for.
 * Returns how many.
 */
size_t explain_near(const char *wanted, char *list, size_t size);

#endif
