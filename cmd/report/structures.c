/* SPDX-License-Identifier: MIT */
/*
 * The structures of the image: two walks, one through all but large tables, as qcow2 dump does it, and
 * one through the first entries of the tables that every image has. Each is told to the page and to a
 * JSON document at once, so that both show the same.
 */
#include <stdio.h>

#include "out/bounded.h"
#include "out/emitter.h"
#include "out/html.h"
#include "out/html_emitter.h"
#include "report/page.h"
#include "report/section.h"

/* The most problems in a document, which are those of the check, too. */
#define PROBLEMS_MOST 50

static int walk(struct spool *out, struct report *report, struct qcow2_selection *selection,
		const char *command, struct spool *document, struct qcow2_error *err)
{
	struct html_emitter page;
	struct problem_log problems = {.most = PROBLEMS_MOST};
	struct json_emitter json = {.options = {.file_name = report->file,
						.offsets = true,
						.hex = true,
						.progress = &report->progress},
				    .problems = &problems};
	struct bounded bounded = {.visitor = {&html_visitor, &json_visitor},
				  .opaque = {&page, &json},
				  .rows_most = report->bounds.rows,
				  .blocks_most = report->bounds.rows,
				  .bytes_most = report->bounds.bytes};
	int failed;

	html_emitter_init(&page, out, command);
	json_init(&json.json, document, 1, true);
	failed = qcow2_walk(report->shown, selection, 0, &bounded_visitor, &bounded, err);
	html_emitter_finish(&page);
	if (problems.short_of_memory) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		failed = -1;
	}
	problem_log_release(&problems);
	return failed;
}

static int walk_tables(struct spool *out, struct report *report, struct spool *document,
		       struct qcow2_error *err)
{
	static const char *const selectors[] = {"l1/0..49", "refcount_table/0..49",
						"refcounts/0/0..49"};
	struct qcow2_selection *selection = NULL;
	char command[REPORT_COMMAND_MAX];
	int failed;

	report_command_line(command, report, "qcow2 dump", "l1 refcount_table refcounts");
	failed = qcow2_selection_new(selectors, sizeof(selectors) / sizeof(selectors[0]),
				     &selection, err) ||
		 walk(out, report, selection, command, document, err);
	qcow2_selection_free(selection);
	/* A broken image may lack one of them; a search for it comes before anything is told. */
	if (failed && err->code == QCOW2_ERROR_NOT_FOUND && document->size == 0)
		return 0;
	return failed ? -1 : 0;
}

int report_write_structures(struct spool *out, struct report *report, struct spool *dump,
			    struct spool *tables, struct qcow2_error *err)
{
	char command[REPORT_COMMAND_MAX];

	report_begin_section(out, "structures", "Structures");
	report_command_line(command, report, "qcow2 dump", "");
	spool_text(out, "<p>Each folds open to its fields, with where they are in the file and the "
			"bytes that are there. ");
	html_command(out, command);
	spool_text(out, " shows them in a terminal, and with a selector such as "
			"<code>l2/0</code> any table.</p>\n");
	if (walk(out, report, NULL, command, dump, err) || walk_tables(out, report, tables, err))
		return -1;
	report_end_section(out);
	return 0;
}
