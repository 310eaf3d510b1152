/* SPDX-License-Identifier: MIT */
/* Shows sizes: one list of rows for people and for programs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "measure/run.h"
#include "out/human.h"
#include "out/json.h"
#include "out/wrap.h"

#include <qcow2/geometry.h>

/* A size: a key for programs, and words for people. */
struct row {
	const char *key, *words;
	uint64_t bytes;
};

#define SIZES_MOST 16

struct rows {
	struct row row[SIZES_MOST];
	size_t count;
};

static void add(struct rows *rows, const char *key, const char *words, uint64_t bytes)
{
	if (rows->count < SIZES_MOST)
		rows->row[rows->count++] = (struct row){key, words, bytes};
}

/* A new image. The first three are those of `qemu-img measure`, in its order. */
static void list_new(const struct measure_run *run, struct rows *rows)
{
	if (run->has_bitmaps && !run->target.raw)
		add(rows, "bitmaps", "Bitmaps, in addition", run->bitmaps_bytes);
	add(rows, "required", "Required", run->size.required_bytes);
	add(rows, "fully-allocated", "Fully allocated", run->size.fully_allocated_bytes);
	add(rows, "smallest", "Smallest", run->size.smallest_bytes);
	add(rows, "virtual-size", "Virtual size", run->size_bytes);
}

/* The file as it is. all: also what is the same as others, as nothing of the kind is there. */
static void list_image(const struct measure_run *run, struct rows *rows, bool all)
{
	const struct qcow2_measure_image *image = &run->image;

	add(rows, "file-size", "Now", run->file_bytes);
	add(rows, "smallest", "Smallest", image->smallest_bytes);
	if (image->has_compressed)
		add(rows, "smallest-compressed", "Smallest, compressed kept",
		    image->smallest_compressed_bytes);
	if (all || image->has_snapshots)
		add(rows, "with-snapshots", "Snapshots kept", image->with_snapshots_bytes);
	if (all || image->has_bitmaps)
		add(rows, "with-bitmaps", "Bitmaps kept", image->with_bitmaps_bytes);
	add(rows, "with-all", "All kept", image->with_all_bytes);
	add(rows, "fully-allocated", "Full disk alone", image->fully_allocated_bytes);
	add(rows, "largest", "Full disk, all kept", image->largest_bytes);
	if (run->backing_left_out)
		add(rows, "commit-growth", "A commit adds at most", image->commit_growth_bytes);
}

static void list_commit(const struct measure_run *run, struct rows *rows)
{
	add(rows, "file-size", "Size of the base now", run->base_bytes);
	add(rows, "largest", "Size to give it before", run->commit_bytes);
}

/* ---- for programs ---- */

static void put_size(struct json *json, uint64_t bytes)
{
	if (bytes == QCOW2_MEASURE_TOO_LARGE)
		json_null(json);
	else
		json_number(json, bytes);
}

static void put_members(struct json *json, const struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		json_key(json, rows->row[i].key);
		put_size(json, rows->row[i].bytes);
	}
}

static struct qcow2_bytes file_name(const char *file)
{
	return (struct qcow2_bytes){(const uint8_t *)file, strlen(file)};
}

static void put_user(void *opaque, const struct measure_user *user)
{
	struct json *json = opaque;

	json_begin_object(json);
	if (user->is_snapshot)
		json_text_member(json, "id", user->id);
	json_text_member(json, "name", user->name);
	json_key(json, "kept");
	put_size(json, user->kept_bytes);
	json_end_object(json);
}

/* More users than are looked at are counted: the same key for both kinds of lists. */
static void put_users(struct measure_run *run, struct json *json, bool snapshots)
{
	const struct measure_each each = {snapshots, UINT64_MAX, put_user, json};
	uint64_t omitted;

	json_key(json, snapshots ? "snapshots" : "bitmaps");
	json_begin_array(json);
	omitted = measure_each(run, &each);
	json_end_array(json);
	if (omitted > 0) {
		json_key(json, snapshots ? "snapshots-omitted" : "bitmaps-omitted");
		json_number(json, omitted);
	}
}

static void put_image(struct measure_run *run, struct json *json)
{
	struct rows rows = {.count = 0};

	json_key(json, "image");
	json_begin_object(json);
	list_image(run, &rows, true);
	put_members(json, &rows);
	put_users(run, json, true);
	put_users(run, json, false);
	json_end_object(json);
}

