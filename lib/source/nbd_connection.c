/* SPDX-License-Identifier: MIT */
/* One connection to a server. See nbd.h. */
#include "source/source.h"

#ifdef QCOW2_NBD
#include "source/nbd.h"

#include "base/error.h"

#include <errno.h>

#define NS_PER_MS UINT64_C(1000000)

/* A deadline that is set while somebody waits is seen after this time. */
#define SLICE_MS 1000

/* How many messages a connection takes to become ready, and many more. */
#define STEPS_MOST 1000

void q2_nbd_drop(const struct q2_nbd *nbd, struct q2_nbd_connection *c)
{
	if (!c->handle)
		return;
	/* Says goodbye, if the server takes it without waiting. */
	if (c->ready)
		(void)nbd->calls.aio_disconnect(c->handle, 0);
	nbd->calls.close(c->handle);
	c->handle = NULL;
	c->ready = false;
}

/*
 * Lets a URI name nothing but a server and an export: no other transport, no files of TLS keys. The
 * context is that of holes.
 */
static int restrict_handle(const struct q2_nbd_calls *calls, struct nbd_handle *handle)
{
	const uint32_t transports = LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX;

	if (calls->set_uri_allow_tls(handle, LIBNBD_TLS_DISABLE) ||
	    calls->set_uri_allow_local_file(handle, false) ||
	    calls->set_uri_allow_transports(handle, transports))
		return -1;
	return calls->add_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION);
}

int q2_nbd_start(const struct q2_nbd *nbd, struct q2_nbd_connection *c, const char *uri,
		 struct qcow2_error *err)
{
	c->handle = nbd->calls.create();
	if (c->handle && restrict_handle(&nbd->calls, c->handle) == 0 &&
	    nbd->calls.aio_connect_uri(c->handle, uri) == 0)
		return 0;
	(void)q2_nbd_fail(&nbd->calls, err);
	q2_nbd_drop(nbd, c);
	return -1;
}

bool q2_nbd_is_over(const struct q2_nbd *nbd, const struct q2_nbd_connection *c)
{
	return nbd->calls.aio_is_dead(c->handle) != 0 || nbd->calls.aio_is_closed(c->handle) != 0;
}

int q2_nbd_wait(const struct qcow2_source *source, const struct q2_nbd_connection *c)
{
	const struct q2_nbd_calls *calls = &source->nbd->calls;
	uint64_t left_ns = q2_source_left_ns(source);
	int timeout_ms = SLICE_MS, errnum;

	if (left_ns == 0)
		return ETIMEDOUT;
	if (q2_nbd_is_over(source->nbd, c))
		return ECONNRESET;
	if (left_ns < SLICE_MS * NS_PER_MS)
		timeout_ms = (int)(left_ns / NS_PER_MS) + 1;
	if (calls->poll(c->handle, timeout_ms) >= 0)
		return 0;
	errnum = q2_nbd_errnum(calls);
	return errnum == EINTR ? 0 : errnum;
}

int q2_nbd_finish(const struct qcow2_source *source, struct q2_nbd_connection *c,
		  struct qcow2_error *err)
{
	const struct q2_nbd_calls *calls = &source->nbd->calls;
	int errnum = 0;

	while (errnum == 0 && calls->aio_is_connecting(c->handle) > 0)
		errnum = q2_nbd_wait(source, c);
	if (errnum == ETIMEDOUT && q2_source_left_ns(source) == 0)
		return q2_fail_errno(err, errnum, QCOW2_NO_OFFSET,
				     "cannot open over NBD: the server does not answer");
	if (errnum != 0)
		return q2_nbd_fail(calls, err);
	c->ready = calls->aio_is_ready(c->handle) > 0;
	if (!c->ready)
		return q2_fail_errno(err, ECONNRESET, QCOW2_NO_OFFSET,
				     "cannot open over NBD: the server ended the connection");
	return 0;
}

bool q2_nbd_becomes_ready(const struct qcow2_source *source, struct q2_nbd_connection *c,
			  unsigned patience_ms)
{
	const struct q2_nbd_calls *calls = &source->nbd->calls;
	unsigned steps = 0, idle = 0;
	int more = 1;

	while (more >= 0 && idle <= patience_ms && steps++ < STEPS_MOST &&
	       calls->aio_is_connecting(c->handle) > 0) {
		more = calls->poll(c->handle, idle < patience_ms ? 1 : 0);
		idle += more == 0;
	}
	if (more >= 0 && calls->aio_is_connecting(c->handle) > 0)
		return false;
	c->ready = more >= 0 && calls->aio_is_ready(c->handle) > 0;
	/* A server with two sizes at once is not believed. */
	if (c->ready && calls->get_size(c->handle) == (int64_t)source->size_bytes)
		return true;
	q2_nbd_drop(source->nbd, c);
	return false;
}

/* Takes requests that are done off the list. */
static size_t retire(const struct q2_nbd_calls *calls, struct nbd_handle *handle, int64_t *cookies,
		     size_t count, int *failed)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		int done = calls->aio_command_completed(handle, (uint64_t)cookies[i]);

		if (done < 0)
			*failed = q2_nbd_errnum(calls);
		if (done == 0)
			cookies[left++] = cookies[i];
	}
	return left;
}

int q2_nbd_await(const struct qcow2_source *source, struct q2_nbd_connection *c, int64_t *cookies,
		 size_t *count, int *failed)
{
	const size_t before = *count;
	int errnum = 0;

	while (errnum == 0 && *count == before) {
		*count = retire(&source->nbd->calls, c->handle, cookies, before, failed);
		if (*count == before)
			errnum = q2_nbd_wait(source, c);
	}
	/* What is under way would still be written into the caller's buffer. */
	if (errnum != 0)
		q2_nbd_drop(source->nbd, c);
	return errnum;
}
#endif
