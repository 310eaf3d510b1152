/* SPDX-License-Identifier: MIT */
/* Fuzzes the selectors: the input, up to its first NUL, is one selector; an empty image is walked.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A version 2 header of 64 KiB clusters: all zeros but for what makes it one. */
static const uint8_t header[72] = {
	[0] = 'Q', [1] = 'F', [2] = 'I', [3] = 0xfb, [7] = 2, [23] = 16,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct qcow2_visitor silent = {.size = sizeof(silent)};
	char selector[256];
	const char *selectors[1] = {selector};
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_selection *selection;
	struct qcow2_error err;

	if (size >= sizeof(selector))
		return 0;
	memcpy(selector, data, size);
	selector[size] = '\0';
	if (qcow2_selection_new(selectors, 1, &selection, &err))
		return 0;
	if (qcow2_source_from_memory(header, sizeof(header), &source, &err) ||
	    qcow2_image_open(source, &image, &err))
		abort();
	(void)qcow2_walk(image, selection, 0, &silent, NULL, &err);
	qcow2_image_close(image);
	qcow2_source_close(source);
	qcow2_selection_free(selection);
	return 0;
}
