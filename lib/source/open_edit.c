/* SPDX-License-Identifier: MIT */
/*
 * Opening for an edit. If the file cannot be written, this says why, before anything is planned.
 * What was learned of the file before the locks were held is learned again after.
 */
#include "source/source.h"

#include "base/error.h"
#include "base/sized.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

static int fail_to_write(struct qcow2_error *err, int errnum, const char *why)
{
	q2_fail(err, QCOW2_ERROR_IO, QCOW2_NO_OFFSET, "%s", why);
	if (err)
		err->errnum = errnum;
	return -1;
}

/* Names the attribute that keeps anybody from writing the file, or NULL if there is none known. */
static const char *flag_of(const char *path)
{
	int flags = 0;
#ifdef FS_IOC_GETFLAGS
	int fd = q2_descriptor_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return NULL;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		flags = 0;
	(void)close(fd);
	if (flags & FS_IMMUTABLE_FL)
		return "it is immutable ('chattr -i' makes it writable)";
	if (flags & FS_APPEND_FL)
		return "it can only be appended to ('chattr -a' makes it writable)";
#endif
	(void)flags, (void)path;
	return NULL;
}

/* Fails with the reason of open(), and with what else can be found out about it. */
static int explain(const char *path, int errnum, struct qcow2_error *err)
{
	const char *why = errnum == EPERM ? flag_of(path) : NULL;
	struct stat st;

	if (errnum == EBUSY)
		why = "the system uses the device: it is mounted, or a part of another one";
	if (errnum == EROFS)
		why = stat(path, &st) == 0 && S_ISBLK(st.st_mode)
			      ? "the device is read-only"
			      : "its file system is mounted read-only";
	return why ? fail_to_write(err, errnum, why) : -1;
}

/* Refuses a file that nobody has the permission to write, which would not stop root. */
static int check_writable(const struct qcow2_source *source, mode_t mode, unsigned flags,
			  struct qcow2_error *err)
{
	if (q2_source_is_read_only_device(source))
		return fail_to_write(err, EROFS, "the device is read-only");
	if ((mode & (S_IWUSR | S_IWGRP | S_IWOTH)) == 0 && !(flags & QCOW2_EDIT_READ_ONLY_TOO))
		return q2_fail_errno(err, EACCES, QCOW2_NO_OFFSET, "it is read-only");
	return 0;
}

int qcow2_source_open_for_edit(const char *path, unsigned flags, struct qcow2_source **out,
			       struct qcow2_error *err)
{
	/* O_EXCL without O_CREAT refuses a block device that is mounted. QEMU does not use it. */
	int exclusive = flags & QCOW2_EDIT_WITHOUT_LOCKS ? 0 : O_EXCL;
	struct qcow2_error unheard;
	struct qcow2_source *source;
	mode_t mode;

	if (!err)
		err = &unheard;
	if (q2_flags_check(flags, QCOW2_EDIT_READ_ONLY_TOO | QCOW2_EDIT_WITHOUT_LOCKS, err))
		return -1;
	if (q2_source_open_file(path, O_RDWR | exclusive, &source, err))
		return err->code == QCOW2_ERROR_IO ? explain(path, err->errnum, err) : -1;
	if (q2_source_lock(source, flags, err) || q2_source_learn_again(source, path, &mode, err) ||
	    check_writable(source, mode, flags, err)) {
		qcow2_source_close(source);
		return -1;
	}
	*out = source;
	return 0;
}
