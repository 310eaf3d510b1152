/* SPDX-License-Identifier: MIT */
/* The pages of one path: the entries that lead from a guest offset to the file. */
#include <inttypes.h>
#include <stdio.h>

#include "locate/run.h"

#include <qcow2/text.h>

/* ---- JSON ---- */

static void json_offset(struct json *json, const char *key, uint64_t offset)
{
	json_key(json, key);
	if (offset == QCOW2_NO_OFFSET)
		json_null(json);
	else
		json_number(json, offset);
}

static void json_flag(struct json *json, const char *key, bool flag)
{
	json_key(json, key);
	json_bool(json, flag);
}

static void json_l1(struct json *json, const struct qcow2_path *path, const uint64_t *snapshot)
{
	char list[48], where[80];

	snprintf(where, sizeof(where), "%s/%" PRIu64,
		 locate_list("l1", snapshot, list, sizeof(list)), path->l1_index);
	locate_json_entry(json, where, path->l1_entry_at.byte, path->l1_entry);
	json_offset(json, "l2-table", path->l2_table.byte);
	json_flag(json, "copied", (path->l1_entry & QCOW2_ENTRY_MASK(l1_entry, copied)) != 0);
	json_end_object(json);
}

static uint64_t cluster_of(const struct qcow2_geometry *geometry, uint64_t entry)
{
	if (qcow2_l2_is_compressed(entry))
		return qcow2_compressed_split(entry, geometry->cluster_bits).offset_bytes;
	return qcow2_l2_has_offset(entry, geometry->data_file)
		       ? entry & QCOW2_ENTRY_MASK(l2_entry, offset)
		       : QCOW2_NO_OFFSET;
}

static void json_l2(struct json *json, const struct qcow2_path *path, const uint64_t *snapshot,
		    const struct qcow2_geometry *geometry)
{
	const struct qcow2_mapping_extent *extent = path->extent;
	const bool compressed = qcow2_l2_is_compressed(extent->entry);
	char list[48], where[104];

	snprintf(where, sizeof(where), "%s/%" PRIu64 "/%" PRIu64,
		 locate_list("l2", snapshot, list, sizeof(list)), path->l1_index, path->l2_index);
	locate_json_entry(json, where,
			  path->l2_table.byte + path->l2_index * geometry->l2_entry_bytes,
			  extent->entry);
	if (geometry->extended_l2) {
		json_key(json, "subclusters");
		json_number(json, extent->subclusters);
		json_hex_member(json, "subclusters-hex", extent->subclusters);
		json_key(json, "subcluster");
		json_number(json, path->subcluster);
	}
	json_offset(json, compressed ? "data" : "cluster", cluster_of(geometry, extent->entry));
	json_flag(json, "copied", (extent->entry & QCOW2_ENTRY_MASK(l2_entry, copied)) != 0);
	json_flag(json, "compressed", compressed);
	json_flag(json, "zero",
		  !compressed && (extent->entry & QCOW2_ENTRY_MASK(l2_entry, zero)) != 0);
	json_end_object(json);
}

static void json_place(struct json *json, const struct qcow2_path *path,
		       const struct qcow2_geometry *geometry)
{
	const struct qcow2_mapping_extent *extent = path->extent;

	json_offset(json, "host", extent->host.byte);
	if (extent->kind == QCOW2_L2_COMPRESSED) {
		json_key(json, "host-length");
		json_number(json, extent->host_bytes);
	}
	if (extent->host.byte != QCOW2_NO_OFFSET && geometry->data_file)
		json_flag(json, "data-file", true);
	json_key(json, "kind");
	json_text(json, qcow2_l2_kind_name(extent->kind));
	if (extent->problem != QCOW2_PROBLEM_NONE) {
		json_key(json, "problem");
		json_text(json, qcow2_problem_kind_get(extent->problem)->id);
	}
	if (path->past_end)
		json_flag(json, "past-end", true);
}

void locate_path_json(struct locate_run *run, const struct qcow2_path *path,
		      const uint64_t *snapshot)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(run->image);
	struct json *json = &run->json;

	json_key(json, "guest");
	json_number(json, path->extent->start.byte);
	json_key(json, "length");
	json_number(json, path->extent->length_bytes);
	json_place(json, path, geometry);
	json_key(json, "path");
	json_begin_array(json);
	if (path->l1_entry_at.byte != QCOW2_NO_OFFSET)
		json_l1(json, path, snapshot);
	if (path->l2_table.byte != QCOW2_NO_OFFSET)
		json_l2(json, path, snapshot, geometry);
	json_end_array(json);
	locate_json_refcount(json, path->refcount);
	if (snapshot)
		locate_json_snapshot(run, *snapshot);
}

/* ---- text ---- */

