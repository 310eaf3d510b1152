/* SPDX-License-Identifier: MIT */
/* See human.h. */
#include "out/human.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

const char *human_size(uint64_t bytes, char *buffer)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned unit = 0;
	uint64_t whole;
	double value;

	while (unit < 6 && bytes >> (10 * (unit + 1)) != 0)
		unit++;
	whole = bytes >> (10 * unit);
	if (whole << (10 * unit) == bytes) {
		snprintf(buffer, HUMAN_MAX, "%" PRIu64 " %s", whole, units[unit]);
		return buffer;
	}
	value = (double)bytes / (double)(UINT64_C(1) << (10 * unit));
	snprintf(buffer, HUMAN_MAX, "%.*f %s",
		 value < 9.995   ? 2
		 : value < 99.95 ? 1
				 : 0,
		 value, units[unit]);
	return buffer;
}

const char *human_time(uint64_t seconds, char *buffer)
{
	time_t when = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&when, &tm) || strftime(buffer, HUMAN_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(buffer, HUMAN_MAX, "%" PRIu64 " s", seconds);
	return buffer;
}

const char *human_duration(uint64_t nanoseconds, char *buffer)
{
	uint64_t milliseconds = nanoseconds / 1000000;
	uint64_t seconds = milliseconds / 1000;

	snprintf(buffer, HUMAN_MAX, "%" PRIu64 ":%02u:%02u.%03u", seconds / 3600,
		 (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60),
		 (unsigned)(milliseconds % 1000));
	return buffer;
}

struct qcow2_bytes human_cut(struct qcow2_bytes text, size_t most)
{
	size_t size = most;

	if (text.size <= most)
		return text;
	/* A character has up to three bytes after its first. */
	for (int i = 0; i < 3 && size > 0 && (text.data[size] & 0xc0) == 0x80; i++)
		size--;
	return (struct qcow2_bytes){text.data, size};
}
