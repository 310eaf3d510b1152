/* SPDX-License-Identifier: MIT */
/*
 * Chooses where the undo file of a change goes: beside the image, but not among the images. It is
 * in a folder of its own, which is hidden, so that `ls`, *.qcow2 and storage pools do not take it
 * for an image.
 */
#ifndef CMD_COMMON_UNDO_PLACE_H
#define CMD_COMMON_UNDO_PLACE_H

#include "common/command.h"

#include <qcow2/error.h>

/*
 * The folder beside an image, the suffix of all names that are chosen here, and the environment
 * variable that names another folder.
 */
#define UNDO_FOLDER  ".qcow2-undo"
#define UNDO_SUFFIX  ".undo"
#define UNDO_DIR_ENV "QCOW2_UNDO_DIR"

#define UNDO_PATH_MAX 4096

/* The options for undo files. All NULL or false: the default. */
struct undo_choice {
	const char *file; /* --undo-file */
	const char *dir;  /* --undo-dir */
	bool none;        /* --no-undo */
};

/* The place of an undo file. All zeros: there is none. */
struct undo_place {
	char path[UNDO_PATH_MAX]; /* "" if there is to be none */
	bool in_folder;           /* UNDO_FOLDER has to be there first */
	bool made_folder;         /* and it was made */
};

/* Returns what is wrong with the options together, or NULL. */
const char *undo_choice_error(const struct undo_choice *choice);

/* Returns the folder that QCOW2_UNDO_DIR names, or NULL. */
const char *undo_dir_of_environment(void);

/*
 * Chooses a free name, and makes nothing. Call it when the image is locked, so that no other change
 * of it chooses at the same time. Returns EXIT_FINE, or EXIT_COULD_NOT when the error has been
 * said.
 */
int undo_place_choose(const struct command *command, const struct undo_choice *choice,
		      const char *image, struct undo_place *place);

/*
 * Finds a folder in which a large plan may keep what memory cannot hold: that of the undo file.
 * Puts a path in it into `path`, of UNDO_PATH_MAX bytes. False if there is no folder on a medium.
 */
bool undo_spill_path(const struct undo_choice *choice, const char *image, char *path);

/*
 * The same for a change that is only shown, which makes nothing beside the image, and for one whose
 * undo file has no folder on a medium: the folder for temporary files, TMPDIR or /var/tmp.
 */
bool undo_temporary_path(char *path);

/* Makes the folder, and tests that a file can be made there. Returns as above. */
int undo_place_prepare(const struct command *command, struct undo_place *place);

/*
 * Says that no undo file could be made after all, and how much room there is. Returns
 * EXIT_COULD_NOT.
 */
int undo_place_fail(const struct command *command, const struct undo_place *place,
		    const struct qcow2_error *err);

/* Removes the folder again if it was made for an undo file that was not made. */
void undo_place_abandon(const struct undo_place *place);

/* Fills `folder` with the folder of a path, "." and "/" included. False if it is too long. */
bool undo_folder_of(const char *path, char *folder, size_t size);

#endif
