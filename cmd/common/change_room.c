/* SPDX-License-Identifier: MIT */
/* See change_room.h. */
#include "common/change_room.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Appends to the text of an error, which is cut if it becomes too long. */
static void append(struct qcow2_error *err, const char *text)
{
	size_t used = strlen(err->text);

	snprintf(err->text + used, sizeof(err->text) - used, "%s", text);
}

void change_explain_full(const struct plan_report *report, struct qcow2_error *err)
{
	uint64_t old_size = report->old_size_bytes, growth, space;
	uint64_t new_size = qcow2_plan_size_bytes(report->plan);
	struct statvfs there;
	struct stat st;
	char text[160];

	if ((err->errnum != ENOSPC && err->errnum != EDQUOT) || stat(report->file, &st) < 0 ||
	    statvfs(report->file, &there) < 0)
		return;
	if (S_ISBLK(st.st_mode)) {
		append(err, "; make room in what stores the device, or keep the undo file "
			    "elsewhere (--undo-file)");
		return;
	}
	growth = new_size > old_size ? new_size - old_size : 0;
	space = (uint64_t)there.f_bavail * (uint64_t)there.f_frsize;
	if (growth > space)
		snprintf(text, sizeof(text),
			 "; the image would grow by %" PRIu64
			 " bytes, and its file system has %" PRIu64 " free: %" PRIu64
			 " are missing",
			 growth, space, growth - space);
	else
		snprintf(text, sizeof(text),
			 "; the image would grow by %" PRIu64
			 " bytes, and its file system has %" PRIu64
			 " free: make room there, or keep the undo file elsewhere (--undo-file)",
			 growth, space);
	append(err, text);
}
