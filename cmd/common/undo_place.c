/* SPDX-License-Identifier: MIT */
/* Chooses names for undo files. See undo_place.h; docs/edit.md gives the reasons. */
#include "common/undo_place.h"

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

#include "common/descriptors.h"
#include "common/in_memory.h"
#include "common/report.h"
#include "common/system.h"

#define NAMES_MOST 10000
/*
 * The most bytes of the image's name that become part of the undo file's name, which may have 255
 * bytes.
 */
#define BASE_MOST 180

#define ROOM_MAX 64

#define WAYS_OUT "(elsewhere: --undo-file=PATH, --undo-dir=DIR; --no-undo keeps none)"

static int fail(const struct command *command, const char *path, int errnum, const char *text)
{
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET};

	snprintf(err.text, sizeof(err.text), "%s%s%s", errnum ? strerror(errnum) : "",
		 errnum ? ": " : "", text);
	return report_error(command, path, &err);
}

/* Fills `text` with how much room is left if a disk is full; else empties it. */
static void free_room(const char *path, int errnum, char *text)
{
	struct statvfs there;
	char folder[UNDO_PATH_MAX];

	text[0] = '\0';
	if ((errnum == ENOSPC || errnum == EDQUOT) &&
	    undo_folder_of(path, folder, sizeof(folder)) && statvfs(folder, &there) == 0)
		snprintf(text, ROOM_MAX, "; its file system has %" PRIu64 " bytes free",
			 (uint64_t)there.f_bavail * (uint64_t)there.f_frsize);
}

static int too_long(const struct command *command, const char *image)
{
	return fail(command, image, ENAMETOOLONG,
		    "no undo file can be named: give --undo-file=PATH, or --no-undo");
}

const char *undo_choice_error(const struct undo_choice *choice)
{
	if (choice->none && choice->file)
		return "--undo-file and --no-undo at once";
	if (choice->none && choice->dir)
		return "--undo-dir and --no-undo at once";
	if (choice->file && choice->dir)
		return "--undo-file and --undo-dir at once";
	return NULL;
}

const char *undo_dir_of_environment(void)
{
	const char *dir = getenv(UNDO_DIR_ENV);

	return dir && dir[0] ? dir : NULL;
}

bool undo_folder_of(const char *path, char *folder, size_t size)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;

	if (length + 2 > size)
		return false;
	memcpy(folder, path, length);
	folder[length] = '\0';
	if (length == 0)
		memcpy(folder, slash ? "/" : ".", 2);
	return true;
}

/* Warns of a place in memory. It is used all the same, because the user named it. */
static void warn_in_memory(const struct command *command, const char *folder, const char *image)
{
	if (path_is_in_memory(folder) && !file_is_in_memory(image))
		fail(command, folder, 0,
		     "warning: is in memory: an undo file there does not survive a power cut");
}

/* ---- names ---- */

/* Hashes a text to 64 bits, to tell images of one name apart. It does not resist an attacker. */
static uint64_t fold(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return hash;
}

/* The parts of a name. */
struct naming {
	const char *folder, *between; /* "/" but after a folder that ends with it */
	const char *dot;              /* "." hides the file itself */
	char base[BASE_MOST + 1], stamp[32];
	char mark[24]; /* of the image's path, where images of several folders meet */
};

