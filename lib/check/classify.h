/* SPDX-License-Identifier: MIT */
/* 64 refcounts at a step: which are 0, which are 1 ("Host cluster management"). */
#ifndef Q2_CHECK_CLASSIFY_H
#define Q2_CHECK_CLASSIFY_H

#include <qcow2/base.h>

/* Bit i of zero and one says that refcount i is 0, or 1. */
struct q2_refcount_classes {
	uint64_t zero;
	uint64_t one;
};

/* bytes holds 64 refcounts: 8 times as many bytes as a refcount has bits. */
typedef struct q2_refcount_classes (*q2_classify)(const uint8_t *bytes);

/* The fastest way that this processor knows for refcounts of 1 << order bits, 0 to 6. */
q2_classify q2_classify_choose(unsigned order);

/* The way that works everywhere. */
q2_classify q2_classify_portable(unsigned order);

#endif
