/* SPDX-License-Identifier: MIT */
/* See processors.h. */
#include "source/processors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/number.h"
#include "source/source.h"

#include <qcow2/source.h>

#define GROUP_MAX 4096

/* Reads a file of the kernel into text, cut to size - 1 bytes. False if it cannot be read. */
static bool read_text(const char *path, char *text, size_t size)
{
	int fd = q2_descriptor_open(path, O_RDONLY);
	size_t filled = 0;
	ssize_t got = 1;

	if (fd < 0)
		return false;
	while (got != 0 && filled < size - 1) {
		got = read(fd, text + filled, size - 1 - filled);
		if (got < 0 && errno != EINTR)
			break;
		filled += got > 0 ? (size_t)got : 0;
	}
	(void)close(fd);
	text[filled] = '\0';
	return got >= 0;
}

/* "150000 100000", microseconds in a period, are two processors; "max 100000" is no limit. */
static unsigned quota_of(const char *folder)
{
	char path[GROUP_MAX + 32], text[128];
	const char *second;
	size_t length;
	uint64_t quota, period, processors;

	snprintf(path, sizeof(path), "%s/cpu.max", folder);
	if (!read_text(path, text, sizeof(text)))
		return UINT_MAX;
	/* "QUOTA PERIOD", in microseconds; "max" is no number. */
	length = strcspn(text, " ");
	second = text + length + strspn(text + length, " ");
	if (!q2_index_parse(text, length, &quota) ||
	    !q2_index_parse(second, strcspn(second, "\n"), &period) || period == 0)
		return UINT_MAX;
	processors = quota / period + (quota % period != 0);
	if (processors == 0)
		return 1;
	return processors < UINT_MAX ? (unsigned)processors : UINT_MAX;
}

/* The group's path in text, "" for the root; false if there is no line of version 2. */
static bool find_group(char *text, char **group)
{
	char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");

	if (!line)
		return false;
	*group = strchr(line, '/');
	if (!*group)
		return false;
	(*group)[strcspn(*group, "\n")] = '\0';
	if (strstr(*group, ".."))
		**group = '\0';
	return true;
}

unsigned q2_cgroup_processors(const char *membership, const char *root)
{
	char text[GROUP_MAX], folder[GROUP_MAX + 16], *group;
	unsigned least = UINT_MAX;

	if (!read_text(membership, text, sizeof(text)) || !find_group(text, &group))
		return UINT_MAX;
	for (;;) {
		int length = snprintf(folder, sizeof(folder), "%s%s", root, group);
		unsigned quota = (size_t)length < sizeof(folder) ? quota_of(folder) : UINT_MAX;
		char *last = strrchr(group, '/');

		least = quota < least ? quota : least;
		if (!last)
			return least;
		*last = '\0'; /* on to the group above, and last to the root itself */
	}
}

/* The processors that the process may run on. */
static unsigned affinity(void)
{
	long online;
#ifdef CPU_COUNT
	cpu_set_t set;

	/* Fails where there are more processors than the set has room for. */
	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return (unsigned)CPU_COUNT(&set);
#endif
	/* Opens a file. */
	online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned)online : 1;
}

unsigned qcow2_processors(void)
{
	unsigned may = affinity();
	unsigned paid = may > 1 ? q2_cgroup_processors("/proc/self/cgroup", "/sys/fs/cgroup") : 1;

	return may < paid ? may : paid;
}
