/* SPDX-License-Identifier: MIT */
/*
 * See sandbox_system.h. Linux has Landlock and filters of system calls; the filter is made while
 * building, by scripts/sandbox_filter.c. No other system is asked for anything.
 */
#include "common/sandbox_system.h"

#include <errno.h>

#ifdef __linux__
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/chain.h"
#include "common/descriptors.h"
#include "common/undo_place.h"

#ifdef QCOW2_SECCOMP
#include <linux/seccomp.h>

#include <sandbox_filter.h>
#endif

/*
 * The kernel's interface of Landlock, which older headers lack in part. The rights that a version
 * knows are those of the versions before and some more.
 */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif
#define LANDLOCK_VERSION        (1U << 0)
#define LANDLOCK_BENEATH        1
#define LANDLOCK_READ_FILE      (UINT64_C(1) << 2)
#define LANDLOCK_READ_DIR       (UINT64_C(1) << 3)
#define LANDLOCK_WRITE_FILE     (UINT64_C(1) << 1)
#define LANDLOCK_REMOVE_FILE    (UINT64_C(1) << 5)
#define LANDLOCK_MAKE_REG       (UINT64_C(1) << 8)
#define LANDLOCK_FILES_V1       ((UINT64_C(1) << 13) - 1)
#define LANDLOCK_FILES_REFER    (UINT64_C(1) << 13) /* version 2 */
#define LANDLOCK_FILES_TRUNCATE (UINT64_C(1) << 14) /* version 3 */
#define LANDLOCK_WRITE_NEW                                                                         \
	(LANDLOCK_WRITE_FILE | LANDLOCK_REMOVE_FILE | LANDLOCK_MAKE_REG | LANDLOCK_FILES_TRUNCATE)
#define LANDLOCK_NAMING  (LANDLOCK_REMOVE_FILE | LANDLOCK_MAKE_REG)
#define LANDLOCK_NET_TCP UINT64_C(3) /* version 4: bind, connect */
#define LANDLOCK_SCOPED  UINT64_C(3) /* version 6: abstract sockets, signals */

struct rights {
	uint64_t files, net, scoped;
};

struct ruleset {
	int fd;
	struct rights taken; /* what the process may not do any more, but for the rules */
};

struct beneath {
	uint64_t rights;
	int32_t fd;
} __attribute__((packed));

/* ---- what the kernel has ---- */

/* Returns 0 or an errno value. */
static int load_filter(enum sandbox_kind kind)
{
#ifdef QCOW2_SECCOMP
#define PROGRAM(lines)                                                                             \
	{                                                                                          \
		.len = sizeof(lines) / sizeof((lines)[0]), .filter = (lines)                       \
	}
	static const struct program {
		unsigned short len;
		const struct sock_filter *filter;
	} programs[] = {
		[SEALED] = PROGRAM(filter_sealed),
		[READ_FILES] = PROGRAM(filter_reading),
		[READ_ANY] = PROGRAM(filter_reading),
		[WRITE_NEW] = PROGRAM(filter_writing),
		[SEALED_NAMING] = PROGRAM(filter_naming),
		[READ_ANY_NAMING] = PROGRAM(filter_reading_naming),
	};
#undef PROGRAM
	/* As struct sock_fprog, whose filter the kernel only reads. */
	const struct program program = programs[kind];

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? errno : 0;
#else
	(void)kind;
	return ENOSYS;
#endif
}

/* Makes rules that allow nothing, or nothing but to read. Returns 0 or an errno value. */
static int make_ruleset(enum sandbox_kind kind, struct ruleset *ruleset)
{
	struct rights *taken = &ruleset->taken;
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);

	if (version < 1)
		return version < 0 ? errno : ENOTSUP;
	*taken = (struct rights){.files = LANDLOCK_FILES_V1};
	if (version >= 2)
		taken->files |= LANDLOCK_FILES_REFER;
	if (version >= 3)
		taken->files |= LANDLOCK_FILES_TRUNCATE;
	if (version >= 4)
		taken->net = LANDLOCK_NET_TCP;
	if (version >= 6)
		taken->scoped = LANDLOCK_SCOPED;
	if (kind == READ_ANY || kind == WRITE_NEW || kind == READ_ANY_NAMING)
		taken->files &= ~(LANDLOCK_READ_FILE | LANDLOCK_READ_DIR);
	ruleset->fd = (int)syscall(SYS_landlock_create_ruleset, taken, sizeof(*taken), 0);
	return ruleset->fd < 0 ? errno : 0;
}

