/* SPDX-License-Identifier: MIT */
/* Work shared among threads: numbered pieces, each done once by whoever is free. */
#ifndef Q2_BASE_CREW_H
#define Q2_BASE_CREW_H

#include <qcow2/base.h>

/* The most threads that a crew has. */
#define Q2_CREW_MAX 64

struct q2_crew_work {
	uint64_t pieces;
	unsigned threads; /* 1 to Q2_CREW_MAX; the calling thread is one of them */
	/*
	 * Does one piece; worker is 0 for the calling thread, below threads for the others.
	 * Returns false to stop everybody.
	 */
	bool (*work)(void *opaque, unsigned worker, uint64_t piece);
	void *opaque;
};

/*
 * Returns when all pieces are done or somebody stopped. Threads that cannot be started are done
 * without. False if somebody stopped.
 */
bool q2_crew_run(const struct q2_crew_work *work);

#endif
