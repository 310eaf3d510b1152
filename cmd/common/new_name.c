/* SPDX-License-Identifier: MIT */
/* See new_name.h. */
#include "common/new_name.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "common/system.h"

#define TRIES 100

/* Files that are removed if a signal ends the process. */
static const char *volatile parts[NEW_NAMES_MOST];

/* Does only what a signal may interrupt anything for, and then what the signal does by itself. */
static void remove_parts(int number)
{
	for (int i = 0; i < NEW_NAMES_MOST; i++)
		if (parts[i])
			(void)unlink(parts[i]);
	(void)signal(number, SIG_DFL);
	(void)raise(number);
	/* The sandbox lets nobody send signals. */
	_exit(128 + number);
}

/* A signal that is ignored, as nohup has it, stays so. */
static void catch_signals(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	const struct sigaction catching = {.sa_handler = remove_parts};
	struct sigaction before;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
			(void)sigaction(numbers[i], &catching, NULL);
}

static void remember(const char *part, const char *instead_of)
{
	for (int i = 0; i < NEW_NAMES_MOST; i++)
		if (parts[i] == instead_of) {
			parts[i] = part;
			return;
		}
}

/* Copies the path of the file, or of the one that a link leads to. */
static int resolve(struct new_name *name, const char *path)
{
	char *real = realpath(path, NULL);
	const char *source = real ? real : path;
	const size_t size = strlen(source);

	if (size < sizeof(name->path))
		memcpy(name->path, source, size + 1);
	free(real);
	return size < sizeof(name->path) ? 0 : ENAMETOOLONG;
}

static int open_folder(struct new_name *name)
{
	char folder[NEW_NAME_MAX];
	char *slash;

	memcpy(folder, name->path, sizeof(folder));
	slash = strrchr(folder, '/');
	if (slash == folder)
		slash++;
	if (slash)
		*slash = '\0';
	name->folder = descriptors_open(slash ? folder : ".", O_RDONLY | O_DIRECTORY, 0);
	return name->folder < 0 ? errno : 0;
}

/*
 * Whoever could not read the file that is replaced cannot read the new one, which is empty yet.
 * Where its group cannot be kept, another group gets no access. Returns 0 or an errno value.
 */
static int keep_access(const struct new_name *name, const struct stat *old)
{
	mode_t mode = old->st_mode & 0777;

	if (fchown(name->fd, old->st_uid, old->st_gid) && fchown(name->fd, (uid_t)-1, old->st_gid))
		mode &= ~(mode_t)S_IRWXG;
	return fchmod(name->fd, mode) ? errno : 0;
}

static int make_part(struct new_name *name, mode_t mode)
{
	uint32_t digits = 0;
	struct stat st;

	for (int i = 0; i < TRIES; i++) {
		int errnum = system_random(&digits, sizeof(digits));

		if (errnum)
			return errnum;
		snprintf(name->part, sizeof(name->part), "%s.part-%08x", name->path,
			 (unsigned)digits);
		name->fd =
			descriptors_open(name->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
		if (name->fd >= 0 || errno != EEXIST)
			break;
	}
	if (name->fd < 0)
		return errno;
	if (fstat(name->fd, &st)) {
		const int errnum = errno;

		(void)unlink(name->part);
		(void)close(name->fd);
		return errnum;
	}
	name->device = st.st_dev;
	name->inode = st.st_ino;
	return 0;
}

int new_name_make(struct new_name *name, const char *path)
{
	struct stat old;
	int errnum;

	*name = (struct new_name){.fd = -1, .folder = -1};
	errnum = resolve(name, path);
	name->replaces = errnum == 0 && stat(name->path, &old) == 0 && S_ISREG(old.st_mode);
	if (name->replaces) {
		name->old_device = old.st_dev;
		name->old_inode = old.st_ino;
	}
	if (errnum == 0)
		errnum = open_folder(name);
	if (errnum == 0) {
		catch_signals();
		remember(name->part, NULL);
		errnum = make_part(name, name->replaces ? 0600 : 0666);
	}
	name->is_there = errnum == 0;
	if (errnum == 0 && name->replaces) {
		errnum = keep_access(name, &old);
		if (errnum)
			new_name_drop(name);
	} else if (errnum) {
		remember(NULL, name->part);
		if (name->folder >= 0)
			(void)close(name->folder);
	}
	return errnum;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool new_name_is_same(const struct new_name *name, const struct new_name *other)
{
	struct stat mine, theirs;

	return name->is_there && other->is_there &&
	       strcmp(last_part(name->path), last_part(other->path)) == 0 &&
	       fstat(name->folder, &mine) == 0 && fstat(other->folder, &theirs) == 0 &&
	       mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino;
}

/* Where no system call does it, as on some network file systems, there is a moment between both. */
static int rename_new(const struct new_name *name)
{
	int errnum = system_rename_new(name->part, name->path);
	struct stat st;

	if (errnum != EINVAL && errnum != ENOSYS)
		return errnum;
	if (lstat(name->path, &st) == 0)
		return EEXIST;
	return rename(name->part, name->path) ? errno : 0;
}

/* Replaces the file that was there; one that is gone meanwhile needs no replacing. */
static int rename_over(const struct new_name *name)
{
	struct stat st;

	if (lstat(name->path, &st) != 0)
		return errno == ENOENT ? rename_new(name) : errno;
	if (!name->replaces || st.st_dev != name->old_device || st.st_ino != name->old_inode)
		return EEXIST;
	return rename(name->part, name->path) ? errno : 0;
}

int new_name_give(struct new_name *name, bool replace, bool sync)
{
	int errnum;

	if (sync && system_sync(name->fd))
		return errno;
	errnum = replace ? rename_over(name) : rename_new(name);
	if (errnum)
		return errnum;
	remember(NULL, name->part);
	name->is_there = false;
	/* Some file systems know no syncing of folders. */
	if (sync && system_sync(name->folder) && errno != EINVAL)
		errnum = errno;
	(void)close(name->folder);
	if (close(name->fd) && errnum == 0)
		errnum = errno;
	return errnum;
}

void new_name_follows(struct new_name *name, const struct new_name *before)
{
	name->replaces = true;
	name->old_device = before->device;
	name->old_inode = before->inode;
}

void new_name_drop(struct new_name *name)
{
	if (!name->is_there)
		return;
	(void)unlink(name->part);
	remember(NULL, name->part);
	(void)close(name->folder);
	(void)close(name->fd);
	name->is_there = false;
}
