/* SPDX-License-Identifier: MIT */
/* What the two pages of rows have in common; included by them alone. */
#ifndef CMD_OUT_ROWS_PAGE_H
#define CMD_OUT_ROWS_PAGE_H

#include "out/rows.h"

/* A kind of page: how large its state and its batches are, and how text is made. */
struct rows_kind {
	size_t page_bytes; /* of a structure that begins with a struct rows_page */
	size_t batch_bytes;
	void (*make)(void *page, unsigned worker, const void *batch, struct spool *out);
};

struct rows_page {
	struct relay *relay;
};

struct rows_page *rows_page_open(struct spool *out, const struct rows_kind *kind, unsigned threads);

#endif