void measure_show_json(struct measure_run *run)
{
	struct rows rows = {.count = 0}, commit = {.count = 0};
	struct json json;

	json_init(&json, &run->out, 4, false);
	json_begin_object(&json);
	list_new(run, &rows);
	put_members(&json, &rows);
	if (run->has_image)
		put_image(run, &json);
	if (run->has_commit) {
		json_key(&json, "commit");
		json_begin_object(&json);
		json_text_member(&json, "filename", file_name(run->stack.layers[1].file));
		list_commit(run, &commit);
		put_members(&json, &commit);
		json_end_object(&json);
	}
	json_end_object(&json);
	spool_text(&run->out, "\n");
}

/* ---- for people ---- */

/* Columns of what a row is about, with the blanks in front. */
#define WORDS_END 34

/* A row in columns, behind some blanks. Words that are too long have a line of their own. */
static void put_row(struct spool *out, unsigned indent, const char *words, uint64_t bytes)
{
	const unsigned width = WORDS_END - indent, columns = text_columns(words);
	char text[HUMAN_MAX];

	spool_fill(out, ' ', indent);
	spool_text(out, words);
	if (columns > width)
		spool_print(out, "\n%*s", WORDS_END, "");
	else
		spool_fill(out, ' ', width - columns);
	spool_print(out, " %10s  %20" PRIu64 " bytes\n", human_size(bytes, text), bytes);
}

static void put_rows(struct spool *out, const struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		const struct row *row = &rows->row[i];

		if (row->bytes == QCOW2_MEASURE_TOO_LARGE)
			spool_print(out, "  %-28s larger than any file can be\n", row->words);
		else
			put_row(out, 2, row->words, row->bytes);
	}
}

/* The most snapshots, and the most bitmaps, that the page has lines for. */
#define LINES_MOST 8

static void put_line(void *opaque, const struct measure_user *user)
{
	struct spool *out = opaque;
	char name[64], id[32], words[128];

	qcow2_text_escape(human_cut(user->name, 48), name, sizeof(name));
	qcow2_text_escape(human_cut(user->id, 20), id, sizeof(id));
	if (user->is_snapshot)
		snprintf(words, sizeof(words), "snapshot %s '%s'", id, name);
	else
		snprintf(words, sizeof(words), "bitmap '%s'", name);
	put_row(out, 4, words, user->kept_bytes);
}

static void put_lines(struct measure_run *run, bool snapshots)
{
	const struct measure_each each = {snapshots, LINES_MOST, put_line, &run->out};
	const uint64_t omitted = measure_each(run, &each);

	if (omitted > 0)
		spool_print(&run->out, "    and %" PRIu64 " more %s\n", omitted,
			    snapshots ? "snapshots" : "bitmaps");
}

static void put_image_rows(struct measure_run *run)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(run->stack.layers[0].image);
	struct rows rows = {.count = 0};
	char text[HUMAN_MAX];

	list_image(run, &rows, false);
	spool_print(&run->out, "This file, clusters of %s:\n",
		    human_size(geometry->cluster_size_bytes, text));
	put_rows(&run->out, &rows);
	if (run->image.has_snapshots || run->image.has_bitmaps) {
		spool_text(&run->out, "  The active disk and one kept:\n");
		put_lines(run, true);
		put_lines(run, false);
	}
}

void measure_show_human(struct measure_run *run)
{
	struct rows rows = {.count = 0}, commit = {.count = 0};
	const struct measure_target *target = &run->target;
	char text[HUMAN_MAX], name[256];

	list_new(run, &rows);
	if (target->raw)
		spool_text(&run->out, "A raw file:\n");
	else
		spool_print(&run->out, "A new image, clusters of %s, refcounts of %u bit%s:\n",
			    human_size(UINT64_C(1) << target->numbers.cluster_bits, text),
			    target->numbers.refcount_bits,
			    target->numbers.refcount_bits == 1 ? "" : "s");
	put_rows(&run->out, &rows);
	if (run->has_image)
		put_image_rows(run);
	if (run->has_commit) {
		qcow2_text_escape(file_name(run->stack.layers[1].file), name, sizeof(name));
		spool_print(&run->out, "A commit into %s:\n", name);
		list_commit(run, &commit);
		put_rows(&run->out, &commit);
	}
	if (run->backing_left_out)
		spool_text(
			&run->out,
			"The backing file was not counted: --chain counts it, and says which size\n"
			"to give it before a commit.\n");
}
