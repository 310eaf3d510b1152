/* SPDX-License-Identifier: MIT */
/* See section.h. */
#include "report/section.h"

#include <inttypes.h>
#include <stdio.h>

#include "out/html.h"

#include <qcow2/text.h>

void report_begin_section(struct spool *out, const char *id, const char *heading)
{
	spool_print(out,
		    "<section id=\"%s\" aria-labelledby=\"%s-heading\">\n<h2 id=\"%s-heading\">%s"
		    "</h2>\n",
		    id, id, id, heading);
}

void report_end_section(struct spool *out)
{
	spool_text(out, "</section>\n");
}

void report_command_line(char line[REPORT_COMMAND_MAX], const struct report *report,
			 const char *command, const char *after)
{
	char file[REPORT_COMMAND_MAX - 256];
	const bool fits = qcow2_text_shell_file(report->file, file, sizeof(file)) < sizeof(file);

	snprintf(line, REPORT_COMMAND_MAX, "%.100s %s%s%.100s", command, fits ? file : "IMAGE",
		 after[0] ? " " : "", after);
}

void report_own_command(char line[REPORT_COMMAND_MAX], const struct report *report)
{
	report_command_line(line, report,
			    report->redacts ? "qcow2 report --redact" : "qcow2 report", "");
}

bool report_digest(char text[REPORT_DIGEST_MAX], const struct report *report)
{
	const struct qcow2_check_result *result = report->check.result;

	if (!report->image || !result->has_digest)
		return false;
	snprintf(text, REPORT_DIGEST_MAX, "%016" PRIx64 "%016" PRIx64, result->metadata_digest[0],
		 result->metadata_digest[1]);
	return true;
}

void report_write_more(struct spool *out, const struct report *report, uint64_t count,
		       const char *command, const char *after)
{
	char line[REPORT_COMMAND_MAX];

	if (count == 0)
		return;
	report_command_line(line, report, command, after);
	spool_print(out, "<p class=\"more\">… and %" PRIu64 " more: ", count);
	html_command(out, line);
	spool_text(out, " shows all</p>\n");
}
