/* SPDX-License-Identifier: MIT */
/* What limits the threads that are worth starting: see qcow2_processors(). */
#ifndef Q2_SOURCE_PROCESSORS_H
#define Q2_SOURCE_PROCESSORS_H

#include <qcow2/base.h>

/*
 * What the quotas pay for: the lowest cpu.max of the control group that the file membership names
 * (/proc/self/cgroup, its line "0::/path") and of the groups above it, below the folder root
 * (/sys/fs/cgroup). UINT_MAX if there is no quota, or none that can be read. A membership with ".."
 * comes from outside of a namespace: then only the root's own quota counts.
 */
unsigned q2_cgroup_processors(const char *membership, const char *root);

#endif
