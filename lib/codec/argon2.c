/* SPDX-License-Identifier: MIT */
/*
 * See argon2.h. The algorithm is that of libargon2. It gets one thread, so that nothing depends on
 * what that library does where a thread cannot be started.
 */
#include "codec/argon2.h"

uint64_t q2_argon2_fills(const struct q2_argon2 *how)
{
	return (uint64_t)how->passes * how->block_count;
}

uint64_t q2_argon2_bytes(const struct q2_argon2 *how)
{
	return (uint64_t)how->block_count * Q2_ARGON2_BLOCK_BYTES;
}

#ifdef QCOW2_ARGON2

#include <argon2.h>

#include "base/alloc.h"

/* Each lane has at least so many blocks (RFC 9106, 3.1). */
#define LANE_BLOCKS_MIN 8

bool q2_argon2_is_there(void)
{
	return true;
}

bool q2_argon2_is_sound(const struct q2_argon2 *how)
{
	return how->passes > 0 && how->lanes > 0 && how->lanes <= ARGON2_MAX_LANES &&
	       how->block_count / LANE_BLOCKS_MIN >= how->lanes &&
	       how->salt.size >= Q2_ARGON2_SALT_BYTES_MIN;
}

static int allocate(uint8_t **memory, size_t size)
{
	*memory = q2_alloc_buffer(size);
	return 0;
}

static void release(uint8_t *memory, size_t size)
{
	(void)size;
	q2_free(memory);
}

bool q2_argon2(const struct q2_argon2 *how, struct qcow2_bytes passphrase, uint8_t *key,
	       size_t key_bytes)
{
	argon2_context context = {
		.out = key,
		.outlen = (uint32_t)key_bytes,
		.pwd = (uint8_t *)(uintptr_t)passphrase.data,
		.pwdlen = (uint32_t)passphrase.size,
		.salt = (uint8_t *)(uintptr_t)how->salt.data,
		.saltlen = (uint32_t)how->salt.size,
		.t_cost = how->passes,
		.m_cost = how->block_count,
		.lanes = how->lanes,
		.threads = 1,
		.version = ARGON2_VERSION_13,
		.allocate_cbk = allocate,
		.free_cbk = release,
	};

	/* What is sound fails for want of memory alone. */
	return argon2_ctx(&context, how->mixed ? Argon2_id : Argon2_i) == ARGON2_OK;
}

#else

bool q2_argon2_is_there(void)
{
	return false;
}

bool q2_argon2_is_sound(const struct q2_argon2 *how)
{
	(void)how;
	return true;
}

bool q2_argon2(const struct q2_argon2 *how, struct qcow2_bytes passphrase, uint8_t *key,
	       size_t key_bytes)
{
	(void)how;
	(void)passphrase;
	(void)key;
	(void)key_bytes;
	return false;
}

#endif
