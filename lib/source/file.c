/* SPDX-License-Identifier: MIT */
/*
 * A source over a regular file or a block device. Bytes are read with pread(), never through a
 * memory mapping: if somebody cuts the file short meanwhile, that has to be an error and not a
 * signal.
 */
#include "source/source.h"
#include "source/system.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

/* One system call moves at most this; more than SSIZE_MAX at once is undefined. */
#define MAX_IO_BYTES ((size_t)1 << 30)

/* The unit of st_blocks on Linux and the BSDs, whatever st_blksize says. */
#define STAT_BLOCK_BYTES 512

static int file_read(const struct qcow2_source *source, uint64_t offset_bytes, uint8_t *buffer,
		     size_t size)
{
	while (size > 0) {
		size_t want = size < MAX_IO_BYTES ? size : MAX_IO_BYTES;
		ssize_t got = pread(source->fd, buffer, want, (off_t)offset_bytes);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			return Q2_SOURCE_BECAME_SHORTER;
		buffer += got;
		offset_bytes += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

/*
 * lseek() moves the descriptor's position. Nobody uses the position (pread() does not), so threads
 * do not disturb each other.
 */
static uint64_t file_hole_end(const struct qcow2_source *source, uint64_t offset_bytes)
{
#ifdef SEEK_DATA
	off_t data = lseek(source->fd, (off_t)offset_bytes, SEEK_DATA);
	struct stat st;

	if (data >= 0)
		return (uint64_t)data < source->size_bytes ? (uint64_t)data : source->size_bytes;
	/* ENXIO: only a hole follows, or the file became shorter, and then nothing is known. */
	if (errno == ENXIO && fstat(source->fd, &st) == 0 && st.st_size >= 0 &&
	    (uint64_t)st.st_size >= source->size_bytes)
		return source->size_bytes;
#else
	(void)source;
#endif
	return offset_bytes;
}

static uint64_t file_data_end(const struct qcow2_source *source, uint64_t offset_bytes)
{
#ifdef SEEK_HOLE
	off_t hole = lseek(source->fd, (off_t)offset_bytes, SEEK_HOLE);

	if (hole > (off_t)offset_bytes && (uint64_t)hole < source->size_bytes)
		return (uint64_t)hole;
#else
	(void)offset_bytes;
#endif
	return source->size_bytes;
}

static void file_will_need(const struct qcow2_source *source, uint64_t offset_bytes,
			   uint64_t size_bytes)
{
#ifdef POSIX_FADV_WILLNEED
	(void)posix_fadvise(source->fd, (off_t)offset_bytes, (off_t)size_bytes,
			    POSIX_FADV_WILLNEED);
#else
	(void)source;
	(void)offset_bytes;
	(void)size_bytes;
#endif
}

static bool file_is_cold(const struct qcow2_source *source, uint64_t offset_bytes)
{
	return q2_read_would_wait(source->fd, offset_bytes);
}

static void file_close(struct qcow2_source *source)
{
	/* An edit has synced what it wrote, so that there is nothing to lose. */
	(void)close(source->fd);
}

/* Writes all of the bytes. After an error some of them may be written, as the caller knows. */
static int file_write(struct qcow2_source *source, uint64_t offset_bytes, const uint8_t *bytes,
		      size_t size)
{
	while (size > 0) {
		size_t want = size < MAX_IO_BYTES ? size : MAX_IO_BYTES;
		ssize_t put = pwrite(source->fd, bytes, want, (off_t)offset_bytes);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? errno : ENOSPC;
		bytes += put;
		offset_bytes += (uint64_t)put;
		size -= (size_t)put;
	}
	return 0;
}

/* Refuses if the file is longer than it was made here: somebody else has written what is there. */
static int file_resize(struct qcow2_source *source, uint64_t size_bytes)
{
	struct stat st;
	int result;

	if (fstat(source->fd, &st) < 0)
		return errno;
	if ((uint64_t)st.st_size > source->size_bytes && (uint64_t)st.st_size > source->reach_bytes)
		return Q2_SOURCE_BECAME_LONGER;
	do {
		result = ftruncate(source->fd, (off_t)size_bytes);
	} while (result < 0 && errno == EINTR);
	return result < 0 ? errno : 0;
}

static int file_sync(struct qcow2_source *source)
{
	int result;

	do {
		result = q2_sync(source->fd);
	} while (result < 0 && errno == EINTR);
	return result < 0 ? errno : 0;
}

static const struct q2_source_backend file_backend = {
	.read = file_read,
	.hole_end = file_hole_end,
	.data_end = file_data_end,
	.will_need = file_will_need,
	.is_cold = file_is_cold,
	.close = file_close,
};

static const struct q2_source_backend file_edit_backend = {
	.read = file_read,
	.hole_end = file_hole_end,
	.data_end = file_data_end,
	.will_need = file_will_need,
	.is_cold = file_is_cold,
	.close = file_close,
	.write = file_write,
	.resize = file_resize,
	.sync = file_sync,
};

/* The holes of a device are not known, and its size is fixed. */
static const struct q2_source_backend device_backend = {
	.read = file_read,
	.will_need = file_will_need,
	.is_cold = file_is_cold,
	.close = file_close,
	.fixed_size = true,
};

static const struct q2_source_backend device_edit_backend = {
	.read = file_read,
	.will_need = file_will_need,
	.is_cold = file_is_cold,
	.close = file_close,
	.write = file_write,
	.sync = file_sync,
	.fixed_size = true,
};

static const struct q2_source_backend *backend_of(mode_t mode, bool edit)
{
	if (S_ISBLK(mode))
		return edit ? &device_edit_backend : &device_backend;
	return edit ? &file_edit_backend : &file_backend;
}

/* Names the kind of a file that cannot be an image. NULL for a file or a block device. */
static const char *wrong_kind(mode_t mode)
{
	if (S_ISREG(mode) || S_ISBLK(mode))
		return NULL;
	if (S_ISDIR(mode))
		return "a directory";
	if (S_ISFIFO(mode))
		return "a FIFO";
	if (S_ISSOCK(mode))
		return "a socket";
	if (S_ISCHR(mode))
		return "a character device";
	return "a special file";
}

static int fail_kind(struct qcow2_error *err, const char *kind)
{
	return q2_fail(err, QCOW2_ERROR_NOT_QCOW2, QCOW2_NO_OFFSET,
		       "%s, not a regular file or block device", kind);
}

/* What to do instead of opening such a name, which only QEMU's tools take for more than a path. */
static const struct {
	const char *scheme;
	const char *advice;
} schemes[] = {
	{"nbd:", "copy it to a file first (nbdcopy), or name it nbd://HOST/EXPORT to read it"},
	{"nbd+unix:", "copy it to a file first (nbdcopy)"},
	{"nbds:", "copy it to a file first (nbdcopy)"},
	{"nbds+unix:", "copy it to a file first (nbdcopy)"},
	{"http:", "download it first (curl, wget)"},
	{"https:", "download it first (curl, wget)"},
	{"ftp:", "download it first (curl, wget)"},
	{"ftps:", "download it first (curl, wget)"},
	{"ssh:", "copy it to a file first (scp, sftp)"},
	{"sftp:", "copy it to a file first (scp, sftp)"},
	{"file:", "name its path without file:"},
	{"json:", "name the path of the file in it"},
	{"rbd:", "copy it to a file first (qemu-img convert)"},
	{"iscsi:", "copy it to a file first (qemu-img convert)"},
	{"gluster:", "copy it to a file first (qemu-img convert)"},
	{"nfs:", "copy it to a file first (qemu-img convert)"},
};

/* Says that only files are read, if there is no file of a name that has a scheme. */
static void explain_scheme(const char *path, int errnum, struct qcow2_error *err)
{
	char text[128];

	if (errnum != ENOENT && errnum != ENOTDIR && errnum != ENAMETOOLONG)
		return;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strncasecmp(path, schemes[i].scheme, strlen(schemes[i].scheme)) != 0)
			continue;
		snprintf(text, sizeof(text), "only files are read, not %s names: %s",
			 schemes[i].scheme, schemes[i].advice);
		q2_error_append(err, text);
		return;
	}
}

