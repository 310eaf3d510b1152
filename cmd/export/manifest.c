/* SPDX-License-Identifier: MIT */
/* Writes manifests. See manifest.h. */
#include "export/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/read_file.h"
#include "common/report.h"
#include "export/piece.h"
#include "export/run.h"
#include "export/show.h"

/* ---- opening ---- */

static int fail(const struct export_run *run, const char *what, int errnum)
{
	char text[256];

	snprintf(text, sizeof(text), "%s%s%s", what, errnum ? ": " : "",
		 errnum ? strerror(errnum) : "");
	return report_text(run->command, run->manifest, text);
}

/* Whether what is there is a manifest, and if so, its head. */
static bool is_manifest(const char *path, struct export_record *head)
{
	struct export_record record = {0};
	struct qcow2_error err;
	uint8_t *bytes = NULL;
	size_t size;
	bool is;

	is = read_whole_file(path, EXPORT_MANIFEST_BYTES_MOST, &bytes, &size, &err) == 0 &&
	     export_record_read(&record, (struct qcow2_bytes){bytes, size}, &err) == 0;
	*head = record;
	export_record_free(&record);
	free(bytes);
	return is;
}

/*
 * Nothing but a manifest is replaced: not the image, its passphrase or the disk of a machine, which
 * a slip of the finger may name. One of an export that was cut off needs no --force.
 */
static int look_at_old(struct export_manifest *manifest, const struct export_run *run)
{
	struct export_record old;
	struct stat st;

	manifest->replaces = run->force;
	manifest->target_bytes = run->target.size_bytes;
	if (stat(run->manifest, &st))
		return EXIT_FINE;
	if (!S_ISREG(st.st_mode) || !is_manifest(run->manifest, &old))
		return fail(run, "it exists already, and is no manifest: it is not replaced", 0);
	if (old.is_complete && !run->force)
		return fail(run, "it exists already: --force replaces it", 0);
	if (!old.is_complete && old.has_target_bytes && old.target_bytes < manifest->target_bytes)
		manifest->target_bytes = old.target_bytes;
	manifest->replaces = true;
	return EXIT_FINE;
}

int export_manifest_open(struct export_manifest *manifest, const struct export_run *run)
{
	int errnum;

	*manifest = (struct export_manifest){0};
	spool_init(&manifest->out, -1);
	if (look_at_old(manifest, run) != EXIT_FINE)
		return EXIT_COULD_NOT;
	errnum = new_name_make(&manifest->whole, run->manifest);
	if (errnum == 0 && new_name_is_same(&manifest->whole, &run->target.name))
		return fail(run, "the disk goes there: the manifest needs a file of its own", 0);
	if (errnum == 0 && run->target.kind == EXPORT_IN_PLACE)
		errnum = new_name_make(&manifest->in_progress, run->manifest);
	if (errnum)
		return fail(run, "cannot make a file beside it", errnum);
	spool_release(&manifest->out);
	spool_init(&manifest->out, manifest->whole.fd);
	return EXIT_FINE;
}

void export_manifest_close(struct export_manifest *manifest)
{
	new_name_drop(&manifest->in_progress);
	new_name_drop(&manifest->whole);
	spool_release(&manifest->out);
}

/* ---- the document ---- */

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static void put_what(struct json *json, const struct export_run *run)
{
	json_key(json, "bitmaps");
	json_begin_array(json);
	for (size_t i = 0; i < run->bitmap_count; i++) {
		json_begin_line_object(json);
		json_text_member(json, "name", bytes_of(run->bitmaps[i]));
		json_end_object(json);
	}
	json_end_array(json);
	json_key(json, "listed-ranges");
	json_bool(json, run->what == EXPORT_RANGES);
}