/* Whether a file of that name exists. Other obstacles show when the file is made. */
static bool is_taken(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* FOLDER/IMAGE.YYYYmmddTHHMMSSZ[-MARK][-N].undo */
static int find_name(const struct command *command, const struct naming *naming, const char *image,
		     struct undo_place *place)
{
	for (unsigned i = 1; i <= NAMES_MOST; i++) {
		char more[16] = "";
		int size;

		if (i > 1)
			snprintf(more, sizeof(more), "-%u", i);
		size = snprintf(place->path, sizeof(place->path), "%s%s%s%s.%s%s%s" UNDO_SUFFIX,
				naming->folder, naming->between, naming->dot, naming->base,
				naming->stamp, naming->mark, more);
		if (size < 0 || (size_t)size >= sizeof(place->path))
			return too_long(command, image);
		if (!is_taken(place->path))
			return EXIT_FINE;
	}
	return fail(command, naming->folder, 0,
		    "no name is free for an undo file: give --undo-file=PATH");
}

/* Fills in the image's name, and the time in UTC: local time goes back once a year. */
static void name_after(struct naming *naming, const char *image, bool marked)
{
	const char *slash = strrchr(image, '/'), *base = slash ? slash + 1 : image;
	size_t length = strlen(base);
	time_t now = time(NULL);
	char *real;
	struct tm tm;

	snprintf(naming->base, sizeof(naming->base), "%.*s", BASE_MOST, base);
	strftime(naming->stamp, sizeof(naming->stamp), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	if (!marked && length <= BASE_MOST)
		return;
	real = realpath(image, NULL);
	snprintf(naming->mark, sizeof(naming->mark), "-%012" PRIx64,
		 fold(real ? real : image) & UINT64_C(0xffffffffffff));
	free(real);
}

/* ---- places ---- */

static int choose_file(const struct command *command, const char *file, const char *image,
		       struct undo_place *place)
{
	char folder[UNDO_PATH_MAX];

	if (strlen(file) >= sizeof(place->path) || !undo_folder_of(file, folder, sizeof(folder)))
		return fail(command, file, ENAMETOOLONG, "cannot make the undo file");
	memcpy(place->path, file, strlen(file) + 1);
	warn_in_memory(command, folder, image);
	return EXIT_FINE;
}

static int choose_in(const struct command *command, const struct undo_choice *choice,
		     const char *image, struct undo_place *place)
{
	const char *dir = choice->dir ? choice->dir : undo_dir_of_environment();
	struct naming naming = {.folder = dir, .between = "/", .dot = ""};
	struct stat st;
	int errnum = stat(dir, &st) < 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;

	if (errnum)
		return fail(command, dir, errnum,
			    choice->dir ? "undo files cannot be kept there: --undo-dir takes a "
					  "folder that is there"
					: "undo files cannot be kept there: " UNDO_DIR_ENV
					  " names it (--undo-dir=DIR takes another)");
	if (dir[strlen(dir) - 1] == '/')
		naming.between = "";
	warn_in_memory(command, dir, image);
	name_after(&naming, image, true);
	return find_name(command, &naming, image, place);
}

/*
 * Finds the folder for the undo file. If the image is named by a link to a file, it is beside the
 * file, so that it is found under any name of the image. If the link is to a device, it is beside
 * the link: the name of a device may change when the system starts.
 */
static bool beside(const char *image, char *folder, char *name, size_t size)
{
	struct stat st;
	char *real = NULL;
	bool fits;

	if (lstat(image, &st) == 0 && S_ISLNK(st.st_mode) && stat(image, &st) == 0 &&
	    S_ISREG(st.st_mode))
		real = realpath(image, NULL);
	fits = undo_folder_of(real ? real : image, folder, size) &&
	       snprintf(name, size, "%s", real ? real : image) < (int)size;
	free(real);
	return fits;
}

static int choose_beside(const struct command *command, const char *image, struct undo_place *place)
{
	char folder[UNDO_PATH_MAX], name[UNDO_PATH_MAX], own[UNDO_PATH_MAX];
	struct naming naming = {.folder = own, .between = "/", .dot = ""};
	struct stat st;

	if (!beside(image, folder, name, sizeof(folder)))
		return too_long(command, image);
	if (path_is_in_memory(folder) && !file_is_in_memory(image))
		return fail(command, folder, 0,
			    "is in memory, and an undo file there would not survive a power cut: "
			    "give --undo-file=PATH or --undo-dir=DIR, set " UNDO_DIR_ENV
			    ", or give --no-undo");
	name_after(&naming, name, false);
	/* In a folder where everybody may make files, .qcow2-undo could be anybody's. */
	if (stat(folder, &st) == 0 && (st.st_mode & S_ISVTX) != 0) {
		naming.folder = folder;
		naming.between = strcmp(folder, "/") == 0 ? "" : "/";
		naming.dot = ".";
		return find_name(command, &naming, image, place);
	}
	place->in_folder = true;
	/* The path as people type it, without "./". */
	if (snprintf(own, sizeof(own), "%s%s" UNDO_FOLDER, strchr(name, '/') ? folder : "",
		     !strchr(name, '/') || strcmp(folder, "/") == 0 ? "" : "/") >= (int)sizeof(own))
		return too_long(command, image);
	return find_name(command, &naming, image, place);
}

int undo_place_choose(const struct command *command, const struct undo_choice *choice,
		      const char *image, struct undo_place *place)
{
	*place = (struct undo_place){.path = ""};
	if (choice->none)
		return EXIT_FINE;
	if (choice->file)
		return choose_file(command, choice->file, image, place);
	if (choice->dir || undo_dir_of_environment())
		return choose_in(command, choice, image, place);
	return choose_beside(command, image, place);
}

bool undo_spill_path(const struct undo_choice *choice, const char *image, char *path)
{
	const char *dir = choice->dir ? choice->dir : undo_dir_of_environment();
	char folder[UNDO_PATH_MAX], name[UNDO_PATH_MAX];

	if (choice->file)
		return snprintf(path, UNDO_PATH_MAX, "%s", choice->file) < UNDO_PATH_MAX;
	if (dir && !choice->none)
		return snprintf(path, UNDO_PATH_MAX, "%s/undo", dir) < UNDO_PATH_MAX;
	if (!beside(image, folder, name, sizeof(folder)) || path_is_in_memory(folder))
		return false;
	return snprintf(path, UNDO_PATH_MAX, "%s", name) < UNDO_PATH_MAX;
}

bool undo_temporary_path(char *path)
{
	const char *const folders[] = {getenv("TMPDIR"), "/var/tmp"};

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (folders[i] && access(folders[i], W_OK | X_OK) == 0 &&
		    !path_is_in_memory(folders[i]) &&
		    snprintf(path, UNDO_PATH_MAX, "%s/plan", folders[i]) < UNDO_PATH_MAX)
			return true;
	return false;
}

/* ---- making it ---- */

/*
 * Makes the folder, with the owner and mode of the folder that it is in, so that nobody is kept out
 * who may use that.
 */
static int make_folder(int parent, bool *made)
{
	struct stat st;
	int fd;

	if (mkdirat(parent, UNDO_FOLDER, 0700) < 0)
		return errno == EEXIST ? 0 : errno;
	*made = true;
	fd = openat(parent, UNDO_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fstat(parent, &st) == 0 &&
	    (fchown(fd, st.st_uid, st.st_gid) == 0 || fchown(fd, (uid_t)-1, st.st_gid) == 0))
		(void)fchmod(fd, st.st_mode & 07777);
	if (fd >= 0)
		(void)close(fd);
	return system_sync(parent) == 0 || errno == EINVAL ? 0 : errno;
}

/* Makes the folders of an undo file. Returns 0 or an errno value. */
static int make_parents(struct undo_place *place)
{
	char own[UNDO_PATH_MAX], folder[UNDO_PATH_MAX];
	struct stat st;
	int fd, errnum;

	if (!undo_folder_of(place->path, own, sizeof(own)) ||
	    !undo_folder_of(own, folder, sizeof(folder)))
		return ENAMETOOLONG;
	fd = descriptors_open(folder, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return errno;
	errnum = make_folder(fd, &place->made_folder);
	if (!errnum && fstatat(fd, UNDO_FOLDER, &st, AT_SYMLINK_NOFOLLOW) < 0)
		errnum = errno;
	else if (!errnum && !S_ISDIR(st.st_mode))
		errnum = ENOTDIR;
	(void)close(fd);
	return errnum;
}

/* Tries to make a file of that name, and removes it again. Returns 0 or an errno value. */
static int try_name(const char *path)
{
	int fd = descriptors_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOCTTY, 0600);

	if (fd < 0)
		return errno;
	(void)close(fd);
	return unlink(path) < 0 ? errno : 0;
}

int undo_place_prepare(const struct command *command, struct undo_place *place)
{
	char text[224], room[ROOM_MAX];
	int errnum = 0;

	if (!place->path[0])
		return EXIT_FINE;
	if (place->in_folder)
		errnum = make_parents(place);
	if (!errnum)
		errnum = try_name(place->path);
	if (!errnum)
		return EXIT_FINE;
	undo_place_abandon(place);
	free_room(place->path, errnum, room);
	snprintf(text, sizeof(text),
		 "no undo file could be made, and nothing was changed%s " WAYS_OUT, room);
	return fail(command, place->path, errnum, text);
}

int undo_place_fail(const struct command *command, const struct undo_place *place,
		    const struct qcow2_error *err)
{
	struct qcow2_error said = {.offset_bytes = QCOW2_NO_OFFSET};

	char room[ROOM_MAX];

	free_room(place->path, err->errnum, room);
	snprintf(said.text, sizeof(said.text), "%.128s%.56s " WAYS_OUT, err->text, room);
	return report_error(command, place->path, &said);
}

void undo_place_abandon(const struct undo_place *place)
{
	char own[UNDO_PATH_MAX];

	if (place->made_folder && undo_folder_of(place->path, own, sizeof(own)))
		(void)rmdir(own);
}