/* Explains a failure of open(). For a socket, errno would say "No such device or address". */
static int fail_open(const char *path, int errnum, struct qcow2_error *err)
{
	struct stat st;
	const char *kind = NULL;

	if (errnum == ENXIO && stat(path, &st) == 0)
		kind = wrong_kind(st.st_mode);
	if (kind)
		return fail_kind(err, kind);
	(void)q2_fail_errno(err, errnum, QCOW2_NO_OFFSET, "cannot open");
	explain_scheme(path, errnum, err);
	return -1;
}

/* Finds the size of a block device. Returns 0, or an errno value. */
static int device_size(int fd, uint64_t *size_bytes)
{
#ifdef BLKGETSIZE64
	return ioctl(fd, BLKGETSIZE64, size_bytes) == 0 ? 0 : errno;
#else
	off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0)
		return errno;
	*size_bytes = (uint64_t)end;
	return 0;
#endif
}

/* What the system knows of an open file. */
struct learned {
	struct stat st;
	uint64_t size_bytes, allocated_bytes;
};

static int learn(int fd, struct learned *l, struct qcow2_error *err)
{
	int errnum = fstat(fd, &l->st) < 0 ? errno : 0;

	if (errnum == 0 && wrong_kind(l->st.st_mode))
		return fail_kind(err, wrong_kind(l->st.st_mode));
	if (errnum == 0 && S_ISBLK(l->st.st_mode))
		errnum = device_size(fd, &l->size_bytes);
	if (errnum != 0)
		return q2_fail_errno(err, errnum, QCOW2_NO_OFFSET, "cannot learn the size");
	l->allocated_bytes = l->size_bytes;
	if (!S_ISBLK(l->st.st_mode)) {
		l->size_bytes = (uint64_t)l->st.st_size;
		l->allocated_bytes = (uint64_t)l->st.st_blocks * STAT_BLOCK_BYTES;
	}
	return 0;
}

