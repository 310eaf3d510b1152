/* SPDX-License-Identifier: MIT */
/* See luks_area.h. */
#include "guest/luks_area.h"

#include <assert.h>
#include <errno.h>

#include "base/checked.h"
#include "image/extensions.h"

#include <qcow2/format.h>
#include <qcow2/luks.h>
#include <qcow2/source.h>

/* How much of the area that the image names is in the file. */
static uint64_t area_bytes(const struct qcow2_image *image, uint64_t offset)
{
	uint64_t there = qcow2_source_size_bytes(qcow2_image_source(image)) - offset;
	struct qcow2_crypto_extension crypto;
	struct qcow2_extension extension;

	if (!q2_find_extension(image, QCOW2_EXTENSION_CRYPTO, &extension))
		return 0;
	qcow2_crypto_extension_decode(&crypto, extension.data.data, extension.data.size);
	return crypto.length < there ? crypto.length : there;
}

int q2_luks_area_find(const struct qcow2_image *image, struct q2_luks_area *area,
		      struct qcow2_error *err)
{
	uint8_t nothing[1];

	*area = (struct q2_luks_area){.image = image};
	if (qcow2_image_read_luks(image, nothing, 0, &area->offset_bytes, err)) {
		/* The header of the image says that there is one. */
		if (err && err->code == QCOW2_ERROR_NOT_FOUND)
			err->code = QCOW2_ERROR_BROKEN;
		return -1;
	}
	area->size_bytes = area_bytes(image, area->offset_bytes);
	return 0;
}

int q2_luks_area_begin(const struct q2_luks_area *area, uint8_t *raw, size_t size,
		       struct qcow2_error *err)
{
	uint64_t offset;

	return qcow2_image_read_luks(area->image, raw, size, &offset, err);
}

bool q2_luks_area_is_bad(const struct qcow2_error *err)
{
	return err->code == QCOW2_ERROR_IO && err->errnum != ETIMEDOUT;
}

int q2_luks_area_read(const struct q2_luks_area *area, uint64_t at, uint8_t *bytes, size_t size,
		      struct qcow2_error *err)
{
	assert(q2_range_fits(at, size, area->size_bytes));
	return qcow2_source_read(qcow2_image_source(area->image), area->offset_bytes + at, bytes,
				 size, err);
}
