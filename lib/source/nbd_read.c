/* SPDX-License-Identifier: MIT */
/* Reads over NBD: long ones in pieces that are under way together, odd ones in whole blocks. */
#include "source/source.h"

#ifdef QCOW2_NBD
#include "source/nbd.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>

/* How much one request asks for, and how many of them are under way. */
#define PIECE_BYTES (UINT64_C(1) << 20)
#define WINDOW      8

static int64_t ask(const struct q2_nbd *nbd, const struct q2_nbd_connection *c, uint64_t offset,
		   uint8_t *buffer, size_t size)
{
	return nbd->calls.aio_pread(c->handle, buffer, size, offset, NBD_NULL_COMPLETION, 0);
}

/* Reads whole blocks. Returns 0 or an errno value; the connection may be gone then. */
static int read_blocks(const struct qcow2_source *source, struct q2_nbd_connection *c,
		       uint64_t offset, uint8_t *buffer, size_t size)
{
	const struct q2_nbd *nbd = source->nbd;
	const uint64_t most = nbd->most_bytes < PIECE_BYTES ? nbd->most_bytes : PIECE_BYTES;
	int64_t cookies[WINDOW];
	size_t count = 0;
	int failed = 0, errnum;

	while (count > 0 || (size > 0 && failed == 0)) {
		while (size > 0 && failed == 0 && count < WINDOW) {
			const size_t piece = size < most ? size : (size_t)most;

			cookies[count] = ask(nbd, c, offset, buffer, piece);
			if (cookies[count] < 0) {
				failed = q2_nbd_errnum(&nbd->calls);
				break;
			}
			count++;
			buffer += piece;
			offset += piece;
			size -= piece;
		}
		errnum = count > 0 ? q2_nbd_await(source, c, cookies, &count, &failed) : 0;
		if (errnum != 0)
			return errnum;
	}
	return failed;
}

/* Reads a part of one block: size bytes, which end no later than the block. */
static int read_part(const struct qcow2_source *source, struct q2_nbd_connection *c,
		     uint64_t offset, uint8_t *buffer, size_t size)
{
	const uint64_t begin = offset & ~(source->nbd->least_bytes - 1);
	uint64_t block = source->nbd->least_bytes;
	uint8_t *bytes = q2_alloc_buffer((size_t)block);
	int errnum;

	if (!bytes)
		return ENOMEM;
	/* The last block may be short, though a server should not have such. */
	if (block > source->size_bytes - begin)
		block = source->size_bytes - begin;
	errnum = read_blocks(source, c, begin, bytes, (size_t)block);
	if (errnum == 0)
		memcpy(buffer, bytes + (offset - begin), size);
	q2_free(bytes);
	return errnum;
}

/* A part of a block in front, whole blocks, and a part behind them. */
static int read_range(const struct qcow2_source *source, struct q2_nbd_connection *c,
		      uint64_t offset, uint8_t *buffer, size_t size)
{
	const uint64_t odd = source->nbd->least_bytes - 1;
	size_t front = (size_t)(-offset & odd), middle;
	int errnum = 0;

	front = front < size ? front : size;
	middle = (size - front) & ~(size_t)odd;
	if (front > 0)
		errnum = read_part(source, c, offset, buffer, front);
	if (errnum == 0 && middle > 0)
		errnum = read_blocks(source, c, offset + front, buffer + front, middle);
	front += middle;
	if (errnum == 0 && front < size)
		errnum = read_part(source, c, offset + front, buffer + front, size - front);
	return errnum;
}

int q2_nbd_read(const struct qcow2_source *source, uint64_t offset_bytes, uint8_t *buffer,
		size_t size)
{
	struct q2_nbd_connection *c;
	int errnum;

	c = q2_nbd_take(source, &errnum);
	if (!c)
		return errnum;
	errnum = read_range(source, c, offset_bytes, buffer, size);
	q2_nbd_give_back(source, c, errnum);
	return errnum;
}
#endif
