/* SPDX-License-Identifier: MIT */
/* qcow2 bitmap compare: shows where two bitmaps differ, of one image or of two. */
#include <inttypes.h>

#include "bitmap/actions.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/report.h"
#include "out/human.h"

#include <qcow2/source.h>

enum { FIRST, SECOND };

/* A comparison under way. */
struct comparison {
	struct bitmap_run *run;
	struct qcow2_dirty_extents *sides[2];
	struct qcow2_dirty_extent now[2];  /* the rest of the extent that each bitmap told last */
	struct qcow2_dirty_extent pending; /* a difference that may go on */
	unsigned pending_side;
	uint64_t alone[2]; /* bytes that are dirty in one only */
	uint64_t both;
	uint64_t steps;
};

static void show_pending(struct comparison *c)
{
	static const char *const names[] = {"first", "second"};
	const char *name = names[c->pending_side];
	struct json *json = &c->run->json;

	if (c->pending.length_bytes == 0)
		return;
	if (c->run->format == BITMAP_LINES) {
		spool_print(&c->run->out, "%" PRIu64 " %" PRIu64 " %s\n", c->pending.start_bytes,
			    c->pending.length_bytes, name);
	} else {
		json_begin_line_object(json);
		json_key(json, "start");
		json_number(json, c->pending.start_bytes);
		json_key(json, "length");
		json_number(json, c->pending.length_bytes);
		json_key(json, "dirty-in");
		json_text(json, name);
		json_end_object(json);
	}
	spool_text(&c->run->out, c->run->format == BITMAP_NDJSON ? "\n" : "");
	c->pending.length_bytes = 0;
}

/* Counts the next `length` bytes, in which neither bitmap changes. */
static void take(struct comparison *c, uint64_t length)
{
	const struct qcow2_dirty_extent *now = c->now;
	unsigned side = now[FIRST].dirty ? FIRST : SECOND;

	if (now[FIRST].dirty == now[SECOND].dirty) {
		c->both += now[FIRST].dirty ? length : 0;
		show_pending(c);
		return;
	}
	c->alone[side] += length;
	if (c->pending.length_bytes > 0 && c->pending_side != side)
		show_pending(c);
	if (c->pending.length_bytes == 0)
		c->pending.start_bytes = now[FIRST].start_bytes;
	c->pending.length_bytes += length;
	c->pending_side = side;
}

static int walk(struct comparison *c, struct qcow2_error *err)
{
	uint64_t size = qcow2_dirty_extents_size_bytes(c->sides[FIRST]), left = size;

	while (left > 0 && c->run->out.errnum == 0) {
		uint64_t length;

		for (unsigned i = 0; i < 2; i++)
			if (c->now[i].length_bytes == 0 &&
			    qcow2_dirty_extents_next(c->sides[i], &c->now[i], err) < 0)
				return -1;
		length = c->now[FIRST].length_bytes < c->now[SECOND].length_bytes
				 ? c->now[FIRST].length_bytes
				 : c->now[SECOND].length_bytes;
		take(c, length);
		for (unsigned i = 0; i < 2; i++) {
			c->now[i].start_bytes += length;
			c->now[i].length_bytes -= length;
		}
		left -= length;
		if ((++c->steps & 0xffff) == 0)
			progress_share(&c->run->progress, size - left, size);
	}
	show_pending(c);
	return 0;
}

static void show_totals(struct comparison *c, bool equal)
{
	struct json *json = &c->run->json;
	char first[HUMAN_MAX], second[HUMAN_MAX], both[HUMAN_MAX];

	if (c->run->format == BITMAP_LINES) {
		spool_print(&c->run->out,
			    "%s: %s dirty in both, %s in the first only, %s in the second\n",
			    equal ? "equal" : "different", human_size(c->both, both),
			    human_size(c->alone[FIRST], first),
			    human_size(c->alone[SECOND], second));
		return;
	}
	if (c->run->format == BITMAP_NDJSON)
		return;
	json_end_array(json);
	json_key(json, "equal");
	json_bool(json, equal);
	json_key(json, "both-bytes");
	json_number(json, c->both);
	json_key(json, "first-bytes");
	json_number(json, c->alone[FIRST]);
	json_key(json, "second-bytes");
	json_number(json, c->alone[SECOND]);
	json_end_object(json);
	spool_text(&c->run->out, "\n");
}

static int compare(struct comparison *c)
{
	struct json *json = &c->run->json;
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET,
				  .text = "the disks that the bitmaps are of have different sizes"};
	bool equal;

	if (qcow2_dirty_extents_size_bytes(c->sides[FIRST]) !=
	    qcow2_dirty_extents_size_bytes(c->sides[SECOND]))
		return bitmap_fail(c->run, &err);
	if (c->run->format == BITMAP_JSON) {
		json_begin_object(json);
		json_key(json, "differences");
		json_begin_array(json);
	}
	if (walk(c, &err))
		return bitmap_fail(c->run, &err);
	equal = c->alone[FIRST] == 0 && c->alone[SECOND] == 0;
	show_totals(c, equal);
	return equal ? EXIT_FINE : EXIT_DIFFERENT;
}

static int compare_images(struct bitmap_run *run, const struct qcow2_image *other)
{
	struct comparison c = {.run = run};
	int code = bitmap_open_extents(run, run->image, run->names[FIRST], &c.sides[FIRST]);

	if (code == EXIT_FINE)
		code = bitmap_open_extents(run, other, run->names[SECOND], &c.sides[SECOND]);
	if (code == EXIT_FINE)
		code = compare(&c);
	qcow2_dirty_extents_close(c.sides[FIRST]);
	qcow2_dirty_extents_close(c.sides[SECOND]);
	return code;
}

int bitmap_compare(struct bitmap_run *run)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;
	int code;

	if (!run->from)
		return compare_images(run, run->image);
	if (limits_open(run->command->common, run->from, &source, &err))
		return report_error(run->command, run->from, &err);
	warn_in_use(run->command, run->from, source);
	if (qcow2_image_open(source, &image, &err)) {
		code = report_error(run->command, run->from, &err);
	} else {
		code = compare_images(run, image);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return code;
}
