/* SPDX-License-Identifier: MIT */
/*
 * Opens an image over NBD, for reading. Only programs and users name such images: nothing here is
 * reached through a name that stands in an image.
 */
#include "source/source.h"

#include "base/error.h"
#include "base/nbd_name.h"

#ifdef QCOW2_NBD
#include "base/alloc.h"
#include "base/checked.h"
#include "base/sized.h"
#include "source/nbd.h"

#include <errno.h>
#include <inttypes.h>
#endif

bool qcow2_source_is_nbd(const char *name)
{
	return q2_is_nbd_name(name);
}

/* Refuses names that libnbd would take, and that mean more than a connection to a server. */
static int check_name(const char *uri, struct qcow2_error *err)
{
	if (!uri || !qcow2_source_is_nbd(uri))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the name of an image over NBD starts with nbd:// or nbd+unix://");
	if (q2_nbd_name_wants_tls(uri))
		return q2_fail(
			err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			"NBD with TLS (nbds:) is not supported: tunnel it (ssh -L), and name "
			"the tunnel");
	return 0;
}

#ifdef QCOW2_NBD

/* What a server that says nothing of block sizes has to accept. */
#define DEFAULT_MOST_BYTES (UINT64_C(32) << 20)

/* The largest block that the protocol allows a server to demand. */
#define LEAST_BYTES_MAX 65536

/* More connections than this make reads no faster. */
#define CONNECTIONS_DEFAULT 4

/* How long more connections are waited for, each: longer than a server of this machine takes. */
#define PATIENCE_MS 20

static void close_all(struct qcow2_source *source)
{
	struct q2_nbd *nbd = source->nbd;

	for (unsigned i = 0; i < nbd->count; i++)
		q2_nbd_drop(nbd, &nbd->connections[i]);
	q2_free(nbd->holes.extents);
	(void)pthread_mutex_destroy(&nbd->holes.lock);
	(void)pthread_mutex_destroy(&nbd->lock);
	(void)pthread_cond_destroy(&nbd->freed);
	q2_free(nbd);
}

static const struct q2_source_backend nbd_backend = {
	.read = q2_nbd_read,
	.close = close_all,
};

static const struct q2_source_backend nbd_holes_backend = {
	.read = q2_nbd_read,
	.hole_end = q2_nbd_hole_end,
	.data_end = q2_nbd_data_end,
	.close = close_all,
};

/* Makes a source that has no connection yet. */
static struct qcow2_source *make_source(struct qcow2_error *err)
{
	struct q2_nbd *nbd = q2_alloc(sizeof(*nbd));
	struct qcow2_source *source;

	if (!nbd) {
		q2_fail_memory(err);
		return NULL;
	}
	source = q2_source_new(&nbd_backend, 0, 0, err);
	if (!source) {
		q2_free(nbd);
		return NULL;
	}
	/* With default attributes these cannot fail on the systems that there are. */
	(void)pthread_mutex_init(&nbd->lock, NULL);
	(void)pthread_mutex_init(&nbd->holes.lock, NULL);
	(void)pthread_cond_init(&nbd->freed, NULL);
	source->nbd = nbd;
	return source;
}

/* Learns what the server says of the export, and refuses what makes no sense. */
static int learn(struct qcow2_source *source, struct qcow2_error *err)
{
	struct q2_nbd *nbd = source->nbd;
	struct nbd_handle *handle = nbd->connections[0].handle;
	const int64_t size = nbd->calls.get_size(handle);
	const int64_t least = nbd->calls.get_block_size(handle, LIBNBD_SIZE_MINIMUM);
	const int64_t most = nbd->calls.get_block_size(handle, LIBNBD_SIZE_MAXIMUM);

	if (size < 0)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			       "the NBD server's export is larger than 2^63 - 1 bytes");
	if (least < 0 || most < 0)
		return q2_nbd_fail(&nbd->calls, err);
	source->size_bytes = source->allocated_bytes = (uint64_t)size;
	nbd->least_bytes = least > 0 ? (uint64_t)least : 1;
	nbd->most_bytes = most > 0 ? (uint64_t)most : DEFAULT_MOST_BYTES;
	if (!q2_is_power_of_two(nbd->least_bytes) || nbd->least_bytes > LEAST_BYTES_MAX ||
	    nbd->most_bytes < nbd->least_bytes)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			       "the NBD server wants reads of at least %" PRIu64
			       " and at most %" PRIu64 " bytes, which makes no sense",
			       nbd->least_bytes, nbd->most_bytes);
	nbd->most_bytes &= ~(nbd->least_bytes - 1);
	return 0;
}