/* Allows something with a file, or with what is in a folder. What is not there cannot be opened. */
static void allow(const struct ruleset *ruleset, const char *path, uint64_t rights)
{
	struct beneath rule = {.fd = descriptors_open(path, O_PATH, 0)};
	struct stat status;

	if (rule.fd < 0)
		return;
	/* A folder that stands for a file is opened to say that it is none, and no file in it is. */
	if (rights == LANDLOCK_READ_FILE && fstat(rule.fd, &status) == 0 && S_ISDIR(status.st_mode))
		rights = LANDLOCK_READ_DIR;
	rule.rights = rights & ruleset->taken.files;
	(void)syscall(SYS_landlock_add_rule, ruleset->fd, LANDLOCK_BENEATH, &rule, 0);
	(void)close(rule.fd);
}

/* ---- which files ---- */

static void allow_undo_folder(const struct ruleset *ruleset, const char *file)
{
	char folder[UNDO_PATH_MAX], path[UNDO_PATH_MAX + sizeof(UNDO_FOLDER) + 1];

	if (!undo_folder_of(file, folder, sizeof(folder)))
		return;
	snprintf(path, sizeof(path), "%s/" UNDO_FOLDER, folder);
	allow(ruleset, path, LANDLOCK_READ_DIR);
}

static void allow_file(const struct ruleset *ruleset, const char *file,
		       const struct sandbox_files *files)
{
	allow(ruleset, file, LANDLOCK_READ_FILE);
	if (files->undo_folders)
		allow_undo_folder(ruleset, file);
}

/* Follows a chain. Where it cannot be followed now, that is an error later. */
static void allow_chain(const struct ruleset *ruleset, const char *file,
			const struct sandbox_files *files)
{
	struct chain *chain = malloc(sizeof(*chain));
	struct qcow2_error err;

	if (!chain) {
		allow_file(ruleset, file, files);
		return;
	}
	chain_begin(chain, file);
	while (chain_next(chain, &err) > 0)
		allow_file(ruleset, chain->link.file, files);
	/* The one that the chain could not go on with is opened later all the same. */
	allow_file(ruleset, chain->link.file, files);
	chain_end(chain);
	free(chain);
}

/* Allows something with what is in the folders of the files. */
static void allow_folders(const struct ruleset *ruleset, const struct sandbox_files *files,
			  uint64_t rights)
{
	char folder[UNDO_PATH_MAX];

	for (int i = 0; i < files->count; i++)
		if (undo_folder_of(files->names[i], folder, sizeof(folder)))
			allow(ruleset, folder, rights);
}

static bool is_naming(enum sandbox_kind kind)
{
	return kind == SEALED_NAMING || kind == READ_ANY_NAMING;
}

static void allow_files(const struct ruleset *ruleset, enum sandbox_kind kind,
			const struct sandbox_files *files)
{
	if (kind == WRITE_NEW || is_naming(kind)) {
		allow_folders(ruleset, files,
			      is_naming(kind) ? LANDLOCK_NAMING : LANDLOCK_WRITE_NEW);
		return;
	}
	for (int i = 0; i < files->count; i++)
		if (!qcow2_source_is_nbd(files->names[i]))
			(files->chains ? allow_chain : allow_file)(ruleset, files->names[i], files);
}

/* ---- all of it ---- */

/* Returns 0 or an errno value. */
static int enter_landlock(enum sandbox_kind kind, const struct sandbox_files *files)
{
	struct ruleset ruleset;
	int errnum = make_ruleset(kind, &ruleset);

	if (errnum)
		return errnum;
	if (files)
		allow_files(&ruleset, kind, files);
	if (syscall(SYS_landlock_restrict_self, ruleset.fd, 0))
		errnum = errno;
	(void)close(ruleset.fd);
	return errnum;
}

int sandbox_system_enter(enum sandbox_kind kind, const struct sandbox_files *files,
			 struct sandbox_missing *missing)
{
	const bool seals = kind == SEALED || kind == SEALED_NAMING;

	*missing = (struct sandbox_missing){0, 0};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return errno;
	/* Chains are followed behind the filter; once sealed, nothing can be given up any more. */
	if (seals)
		missing->landlock = enter_landlock(kind, files);
	missing->filter = load_filter(kind);
	if (!seals)
		missing->landlock = enter_landlock(kind, files);
	return 0;
}

#else

int sandbox_system_enter(enum sandbox_kind kind, const struct sandbox_files *files,
			 struct sandbox_missing *missing)
{
	(void)kind, (void)files;
	*missing = (struct sandbox_missing){ENOTSUP, ENOTSUP};
	return 0;
}

#endif
