/* SPDX-License-Identifier: MIT */
/* qcow2 undo with one undo file: shows what it holds, or puts it back. */
#include "undo/one.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/hex_diff.h"
#include "common/open_image.h"
#include "common/report.h"
#include "common/undo_place.h"
#include "out/human.h"
#include "undo/find.h"
#include "undo/now.h"
#include "undo/pages.h"

#include <qcow2/text.h>

/* One undo file, and the others of its image that are known. */
struct one {
	struct undo_run *run;
	const char *file;
	struct qcow2_undo *undo;
	struct qcow2_undo_info info;
	char path[8193]; /* of the image, as the undo file has it */
	const char *image;
	struct undo_list others;
	struct qcow2_undo_result result;
};

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static void show_text(struct spool *out, const char *label, struct qcow2_bytes text)
{
	char safe[16384];

	qcow2_text_escape(text, safe, sizeof(safe));
	spool_print(out, "%s%s\n", label, safe);
}

/* ---- what one undo file holds ---- */

static int show_pieces(struct one *one)
{
	const struct qcow2_undo_piece *piece;
	struct qcow2_error err;
	struct undo_run *run = one->run;

	for (uint64_t i = 0; i < one->info.pieces; i++) {
		if (qcow2_undo_at(one->undo, i, &piece, &err))
			return report_error(run->command, one->file, &err);
		if (run->as_json) {
			json_begin_object(&run->json);
			json_key(&run->json, "offset");
			json_number(&run->json, piece->offset_bytes);
			json_key(&run->json, "old");
			json_hex(&run->json, piece->old_bytes);
			json_key(&run->json, "new");
			json_hex(&run->json, piece->new_bytes);
			json_end_object(&run->json);
		} else {
			/* An undo replaces the new bytes with the old ones. */
			hex_diff_show(&run->out, piece->offset_bytes, piece->new_bytes,
				      piece->old_bytes, wants_colour(run->command));
		}
	}
	return EXIT_FINE;
}

/* Returns the index of the undo file in the list; UNDO_NO_ENTRY if it could not be kept there. */
static size_t own_index(const struct one *one)
{
	struct stat st;

	if (stat(one->file, &st) < 0)
		return UNDO_NO_ENTRY;
	for (size_t i = 0; i < one->others.count; i++)
		if (one->others.entries[i].device == st.st_dev &&
		    one->others.entries[i].inode == st.st_ino)
			return i;
	return UNDO_NO_ENTRY;
}

static int list_human(struct one *one, const struct undo_entry *entry)
{
	struct spool *out = &one->run->out;
	char text[HUMAN_MAX];

	show_text(out, "image    ", one->info.image_path);
	show_text(out, "edit     ", one->info.command);
	spool_print(out, "made     %s\n", human_time(one->info.time_seconds, text));
	spool_print(out, "state    %s\n", undo_state_name(one->info.state));
	if (entry) {
		spool_text(out, "now      ");
		undo_now_human(out, &one->others, entry);
	}
	spool_print(out, "size     %" PRIu64 " bytes, before the edit %" PRIu64 "\n",
		    one->info.new_size_bytes, one->info.old_size_bytes);
	spool_print(out, "puts back %" PRIu64 " bytes in %" PRIu64 " places\n", one->info.bytes,
		    one->info.pieces);
	if (one->info.freed_bytes > 0)
		spool_print(out, "keeps    %" PRIu64 " bytes of clusters that the edit freed\n",
			    one->info.freed_bytes);
	return show_pieces(one);
}

