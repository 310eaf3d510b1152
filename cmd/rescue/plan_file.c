/* SPDX-License-Identifier: MIT */
/* Writes a plan into a file: see docs/rescue.md. */
#include <stdlib.h>
#include <string.h>

#include "common/plan_show.h"
#include "common/report.h"
#include "rescue/files.h"
#include "rescue/new_file.h"
#include "rescue/pages.h"

static int write_json(struct rescue_run *run, struct spool *out)
{
	const char *file = run->change.report.file;
	char *path = realpath(file, NULL);
	const char *image = path ? path : file;
	struct qcow2_error err;
	struct json json;
	int code = EXIT_FINE;

	json_init(&json, out, 2, false);
	json_begin_object(&json);
	json_key(&json, "format");
	json_text(&json, "qcow2-rescue-plan");
	json_number_member(&json, "format-version", 1);
	json_text_member(&json, "image",
			 (struct qcow2_bytes){(const uint8_t *)image, strlen(image)});
	rescue_show_json(&json, run);
	if (plan_write_writes(&json, run->change.report.plan, &err))
		code = report_error(run->command, file, &err);
	json_end_object(&json);
	spool_text(out, "\n");
	free(path);
	return code;
}

int rescue_write_plan(struct rescue_run *run)
{
	struct new_file file;
	struct spool out;
	int code = new_file_open(&file, run->command, run->target, 0666);

	if (code != EXIT_FINE)
		return code;
	spool_init(&out, file.fd);
	code = write_json(run, &out);
	if (!spool_finish(&out))
		file.errnum = out.errnum;
	spool_release(&out);
	return new_file_close(&file, code);
}
