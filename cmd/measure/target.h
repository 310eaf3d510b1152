/* SPDX-License-Identifier: MIT */
/* The image that would be made, in the words of `qemu-img create -o`. */
#ifndef CMD_MEASURE_TARGET_H
#define CMD_MEASURE_TARGET_H

#include <stdbool.h>

#include <qcow2/error.h>
#include <qcow2/measure.h>

struct measure_target {
	bool raw;        /* a raw file, which has no tables */
	bool backing;    /* it will have a backing file */
	bool full;       /* its data are allocated when it is made */
	bool luks;       /* it is encrypted */
	bool double_key; /* the cipher has two keys: mode xts */
	unsigned key_bytes;
	struct qcow2_measure_target numbers;
};

/* A new image as qemu-img makes it. */
void measure_target_init(struct measure_target *target);

/*
 * Takes options as "cluster_size=64k,compat=1.1", which may be given several times. Returns 0, or -1
 * with *err filled, whose text says what is wrong.
 */
int measure_target_take(struct measure_target *target, const char *options,
			struct qcow2_error *err);

/* Puts together what was taken, once all is. The format of the target is known by then. */
void measure_target_end(struct measure_target *target);

#endif
