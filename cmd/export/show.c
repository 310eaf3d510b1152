/* SPDX-License-Identifier: MIT */
/* See show.h. */
#include "export/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/disk.h"
#include "common/report.h"
#include "export/run.h"
#include "export/verify.h"
#include "out/human.h"

/* The most ranges that people are shown. */
#define LINES_MOST 20

void export_faults_show(struct json *json, const struct export_faults *faults)
{
	json_key(json, "unreadable");
	json_begin_array(json);
	for (size_t i = 0; i < faults->count; i++) {
		const struct export_fault *fault = &faults->list[i];

		json_begin_line_object(json);
		json_number_member(json, "start", fault->start_bytes);
		json_number_member(json, "length", fault->length_bytes);
		json_number_member(json, "depth", fault->depth);
		if (fault->problem != QCOW2_PROBLEM_NONE) {
			json_key(json, "problem");
			json_text(json, qcow2_problem_kind_get(fault->problem)->id);
		}
		json_key(json, "reason");
		json_text(json, fault->text);
		json_end_object(json);
	}
	json_end_array(json);
	if (faults->omitted > 0)
		json_number_member(json, "unreadable-omitted", faults->omitted);
}

/* ---- an export ---- */

/* Says on standard error what could not be read. */
static void tell_faults(const struct export_run *run)
{
	const struct export_faults *faults = &run->faults;
	const size_t shown = faults->count < LINES_MOST ? faults->count : LINES_MOST;
	char text[512];

	for (size_t i = 0; i < shown; i++) {
		const struct export_fault *fault = &faults->list[i];

		snprintf(text, sizeof(text),
			 "%" PRIu64 " bytes at 0x%" PRIx64 " of the disk are zeros instead: %.300s",
			 fault->length_bytes, fault->start_bytes, fault->text);
		report_text(run->command, disk_path(&run->disk, fault->depth), text);
	}
	if (faults->count + faults->omitted > shown) {
		snprintf(text, sizeof(text), "and %" PRIu64 " more ranges; --json lists them",
			 (uint64_t)(faults->count - shown) + faults->omitted);
		report_text(run->command, run->file, text);
	}
}

static void put_document(struct spool *out, const struct export_run *run)
{
	struct json json;

	json_init(&json, out, 2, false);
	json_begin_object(&json);
	json_number_member(&json, "virtual-size", run->size_bytes);
	json_number_member(&json, "exported", run->data_bytes + run->zero_bytes);
	json_number_member(&json, "data", run->data_bytes);
	json_number_member(&json, "zero", run->zero_bytes);
	export_faults_show(&json, &run->faults);
	json_end_object(&json);
	spool_text(out, "\n");
}

static void put_line(struct spool *out, const struct export_run *run)
{
	char data[HUMAN_MAX], zeros[HUMAN_MAX], all[HUMAN_MAX];

	spool_print(out, "%s of data and %s of zeros exported, of a disk of %s\n",
		    human_size(run->data_bytes, data), human_size(run->zero_bytes, zeros),
		    human_size(run->size_bytes, all));
}

int export_show(struct export_run *run)
{
	int code = run->faults.bytes > 0 ? EXIT_MALFORMED : EXIT_FINE;
	struct spool out;

	tell_faults(run);
	if (run->target.kind == EXPORT_TO_OUTPUT)
		return code;
	spool_init(&out, STDOUT_FILENO);
	if (run->json)
		put_document(&out, run);
	else
		put_line(&out, run);
	code = finish_output(run->command, &out, code);
	spool_release(&out);
	return code;
}

/* ---- a comparison with manifests ---- */

static void put_verified(struct spool *out, const struct export_verified *found)
{
	struct json json;

	json_init(&json, out, 2, false);
	json_begin_object(&json);
	json_number_member(&json, "proven", found->proven_bytes);
	json_number_member(&json, "unproven", found->unproven_bytes);
	json_number_member(&json, "different", found->different_bytes);
	json_key(&json, "differences");
	json_begin_array(&json);
	for (size_t i = 0; i < found->difference_count; i++) {
		json_begin_line_object(&json);
		json_number_member(&json, "start", found->differences[i].start_bytes);
		json_number_member(&json, "length", found->differences[i].length_bytes);
		json_end_object(&json);
	}
	json_end_array(&json);
	if (found->omitted > 0)
		json_number_member(&json, "differences-omitted", found->omitted);
	json_key(&json, "unreadable");
	json_begin_array(&json);
	for (size_t i = 0; i < found->unreadable_count; i++) {
		json_begin_line_object(&json);
		json_number_member(&json, "start", found->unreadable[i].start_bytes);
		json_number_member(&json, "length", found->unreadable[i].length_bytes);
		json_end_object(&json);
	}
	json_end_array(&json);
	if (found->unreadable_omitted > 0)
		json_number_member(&json, "unreadable-omitted", found->unreadable_omitted);
	json_end_object(&json);
	spool_text(out, "\n");
}

static void put_verified_lines(struct spool *out, const struct export_verified *found)
{
	char text[HUMAN_MAX];

	for (size_t i = 0; i < found->difference_count; i++)
		spool_print(out, "%" PRIu64 " %" PRIu64 " differs\n",
			    found->differences[i].start_bytes, found->differences[i].length_bytes);
	for (size_t i = 0; i < found->unreadable_count; i++)
		spool_print(out, "%" PRIu64 " %" PRIu64 " unreadable\n",
			    found->unreadable[i].start_bytes, found->unreadable[i].length_bytes);
	spool_print(out, "%s as exported", human_size(found->proven_bytes, text));
	if (found->different_bytes > 0)
		spool_print(out, ", %s different", human_size(found->different_bytes, text));
	if (found->unproven_bytes > 0)
		spool_print(out, ", %s not compared", human_size(found->unproven_bytes, text));
	spool_text(out, "\n");
}

int export_show_verified(struct export_run *run, const char *file,
			 const struct export_verified *found)
{
	int code = EXIT_FINE;
	struct spool out;

	if (found->different_bytes > 0) {
		report_text(run->command, file, "it is not what was exported");
		code = EXIT_MALFORMED;
	}
	if (found->unreadable_count > 0 || found->unreadable_omitted > 0) {
		report_text(run->command, file,
			    "some of it could not be read when it was exported, and is zeros "
			    "instead");
		code = EXIT_MALFORMED;
	}
	if (found->unproven_bytes > 0 && !wants_silence(run->command))
		report_text(run->command, file,
			    "not all of it was compared: no manifest has a digest of the rest; "
			    "'qcow2 compare' proves all");
	spool_init(&out, STDOUT_FILENO);
	if (run->json)
		put_verified(&out, found);
	else
		put_verified_lines(&out, found);
	code = finish_output(run->command, &out, code);
	spool_release(&out);
	return code;
}
