/* SPDX-License-Identifier: MIT */
/* See secret.h. */
#include "guest/secret.h"

#include "base/error.h"

int q2_secret_open(const struct qcow2_image *image, const struct qcow2_disk_options *options,
		   uint32_t depth, struct q2_secret **out, struct qcow2_error *err)
{
	(void)options;
	*out = NULL;
	if (qcow2_image_header(image)->crypt_method == 0)
		return 0;
	return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
		       "file %u of the chain is encrypted", depth);
}

void q2_secret_close(struct q2_secret *secret)
{
	(void)secret;
}

int q2_secret_decrypt(const struct q2_secret *secret, uint64_t guest_byte, uint64_t host_byte,
		      uint8_t *bytes, size_t size, struct qcow2_error *err)
{
	(void)secret;
	(void)guest_byte;
	(void)host_byte;
	(void)bytes;
	(void)size;
	return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET, "no key");
}