static int list_json(struct one *one, const struct undo_entry *entry)
{
	struct json *json = &one->run->json;
	int code;

	json_begin_object(json);
	json_text_member(json, "file", bytes_of(one->file));
	json_text_member(json, "image", one->info.image_path);
	json_text_member(json, "edit", one->info.command);
	json_key(json, "time");
	json_number(json, one->info.time_seconds);
	json_key(json, "state");
	json_text(json, undo_state_name(one->info.state));
	if (entry)
		undo_now_json(json, &one->others, entry);
	json_key(json, "size-before");
	json_number(json, one->info.old_size_bytes);
	json_key(json, "size-after");
	json_number(json, one->info.new_size_bytes);
	json_key(json, "pieces");
	json_begin_array(json);
	code = show_pieces(one);
	json_end_array(json);
	json_end_object(json);
	spool_text(&one->run->out, "\n");
	return code;
}

/*
 * Finds the other undo files of the image: beside this one, beside the image, and where
 * QCOW2_UNDO_DIR says.
 */
static void find_others(struct one *one)
{
	struct undo_filter filter = {.image_path = one->path};
	char folder[UNDO_PATH_MAX], outer[UNDO_PATH_MAX];

	undo_list_add(&one->others, one->file, NULL);
	if (undo_folder_of(one->file, folder, sizeof(folder)))
		(void)undo_list_scan(&one->others, folder, &filter);
	/* An undo file in UNDO_FOLDER has neighbours outside of it as well. */
	if (undo_folder_of(folder, outer, sizeof(outer)) && strcmp(folder, ".") != 0)
		(void)undo_list_scan(&one->others, outer, &filter);
	if (one->path[0])
		undo_list_of_image(&one->others, one->path, &filter);
	undo_list_sort(&one->others);
}

static int list_one(struct one *one)
{
	size_t own = own_index(one);
	const struct undo_entry *entry = own == UNDO_NO_ENTRY ? NULL : &one->others.entries[own];

	undo_list_judge(&one->others);
	return one->run->as_json ? list_json(one, entry) : list_human(one, entry);
}

/* ---- undoing ---- */

/* Says what is not as it was, why, and how to go on. */
static void show_inexact(struct one *one)
{
	struct spool *out = &one->run->out;
	const struct qcow2_undo_result *result = &one->result;

	spool_print(out, "not exact: %s\n", undo_doubt_text(result->doubt));
	if (result->bitmaps_in_use > 0) {
		spool_print(out,
			    "%" PRIu64 " bitmap%s came back in use: what the guest wrote since is "
			    "not in %s.\n",
			    result->bitmaps_in_use, result->bitmaps_in_use == 1 ? "" : "s",
			    result->bitmaps_in_use == 1 ? "it" : "them");
		show_text(out, "to make all of it dirty: qcow2 bitmap repair --assume-dirty ",
			  bytes_of(one->image));
	}
	if (result->autoclear_lost > 0)
		spool_print(out,
			    "autoclear bits 0x%" PRIx64 " stay clear: what they vouch for may not "
			    "be true any more.\n",
			    result->autoclear_lost);
	show_text(out, "if nothing has written to it since: qcow2 undo --exact ",
		  bytes_of(one->file));
}

static int say_done(struct one *one)
{
	const struct qcow2_undo_result *result = &one->result;
	struct json *json = &one->run->json;

	if (!one->run->as_json) {
		show_text(&one->run->out,
			  result->is_undone ? "undone before: " : "undone: ", bytes_of(one->image));
		if (!result->is_undone && wants_all(one->run->command))
			spool_print(&one->run->out,
				    "put back %" PRIu64 " byte%s in %" PRIu64 " place%s\n",
				    one->info.bytes, one->info.bytes == 1 ? "" : "s",
				    one->info.pieces, one->info.pieces == 1 ? "" : "s");
		if (!result->is_undone && !result->is_exact)
			show_inexact(one);
		return EXIT_FINE;
	}
	json_begin_object(json);
	json_text_member(json, "image", bytes_of(one->image));
	json_key(json, "bytes");
	json_number(json, result->is_undone ? 0 : one->info.bytes);
	json_key(json, "exact");
	json_bool(json, result->is_exact);
	undo_result_json(json, result);
	json_end_object(json);
	spool_text(&one->run->out, "\n");
	return EXIT_FINE;
}

