/* SPDX-License-Identifier: MIT */
/* How many threads are worth starting. */
#ifndef Q2_SOURCE_PROCESSORS_H
#define Q2_SOURCE_PROCESSORS_H

#include <qcow2/base.h>

/*
 * How many processors this process may use at once, at least 1: those of its affinity mask
 * (taskset), and no more than the CPU quota of its control group pays for (containers), rounded up.
 * What the system does not tell is no limit.
 */
unsigned q2_processors(void);

/*
 * What the quotas pay for: the lowest cpu.max of the control group that the file membership names
 * (/proc/self/cgroup, its line "0::/path") and of the groups above it, below the folder root
 * (/sys/fs/cgroup). UINT_MAX if there is no quota, or none that can be read. A membership with ".."
 * comes from outside of a namespace: then only the root's own quota counts.
 */
unsigned q2_cgroup_processors(const char *membership, const char *root);

#endif
