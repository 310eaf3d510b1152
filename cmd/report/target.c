/* SPDX-License-Identifier: MIT */
/* See target.h. */
#include "report/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/needed_file.h"
#include "common/report.h"
#include "report/report.h"

#include <qcow2/source.h>

static int fail(const struct report_target *target, const char *text)
{
	return report_text(target->command, target->path, text);
}

static int fail_errno(const struct report_target *target, const char *text, int errnum)
{
	char line[160];

	snprintf(line, sizeof(line), "%s: %s", text, strerror(errnum));
	return fail(target, line);
}

static bool is_same(const struct stat *st, const char *path)
{
	struct stat other;

	return stat(path, &other) == 0 && st->st_dev == other.st_dev && st->st_ino == other.st_ino;
}

/* Whether a file is an image, or cannot be looked at. */
static bool may_be_image(const char *path)
{
	static const uint8_t magic[] = {'Q', 'F', 'I', 0xfb};
	uint8_t start[sizeof(magic)];
	struct qcow2_source *source;
	struct qcow2_error err;
	bool is;

	if (qcow2_source_open(path, &source, &err))
		return true;
	is = qcow2_source_size_bytes(source) >= sizeof(start) &&
	     (qcow2_source_read(source, 0, start, sizeof(start), &err) ||
	      memcmp(start, magic, sizeof(magic)) == 0);
	qcow2_source_close(source);
	return is;
}

static int refuse_existing(const struct report_target *target, const struct stat *st,
			   const char *image)
{
	if (is_same(st, image))
		return fail(target, "it is the image: the page has to go elsewhere");
	if (!S_ISREG(st->st_mode))
		return fail(target,
			    "no file: --to=- writes to standard output, which can lead there");
	if (!target->force)
		return fail(target, "it exists already: --force replaces it");
	/* Such as the raw disk at the end of a chain, which nobody opens here. */
	if (st->st_size > (off_t)REPORT_BYTES_MOST)
		return fail(target, "it has more than 2 MiB, so it is no page: it is not replaced");
	if (may_be_image(target->path))
		return fail(target, "it is a QCOW2 image, or cannot be read: it is not replaced");
	return EXIT_FINE;
}

int report_target_open(struct report_target *target, const char *image)
{
	struct stat st;
	int code = EXIT_FINE, errnum;

	if (strcmp(target->path, "-") == 0)
		return isatty(STDOUT_FILENO)
			       ? usage_error(target->command, "a page is not for a terminal: use "
							      "--to=FILE or a pipe")
			       : EXIT_FINE;
	if (stat(target->path, &st) == 0)
		code = refuse_existing(target, &st, image);
	else if (errno != ENOENT)
		return fail(target, strerror(errno));
	if (code != EXIT_FINE)
		return code;
	errnum = new_name_make(&target->name, target->path);
	if (errnum)
		return fail_errno(target, "cannot make a file beside it", errnum);
	target->is_file = true;
	limits_making(target->command, target->name.part);
	return EXIT_FINE;
}

int report_target_refuse_named(const struct report_target *target, const char *path,
			       const struct qcow2_image *image)
{
	struct stat st;

	if (!target->is_file || !image || qcow2_source_is_nbd(path) || stat(target->path, &st) != 0)
		return EXIT_FINE;
	if (is_needed_file(&st, path, image))
		return fail(target, "the image needs this file: it is not replaced");
	return EXIT_FINE;
}

static int write_file(struct report_target *target, const struct spool *page)
{
	for (size_t done = 0; done < page->size;) {
		const ssize_t n = write(target->name.fd, page->kept + done, page->size - done);

		if (n < 0 && errno != EINTR)
			return errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int report_target_finish(struct report_target *target, struct spool *page, int code)
{
	int errnum;

	if (!target->is_file) {
		page->fd = STDOUT_FILENO;
		return finish_output(target->command, page, code);
	}
	errnum = write_file(target, page);
	if (errnum == 0)
		errnum = new_name_give(&target->name, target->force, true);
	if (errnum)
		return fail_errno(target, "cannot write it", errnum);
	limits_making(target->command, NULL);
	return code;
}

void report_target_close(struct report_target *target)
{
	limits_making(target->command, NULL);
	new_name_drop(&target->name);
}
