/* SPDX-License-Identifier: MIT */
/* See crew.h. */
#include "base/crew.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

struct crew {
	const struct q2_crew_work *work;
	_Atomic uint64_t next;
	_Atomic bool stopped;
};

struct member {
	struct crew *crew;
	unsigned worker;
	pthread_t thread;
};

static void *take_pieces(void *opaque)
{
	const struct member *member = opaque;
	struct crew *crew = member->crew;

	while (!atomic_load(&crew->stopped)) {
		uint64_t piece = atomic_fetch_add(&crew->next, 1);

		if (piece >= crew->work->pieces)
			break;
		if (!crew->work->work(crew->work->opaque, member->worker, piece))
			atomic_store(&crew->stopped, true);
	}
	return NULL;
}

bool q2_crew_run(const struct q2_crew_work *work)
{
	struct crew crew = {.work = work};
	struct member members[Q2_CREW_MAX];
	unsigned started = 1;

	assert(work->threads <= Q2_CREW_MAX);
	members[0] = (struct member){.crew = &crew};
	while (started < work->threads && started < work->pieces) {
		members[started] = (struct member){.crew = &crew, .worker = started};
		if (pthread_create(&members[started].thread, NULL, take_pieces, &members[started]))
			break;
		started++;
	}
	take_pieces(&members[0]);
	for (unsigned i = 1; i < started; i++)
		pthread_join(members[i].thread, NULL);
	return !atomic_load(&crew.stopped);
}
