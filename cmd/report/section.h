/* SPDX-License-Identifier: MIT */
/* What the sections of the page share. */
#ifndef CMD_REPORT_SECTION_H
#define CMD_REPORT_SECTION_H

#include "out/spool.h"
#include "report/report.h"

/* "<section id=… aria-labelledby=…><h2>": report_end_section() ends it. */
void report_begin_section(struct spool *out, const char *id, const char *heading);
void report_end_section(struct spool *out);

/* Room for a command with the name of a file; where that is longer, the command has IMAGE. */
#define REPORT_COMMAND_MAX 4352

/* "qcow2 report FILE": the command that made the page, without where it went. */
void report_own_command(char line[REPORT_COMMAND_MAX], const struct report *report);

/* Room for a digest as text, terminated. */
#define REPORT_DIGEST_MAX 33

/* 32 digits. False if there is no digest of the metadata. */
bool report_digest(char text[REPORT_DIGEST_MAX], const struct report *report);

/* A paragraph "… and 5 more: COMMAND shows all"; nothing if there are none. */
void report_write_more(struct spool *out, const struct report *report, uint64_t count,
		       const char *command, const char *selectors);

/* "qcow2 dump FILE l1": command and what follows the name, which may be empty. */
void report_command_line(char line[REPORT_COMMAND_MAX], const struct report *report,
			 const char *command, const char *after);

#endif
