/* SPDX-License-Identifier: MIT */
/* Answers --guest: the range on one disk, or on all of them. */
#include <inttypes.h>
#include <stdio.h>

#include "locate/run.h"

static int fail_past_end(const struct locate_run *run, uint64_t size, struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text),
		 "guest offset 0x%" PRIx64 " is past the end of the disk, which has 0x%" PRIx64
		 " (%" PRIu64 ") bytes",
		 run->range.start, size, size);
	return -1;
}

static void show_further(struct locate_run *run, const struct qcow2_path *path,
			 const uint64_t *snapshot)
{
	run->parts_left--;
	if (!run->as_json) {
		locate_path_text(run, path, snapshot);
		return;
	}
	json_begin_object(&run->json);
	locate_path_json(run, path, snapshot);
	json_end_object(&run->json);
}

/*
 * Shows the range. The members of its first part are those of the JSON object that is open; the
 * other parts are a list in it. *found is whether the disk has the range at all.
 */
static int show_parts(struct locate_run *run, struct qcow2_paths *paths, const uint64_t *snapshot,
		      bool *found, struct qcow2_error *err)
{
	const uint64_t size = qcow2_paths_size_bytes(paths), start = run->range.start;
	uint64_t end = start + (run->range.length - 1), rest = UINT64_MAX;
	const struct qcow2_path *path;
	int more;

	if (start < size && end >= size)
		end = size - 1;
	qcow2_paths_seek(paths, (struct qcow2_guest){run->range.start}, run->range.length);
	more = qcow2_paths_next(paths, &path, err);
	*found = more > 0;
	if (more <= 0)
		return more;
	if (run->as_json)
		locate_path_json(run, path, snapshot);
	else
		locate_path_text(run, path, snapshot);
	if (run->as_json && run->range.has_length) {
		json_key(&run->json, "more");
		json_begin_array(&run->json);
	}
	while ((more = qcow2_paths_next(paths, &path, err)) > 0 && run->out.errnum == 0) {
		rest = path->extent->start.byte;
		if (run->parts_left == 0)
			break;
		show_further(run, path, snapshot);
	}
	if (run->as_json && run->range.has_length)
		json_end_array(&run->json);
	if (more > 0 && run->parts_left == 0)
		locate_rest(run, "guest", rest, end + 1);
	return more < 0 ? -1 : 0;
}

/* A disk that ends before the range. */
static void show_nothing(struct locate_run *run, uint64_t index)
{
	struct json *json = &run->json;
	char list[48];

	if (!run->as_json) {
		spool_print(&run->out, "guest 0x%" PRIx64 " in %s: past the end of the disk\n",
			    run->range.start, locate_list("l1", &index, list, sizeof(list)));
		return;
	}
	json_key(json, "guest");
	json_number(json, run->range.start);
	json_key(json, "host");
	json_null(json);
	json_key(json, "kind");
	json_text(json, "past-end");
	json_key(json, "path");
	json_begin_array(json);
	json_end_array(json);
	locate_json_refcount(json, NULL);
	locate_json_snapshot(run, index);
}

/* Shows the range on one disk. snapshot is NULL for the active one. */
static int show_disk(struct locate_run *run, const struct qcow2_snapshot *snapshot, bool *found,
		     uint64_t *size, struct qcow2_error *err)
{
	const uint64_t index = snapshot ? snapshot->index : 0;
	struct qcow2_paths *paths;
	int result;

	if (qcow2_paths_open(run->image, snapshot, &paths, err))
		return -1;
	*size = qcow2_paths_size_bytes(paths);
	result = show_parts(run, paths, snapshot ? &index : NULL, found, err);
	qcow2_paths_close(paths);
	return result;
}

/* Shows the range in a snapshot, as an element of a list. */
static int show_snapshot(struct locate_run *run, const struct qcow2_snapshot *snapshot,
			 struct qcow2_error *err)
{
	uint64_t size;
	bool found = false;

	if (run->as_json)
		json_begin_object(&run->json);
	else
		spool_text(&run->out, "\n");
	if (show_disk(run, snapshot, &found, &size, err))
		return -1;
	if (!found)
		show_nothing(run, snapshot->index);
	if (run->as_json)
		json_end_object(&run->json);
	return 0;
}

/* A snapshot whose entry is cut has no disk to look at, and a table that is not there has none. */
static int show_snapshots(struct locate_run *run, struct qcow2_error *err)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	int more = 1, result = 0;

	if (qcow2_snapshots_open(run->image, &snapshots, err))
		return err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	while (result == 0 && run->out.errnum == 0) {
		more = qcow2_snapshots_next(snapshots, &snapshot, err);
		if (more <= 0 || snapshot->cut)
			break;
		result = show_snapshot(run, snapshot, err);
	}
	qcow2_snapshots_close(snapshots);
	return more < 0 ? -1 : result;
}

/* Shows the range in the snapshot that was asked for. */
static int show_one_snapshot(struct locate_run *run, bool *found, uint64_t *size,
			     struct qcow2_error *err)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	int result;

	if (qcow2_snapshots_open(run->image, &snapshots, err))
		return -1;
	do {
		result = qcow2_snapshots_next(snapshots, &snapshot, err);
	} while (result > 0 && snapshot->index < run->snapshot_index);
	/* It was there a moment ago. */
	result = result > 0 ? show_disk(run, snapshot, found, size, err) : -1;
	qcow2_snapshots_close(snapshots);
	return result;
}

static int show_all_snapshots(struct locate_run *run, struct qcow2_error *err)
{
	if (run->as_json) {
		json_key(&run->json, "snapshots");
		json_begin_array(&run->json);
	}
	if (show_snapshots(run, err))
		return -1;
	if (run->as_json)
		json_end_array(&run->json);
	return 0;
}

int locate_guest(struct locate_run *run, struct qcow2_error *err)
{
	uint64_t size = 0;
	bool found = false;

	if (run->as_json)
		json_begin_object(&run->json);
	if (run->snapshot ? show_one_snapshot(run, &found, &size, err)
			  : show_disk(run, NULL, &found, &size, err))
		return -1;
	if (!found)
		return fail_past_end(run, size, err);
	if (run->all_snapshots && show_all_snapshots(run, err))
		return -1;
	if (run->as_json)
		json_end_object(&run->json);
	return 0;
}
