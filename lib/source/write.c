/* SPDX-License-Identifier: MIT */
/* Writing: the checks before a backend sees it, and the files that an edit makes. See write.h. */
#include "source/write.h"

#include "base/checked.h"
#include "base/error.h"
#include "source/source.h"
#include "source/system.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define UNNAMED    ".qcow2-XXXXXX"
/* The clock of file times ticks every 10 ms or more often. */
#define SETTLE_TRIES       25
#define SETTLE_NANOSECONDS 1000000
#ifdef CLOCK_REALTIME_COARSE
#define SETTLE_CLOCK CLOCK_REALTIME_COARSE
#else
#define SETTLE_CLOCK CLOCK_REALTIME
#endif

bool q2_source_is_writable(const struct qcow2_source *source)
{
	return source->backend->write != NULL;
}

bool q2_source_has_fixed_size(const struct qcow2_source *source)
{
	return source->backend->fixed_size;
}

static int check_range(const struct qcow2_source *source, uint64_t end, struct qcow2_error *err)
{
	if (!source->backend->write)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "it was opened for reading only");
	if (end > INT64_MAX || (source->backend->fixed_size && end > source->size_bytes))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "its size of %" PRIu64 " bytes cannot become %" PRIu64,
			       source->size_bytes, end);
	return 0;
}

/* Notes that the file may reach up to end now, even if the write or resize has failed. */
static void note_reach(struct qcow2_source *source, uint64_t end)
{
	if (end > source->reach_bytes)
		source->reach_bytes = end;
}

int q2_source_write(struct qcow2_source *source, uint64_t offset_bytes, const void *bytes,
		    size_t size, struct qcow2_error *err)
{
	uint64_t end;
	int errnum;

	if (q2_add_u64(offset_bytes, size, &end))
		end = UINT64_MAX;
	if (check_range(source, end, err))
		return -1;
	note_reach(source, end);
	errnum = source->backend->write(source, offset_bytes, bytes, size);
	if (errnum != 0)
		return q2_fail_errno(err, errnum, offset_bytes,
				     "cannot write %zu bytes at 0x%" PRIx64, size, offset_bytes);
	if (end > source->size_bytes)
		source->size_bytes = end;
	return 0;
}

int q2_source_resize(struct qcow2_source *source, uint64_t size_bytes, struct qcow2_error *err)
{
	int errnum;

	if (check_range(source, size_bytes, err))
		return -1;
	errnum = source->backend->resize ? source->backend->resize(source, size_bytes) : 0;
	if (errnum == Q2_SOURCE_BECAME_LONGER)
		return q2_fail(err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
			       "another program made the file longer meanwhile: what it wrote "
			       "is not cut off");
	note_reach(source, size_bytes);
	if (errnum != 0)
		return q2_fail_errno(err, errnum, QCOW2_NO_OFFSET,
				     "cannot change the size to %" PRIu64 " bytes", size_bytes);
	if (source->backend->resize)
		source->size_bytes = source->reach_bytes = size_bytes;
	return 0;
}

int q2_source_sync(struct qcow2_source *source, struct qcow2_error *err)
{
	int errnum;

	if (check_range(source, 0, err))
		return -1;
	errnum = source->backend->sync(source);
	return errnum == 0 ? 0 : q2_fail_errno(err, errnum, QCOW2_NO_OFFSET, "cannot write it out");
}

void q2_source_identify(const struct qcow2_source *source, struct q2_source_identity *identity)
{
	struct statvfs fs;
	struct stat st;

	*identity = (struct q2_source_identity){.device = 0};
	if (!source->is_file || fstat(source->fd, &st) < 0)
		return;
	identity->is_device = S_ISBLK(st.st_mode);
	if (identity->is_device) {
		/*
		 * The inode of a device node may be another one after a restart, so its number is
		 * used.
		 */
		identity->inode = (uint64_t)st.st_rdev;
		return;
	}
	identity->is_file = true;
	if (fstatvfs(source->fd, &fs) == 0)
		identity->filesystem = (uint64_t)fs.f_fsid;
	identity->device = (uint64_t)st.st_dev;
	identity->inode = (uint64_t)st.st_ino;
	identity->size_bytes = (uint64_t)st.st_size;
	identity->modified_seconds = (uint64_t)st.st_mtim.tv_sec;
	identity->modified_nanoseconds = (uint32_t)st.st_mtim.tv_nsec;
}

