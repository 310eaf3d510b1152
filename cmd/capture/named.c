/* SPDX-License-Identifier: MIT */
/*
 * Says which files an image will name once a capture is put back, and does not now: whoever opens it
 * reads these, and writes to a data file. A capture may come from anybody, so that this is said
 * whatever else is shown, and is no matter of a question that scripts are not asked.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/run.h"
#include "common/report.h"
#include "out/spool.h"

#include <qcow2/extension.h>
#include <qcow2/text.h>

/* image: NULL if it does not open. */
static struct qcow2_bytes backing_of(const struct qcow2_image *image)
{
	return image ? qcow2_image_backing_name(image) : (struct qcow2_bytes){NULL, 0};
}

static struct qcow2_bytes data_file_of(const struct qcow2_image *image)
{
	struct qcow2_bytes name = {NULL, 0};

	if (image)
		(void)qcow2_image_find_extension(image, QCOW2_EXTENSION_DATA_FILE, &name);
	return name;
}

/* Adds a name that is not the same. False: no memory. */
static bool add(struct spool *to, const char *what, struct qcow2_bytes now, struct qcow2_bytes then)
{
	size_t room;
	char *text;

	if (then.size == 0 || (then.size == now.size && memcmp(then.data, now.data, now.size) == 0))
		return true;
	room = qcow2_text_escape(then, NULL, 0) + 1;
	text = malloc(room);
	if (!text)
		return false;
	qcow2_text_escape(then, text, room);
	spool_text(to, "  ");
	spool_text(to, what);
	spool_text(to, text);
	spool_text(to, "\n");
	free(text);
	return true;
}

static int tell(const struct capture_run *run, const struct qcow2_image *now)
{
	const struct change *change = &run->change;
	struct spool to;
	bool added;

	spool_init(&to, STDERR_FILENO);
	added = add(&to, "backing file: ", backing_of(now), backing_of(run->image)) &&
		add(&to, "data file: ", data_file_of(now), data_file_of(run->image));
	if (added && to.size > 0) {
		report_text(change->command, run->file, "it gets names of files from the capture:");
		(void)spool_finish(&to);
	}
	spool_release(&to);
	return added ? EXIT_FINE : change_fail_text(change, "out of memory");
}

int capture_tell_names(const struct capture_run *run)
{
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	int code;

	if (qcow2_image_open(run->change.source, &image, &err)) {
		if (err.code == QCOW2_ERROR_IO || err.code == QCOW2_ERROR_MEMORY)
			return change_fail(&run->change, &err);
		image = NULL;
	}
	code = tell(run, image);
	qcow2_image_close(image);
	return code;
}
