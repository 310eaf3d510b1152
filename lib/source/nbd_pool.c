/* SPDX-License-Identifier: MIT */
/* Which thread has which connection. See nbd.h. */
#include "source/source.h"

#ifdef QCOW2_NBD
#include "source/nbd.h"

#include <errno.h>

/* Finds a connection that can be used at once. *wait: whether one may become free. */
static struct q2_nbd_connection *find_free(const struct qcow2_source *source, bool *wait)
{
	struct q2_nbd *nbd = source->nbd;
	struct q2_nbd_connection *found = NULL;

	*wait = false;
	for (unsigned i = 0; i < nbd->count; i++) {
		struct q2_nbd_connection *c = &nbd->connections[i];

		if (c->busy)
			*wait = true;
		/* Others go on connecting even if they are not needed yet. */
		else if (c->handle && (c->ready || q2_nbd_becomes_ready(source, c, 0)) && !found)
			found = c;
	}
	return found;
}

struct q2_nbd_connection *q2_nbd_take(const struct qcow2_source *source, int *errnum)
{
	struct q2_nbd *nbd = source->nbd;
	struct q2_nbd_connection *c;
	bool wait;

	(void)pthread_mutex_lock(&nbd->lock);
	while ((c = find_free(source, &wait)) == NULL && wait)
		/* Whoever has one gives it back when the time is over, at the latest. */
		(void)pthread_cond_wait(&nbd->freed, &nbd->lock);
	if (c)
		c->busy = true;
	*errnum = c ? 0 : nbd->gone;
	(void)pthread_mutex_unlock(&nbd->lock);
	return c;
}

void q2_nbd_give_back(const struct qcow2_source *source, struct q2_nbd_connection *c, int errnum)
{
	struct q2_nbd *nbd = source->nbd;

	(void)pthread_mutex_lock(&nbd->lock);
	if (c->handle && q2_nbd_is_over(nbd, c))
		q2_nbd_drop(nbd, c);
	if (!c->handle)
		nbd->gone = errnum != 0 ? errnum : ECONNRESET;
	c->busy = false;
	(void)pthread_cond_signal(&nbd->freed);
	(void)pthread_mutex_unlock(&nbd->lock);
}
#endif
