/* SPDX-License-Identifier: MIT */
/*
 * Adds an enabled dirty bitmap to an image, through a plan: the plan is judged before it is
 * applied, and an undo file leads back. Works on a copy of an image that no guest is using.
 */
#include <stdio.h>
#include <string.h>

#include <qcow2/bitmap_edit.h>
#include <qcow2/edit.h>
#include <qcow2/source.h>

static int plan_bitmap(struct qcow2_plan *plan, const char *name, struct qcow2_error *err)
{
	const struct qcow2_bytes bytes = {(const uint8_t *)name, strlen(name)};
	struct qcow2_bitmap_editor *editor = NULL;
	/* A granularity of 0 stands for the one that QEMU would take. */
	int failed = qcow2_edit_begin(plan, err) != 0 ||
		     qcow2_bitmap_editor_open(plan, &editor, err) != 0 ||
		     qcow2_bitmap_add(editor, bytes, 0, true, err) != 0 ||
		     qcow2_bitmap_editor_finish(editor, err) != 0;

	qcow2_bitmap_editor_close(editor);
	return failed ? -1 : 0;
}

/* Whether the image would be no worse than before. */
static int is_harmless(struct qcow2_plan *plan, struct qcow2_error *err)
{
	struct qcow2_plan_verdict *verdict;
	int harmless;

	if (qcow2_plan_judge(plan, NULL, &verdict, err) != 0)
		return 0;
	harmless = !verdict->adds_problems && verdict->refusals_total == 0;
	if (!harmless)
		snprintf(err->text, sizeof(err->text), "the image would be worse than before");
	qcow2_plan_verdict_free(verdict);
	return harmless;
}

static int add(const char *image, const char *name, const char *undo, struct qcow2_error *err)
{
	const struct qcow2_apply_options how = {
		.size = sizeof(how),
		.undo_path = undo,
		.image_path = image,
		.command = "add_bitmap",
	};
	struct qcow2_source *source = NULL;
	struct qcow2_plan *plan = NULL;
	int failed = qcow2_source_open_for_edit(image, 0, &source, err) != 0 ||
		     qcow2_plan_open(source, &plan, err) != 0 ||
		     plan_bitmap(plan, name, err) != 0 || !is_harmless(plan, err) ||
		     qcow2_plan_apply(plan, &how, err) != 0;

	if (!failed)
		printf("%zu writes; undo with %s\n", qcow2_plan_count(plan), undo);
	/* The plan uses the source, so it goes first. */
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	return failed ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct qcow2_error err;

	if (argc != 4) {
		fprintf(stderr, "usage: add_bitmap IMAGE NAME UNDO_FILE\n");
		return 1;
	}
	if (add(argv[1], argv[2], argv[3], &err) == 0)
		return 0;
	fprintf(stderr, "add_bitmap: %s: %s\n", argv[1], err.text);
	return 1;
}