/* Whether a later undo file, which is open, could be undone. */
static bool can_be_undone(const struct one *one, const struct undo_entry *later)
{
	struct qcow2_undo_options how = {
		.size = sizeof(how),
		.flags = QCOW2_UNDO_EXACT | (one->image != one->path ? QCOW2_UNDO_ELSEWHERE : 0)};
	struct qcow2_source *source;
	struct qcow2_error err;
	bool fits;

	if (qcow2_source_open(one->image, &source, &err))
		return false;
	fits = qcow2_undo_judge(later->undo, source, &how, NULL, &err) == 0;
	qcow2_source_close(source);
	return fits;
}

/* Says why not, and which later change has to be undone first if that is the reason. */
static int refuse(struct one *one, const struct qcow2_error *err)
{
	const struct undo_entry *first = NULL;
	size_t own = own_index(one);
	char safe[16384];

	report_error(one->run->command, one->image, err);
	if (err->code == QCOW2_ERROR_MISMATCH && own != UNDO_NO_ENTRY)
		first = undo_list_first(&one->others, own);
	if (!first)
		return EXIT_COULD_NOT;
	qcow2_text_escape(bytes_of(first->path), safe, sizeof(safe));
	if (can_be_undone(one, first))
		fprintf(stderr,
			"qcow2 undo: a later change has to be undone first: qcow2 undo %s\n", safe);
	else
		fprintf(stderr, "qcow2 undo: a later change cannot be undone any more either: %s\n",
			safe);
	return EXIT_COULD_NOT;
}

static int apply(struct one *one)
{
	struct qcow2_undo_options how = {.size = sizeof(how)};
	struct qcow2_undo **undone;
	struct qcow2_source *source;
	struct qcow2_error err;
	int failed, code;

	undone = undo_list_undone(&one->others, 0, one->others.count, &how.later_count);
	how.later = undone;
	how.flags = (one->run->exact ? QCOW2_UNDO_EXACT : 0) |
		    (one->image != one->path ? QCOW2_UNDO_ELSEWHERE : 0);
	code = open_for_edit(one->run->command, one->image, one->run->force ? EDIT_FORCED : 0,
			     &source);
	if (code == EXIT_FINE) {
		one->result.size = sizeof(one->result);
		failed = qcow2_undo_apply(one->undo, source, &how, &one->result, &err);
		qcow2_source_close(source);
		code = failed ? refuse(one, &err) : say_done(one);
	}
	free(undone);
	return code;
}

static int undo_image(struct one *one)
{
	int code;

	one->image = one->run->operand_count > 1 ? one->run->operands[1] : one->path;
	if (!one->image[0])
		return usage_error(one->run->command, "the undo file names no image: give it");
	/* Before the image is locked, to lock it only briefly. */
	undo_list_open(&one->others, 0, one->others.count);
	code = apply(one);
	undo_list_close(&one->others, 0, one->others.count);
	return code;
}

int undo_one(struct undo_run *run)
{
	struct one one = {.run = run, .file = run->operands[0]};
	struct qcow2_error err;
	int code;

	if (qcow2_undo_open(one.file, &one.undo, &err))
		return report_error(run->command, one.file, &err);
	one.info = *qcow2_undo_describe(one.undo);
	if (one.info.image_path.size < sizeof(one.path) && one.info.image_path.size > 0)
		memcpy(one.path, one.info.image_path.data, one.info.image_path.size);
	find_others(&one);
	code = run->list ? list_one(&one) : undo_image(&one);
	undo_list_release(&one.others);
	qcow2_undo_close(one.undo);
	if (code != EXIT_FINE)
		return code;
	code = finish_output(run->command, &run->out, EXIT_FINE);
	if (code != EXIT_FINE && !run->list)
		fprintf(stderr, "qcow2 undo: the image was put back\n");
	return code;
}
