/* SPDX-License-Identifier: MIT */
/* Opens the encryption of an image with a passphrase, and decrypts its clusters. */
#ifndef Q2_GUEST_SECRET_H
#define Q2_GUEST_SECRET_H

#include <qcow2/guest.h>

struct q2_secret;

/*
 * Asks the callback of the options for the passphrase of an image, and finds its key with it.
 *
 * options: not NULL. depth: of the image in the chain. *out: set to NULL if the image is not
 * encrypted, and nobody is asked.
 *
 * Returns 0, or -1 with *err filled as qcow2_disk_open() says: UNSUPPORTED (no callback, or a method
 * that is not known), MISMATCH (the passphrase is wrong), BROKEN (the LUKS header makes no sense),
 * LIMIT (its key would take too long, or too much memory), IO, MEMORY, and what the callback says.
 */
int q2_secret_open(const struct qcow2_image *image, const struct qcow2_disk_options *options,
		   uint32_t depth, struct q2_secret **out, struct qcow2_error *err);

/* Forgets the keys and frees. NULL is fine. */
void q2_secret_close(struct q2_secret *secret);

/* No sector is longer. */
#define Q2_SECRET_SECTOR_BYTES_MAX 4096

/* How long a sector is: 512 bytes, or 1024, 2048 or 4096. */
size_t q2_secret_sector_bytes(const struct q2_secret *secret);

/*
 * Decrypts whole sectors in place. guest_byte and host_byte: where the first one lies
 * on the disk and in the file; which of them counts depends on the method. Thread safe. Returns 0, or
 * -1 with *err filled (MEMORY).
 */
int q2_secret_decrypt(const struct q2_secret *secret, uint64_t guest_byte, uint64_t host_byte,
		      uint8_t *bytes, size_t size, struct qcow2_error *err);

#endif
