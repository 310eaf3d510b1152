/* SPDX-License-Identifier: MIT */
/* The LUKS header of an encrypted image ("Full disk encryption header pointer"). */
#ifndef QCOW2_LUKS_H
#define QCOW2_LUKS_H

#include <qcow2/base.h>
#include <qcow2/error.h>

QCOW2_BEGIN_DECLS

/* ---- the LUKS header of an encrypted image ---- */

struct qcow2_image;

/*
 * What the LUKS on-disk format fixes for version 1: the number of key slots, which follow struct
 * qcow2_luks1; the two values of `active` in struct qcow2_luks1_key_slot; and the unit of
 * payload_offset and key_material_offset.
 */
#define QCOW2_LUKS1_SLOTS         8
#define QCOW2_LUKS1_SLOT_ACTIVE   0x00ac71f3U
#define QCOW2_LUKS1_SLOT_INACTIVE 0x0000deadU
#define QCOW2_LUKS_SECTOR_BYTES   512

/*
 * Reads the start of the LUKS header that the extension QCOW2_EXTENSION_CRYPTO names. Nothing is
 * decrypted, and no key is asked for: qcow2_luks1_decode() and qcow2_luks2_decode() (format.h) show
 * what the header says of itself. Whether the bytes are a LUKS header at all is for the caller to
 * find out; crypt_method of the image's header should be 2.
 *
 * image: not NULL. raw: room for size_bytes bytes, filled from the start of the LUKS header on;
 * bytes past the end of the file are zeros. *offset_bytes: set to the host offset of the LUKS
 * header, as the extension has it.
 *
 * Returns 0, or -1 with *err filled, and then raw is undefined:
 *   QCOW2_ERROR_NOT_FOUND  there is no such extension, or its data are less than 16 bytes
 *   QCOW2_ERROR_BROKEN     the LUKS header starts past the end of the file
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT  as qcow2_source_read()
 * Thread safe.
 */
QCOW2_API int qcow2_image_read_luks(const struct qcow2_image *image, uint8_t *raw,
				    size_t size_bytes, uint64_t *offset_bytes,
				    struct qcow2_error *err);

QCOW2_END_DECLS

#endif
