/* SPDX-License-Identifier: MIT */
/* See open_image.h. */
#include "common/open_image.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "common/report.h"

void warn_in_use(const struct command *command, const char *file, const struct qcow2_source *source)
{
	enum qcow2_in_use in_use = source ? qcow2_source_in_use(source) : QCOW2_IN_USE_NO;

	if (wants_silence(command))
		return;
	if (in_use == QCOW2_IN_USE_YES)
		report_text(command, file,
			    "in use: another program has it open for writing, and results may be "
			    "inconsistent");
	if (in_use == QCOW2_IN_USE_UNKNOWN)
		report_text(
			command, file,
			"cannot tell whether another program has it open for writing: then results "
			"may be inconsistent");
}

static void warn_unlocked(const struct command *command, const char *file,
			  const struct qcow2_source *source)
{
	enum qcow2_in_use in_use = qcow2_source_in_use(source);

	if (in_use == QCOW2_IN_USE_UNKNOWN)
		report_text(
			command, file,
			"it could not be locked, and nobody is kept out: make sure that no other "
			"program uses it");
	if (in_use == QCOW2_IN_USE_NO_LOCKS)
		report_text(
			command, file,
			"there are no locks here, and nobody is kept out: make sure that no other "
			"program uses it");
}

/* Returns the text that says how to go on if nobody knows who has an image open. */
static const char *way_out(const struct command *command)
{
	for (size_t i = 0; i < command->option_count; i++)
		if (strcmp(command->options[i].name, "force") == 0)
			return "--force goes on; make sure that none does";
	return "'qcow2 edit --force' goes on";
}

int open_for_edit(const struct command *command, const char *file, unsigned flags,
		  struct qcow2_source **out)
{
	struct qcow2_error err, more;

	if (qcow2_source_is_nbd(file)) {
		report_text(
			command, file,
			"an image over NBD can only be read: copy it to a file first (nbdcopy)");
		return EXIT_COULD_NOT;
	}
	/* Print nothing: it would be written into the image. */
	if (descriptors_lead_to(STDERR_FILENO, file))
		return EXIT_COULD_NOT;
	if (descriptors_lead_to(STDOUT_FILENO, file)) {
		report_text(command, file,
			    "standard output goes into the image itself: send it elsewhere");
		return EXIT_COULD_NOT;
	}
	if (qcow2_source_open_for_edit(file, flags, out, &err)) {
		more = err;
		if (err.code == QCOW2_ERROR_IN_USE && err.errnum != 0)
			snprintf(more.text, sizeof(more.text), "%.160s (%s)", err.text,
				 way_out(command));
		return report_error(command, file, &more);
	}
	warn_unlocked(command, file, *out);
	return EXIT_FINE;
}
