/* SPDX-License-Identifier: MIT */
/* The layout for programs: one document, whose runs are written while they are found. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "layout/layout.h"
#include "out/json.h"

/* The most snapshots and bitmaps whose sizes are listed; qcow2 measure has more to say of them. */
#define KEPT_MOST 256
/* How many users these may be compared with in all: each takes a look at all others. */
#define LOOKS_MOST (UINT64_C(1) << 20)

static void add_run(struct json *json, const struct qcow2_usage_run *run)
{
	char where[QCOW2_CLAIM_WHERE_MAX];

	json_begin_line_object(json);
	json_number_member(json, "start", run->start.byte);
	json_number_member(json, "length", run->length_bytes);
	json_key(json, "kind");
	json_text(json, qcow2_usage_kind_name(run->kind));
	json_key(json, "where");
	if (run->owner)
		json_text(json, qcow2_claim_where(run->owner, where, sizeof(where)));
	else
		json_null(json);
	if (run->hole_bytes > 0)
		json_number_member(json, "hole-bytes", run->hole_bytes);
	json_end_object(json);
}

static int add_runs(struct json *json, struct layout *layout, struct qcow2_error *err)
{
	const struct qcow2_usage_run *run;
	int more;

	json_key(json, "runs");
	json_begin_array(json);
	while ((more = qcow2_usage_next(layout->usage, &run, err)) > 0 && json->out->errnum == 0)
		add_run(json, run);
	json_end_array(json);
	return more < 0 ? -1 : 0;
}

static void add_totals(struct json *json, const struct layout *layout)
{
	json_key(json, "totals");
	json_begin_object(json);
	for (unsigned kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
		json_number_member(
			json, qcow2_usage_kind_name((enum qcow2_usage_kind)kind),
			qcow2_usage_total_of(layout->usage, (enum qcow2_usage_kind)kind)->bytes);
	json_end_object(json);
	json_key(json, "holes");
	json_begin_object(json);
	for (unsigned kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
		json_number_member(json, qcow2_usage_kind_name((enum qcow2_usage_kind)kind),
				   qcow2_usage_total_of(layout->usage, (enum qcow2_usage_kind)kind)
					   ->hole_bytes);
	json_end_object(json);
}

static void add_space(struct json *json, const struct layout *layout)
{
	struct layout_gain gain;

	json_key(json, "space");
	json_begin_object(json);
	for (unsigned place = 0; place < LAYOUT_PLACES; place++) {
		layout_space_gain(layout, (enum layout_place)place, &gain);
		json_key(json, gain.name);
		json_begin_object(json);
		json_key(json, "bytes");
		if (gain.known)
			json_number(json, gain.bytes);
		else
			json_null(json);
		json_key(json, "command");
		if (gain.command[0])
			json_text(json, gain.command);
		else
			json_null(json);
		json_end_object(json);
	}
	json_end_object(json);
}

static void add_fragmentation(struct json *json, const struct layout *layout)
{
	const struct qcow2_fragmentation *found = &layout->fragmentation;

	json_key(json, "fragmentation");
	if (!layout->has_fragmentation) {
		json_null(json);
		return;
	}
	json_begin_object(json);
	json_number_member(json, "data-bytes", found->data_bytes);
	json_number_member(json, "runs", found->runs);
	json_number_member(json, "longest-bytes", found->longest_bytes);
	json_number_member(json, "seeks", found->seeks);
	json_number_member(json, "seek-bytes", found->seek_bytes);
	json_number_member(json, "compressed-clusters", found->compressed_clusters);
	json_end_object(json);
}

static void add_size(struct json *json, const char *key, uint64_t bytes)
{
	json_key(json, key);
	if (bytes != QCOW2_MEASURE_TOO_LARGE)
		json_number(json, bytes);
	else
		json_null(json);
}

/* The size of the file with each snapshot or bitmap kept, for the first ones. */
static int add_kept(struct json *json, const struct layout *layout, struct qcow2_error *err)
{
	const uint64_t count = qcow2_usage_user_count(layout->usage);
	const struct qcow2_usage_user *user;
	const uint64_t fewer = count > 0 ? LOOKS_MOST / count : 0;
	const uint64_t most = fewer < KEPT_MOST ? fewer : KEPT_MOST;
	uint64_t bytes;
	char where[64];

	json_key(json, "kept");
	json_begin_array(json);
	for (uint64_t i = 1; i < count && i <= most; i++) {
		user = qcow2_usage_user_at(layout->usage, i);
		if (qcow2_measure_kept(layout->image, layout->usage, i, &bytes, err))
			return -1;
		snprintf(where, sizeof(where), "%s/%" PRIu64,
			 user->part_of == QCOW2_PART_OF_SNAPSHOT ? "snapshots" : "bitmaps",
			 user->index);
		json_begin_line_object(json);
		json_key(json, "where");
		json_text(json, where);
		add_size(json, "size", bytes);
		json_end_object(json);
	}
	json_end_array(json);
	if (count > most + 1)
		json_number_member(json, "kept-omitted", count - 1 - most);
	return 0;
}

/* The keys are those of qcow2 measure. */
static int add_measure(struct json *json, const struct layout *layout, struct qcow2_error *err)
{
	const struct qcow2_measure_image *size = &layout->measure;

	json_key(json, "measure");
	if (!layout->has_measure) {
		json_null(json);
		return 0;
	}
	json_begin_object(json);
	add_size(json, "smallest", size->smallest_bytes);
	if (size->has_compressed)
		add_size(json, "smallest-compressed", size->smallest_compressed_bytes);
	add_size(json, "with-snapshots", size->with_snapshots_bytes);
	add_size(json, "with-bitmaps", size->with_bitmaps_bytes);
	add_size(json, "with-all", size->with_all_bytes);
	add_size(json, "fully-allocated", size->fully_allocated_bytes);
	add_size(json, "largest", size->largest_bytes);
	if (qcow2_image_backing_name(layout->image).size > 0)
		add_size(json, "commit-growth", size->commit_growth_bytes);
	if (add_kept(json, layout, err))
		return -1;
	json_end_object(json);
	return 0;
}

/* The name of the file that the guest's data is in, if that is another one. */
static void add_data_file(struct json *json, const struct layout *layout)
{
	struct qcow2_bytes name = {0};

	if (!qcow2_image_geometry(layout->image)->data_file)
		return;
	if (qcow2_image_find_extension(layout->named, QCOW2_EXTENSION_DATA_FILE, &name)) {
		json_text_member(json, "data-file", name);
		return;
	}
	json_key(json, "data-file");
	json_null(json);
}

int layout_add_facts(struct json *json, const struct layout *layout, struct qcow2_error *err)
{
	json_key(json, "filename");
	json_bytes_as_text(
		json, (struct qcow2_bytes){(const uint8_t *)layout->file, strlen(layout->file)});
	add_data_file(json, layout);
	json_number_member(json, "file-size", qcow2_usage_file_size_bytes(layout->usage));
	json_number_member(json, "cluster-size",
			   qcow2_image_geometry(layout->image)->cluster_size_bytes);
	json_number_member(json, "end", qcow2_usage_end_bytes(layout->usage));
	add_totals(json, layout);
	add_space(json, layout);
	add_fragmentation(json, layout);
	return add_measure(json, layout, err);
}

int layout_show_json(struct layout *layout, struct qcow2_error *err)
{
	struct json json;

	json_init(&json, &layout->out, 2, false);
	json_begin_object(&json);
	if (layout_add_facts(&json, layout, err) || add_runs(&json, layout, err))
		return -1;
	json_end_object(&json);
	spool_text(&layout->out, "\n");
	return 0;
}