int q2_source_learn_again(struct qcow2_source *source, const char *path, mode_t *mode,
			  struct qcow2_error *err)
{
	struct learned now = {0};
	struct stat named;

	if (learn(source->fd, &now, err))
		return -1;
	if (stat(path, &named) < 0 || named.st_dev != now.st.st_dev ||
	    named.st_ino != now.st.st_ino)
		return q2_fail(err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
			       "it was renamed, removed or replaced while it was being opened: "
			       "try again");
	if (now.size_bytes != source->size_bytes)
		return q2_fail(err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
			       "its size changed from %" PRIu64 " to %" PRIu64
			       " bytes while it was being opened: try again",
			       source->size_bytes, now.size_bytes);
	source->allocated_bytes = now.allocated_bytes;
	*mode = now.st.st_mode;
	return 0;
}

bool q2_source_is_read_only_device(const struct qcow2_source *source)
{
#ifdef BLKROGET
	int read_only = 0;

	return source->backend == &device_edit_backend &&
	       ioctl(source->fd, BLKROGET, &read_only) == 0 && read_only != 0;
#else
	(void)source;
	return false;
#endif
}

static int take_fd(int fd, bool edit, struct qcow2_source **out, struct qcow2_error *err)
{
	struct learned now = {0};
	struct qcow2_source *source;

	if (learn(fd, &now, err))
		return -1;
	source = q2_source_new(backend_of(now.st.st_mode, edit), now.size_bytes,
			       now.allocated_bytes, err);
	if (!source)
		return -1;
	source->fd = fd;
	source->is_file = true;
	*out = source;
	return 0;
}

int q2_source_from_fd(int fd, bool edit, struct qcow2_source **out, struct qcow2_error *err)
{
	if (take_fd(fd, edit, out, err) == 0)
		return 0;
	(void)close(fd);
	return -1;
}

int q2_source_open_file(const char *path, int flags, struct qcow2_source **out,
			struct qcow2_error *err)
{
	int fd;

	if (!path || !*path)
		return q2_fail_errno(err, ENOENT, QCOW2_NO_OFFSET, "the path is empty");
	/* With O_NONBLOCK, a FIFO that nobody writes to opens at once. Files do not care. */
	fd = q2_descriptor_open(path, flags | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fail_open(path, errno, err);
	if (q2_source_from_fd(fd, (flags & O_ACCMODE) == O_RDWR, out, err) == 0)
		return 0;
	if (flags & O_CREAT)
		(void)unlink(path);
	return -1;
}

int qcow2_source_open(const char *path, struct qcow2_source **out, struct qcow2_error *err)
{
	return q2_source_open_file(path, O_RDONLY, out, err);
}
