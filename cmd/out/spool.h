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
#include <string.h>

#define SPOOL_KEPT (4U << 20)
/* The most that can be reserved at once, and how much waits once it streams: it stays in caches. */
#define SPOOL_PIECE (64U << 10)

struct spool {
	char *kept;
	size_t size;
	size_t capacity;
	int fd;
	uint64_t written;
	int errnum; /* why writing failed, or 0 */
	bool streaming;
	/* Called, unless NULL, before anything is written: it writes what has to come first. */
	void (*settle)(void *opaque);
	void *settle_opaque;
};

void spool_init(struct spool *spool, int fd);

/* See spool_reserve(), which calls this when there is no room. */
char *spool_make_room(struct spool *spool, size_t size);

/*
 * Room for size bytes, at most SPOOL_PIECE, or NULL after a failure. What is put there counts once
 * spool_advance() says where it ends. Inline, as is spool_write(): output comes in small bits.
 */
static inline char *spool_reserve(struct spool *spool, size_t size)
{
	/* not <: the first call has to make room even for nothing */
	if (spool->capacity - spool->size <= size)
		return spool_make_room(spool, size);
	return spool->kept + spool->size;
}

static inline void spool_advance(struct spool *spool, const char *end)
{
	spool->size = (size_t)(end - spool->kept);
}

/* What is larger than a piece. */
void spool_write_pieces(struct spool *spool, const char *data, size_t size);

static inline void spool_write(struct spool *spool, const void *data, size_t size)
{
	char *room;

	if (size > SPOOL_PIECE) {
		spool_write_pieces(spool, data, size);
		return;
	}
	room = spool_reserve(spool, size);
	if (room && size > 0) {
		memcpy(room, data, size);
		spool->size += size;
	}
}

/* Adds a byte `count` times, at most SPOOL_PIECE. */
static inline void spool_fill(struct spool *spool, char byte, size_t count)
{
	char *room = spool_reserve(spool, count);

	if (room && count > 0) {
		memset(room, byte, count);
		spool->size += count;
	}
}

/* Adds what another one, which is only kept, holds; what that one lacks fails this one, too. */
void spool_add(struct spool *spool, const struct spool *kept);

/* Writes what another one keeps, which is empty then, before what this one keeps. */
void spool_write_now(struct spool *spool, struct spool *kept);

/* Exchanges what a spool that streams keeps with what another one does that never wrote. */
void spool_swap(struct spool *spool, struct spool *kept);

void spool_text(struct spool *spool, const char *text);
/* Text, and the end of its line. */
void spool_line(struct spool *spool, const char *text);
void spool_print(struct spool *spool, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ASCII text in lines that fit a terminal of 80 columns, each indented so far. */
void spool_wrapped(struct spool *spool, unsigned indent, const char *text);

/* Writes what is left. False if anything could not be written; errnum says why. */
bool spool_finish(struct spool *spool);

/* Frees; what was not written by then is dropped. */
void spool_release(struct spool *spool);

#endif
