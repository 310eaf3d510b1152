/* SPDX-License-Identifier: MIT */
/*
 * Rows of large tables as text: many at a time, by functions of their own, which any thread of a
 * relay may run. What they print is what the emitters print of rows that are told one by one.
 */
#ifndef CMD_OUT_ROWS_H
#define CMD_OUT_ROWS_H

#include "out/relay.h"

#include <qcow2/walk.h>

#define ROWS_COLUMNS_MOST 16
#define ROWS_VALUES_MOST  4096

struct text_emitter;
struct json_emitter;

/*
 * Opens what makes text of rows, for an emitter whose other members are set. Returns NULL if there
 * is no memory.
 */
struct rows_page *rows_page_text(const struct text_emitter *emitter, unsigned threads);
struct rows_page *rows_page_json(const struct json_emitter *emitter, unsigned threads);

/* Puts all text into the emitter's spool, and frees. page: may be NULL. */
void rows_page_close(struct rows_page *page);

/*
 * Add rows, and what stands between them and what came before. visitor: of single rows, of which
 * every table of text has some.
 */
void rows_add_text(struct text_emitter *emitter, const struct qcow2_rows *rows,
		   const struct qcow2_visitor *visitor);
void rows_add_json(struct json_emitter *emitter, const struct qcow2_rows *rows);

/* Tells a visitor of row i as the walk would have told it by itself. */
void rows_tell_one(const struct qcow2_visitor *visitor, void *opaque, const struct qcow2_rows *rows,
		   size_t i);

#endif
