/* SPDX-License-Identifier: MIT */
/*
 * An image over NBD. The server may be slow, broken or hostile: every wait ends at the deadline of
 * the source, and what it says of sizes and holes is checked before it is used.
 *
 * A connection of libnbd serves one thread at a time. If the server says that several connections
 * see the same bytes, there are more of them, so that threads read at once. They are begun when the
 * source is opened, as a sandbox may allow none later, and nobody waits long for them.
 */
#ifndef Q2_SOURCE_NBD_H
#define Q2_SOURCE_NBD_H

#include <pthread.h>

#include "source/nbd_calls.h"
#include "source/source.h"

/* The most connections to a server. */
#define Q2_NBD_CONNECTIONS_MAX 16

/* The most extents of the server that are remembered. */
#define Q2_NBD_EXTENTS_MAX 16384

struct q2_nbd_connection {
	struct nbd_handle *handle; /* NULL: it is gone, or was never there */
	bool ready;                /* it can be read from; else the server has not agreed yet */
	bool busy;                 /* a thread has it */
};

struct q2_nbd_extent {
	uint64_t end_bytes;
	bool hole;
};

/* What the server's last answer says of holes, without gaps from begin_bytes on. */
struct q2_nbd_holes {
	pthread_mutex_t lock;
	uint64_t begin_bytes;
	size_t count;
	struct q2_nbd_extent *extents; /* NULL: the server does not tell, or not any more */
};

struct q2_nbd {
	struct q2_nbd_calls calls;
	uint64_t least_bytes; /* reads are multiples of this, a power of two */
	uint64_t most_bytes;  /* and not longer than this */
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t freed; /* a thread has given its connection back */
	int gone;             /* why there is no connection left: an errno value */
	unsigned count;
	struct q2_nbd_connection connections[Q2_NBD_CONNECTIONS_MAX];
	struct q2_nbd_holes holes;
};

/* ---- nbd_connection.c: one connection, of which the caller is the only user ---- */

/* Begins to connect, and waits for nothing but the name of the host. */
int q2_nbd_start(const struct q2_nbd *nbd, struct q2_nbd_connection *c, const char *uri,
		 struct qcow2_error *err);

/* Waits until the connection is ready. */
int q2_nbd_finish(const struct qcow2_source *source, struct q2_nbd_connection *c,
		  struct qcow2_error *err);

/*
 * Whether a connection that was begun is ready by now, or within some milliseconds in which nothing
 * arrives; one that failed is dropped.
 */
bool q2_nbd_becomes_ready(const struct qcow2_source *source, struct q2_nbd_connection *c,
			  unsigned patience_ms);

/* Whether the server or the protocol has ended a connection. */
bool q2_nbd_is_over(const struct q2_nbd *nbd, const struct q2_nbd_connection *c);

/* Ends a connection, at once. */
void q2_nbd_drop(const struct q2_nbd *nbd, struct q2_nbd_connection *c);

/*
 * Waits for the server at most until the deadline, and a second at once. Returns 0, or an errno value
 * if the connection cannot be used any more.
 */
int q2_nbd_wait(const struct qcow2_source *source, const struct q2_nbd_connection *c);

/*
 * Waits for the requests of `cookies`, as many as there are, until at least one is done, and takes
 * those that are done off the list. *failed becomes the errno value of one that failed. Returns 0, or
 * an errno value if the connection cannot be used any more; it is dropped then.
 */
int q2_nbd_await(const struct qcow2_source *source, struct q2_nbd_connection *c, int64_t *cookies,
		 size_t *count, int *failed);

/* ---- nbd_pool.c ---- */

/* Takes a connection that no other thread uses. NULL with *errnum set if there is none any more. */
struct q2_nbd_connection *q2_nbd_take(const struct qcow2_source *source, int *errnum);

/* Gives it back; if it is gone, errnum says why. */
void q2_nbd_give_back(const struct qcow2_source *source, struct q2_nbd_connection *c, int errnum);

/* ---- nbd_read.c, nbd_holes.c: as the functions of a backend ---- */

int q2_nbd_read(const struct qcow2_source *source, uint64_t offset_bytes, uint8_t *buffer,
		size_t size);
uint64_t q2_nbd_hole_end(const struct qcow2_source *source, uint64_t offset_bytes);
uint64_t q2_nbd_data_end(const struct qcow2_source *source, uint64_t offset_bytes);

#endif
