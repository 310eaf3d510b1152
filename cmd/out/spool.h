/* SPDX-License-Identifier: MIT */
/*
 * The way to standard output. What is written is kept back, so that nothing is printed if the
 * command fails after all; only beyond SPOOL_KEPT bytes it streams. Failure is sticky.
 */
#ifndef CMD_OUT_SPOOL_H
#define CMD_OUT_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPOOL_KEPT (4U << 20)

struct spool {
	char *kept;
	size_t size;
	size_t capacity;
	int fd;
	uint64_t written;
	int errnum; /* why writing failed, or 0 */
	bool streaming;
};

void spool_init(struct spool *spool, int fd);

void spool_write(struct spool *spool, const void *data, size_t size);
void spool_text(struct spool *spool, const char *text);
void spool_print(struct spool *spool, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Writes what is left. False if anything could not be written; errnum says why. */
bool spool_finish(struct spool *spool);

/* Frees; what was not written by then is dropped. */
void spool_release(struct spool *spool);

#endif
