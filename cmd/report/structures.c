/* SPDX-License-Identifier: MIT */
/*
 * The structures of the image: two walks, one through all but large tables, as qcow2 dump does it, and
 * one through the first entries of the tables that every image has. Each is told to the page and to a
 * JSON document at once, so that both show the same.
 */
#include <inttypes.h>
#include <stdio.h>

#include "out/bounded.h"
#include "out/emitter.h"
#include "out/html.h"
#include "out/html_emitter.h"
#include "report/page.h"
#include "report/section.h"

/* The most problems in a document, which are those of the check, too. */
#define PROBLEMS_MOST 50

/* A table that every image has, whose first entries are shown. */
struct table {
	const char *selector, *key; /* of its entries in the document */
};

static const struct table tables_of_all[] = {
	{"l1", "l1"}, {"refcount_table", "refcount_table"}, {"refcounts/0", "entries"}};

#define TABLES (sizeof(tables_of_all) / sizeof(tables_of_all[0]))

/* Those of them that an image has. */
struct tables {
	char selectors[TABLES][64];
	const char *list[TABLES];
	struct bounded_total totals[TABLES];
	size_t count;
};

static int walk(struct spool *out, struct report *report, const struct tables *tables,
		const char *command, struct spool *document, struct qcow2_error *err)
{
	struct qcow2_selection *selection = NULL;
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
				  .bytes_most = report->bounds.bytes,
				  .totals = tables ? tables->totals : NULL,
				  .total_count = tables ? tables->count : 0};
	int failed;

	if (tables && qcow2_selection_new(tables->list, tables->count, &selection, err))
		return -1;
	html_emitter_init(&page, out, command);
	json_init(&json.json, document, 1, true);
	failed = qcow2_walk(report->shown, selection, 0, &bounded_visitor, &bounded, err);
	html_emitter_finish(&page);
	qcow2_selection_free(selection);
	if (problems.short_of_memory) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		failed = -1;
	}
	problem_log_release(&problems);
	return failed;
}

/* Whether an image has what a selector names: 1 or 0, or -1 with *err filled. */
static int is_there(const struct report *report, const char *selector, struct qcow2_error *err)
{
	static const struct qcow2_visitor silent = {.size = sizeof(silent)};
	struct qcow2_selection *selection = NULL;
	int failed;

	if (qcow2_selection_new(&selector, 1, &selection, err))
		return -1;
	failed = qcow2_walk(report->shown, selection, 0, &silent, NULL, err);
	qcow2_selection_free(selection);
	if (!failed)
		return 1;
	return err->code == QCOW2_ERROR_NOT_FOUND ? 0 : -1;
}

/* The entries of a table, but not those that lie behind the end of the file. */
static uint64_t stored(const struct report *report, uint64_t offset, uint64_t entries)
{
	const uint64_t size = qcow2_source_size_bytes(report->source);
	const uint64_t room = offset < size ? (size - offset) / sizeof(uint64_t) : 0;

	return entries < room ? entries : room;
}

static uint64_t entries_of(const struct report *report, const struct table *table)
{
	const struct qcow2_header *header = qcow2_image_header(report->shown);
	const struct qcow2_geometry *geometry = qcow2_image_geometry(report->shown);

	if (table == &tables_of_all[0])
		return stored(report, header->l1_table_offset, header->l1_size);
	if (table == &tables_of_all[1])
		return stored(report, header->refcount_table_offset,
			      header->refcount_table_clusters * geometry->cluster_size_bytes /
				      sizeof(uint64_t));
	return geometry->refcount_block_entries;
}

/* A broken image may lack some of them. */
static int find_tables(struct tables *tables, const struct report *report, struct qcow2_error *err)
{
	*tables = (struct tables){.count = 0};
	for (size_t i = 0; i < TABLES && qcow2_image_geometry(report->shown); i++) {
		const struct table *table = &tables_of_all[i];
		char *selector = tables->selectors[tables->count];
		int there;

		snprintf(selector, sizeof(tables->selectors[0]), "%s/0..%" PRIu64, table->selector,
			 report->bounds.rows - 1);
		there = is_there(report, selector, err);
		if (there < 0)
			return -1;
		if (!there)
			continue;
		tables->list[tables->count] = selector;
		tables->totals[tables->count] =
			(struct bounded_total){table->key, entries_of(report, table)};
		tables->count++;
	}
	return 0;
}

static int walk_tables(struct spool *out, struct report *report, struct spool *document,
		       struct qcow2_error *err)
{
	char command[REPORT_COMMAND_MAX];
	struct tables tables;

	if (find_tables(&tables, report, err))
		return -1;
	if (tables.count == 0)
		return 0;
	report_command_line(command, report, "qcow2 dump", "l1 refcount_table refcounts");
	return walk(out, report, &tables, command, document, err);
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
