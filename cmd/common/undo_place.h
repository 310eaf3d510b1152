/* SPDX-License-Identifier: MIT */
/*
 * Where the undo file of a change goes. Beside the image, but not among the images: in a folder of
 * its own, which is hidden, so that neither `ls` nor *.qcow2 nor a storage pool takes it for one.
 */
#ifndef CMD_COMMON_UNDO_PLACE_H
#define CMD_COMMON_UNDO_PLACE_H

#include "common/command.h"

#include <qcow2/error.h>

/* The folder beside an image, and the end of every name that is chosen here. */
#define UNDO_FOLDER  ".qcow2-undo"
#define UNDO_SUFFIX  ".undo"
#define UNDO_DIR_ENV "QCOW2_UNDO_DIR"

#define UNDO_PATH_MAX 4096

/* What the command line says; all NULL or false: the default. */
struct undo_choice {
	const char *file; /* --undo-file */
	const char *dir;  /* --undo-dir */
	bool none;        /* --no-undo */
};

/* Where it goes. All zeros: nowhere. */
struct undo_place {
	char path[UNDO_PATH_MAX]; /* "" if there is to be none */
	bool in_folder;           /* UNDO_FOLDER has to be there first */
	bool made_folder;         /* and it was made */
};

/* NULL, or what is wrong with the options together. */
const char *undo_choice_error(const struct undo_choice *choice);

/* The folder that QCOW2_UNDO_DIR names, or NULL. */
const char *undo_dir_of_environment(void);

/*
 * Chooses a name that is free, and makes nothing. Call it when the image is locked: who changes the
 * same image chooses another time. EXIT_FINE, or what is wrong has been said.
 */
int undo_place_choose(const struct command *command, const struct undo_choice *choice,
		      const char *image, struct undo_place *place);

/*
 * A path in whose folder a large plan may keep what memory cannot hold, into path of UNDO_PATH_MAX
 * bytes: where the undo file goes. False if there is no folder that is on a medium.
 */
bool undo_spill_path(const struct undo_choice *choice, const char *image, char *path);

/* Makes the folder, and sees whether a file can be made there. As above. */
int undo_place_prepare(const struct command *command, struct undo_place *place);

/* Says that no undo file could be made after all, for want of room. Returns EXIT_COULD_NOT. */
int undo_place_fail(const struct command *command, const struct undo_place *place,
		    const struct qcow2_error *err);

/* No undo file was made after all: the folder goes, too, if it was made for it. */
void undo_place_abandon(const struct undo_place *place);

/* The folder that a path is in: "." and "/" as well. False if it is too long. */
bool undo_folder_of(const char *path, char *folder, size_t size);

#endif
