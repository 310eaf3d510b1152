/* SPDX-License-Identifier: MIT */
/* What QEMU does with an image, as far as its header and its lists tell. */
#ifndef CMD_INFO_QEMU_H
#define CMD_INFO_QEMU_H

#include <qcow2/image.h>
#include <qcow2/problem.h>

/* The order is that of rising alarm. */
enum qemu_verdict {
	QEMU_OPENS = 0,
	QEMU_ONLY_READS = 1, /* it refuses to open the image for writing */
	QEMU_REFUSES = 2,
};

/* What QEMU does with an image because of one of its problems. */
enum qemu_verdict qemu_verdict(const struct qcow2_image *image,
			       const struct qcow2_problem *problem);

/* The oldest QEMU that does something with an image. */
struct qemu_need {
	const char *version; /* "5.2" */
	const char *why;     /* "extended L2 entries" */
};

/* Which QEMU is needed to open an image. version is NULL if none is known that could. */
struct qemu_need qemu_needed(const struct qcow2_header *header);

#endif
