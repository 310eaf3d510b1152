/* SPDX-License-Identifier: MIT */
/*
 * Bits of HTML documents. Text goes through xml.h: what comes from outside can neither begin a tag nor
 * end an attribute, and shows what people cannot see.
 */
#ifndef CMD_OUT_HTML_H
#define CMD_OUT_HTML_H

#include "out/spool.h"
#include "out/xml.h"

/* Text of ours, or what qcow2_text_escape() has written. */
#define html_text xml_escaped

/* Text that stands for a name: in an element of its own, whose direction changes nothing around it. */
void html_name(struct spool *out, struct qcow2_bytes name, size_t most);

/* A command for a shell, or a part of one, which can be selected as a whole. */
void html_command(struct spool *out, const char *command);

/* "<code>0x1f</code>" */
void html_offset(struct spool *out, uint64_t offset);

/* What begins and ends a table that can be scrolled sideways, with a caption. Head and body follow. */
void html_begin_table(struct spool *out, const char *class, const char *caption);
void html_end_table(struct spool *out);

/* The head: a heading for each column; those of numbers begin with a '#'. It begins the body. */
void html_head(struct spool *out, const char *const *headings, size_t count);

/* "<td class="number">8 MiB</td>", with the exact number as its title; an unknown one is a dash. */
void html_size_cell(struct spool *out, bool known, uint64_t bytes);

/*
 * The content of an element <script type="application/json">: JSON in which no character can end it,
 * whatever the strings hold. json is pure ASCII.
 */
void html_json(struct spool *out, const char *json, size_t size);

#endif