static int prepare_holes(struct qcow2_source *source, struct qcow2_error *err)
{
	struct q2_nbd *nbd = source->nbd;

	if (nbd->calls.can_meta_context(nbd->connections[0].handle,
					LIBNBD_CONTEXT_BASE_ALLOCATION) <= 0)
		return 0;
	nbd->holes.extents = q2_alloc_array(Q2_NBD_EXTENTS_MAX, sizeof(*nbd->holes.extents));
	if (!nbd->holes.extents)
		return q2_fail_memory(err);
	source->backend = &nbd_holes_backend;
	return 0;
}

/* Begins more connections; those that come to nothing are done without. */
static void start_more(struct qcow2_source *source, const char *uri, unsigned wanted)
{
	struct q2_nbd *nbd = source->nbd;

	if (wanted == 0)
		wanted = qcow2_processors() < CONNECTIONS_DEFAULT ? qcow2_processors()
								  : CONNECTIONS_DEFAULT;
	if (wanted > Q2_NBD_CONNECTIONS_MAX)
		wanted = Q2_NBD_CONNECTIONS_MAX;
	if (wanted < 2 || nbd->calls.can_multi_conn(nbd->connections[0].handle) <= 0)
		return;
	while (nbd->count < wanted &&
	       q2_nbd_start(nbd, &nbd->connections[nbd->count], uri, NULL) == 0)
		nbd->count++;
	/* A server that is near has agreed before the first read. */
	for (unsigned i = 1; i < nbd->count; i++)
		(void)q2_nbd_becomes_ready(source, &nbd->connections[i], PATIENCE_MS);
}

static int connect_source(struct qcow2_source *source, const char *uri, unsigned connections,
			  struct qcow2_error *err)
{
	struct q2_nbd *nbd = source->nbd;

	if (q2_nbd_load(&nbd->calls, err) || q2_nbd_start(nbd, &nbd->connections[0], uri, err))
		return -1;
	nbd->count = 1;
	if (q2_nbd_finish(source, &nbd->connections[0], err) || learn(source, err) ||
	    prepare_holes(source, err))
		return -1;
	start_more(source, uri, connections);
	return 0;
}

int qcow2_source_open_nbd(const char *uri, const struct qcow2_nbd_options *options,
			  struct qcow2_source **out, struct qcow2_error *err)
{
	struct qcow2_nbd_options mine;
	struct qcow2_source *source;

	if (q2_sized_take(&mine, sizeof(mine), options, err) || check_name(uri, err))
		return -1;
	source = make_source(err);
	if (!source)
		return -1;
	qcow2_source_set_deadline(source, mine.deadline_ns);
	if (connect_source(source, uri, mine.connections, err)) {
		qcow2_source_close(source);
		return -1;
	}
	*out = source;
	return 0;
}

#else

int qcow2_source_open_nbd(const char *uri, const struct qcow2_nbd_options *options,
			  struct qcow2_source **out, struct qcow2_error *err)
{
	(void)options;
	(void)out;
	if (check_name(uri, err))
		return -1;
	return q2_fail(
		err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
		"this build reads no images over NBD, as it was made without libnbd: copy it "
		"to a file first (nbdcopy, qemu-img convert)");
}

#endif
