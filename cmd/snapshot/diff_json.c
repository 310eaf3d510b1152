/* SPDX-License-Identifier: MIT */
/*
 * Differences as JSON objects, whose sides are extents of `qcow2 map` in their order and blanks.
 * There may be many millions, so that most of what is between two numbers is made once and copied.
 */
#include "snapshot/diff.h"

#include <stdio.h>
#include <string.h>

#include "out/digits.h"

/* An object without problems. */
#define OBJECT_MOST 640
/* A side of it up to the offset. */
#define SIDE_MOST 104

/* What stands in front of the offset of a side. */
struct side_text {
	uint8_t size;
	char text[SIDE_MOST];
};

struct page {
	struct diff *diff;
	/* By side, kind, and whether there is an offset; size 0: not made yet. */
	struct side_text texts[2][QCOW2_L2_INVALID + 1][2];
	/* What stands before the next object's start, and behind an object. */
	const char *before, *after;
};

static const char *truth(bool claim)
{
	return claim ? "true" : "false";
}

static void make_text(const struct page *page, unsigned i, const struct qcow2_mapping_side *side,
		      struct side_text *out)
{
	const enum qcow2_l2_kind kind = side->kind;
	const bool present = kind != QCOW2_L2_UNALLOCATED;
	const bool zero = kind == QCOW2_L2_ZERO || kind == QCOW2_L2_ZERO_ALLOCATED ||
			  (!present && !page->diff->sides[i].has_backing);
	const bool compressed = kind == QCOW2_L2_COMPRESSED;
	const bool data = compressed || kind == QCOW2_L2_DATA || kind == QCOW2_L2_INVALID;

	out->size =
		(uint8_t)snprintf(out->text, sizeof(out->text),
				  "{ \"depth\": 0, \"present\": %s, \"zero\": %s, \"data\": %s, "
				  "\"compressed\": %s%s",
				  truth(present), truth(zero), truth(data), truth(compressed),
				  side->host.byte != QCOW2_NO_OFFSET ? ", \"offset\": " : "");
}

static char *put(char *to, const char *text, size_t size)
{
	memcpy(to, text, size);
	return to + size;
}

static char *put_string(char *to, const char *text)
{
	return put(to, text, strlen(text));
}

static char *put_side(struct page *page, char *to, const struct qcow2_mapping_difference *d,
		      unsigned i)
{
	const struct qcow2_mapping_side *side = d->sides[i];
	struct side_text *text;
	bool placed;

	if (!side)
		return put_string(to, "null");
	placed = side->host.byte != QCOW2_NO_OFFSET;
	text = &page->texts[i][side->kind][placed];
	if (text->size == 0)
		make_text(page, i, side, text);
	to = put(to, text->text, text->size);
	if (placed)
		to = digits_put(to, side->host.byte);
	if (side->kind == QCOW2_L2_COMPRESSED) {
		to = put_string(to, ", \"compressed-length\": ");
		to = digits_put(to, side->host_bytes);
	}
	/* Ids of problems need no escapes, and are short. */
	if (side->kind == QCOW2_L2_INVALID) {
		to = put_string(to, ", \"invalid\": \"");
		to = put_string(to, qcow2_problem_kind_get(side->problem)->id);
		*to++ = '"';
	}
	return put_string(to, " }");
}

static void add(struct page *page, const struct qcow2_mapping_difference *d)
{
	struct spool *out = &page->diff->run->out;
	char *at = spool_reserve(out, OBJECT_MOST);

	if (!at)
		return;
	at = put_string(at, page->before);
	at = digits_put(at, d->start.byte);
	at = put_string(at, ", \"length\": ");
	at = digits_put(at, d->length_bytes);
	at = put_string(at, d->reads_same ? ", \"reads-same\": true, \"a\": "
					  : ", \"reads-same\": false, \"a\": ");
	at = put_side(page, at, d, 0);
	at = put_string(at, ", \"b\": ");
	at = put_side(page, at, d, 1);
	at = put_string(at, page->after);
	spool_advance(out, at);
}

int diff_show_data(struct diff *diff, struct qcow2_error *err)
{
	const bool as_array = diff->run->format == SNAPSHOT_JSON;
	struct page page = {.diff = diff,
			    .before = as_array ? "[{ \"start\": " : "{ \"start\": ",
			    .after = as_array ? "}" : "}\n"};
	const struct qcow2_mapping_difference *difference;
	int more;

	while ((more = diff_next(diff, &difference, err)) > 0) {
		add(&page, difference);
		if (as_array)
			page.before = ",\n{ \"start\": ";
	}
	/* After an error the array stays open, so that nobody takes it for a whole one. */
	if (more == 0 && as_array)
		spool_text(&diff->run->out, diff->total.ranges > 0 ? "]\n" : "[]\n");
	return more;
}
