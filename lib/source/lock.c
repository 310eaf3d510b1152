/* SPDX-License-Identifier: MIT */
/*
 * QEMU's image locks. They lie on bytes of the image file, whatever these hold. A program that uses
 * permission i holds a shared lock on byte 100 + i. A program that does not let others use it holds
 * a shared lock on byte 200 + i. The locks belong to the open file and end when it is closed,
 * however the process ends.
 */
#include "source/source.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define USED_BASE     100
#define UNSHARED_BASE 200

enum permission { CONSISTENT_READ, WRITE, WRITE_UNCHANGED, RESIZE, PERMISSIONS };

/* The permissions that an edit uses, and those that it does not let others use: all but reading. */
static const bool used[PERMISSIONS] = {true, true, false, true};
static const bool unshared[PERMISSIONS] = {false, true, true, true};

static struct flock lock_of(short type, int byte)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

/*
 * One call for a lock of the open file: sets it, or finds who stands in its way. A system that has
 * only locks of processes (the BSDs, macOS) answers as a file system without locks does. Tests build
 * with QCOW2_NO_OFD_LOCKS to show that.
 */
static int call_lock(int fd, bool set, struct flock *lock)
{
	int result;

	do {
#if defined(F_OFD_SETLK) && !defined(QCOW2_NO_OFD_LOCKS)
		result = fcntl(fd, set ? F_OFD_SETLK : F_OFD_GETLK, lock);
#else
		(void)fd, (void)set, (void)lock;
		errno = ENOSYS;
		result = -1;
#endif
	} while (result < 0 && errno == EINTR);
	return result;
}

/* Takes a shared lock on a byte. Returns 0, or an errno value. */
static int take(int fd, int byte)
{
	struct flock lock = lock_of(F_RDLCK, byte);

	return call_lock(fd, true, &lock) < 0 ? errno : 0;
}

/*
 * Finds out whether somebody else holds a lock on a byte. Returns 0, or an errno value if that
 * cannot be known.
 */
static int find_holder(int fd, int byte, bool *held)
{
	struct flock lock = lock_of(F_WRLCK, byte);
	int result = call_lock(fd, false, &lock);

	*held = result == 0 && lock.l_type != F_UNLCK;
	return result < 0 ? errno : 0;
}

/*
 * What a failed call for a lock says about other programs. A file system that has no such locks is
 * an answer: nobody can hold one. All other failures leave it open, such as a server that has run
 * out of locks, or EINVAL from kernels before 3.15, which do not know these calls.
 */
static enum qcow2_in_use judge_failure(int errnum)
{
	return errnum == ENOSYS || errnum == EOPNOTSUPP ? QCOW2_IN_USE_NO_LOCKS
							: QCOW2_IN_USE_UNKNOWN;
}

/* The locks of one edit. */
struct locking {
	int fd;
	unsigned flags;
	enum qcow2_in_use known; /* of others, so far */
	struct qcow2_error *err;
};

/* Notes that a call failed with errnum (0: it did not). Returns 0 if the edit may go on. */
static int note_failure(struct locking *l, int errnum)
{
	if (errnum == 0)
		return 0;
	l->known = judge_failure(errnum);
	if (l->known == QCOW2_IN_USE_NO_LOCKS || (l->flags & QCOW2_EDIT_WITHOUT_LOCKS))
		return 0;
	q2_fail_errno(l->err, errnum, QCOW2_NO_OFFSET,
		      "cannot tell whether another program uses it");
	if (l->err)
		l->err->code = QCOW2_ERROR_IN_USE;
	return -1;
}

static int take_all(struct locking *l)
{
	for (int i = 0; i < PERMISSIONS; i++) {
		int errnum = used[i] ? take(l->fd, USED_BASE + i) : 0;

		if (errnum == 0 && unshared[i])
			errnum = take(l->fd, UNSHARED_BASE + i);
		/* Only an exclusive lock stands in the way of ours; QEMU holds none for long. */
		if (errnum == EAGAIN || errnum == EACCES)
			return q2_fail(l->err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
				       "another program has locked it");
		if (note_failure(l, errnum))
			return -1;
	}
	return 0;
}

/*
 * Looks for locks of others. Every program takes its own locks first, so of two that start at the
 * same time at least one sees the other; both may give up.
 */
static int find_others(struct locking *l)
{
	for (int i = 0; i < PERMISSIONS; i++) {
		bool uses = false, refuses = false;

		if (unshared[i] && note_failure(l, find_holder(l->fd, USED_BASE + i, &uses)))
			return -1;
		if (used[i] && note_failure(l, find_holder(l->fd, UNSHARED_BASE + i, &refuses)))
			return -1;
		if (uses)
			return q2_fail(l->err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
				       "in use: another program has it open for writing");
		if (refuses)
			return q2_fail(l->err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
				       "in use: another program has it open and lets nobody "
				       "write");
	}
	return 0;
}

int q2_source_lock(struct qcow2_source *source, unsigned flags, struct qcow2_error *err)
{
	struct locking l = {source->fd, flags, QCOW2_IN_USE_NO, err};

	if (take_all(&l) || find_others(&l))
		return -1;
	source->locked = l.known;
	return 0;
}

enum qcow2_in_use qcow2_source_in_use(const struct qcow2_source *source)
{
	static const int bytes[] = {USED_BASE + WRITE, USED_BASE + RESIZE};
	enum qcow2_in_use known = source->locked;

	for (size_t i = 0; source->is_file && i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		bool held;
		int errnum = find_holder(source->fd, bytes[i], &held);

		if (held)
			return QCOW2_IN_USE_YES;
		if (errnum != 0)
			known = judge_failure(errnum);
	}
	return known;
}