bool q2_source_is_same(const struct q2_source_identity *a, const struct q2_source_identity *b)
{
	return a->is_device == b->is_device && a->inode == b->inode &&
	       (a->device == b->device || (a->filesystem == b->filesystem && a->filesystem != 0));
}

void q2_source_settle(const struct qcow2_source *source)
{
	struct q2_source_identity identity;
	struct timespec now, pause = {0, SETTLE_NANOSECONDS};

	q2_source_identify(source, &identity);
	for (int i = 0; identity.is_file && i < SETTLE_TRIES; i++) {
		/* This is the clock that the system takes the times of files from. */
		if (clock_gettime(SETTLE_CLOCK, &now) < 0 ||
		    (uint64_t)now.tv_sec != identity.modified_seconds ||
		    (uint64_t)now.tv_nsec > identity.modified_nanoseconds)
			return;
		(void)nanosleep(&pause, NULL);
	}
}

int q2_source_create(const char *path, struct qcow2_source **out, struct qcow2_error *err)
{
	return q2_source_open_file(path, O_RDWR | O_CREAT | O_EXCL, out, err);
}

int q2_source_reopen(const char *path, struct qcow2_source **out, struct qcow2_error *err)
{
	return q2_source_open_file(path, O_RDWR, out, err);
}

void q2_source_own_like(struct qcow2_source *file, const struct qcow2_source *other)
{
	struct stat st;

	/* Only root may give files away. For others the owner is right already, or cannot be. */
	if (other->is_file && fstat(other->fd, &st) == 0 && fchown(file->fd, st.st_uid, st.st_gid))
		return;
}

/* Fills folder with the folder that path is in. Returns false if it is too long. */
static bool folder_of(const char *path, char *folder)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;

	if (length >= PATH_BYTES) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(folder, path, length);
	folder[length] = '\0';
	if (length == 0)
		memcpy(folder, slash ? "/" : ".", 2);
	return true;
}

static int open_unnamed(const char *folder)
{
	char path[PATH_BYTES + sizeof(UNNAMED)];
	int fd;

#ifdef O_TMPFILE
	fd = q2_descriptor_open(folder, O_TMPFILE | O_RDWR);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
#endif
	/* The file system has no files without a name: use a name, and remove it at once. */
	snprintf(path, sizeof(path), "%s/%s", folder, UNNAMED);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		(void)unlink(path);
	return q2_descriptor_lift(fd);
}

int q2_source_create_unnamed(const char *beside, struct qcow2_source **out, struct qcow2_error *err)
{
	char folder[PATH_BYTES];
	int fd = folder_of(beside, folder) ? open_unnamed(folder) : -1;

	if (fd < 0)
		return q2_fail_errno(err, errno, QCOW2_NO_OFFSET,
				     "cannot make a temporary file beside %s", beside);
	return q2_source_from_fd(fd, true, out, err);
}

int q2_source_sync_name(const char *path, struct qcow2_error *err)
{
	char folder[PATH_BYTES];
	int fd = folder_of(path, folder) ? q2_descriptor_open(folder, O_RDONLY | O_DIRECTORY) : -1;
	int errnum = fd < 0 || q2_sync(fd) < 0 ? errno : 0;

	if (fd >= 0)
		(void)close(fd);
	/* EINVAL: this file system cannot sync a folder, and need not. */
	if (errnum == 0 || (fd >= 0 && errnum == EINVAL))
		return 0;
	return q2_fail_errno(err, errnum, QCOW2_NO_OFFSET, "cannot write out the folder");
}

bool q2_source_remove(const char *path)
{
	return unlink(path) == 0;
}
