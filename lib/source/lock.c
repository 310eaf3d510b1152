/* SPDX-License-Identifier: MIT */
/*
 * QEMU's image locks, on bytes of the image file that hold nothing of interest. Who uses permission
 * i holds a shared lock on byte 100 + i, who does not let others use it on byte 200 + i. They are
 * locks of the open file, so that they end with it, however the process ends.
 */
#include "source/source.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define USED_BASE     100
#define UNSHARED_BASE 200

enum permission { CONSISTENT_READ, WRITE, WRITE_UNCHANGED, RESIZE, PERMISSIONS };

/* What an edit uses, and what it does not let others use: all but reading. */
static const bool used[PERMISSIONS] = {true, true, false, true};
static const bool unshared[PERMISSIONS] = {false, true, true, true};

static struct flock lock_of(short type, int byte)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

/* 0, or an errno value. */
static int take(int fd, int byte)
{
	struct flock lock = lock_of(F_RDLCK, byte);
	int result;

	do {
		result = fcntl(fd, F_OFD_SETLK, &lock);
	} while (result < 0 && errno == EINTR);
	return result < 0 ? errno : 0;
}

/* Whether somebody else holds a lock on that byte. */
static bool is_held(int fd, int byte)
{
	struct flock lock = lock_of(F_WRLCK, byte);

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Whether the file system has such locks at all; NFS of old, for one, does not. */
static bool is_unsupported(int errnum)
{
	return errnum == EINVAL || errnum == ENOSYS || errnum == EOPNOTSUPP || errnum == ENOLCK;
}

static int take_all(int fd, struct qcow2_error *err)
{
	for (int i = 0; i < PERMISSIONS; i++) {
		int errnum = used[i] ? take(fd, USED_BASE + i) : 0;

		if (errnum == 0 && unshared[i])
			errnum = take(fd, UNSHARED_BASE + i);
		if (is_unsupported(errnum))
			return 0;
		/* Only an exclusive lock stands in the way of ours; QEMU holds none for long. */
		if (errnum == EAGAIN || errnum == EACCES)
			return qcow2_fail(err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
					  "another program has locked it");
		if (errnum != 0)
			return qcow2_fail_errno(err, errnum, QCOW2_NO_OFFSET, "cannot lock it");
	}
	return 0;
}

/* Both sides take their locks before they look at the other's: two of them may both lose. */
static int find_others(int fd, struct qcow2_error *err)
{
	for (int i = 0; i < PERMISSIONS; i++) {
		if (unshared[i] && is_held(fd, USED_BASE + i))
			return qcow2_fail(err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
					  "in use: another program has it open for writing");
		if (used[i] && is_held(fd, UNSHARED_BASE + i))
			return qcow2_fail(err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
					  "in use: another program has it open and lets nobody "
					  "write");
	}
	return 0;
}

bool qcow2_source_in_use(const struct qcow2_source *source)
{
	return source->is_file &&
	       (is_held(source->fd, USED_BASE + WRITE) || is_held(source->fd, USED_BASE + RESIZE));
}

/* Root may write what nobody has the permission to: that would be a surprise. */
static int check_mode(int fd, unsigned flags, struct qcow2_error *err)
{
	struct stat st;

	if (flags & QCOW2_EDIT_READ_ONLY_TOO)
		return 0;
	if (fstat(fd, &st) == 0 && (st.st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)) == 0)
		return qcow2_fail_errno(err, EACCES, QCOW2_NO_OFFSET, "it is read-only");
	return 0;
}

int qcow2_source_open_for_edit(const char *path, unsigned flags, struct qcow2_source **out,
			       struct qcow2_error *err)
{
	struct qcow2_source *source;

	if (qcow2_source_open_file(path, O_RDWR, &source, err))
		return -1;
	if (check_mode(source->fd, flags, err) || take_all(source->fd, err) ||
	    find_others(source->fd, err)) {
		qcow2_source_close(source);
		return -1;
	}
	*out = source;
	return 0;
}
