/* SPDX-License-Identifier: MIT */
/* Finds the LUKS header that the encryption header pointer names. */
#include "base/error.h"
#include "image/extensions.h"
#include "image/internal.h"

int qcow2_image_read_luks(const struct qcow2_image *image, uint8_t *raw, size_t size_bytes,
			  uint64_t *offset_bytes, struct qcow2_error *err)
{
	struct qcow2_extension extension;
	struct qcow2_crypto_extension crypto;

	if (!q2_find_extension(image, QCOW2_EXTENSION_CRYPTO, &extension) ||
	    extension.data.size < sizeof(struct qcow2_crypto_extension))
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there is no encryption header pointer");
	qcow2_crypto_extension_decode(&crypto, extension.data.data, extension.data.size);
	if (crypto.offset >= qcow2_source_size_bytes(image->source))
		return q2_fail(err, QCOW2_ERROR_BROKEN, crypto.offset,
			       "the LUKS header lies beyond the end of the file");
	*offset_bytes = crypto.offset;
	return q2_image_read_padded(image, crypto.offset, raw, size_bytes, err);
}
