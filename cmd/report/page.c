/* SPDX-License-Identifier: MIT */
/* See page.h. */
#include "report/page.h"
#include "report/section.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/html.h"
#include "out/human.h"

#include <qcow2/text.h>
#include <qcow2/version.h>

static const struct report_bounds bounds[] = {
	/*
	 * Each shows less than the one before it; the last one has no lists and no dump. The
	 * document of the first one has as many problems as that of qcow2 check.
	 */
	{REPORT_ROWS_MOST, 1024, CHECK_SHOWN_TO_PROGRAMS, true, true},
	{REPORT_ROWS_MOST, 256, 20, true, true},
	{20, 256, 10, true, true},
	{5, 64, 5, true, true},
	{0, 32, 1, false, true},
	{0, 32, 1, false, false},
};

/* ---- the frame ---- */

static void write_file_name(struct spool *out, const struct report *report)
{
	const char *slash = strrchr(report->file, '/');
	const char *name = slash && slash[1] ? slash + 1 : report->file;

	xml_text(out, human_cut((struct qcow2_bytes){(const uint8_t *)name, strlen(name)}, 256));
}

static void write_head(struct spool *out, const struct report *report)
{
	spool_text(out,
		   "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
		   "'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
		   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		   "<meta name=\"color-scheme\" content=\"light dark\">\n"
		   "<meta name=\"referrer\" content=\"no-referrer\">\n"
		   "<meta name=\"robots\" content=\"noindex\">\n<title>");
	write_file_name(out, report);
	spool_text(out, " – qcow2 report</title>\n");
	report_write_style(out);
	spool_text(out, "</head>\n<body>\n");
}

static void write_contents(struct spool *out, const struct report *report)
{
	static const char *const whole[][2] = {
		{"summary", "Summary"},     {"check", "Check"},     {"layout", "Layout"},
		{"snapshots", "Snapshots"}, {"bitmaps", "Bitmaps"}, {"structures", "Structures"},
		{"data", "Data"},
	};
	static const char *const remains[][2] = {
		{"summary", "Summary"}, {"remains", "What is left"}, {"data", "Data"}};
	const char *const(*entries)[2] = report->image ? whole : remains;
	const size_t count = report->image ? sizeof(whole) / sizeof(whole[0])
					   : sizeof(remains) / sizeof(remains[0]);

	spool_text(out, "<nav aria-label=\"Contents\"><ul>\n");
	for (size_t i = 0; i < count; i++)
		if (report->bounds.structures || strcmp(entries[i][0], "structures") != 0)
			spool_print(out, "<li><a href=\"#%s\">%s</a></li>\n", entries[i][0],
				    entries[i][1]);
	spool_text(out, "</ul></nav>\n");
}

static void write_top(struct spool *out, const struct report *report)
{
	spool_text(out, "<a class=\"skip\" href=\"#content\">Skip to the content</a>\n"
			"<header><div class=\"wide\">\n<p class=\"eyebrow\">qcow2 report</p>\n"
			"<h1><bdi>");
	write_file_name(out, report);
	spool_text(out, "</bdi></h1>\n");
	report_write_title(out, report);
	write_contents(out, report);
	spool_text(out, "</div></header>\n<main id=\"content\" tabindex=\"-1\" class=\"wide\">\n");
}

static void write_footer(struct spool *out, const struct report *report)
{
	char made[HUMAN_MAX];

	spool_print(out,
		    "</main>\n<footer class=\"wide\"><p>Made by qcow2-utils %s on %s. The page "
		    "loads nothing and runs nothing.</p></footer>\n",
		    qcow2_version(), human_time((uint64_t)report->made, made));
}

static void write_data_section(struct spool *out)
{
	report_begin_section(out, "data", "Data");
	spool_text(out, "<p>Everything that this page shows is in it once more, as a JSON document "
			"for programs: the content of the element <code>script</code> with the ID "
			"<code>qcow2-report</code>, which is no script. This prints it:</p>\n<p>");
	html_command(out, "sed -n '/id=\"qcow2-report\"/,/<.script>/{/^</!p}' report.html");
	spool_text(out, "</p>\n");
	report_end_section(out);
}

/* ---- the whole ---- */

/* A spool without a file behind it fails so when it holds more than it can. */
static bool is_too_large(const struct spool *out)
{
	return out->errnum == EBADF || (out->errnum == 0 && out->size > REPORT_BYTES_MOST);
}

/* The parts that an image has. */
static int write_image(struct spool *out, struct report *report, struct spool *dump,
		       struct spool *tables, struct qcow2_error *err)
{
	report_write_check(out, report);
	if (report_write_layout(out, report, err))
		return -1;
	report_write_snapshots(out, report);
	report_write_bitmaps(out, report);
	/* A page that is too large already is not worth another walk. */
	if (!report->bounds.structures || is_too_large(out))
		return 0;
	return report_write_structures(out, report, dump, tables, err);
}

static int write_parts(struct spool *out, struct report *report, struct spool *dump,
		       struct spool *tables, struct qcow2_error *err)
{
	write_head(out, report);
	write_top(out, report);
	report_write_summary(out, report);
	if (!report->image)
		report_write_remains(out, report);
	else if (write_image(out, report, dump, tables, err))
		return -1;
	write_data_section(out);
	write_footer(out, report);
	if (is_too_large(out))
		return 0;
	if (report_write_data(out, report, dump, tables, err))
		return -1;
	spool_text(out, "</body>\n</html>\n");
	return 0;
}

static int write_page(struct spool *out, struct report *report, struct qcow2_error *err)
{
	struct spool dump, tables;
	int failed;

	spool_init(&dump, -1);
	spool_init(&tables, -1);
	failed = write_parts(out, report, &dump, &tables, err);
	if (out->errnum == 0)
		out->errnum = dump.errnum ? dump.errnum : tables.errnum;
	spool_release(&dump);
	spool_release(&tables);
	return failed;
}

int report_page(struct spool *out, struct report *report, struct qcow2_error *err)
{
	int failed = 0;

	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		report->bounds = bounds[i];
		spool_release(out);
		failed = write_page(out, report, err);
		if (!is_too_large(out))
			break;
	}
	if (is_too_large(out)) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_LIMIT,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "the page would have more than 2 MiB"};
		return -1;
	}
	if (out->errnum) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .errnum = out->errnum,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		return -1;
	}
	return failed;
}