static void text_kind(struct locate_run *run, const struct qcow2_path *path,
		      const uint64_t *snapshot)
{
	const struct qcow2_mapping_extent *extent = path->extent;
	struct spool *out = &run->line;

	spool_text(out, "guest ");
	locate_print_offset(out, extent->start.byte);
	if (extent->length_bytes > 1)
		spool_print(out, " + %" PRIu64, extent->length_bytes);
	if (snapshot)
		locate_print_snapshot(run, " in ", *snapshot);
	spool_print(out, ": %s%s", qcow2_l2_kind_name(extent->kind),
		    path->past_end ? ", past the end of the disk" : "");
	if (extent->problem != QCOW2_PROBLEM_NONE)
		spool_print(out, " (%s)", qcow2_problem_kind_get(extent->problem)->id);
	locate_heading(run);
}

static void text_row(struct locate_run *run, const char *name, const char *text)
{
	spool_text(&run->line, text);
	locate_row(run, name);
}

static void text_l1(struct locate_run *run, const struct qcow2_path *path, const uint64_t *snapshot)
{
	char list[48], where[80], text[160], table[64];

	snprintf(where, sizeof(where), "%s/%" PRIu64,
		 locate_list("l1", snapshot, list, sizeof(list)), path->l1_index);
	if (path->l2_table.byte != QCOW2_NO_OFFSET)
		snprintf(table, sizeof(table), "L2 table at 0x%" PRIx64, path->l2_table.byte);
	else
		snprintf(table, sizeof(table), "no L2 table");
	snprintf(text, sizeof(text), "0x%" PRIx64 " at 0x%" PRIx64 ": %s%s", path->l1_entry,
		 path->l1_entry_at.byte, table,
		 path->l1_entry & QCOW2_ENTRY_MASK(l1_entry, copied) ? ", copied" : "");
	text_row(run, where, text);
}

/* What the bits of an L2 entry say. */
static void describe_l2(const struct qcow2_path *path, const struct qcow2_geometry *geometry,
			char *text, size_t size)
{
	const uint64_t entry = path->extent->entry, cluster = cluster_of(geometry, entry);
	const bool compressed = qcow2_l2_is_compressed(entry);
	const char *what = compressed ? "compressed data at" : "cluster at";
	size_t at;

	if (cluster == QCOW2_NO_OFFSET)
		at = (size_t)snprintf(text, size, "no cluster");
	else
		at = (size_t)snprintf(text, size, "%s 0x%" PRIx64, what, cluster);
	at += (size_t)snprintf(text + at, size - at, "%s%s",
			       entry & QCOW2_ENTRY_MASK(l2_entry, copied) ? ", copied" : "",
			       !compressed && (entry & QCOW2_ENTRY_MASK(l2_entry, zero)) ? ", zero"
											 : "");
	if (geometry->extended_l2)
		snprintf(text + at, size - at, ", subcluster %u of 0x%016" PRIx64, path->subcluster,
			 path->extent->subclusters);
}

static void text_l2(struct locate_run *run, const struct qcow2_path *path, const uint64_t *snapshot,
		    const struct qcow2_geometry *geometry)
{
	char list[48], where[104], what[160], text[256];

	snprintf(where, sizeof(where), "%s/%" PRIu64 "/%" PRIu64,
		 locate_list("l2", snapshot, list, sizeof(list)), path->l1_index, path->l2_index);
	describe_l2(path, geometry, what, sizeof(what));
	snprintf(text, sizeof(text), "0x%" PRIx64 " at 0x%" PRIx64 ": %s", path->extent->entry,
		 path->l2_table.byte + path->l2_index * geometry->l2_entry_bytes, what);
	text_row(run, where, text);
}

static void text_host(struct locate_run *run, const struct qcow2_path *path,
		      const struct qcow2_geometry *geometry)
{
	const struct qcow2_mapping_extent *extent = path->extent;
	struct spool *out = &run->line;

	if (extent->host.byte == QCOW2_NO_OFFSET) {
		text_row(run, "host", "none");
		return;
	}
	locate_print_offset(out, extent->host.byte);
	if (extent->kind == QCOW2_L2_COMPRESSED)
		spool_print(out, ", %" PRIu64 " compressed bytes", extent->host_bytes);
	spool_text(out, geometry->data_file ? " of the data file" : "");
	locate_row(run, "host");
}

void locate_path_text(struct locate_run *run, const struct qcow2_path *path,
		      const uint64_t *snapshot)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(run->image);

	text_kind(run, path, snapshot);
	if (path->l1_entry_at.byte == QCOW2_NO_OFFSET)
		text_row(run, "l1", "the L1 table does not reach here");
	else
		text_l1(run, path, snapshot);
	if (path->l2_table.byte != QCOW2_NO_OFFSET)
		text_l2(run, path, snapshot, geometry);
	text_host(run, path, geometry);
	if (path->refcount) {
		locate_print_refcount(&run->line, path->refcount);
		locate_row(run, "refcount");
	}
}
