/* SPDX-License-Identifier: MIT */
/* See progress.h. */
#include "out/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "out/human.h"

/* Steps after which the clock is read again: reading it at each step would cost time. */
#define STEPS_BETWEEN 4096

static void set_next(struct progress *progress)
{
	clock_gettime(CLOCK_MONOTONIC, &progress->next);
	progress->next.tv_sec++;
}

/* Whether standard output is thrown away, as by --quiet: then nobody waits for it. */
static bool is_silent(void)
{
	struct stat out, null;

	return fstat(STDOUT_FILENO, &out) == 0 && stat("/dev/null", &null) == 0 &&
	       S_ISCHR(out.st_mode) && out.st_rdev == null.st_rdev;
}

void progress_init(struct progress *progress)
{
	*progress = (struct progress){0};
	progress->wanted = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO) && !is_silent();
	if (progress->wanted)
		set_next(progress);
}

static bool is_due(const struct progress *progress)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > progress->next.tv_sec ||
	       (now.tv_sec == progress->next.tv_sec && now.tv_nsec >= progress->next.tv_nsec);
}

void progress_step(struct progress *progress, uint64_t bytes_out)
{
	progress_steps(progress, 1, bytes_out);
}

void progress_steps(struct progress *progress, uint64_t count, uint64_t bytes_out)
{
	const uint64_t before = progress->steps / STEPS_BETWEEN;
	char human[HUMAN_MAX];

	if (!progress->wanted)
		return;
	progress->steps += count;
	if (progress->steps / STEPS_BETWEEN == before || !is_due(progress))
		return;
	fprintf(stderr, "\r%" PRIu64 " entries shown, %s written\033[K", progress->steps,
		human_size(bytes_out, human));
	fflush(stderr);
	progress->shown = true;
	set_next(progress);
}

void progress_force(struct progress *progress)
{
	progress->wanted = true;
	set_next(progress);
}

void progress_share(struct progress *progress, uint64_t done_bytes, uint64_t total_bytes)
{
	char done[HUMAN_MAX], total[HUMAN_MAX];

	if (!progress->wanted || !is_due(progress))
		return;
	fprintf(stderr, "\r%s of %s %s\033[K", human_size(done_bytes, done),
		human_size(total_bytes, total), progress->word ? progress->word : "checked");
	fflush(stderr);
	progress->shown = true;
	set_next(progress);
}

void progress_end(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
