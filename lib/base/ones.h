/* SPDX-License-Identifier: MIT */
/* Counts ones in memory, which bounds how fast bitmaps are summed up. */
#ifndef Q2_BASE_ONES_H
#define Q2_BASE_ONES_H

#include <qcow2/base.h>

/* Counts the bits that are one in size bytes at data, of any alignment. data may be NULL if 0. */
uint64_t q2_count_ones(const void *data, size_t size);

#endif