/* All but the ranges. */
static void put_head(struct json *json, const struct export_run *run, bool is_complete)
{
	json_begin_object(json);
	json_key(json, "format");
	json_text(json, EXPORT_MANIFEST_FORMAT);
	json_number_member(json, "format-version", EXPORT_MANIFEST_VERSION);
	json_key(json, "state");
	json_text(json, is_complete ? "complete" : "in progress");
	json_key(json, "tool");
	json_text(json, "qcow2 " QCOW2_UTILS_VERSION);
	json_text_member(json, "image", bytes_of(run->file));
	if (run->snapshot)
		json_text_member(json, "snapshot", bytes_of(run->snapshot));
	json_key(json, "chain");
	json_bool(json, run->chain);
	json_text_member(json, "target", bytes_of(run->to));
	json_number_member(json, "virtual-size", run->size_bytes);
	if (!is_complete && !run->target.is_device)
		json_number_member(json, "target-size", run->records->target_bytes);
	put_what(json, run);
	json_key(json, "ranges");
	json_begin_array(json);
}

static int write_in_progress(struct export_manifest *manifest, const struct export_run *run)
{
	struct spool out;
	struct json json;
	int errnum = 0;

	spool_init(&out, manifest->in_progress.fd);
	json_init(&json, &out, 2, false);
	put_head(&json, run, false);
	json_end_array(&json);
	json_end_object(&json);
	spool_text(&out, "\n");
	if (!spool_finish(&out))
		errnum = out.errnum;
	spool_release(&out);
	return errnum ? errnum : new_name_give(&manifest->in_progress, manifest->replaces, true);
}

int export_manifest_begin(struct export_manifest *manifest, const struct export_run *run)
{
	int errnum = 0;

	if (run->target.kind == EXPORT_IN_PLACE) {
		errnum = write_in_progress(manifest, run);
		new_name_follows(&manifest->whole, &manifest->in_progress);
	}
	json_init(&manifest->json, &manifest->out, 2, false);
	put_head(&manifest->json, run, true);
	return errnum;
}

/* ---- ranges ---- */

static void put_zeros(struct export_manifest *manifest)
{
	struct json *json = &manifest->json;

	if (manifest->zeros.length_bytes == 0)
		return;
	json_begin_line_object(json);
	json_number_member(json, "start", manifest->zeros.start_bytes);
	json_number_member(json, "length", manifest->zeros.length_bytes);
	json_key(json, "zero");
	json_bool(json, true);
	json_end_object(json);
	manifest->zeros.length_bytes = 0;
}

static void add_zeros(struct export_manifest *manifest, const struct export_piece *piece)
{
	struct export_range *zeros = &manifest->zeros;

	if (zeros->length_bytes > 0 &&
	    zeros->start_bytes + zeros->length_bytes == piece->start_bytes) {
		zeros->length_bytes += piece->length_bytes;
		return;
	}
	put_zeros(manifest);
	*zeros = (struct export_range){piece->start_bytes, piece->length_bytes};
}

int export_manifest_add(struct export_manifest *manifest, const struct export_piece *piece)
{
	struct json *json = &manifest->json;

	if (piece->is_zero) {
		add_zeros(manifest, piece);
		return manifest->out.errnum;
	}
	put_zeros(manifest);
	json_begin_line_object(json);
	json_number_member(json, "start", piece->start_bytes);
	json_number_member(json, "length", piece->length_bytes);
	json_key(json, "sha256");
	json_hex(json, (struct qcow2_bytes){piece->digest, sizeof(piece->digest)});
	json_end_object(json);
	return manifest->out.errnum;
}

/* The name of the manifest may be taken by the one that says that this export is in progress. */
int export_manifest_finish(struct export_manifest *manifest, const struct export_run *run)
{
	struct json *json = &manifest->json;

	put_zeros(manifest);
	json_end_array(json);
	export_faults_show(json, &run->faults);
	json_end_object(json);
	spool_text(&manifest->out, "\n");
	if (!spool_finish(&manifest->out))
		return manifest->out.errnum;
	return new_name_give(&manifest->whole,
			     manifest->replaces || run->target.kind == EXPORT_IN_PLACE,
			     !run->no_sync);
}
