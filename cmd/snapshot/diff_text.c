/* SPDX-License-Identifier: MIT */
/*
 * Differences as a table for people. Rows have fixed columns, as all is printed while it is found.
 */
#include "snapshot/diff.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/report.h"
#include "out/human.h"

/* The columns of an offset, a length and a side, which leave 80 without the blanks at the end. */
#define OFFSET_COLUMNS 14
#define LENGTH_COLUMNS 12
#define SIDE_COLUMNS   26

static void put_side(char *to, size_t size, const struct qcow2_mapping_side *side)
{
	if (!side)
		snprintf(to, size, "past the end");
	else if (side->kind == QCOW2_L2_INVALID)
		snprintf(to, size, "%s", qcow2_problem_kind_get(side->problem)->id);
	else if (side->host.byte == QCOW2_NO_OFFSET)
		snprintf(to, size, "%s", qcow2_l2_kind_name(side->kind));
	else
		snprintf(to, size, "%s 0x%" PRIx64, qcow2_l2_kind_name(side->kind),
			 side->host.byte);
}

static void add_row(struct diff *diff, const struct qcow2_mapping_difference *d)
{
	char start[32], length[32], a[96], b[96];

	snprintf(start, sizeof(start), "0x%" PRIx64, d->start.byte);
	snprintf(length, sizeof(length), "0x%" PRIx64, d->length_bytes);
	put_side(a, sizeof(a), d->sides[0]);
	put_side(b, sizeof(b), d->sides[1]);
	spool_print(&diff->run->out, "%-*s %-*s %-*s %s\n", OFFSET_COLUMNS, start, LENGTH_COLUMNS,
		    length, SIDE_COLUMNS - 1, a, b);
}

/* Says what A and B are. */
static void add_sides(struct diff *diff)
{
	struct spool *out = &diff->run->out;
	char file[256];

	for (unsigned i = 0; i < 2; i++) {
		const struct diff_side *side = &diff->sides[i];

		spool_print(out, "%c: %s", "AB"[i], side -> name);
		if (diff->other_file) {
			const struct qcow2_bytes path = {(const uint8_t *)side->file,
							 strlen(side->file)};

			qcow2_text_escape(path, file, sizeof(file));
			spool_print(out, " of %s", file);
		}
		spool_text(out, "\n");
	}
	spool_text(out, "\n");
}

static void add_total(struct diff *diff)
{
	struct spool *out = &diff->run->out;
	char size[HUMAN_MAX];

	if (diff->total.ranges == 0) {
		spool_text(out, "No range differs.\n");
		return;
	}
	spool_print(out, "\n%" PRIu64 " range%s, %s differ%s", diff->total.ranges,
		    diff->total.ranges == 1 ? "" : "s", human_size(diff->total.bytes, size),
		    diff->total.ranges == 1 ? "s" : "");
	if (diff->alike.ranges > 0)
		spool_print(out, "; %s of that reads the same",
			    human_size(diff->alike.bytes, size));
	spool_text(out, ".\n");
}

/* What the page does not tell: where a disk was written and its mapping stayed as it was. */
static void add_warning(struct diff *diff)
{
	struct spool *out = &diff->run->out;

	if (diff->other_file)
		spool_wrapped(out, 0,
			      "Ranges that are mapped alike may hold other data, as each image is "
			      "written in place. 'qemu-img compare' compares the data.");
	else if (diff->sides[0].has_data_file)
		spool_wrapped(out, 0,
			      "Ranges that are mapped alike may hold other data, as an external "
			      "data file is written in place.");
}

int diff_show_human(struct diff *diff, struct qcow2_error *err)
{
	const struct qcow2_mapping_difference *difference;
	int more;

	add_sides(diff);
	while ((more = diff_next(diff, &difference, err)) > 0) {
		if (diff->total.ranges == 1)
			spool_print(&diff->run->out, "%-*s %-*s %-*s %s\n", OFFSET_COLUMNS,
				    "Offset", LENGTH_COLUMNS, "Length", SIDE_COLUMNS - 1, "A", "B");
		add_row(diff, difference);
	}
	if (more < 0)
		return -1;
	add_total(diff);
	add_warning(diff);
	return 0;
}
