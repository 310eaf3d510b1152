/* SPDX-License-Identifier: MIT */
/* qcow2 bitmap extents: shows the ranges of the virtual disk that bitmaps call dirty. */
#include <inttypes.h>
#include <stdlib.h>

#include "bitmap/actions.h"
#include "bitmap/extent_text.h"
#include "bitmap/layers.h"
#include "common/open_image.h"
#include "out/relay.h"

/* Extents that become text at once: some 128 KiB of it, which caches hold. */
#define BATCH_EXTENTS 2048

static int fail_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

static int out_of_memory(const struct bitmap_run *run)
{
	struct qcow2_error err;

	(void)fail_memory(&err);
	return bitmap_fail(run, &err);
}

/* Opens what any image of the chain calls dirty in the bitmap of a name. */
static int open_chained(const struct bitmap_run *run, const struct layers *layers, const char *name,
			struct qcow2_dirty_extents **out, struct qcow2_error *err)
{
	struct qcow2_dirty_extents **parts = NULL;
	size_t depth, count = 0;
	int failed = layers_with(layers, name, run->force, &depth, err);

	if (failed)
		return -1;
	parts = calloc(depth, sizeof(*parts));
	if (!parts)
		return fail_memory(err);
	for (size_t i = 0; i < depth && !failed; i++) {
		failed = layers_extents(&layers->items[i], name, run->force, &parts[count], err);
		if (!failed && parts[count])
			count++;
	}
	/* The combination owns the parts, even if it fails. */
	if (!failed)
		failed = qcow2_dirty_extents_combine(QCOW2_DIRTY_EXTENTS_UNION, parts, count, out,
						     err);
	else
		while (count > 0)
			qcow2_dirty_extents_close(parts[--count]);
	free(parts);
	return failed;
}

/* Opens the extents of one bitmap. EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
static int open_one(struct bitmap_run *run, const struct layers *layers, const char *name,
		    struct qcow2_dirty_extents **out)
{
	struct qcow2_error err;

	if (!run->chain)
		return bitmap_open_extents(run, run->image, name, out);
	/* The text names the file that it is about. */
	return open_chained(run, layers, name, out, &err) ? bitmap_fail(run, &err) : EXIT_FINE;
}

static int open_all(struct bitmap_run *run, const struct layers *layers,
		    struct qcow2_dirty_extents **out)
{
	struct qcow2_dirty_extents **parts = calloc(run->name_count, sizeof(*parts));
	struct qcow2_error err;
	size_t count = 0;
	int code = EXIT_FINE;

	if (!parts)
		return out_of_memory(run);
	while (count < run->name_count && code == EXIT_FINE) {
		code = open_one(run, layers, run->names[count], &parts[count]);
		count += code == EXIT_FINE;
	}
	/* The combination owns the parts, even if it fails. */
	if (code == EXIT_FINE &&
	    qcow2_dirty_extents_combine(run->operation, parts, count, out, &err))
		code = bitmap_fail(run, &err);
	else if (code != EXIT_FINE)
		while (count > 0)
			qcow2_dirty_extents_close(parts[--count]);
	free(parts);
	return code;
}

/* Extents that become text together. */
struct batch {
	bool go_on; /* others came before */
	size_t count;
	struct qcow2_dirty_extent extents[BATCH_EXTENTS];
};

/* How extents become text, on several threads if there are many. */
struct show {
	struct relay *relay;
	struct batch *batch; /* that is filled */
	bool go_on;
	uint64_t at_bytes; /* where the last extent starts that was read */
	struct extent_text texts[RELAY_THREADS_MOST];
};

static void make_text(void *opaque, unsigned worker, const void *from, struct spool *out)
{
	struct show *show = opaque;
	struct extent_text *text = &show->texts[worker];
	const struct batch *batch = from;

	if (batch->go_on)
		extent_text_go_on(text);
	extent_text_add(text, out, batch->extents, batch->count);
}

static void next_batch(struct show *show)
{
	show->batch = relay_batch(show->relay);
	show->batch->go_on = show->go_on;
	show->batch->count = 0;
}

/* Keeps those of the last `count` extents of the batch that were asked for. */
static void choose(struct show *show, const struct bitmap_run *run, size_t count)
{
	struct qcow2_dirty_extent *to = show->batch->extents + show->batch->count, *from = to;

	for (size_t i = 0; run->show != BITMAP_ALL && i < count; i++) {
		*to = from[i];
		to += from[i].dirty == (run->show == BITMAP_DIRTY);
	}
	show->batch->count += run->show == BITMAP_ALL ? count : (size_t)(to - from);
	show->go_on |= show->batch->count > 0;
}

/* Takes extents, and hands the batch over when it is full. As qcow2_dirty_extents_take(). */
static int take(struct show *show, const struct bitmap_run *run,
		struct qcow2_dirty_extents *extents, struct qcow2_error *err)
{
	struct batch *batch = show->batch;
	size_t count;
	int more = qcow2_dirty_extents_take(extents, batch->extents + batch->count,
					    BATCH_EXTENTS - batch->count, &count, err);

	if (more <= 0)
		return more;
	show->at_bytes = batch->extents[batch->count + count - 1].start_bytes;
	choose(show, run, count);
	if (batch->count == BATCH_EXTENTS) {
		relay_push(show->relay);
		next_batch(show);
	}
	return 1;
}

static struct show *show_open(struct bitmap_run *run)
{
	struct show *show = calloc(1, sizeof(*show));
	struct relay_work work = {make_text, show, sizeof(struct batch),
				  relay_threads(run->processors)};

	if (show)
		show->relay = relay_open(&run->out, &work);
	if (!show || !show->relay) {
		free(show);
		return NULL;
	}
	for (size_t i = 0; i < RELAY_THREADS_MOST; i++)
		extent_text_begin(&show->texts[i], run->format);
	next_batch(show);
	return show;
}

static void show_close(struct show *show)
{
	relay_push(show->relay);
	relay_close(show->relay);
	free(show);
}

static int show_all(struct bitmap_run *run, struct qcow2_dirty_extents *extents)
{
	struct qcow2_error err;
	struct show *show = show_open(run);
	bool first;
	int more;

	if (!show)
		return out_of_memory(run);
	spool_text(&run->out, run->format == BITMAP_JSON ? "[" : "");
	while ((more = take(show, run, extents, &err)) > 0 && run->out.errnum == 0)
		progress_share(&run->progress, show->at_bytes,
			       qcow2_dirty_extents_size_bytes(extents));
	first = !show->go_on;
	show_close(show);
	/* After an error the array stays open, so that nobody takes it for a whole one. */
	if (more < 0)
		return bitmap_fail(run, &err);
	spool_text(&run->out, run->format != BITMAP_JSON ? "" : first ? "]\n" : "\n]\n");
	return EXIT_FINE;
}

int bitmap_extents(struct bitmap_run *run)
{
	struct layers layers = {0};
	struct qcow2_dirty_extents *extents;
	struct qcow2_error err;
	int code = EXIT_FINE;

	if (run->chain && layers_open(&layers, run->command, run->file, &err))
		code = bitmap_fail(run, &err);
	for (size_t i = 1; i < layers.count; i++)
		warn_in_use(run->command, layers.items[i].file, layers.items[i].source);
	if (code == EXIT_FINE)
		code = open_all(run, &layers, &extents);
	if (code == EXIT_FINE) {
		code = show_all(run, extents);
		qcow2_dirty_extents_close(extents);
	}
	layers_close(&layers);
	return code;
}
