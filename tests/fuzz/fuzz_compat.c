/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes what stands in for QEMU's qcow2.py: the input is an image that is shown in one of its
 * three pages. They are UTF-8 without control characters, and the brackets of JSON match.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <qcow2/qcow2.h>

#include "compat/compat.h"
#include "judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is told of flaws is one line of safe text. */
static void hear(void *opaque, const char *text)
{
	(void)opaque;
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			abort();
}

static void show(const struct qcow2_image *image, unsigned how)
{
	const struct compat_flaws flaws = {NULL, hear};
	struct spool out;
	struct compat_text text = {.out = &out, .v7 = how % 3 == 1};
	struct compat_json json = {.out = &out};
	struct compat_page page;
	struct qcow2_error err;

	spool_init(&out, open("/dev/null", O_WRONLY | O_CLOEXEC));
	if (how % 3 == 2)
		compat_json_page(&json, &page);
	else
		compat_text_page(&text, &page);
	if (compat_walk(image, (how & 64) == 0, &page, &flaws, &err) != 0)
		abort(); /* memory is there to be read */
	if (how % 3 == 2)
		judge_json(&out);
	else
		judge_text(&out);
	close(out.fd);
	spool_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (qcow2_source_from_memory(data, size, &source, &err))
		return 0;
	if (qcow2_image_open(source, &image, &err) == 0) {
		show(image, size > 111 ? data[111] : 0);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
