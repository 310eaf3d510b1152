/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the probe: the input is a file. The kind must not depend on what lies between its start
 * and its end, and an image of kind qcow2 must not be called another format when it is opened.
 */
#include <stdlib.h>
#include <string.h>

#include "format/probe.h"

#include <qcow2/qcow2.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct qcow2_file_kind *kind_of(const uint8_t *data, size_t size)
{
	const struct qcow2_file_kind *kind = NULL;
	struct qcow2_source *source;
	struct qcow2_error err;

	if (qcow2_source_from_memory(data, size, &source, &err) || qcow2_probe(source, &kind, &err))
		abort();
	qcow2_source_close(source);
	return kind;
}

/* What opening says agrees with the kind. */
static void open_image(const uint8_t *data, size_t size, const struct qcow2_file_kind *kind)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (qcow2_source_from_memory(data, size, &source, &err))
		abort();
	if (qcow2_image_open(source, &image, &err) == 0) {
		if (kind->number != QCOW2_FILE_QCOW2)
			abort();
		qcow2_image_close(image);
	} else if ((err.code == QCOW2_ERROR_NOT_QCOW2) == (kind->number == QCOW2_FILE_QCOW2)) {
		abort();
	}
	qcow2_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t start = size < Q2_PROBE_START_BYTES ? size : Q2_PROBE_START_BYTES;
	size_t end = size < Q2_PROBE_END_BYTES ? size : Q2_PROBE_END_BYTES;
	/* copies without slack, so that a byte too far is seen */
	uint8_t *first = malloc(start ? start : 1), *last = malloc(end ? end : 1);
	const struct qcow2_file_kind *kind = kind_of(data, size);

	if (!first || !last)
		abort();
	if (size > 0) {
		memcpy(first, data, start);
		memcpy(last, data + size - end, end);
	}
	if (q2_probe_bytes((struct qcow2_bytes){first, start}, (struct qcow2_bytes){last, end}) !=
		    kind ||
	    qcow2_file_kind_get(kind->number) != kind)
		abort();
	open_image(data, size, kind);
	free(first);
	free(last);
	return 0;
}
